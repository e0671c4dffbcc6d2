//! The caller's memory under the worst image and the worst helper: bounded in bytes, in all, whatever they say.
//!
//! The command line is looked at while it runs; `-- --nocapture` shows the figures.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::bombs::peak;
use crate::support::layout::{blob, digest};
use crate::support::privilege::{need_root, need_tools};
use crate::support::run::program_path;
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

/// The most that the program may hold under the worst image, in KiB: the documents, once more as they are shown.
const IMAGE: u64 = 96 << 10;
/// The most under the worst helper: what is kept, a frame in its largest form, and the JSON of it.
const HELPER: u64 = 80 << 10;
/// The most bytes of a line of error, and of the JSON object beside it.
const LINE: usize = 64 << 10;
const OBJECT: usize = 192 << 10;

struct Ran {
    peak: u64,
    code: Option<i32>,
    out: Vec<u8>,
    err: Vec<u8>,
}

/// Runs it to its end and looks at the memory of this process alone; again if it was over before the first look.
fn weigh(what: &str, command: &mut Command) -> Ran {
    (0..50).map(|_| once(what, command)).find(|ran| ran.peak > 0).expect("a look in one of fifty runs")
}

fn once(what: &str, command: &mut Command) -> Ran {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a program");
    let (pid, most, over) = (child.id(), AtomicU64::new(0), AtomicBool::new(false));
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(peak(pid), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let output = child.wait_with_output().expect("its end");
        over.store(true, Ordering::Relaxed);
        output
    });
    let ran = Ran { peak: most.into_inner(), code: output.status.code(), out: output.stdout, err: output.stderr };
    println!("caller, {what}: {} KiB, {:?}, {} and {} bytes", ran.peak, ran.code, ran.out.len(), ran.err.len());
    ran
}

impl Ran {
    #[track_caller]
    fn is(self, what: &str, code: i32, most: u64) {
        let end = String::from_utf8_lossy(&self.err);
        assert_eq!(self.code, Some(code), "{what}: {:.300}", end);
        assert!(self.peak > 0 && self.peak <= most, "{what}: {} KiB of {most}", self.peak);
        assert!(self.err.len() < LINE || code == 0, "{what}: an error of {} bytes", self.err.len());
        assert!(self.out.len() < OBJECT || code == 0, "{what}: an object of {} bytes", self.out.len());
    }
}

/// A layout that is nothing but its documents.
struct Documents {
    dir: PathBuf,
}

impl Documents {
    fn new(scratch: &Scratch, name: &str) -> Documents {
        let dir = scratch.dir(name);
        fs::create_dir_all(dir.join("blobs/sha256")).expect("blobs");
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("marker");
        Documents { dir }
    }

    fn put(&self, bytes: &[u8], kind: &str) -> Value {
        blob(&self.dir, bytes, &format!("application/vnd.oci.image.{kind}.v1+json"))
    }

    fn config(&self, diff_ids: usize, padding: usize) -> Value {
        let diff_ids = vec![digest(b"layer"); diff_ids];
        let config = json!({ "os": "linux", "architecture": "amd64", "x": "x".repeat(padding),
            "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        self.put(config.to_string().as_bytes(), "config")
    }

    fn manifest(&self, config: &Value, layers: usize, number: usize) -> Value {
        let layer =
            json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(b"layer"), "size": 1 });
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": vec![layer; layers],
            "annotations": { "number": number.to_string() } });
        self.put(manifest.to_string().as_bytes(), "manifest")
    }

    fn index(&self, text: &str) {
        fs::write(self.dir.join("index.json"), text).expect("index");
    }

    fn lists(&self, manifests: &[Value]) {
        self.index(&json!({ "schemaVersion": 2, "manifests": manifests }).to_string());
    }

    fn inspected(&self, what: &str, code: i32) {
        let source = format!("oci:{}", self.dir.display());
        for more in [&[][..], &["--json"]] {
            weigh(what, Command::new(program_path()).args(["inspect", &source]).args(more)).is(what, code, IMAGE);
        }
    }
}

/// As large as a document may be.
const DOCUMENT: usize = 4 << 20;

#[test]
fn no_image_costs_its_caller_more_than_the_purse() {
    let scratch = Scratch::new();
    let layout = |name| Documents::new(&scratch, name);

    let shared = layout("shared");
    let config = shared.config(0, DOCUMENT - 200);
    shared.lists(&(0..1000).map(|number| shared.manifest(&config, 0, number)).collect::<Vec<_>>());
    shared.inspected("a thousand manifests that share a configuration of 4 MiB", 0);

    let own = layout("own");
    let large = |number| own.manifest(&own.config(0, DOCUMENT - 300 - number), 0, number);
    own.lists(&(0..20).map(large).collect::<Vec<_>>());
    own.inspected("twenty configurations of 4 MiB", 1);

    let layers = layout("layers");
    let config = layers.config(500, 0);
    layers.lists(&(0..1000).map(|number| layers.manifest(&config, 500, number)).collect::<Vec<_>>());
    layers.inspected("a thousand manifests of 500 layers", 1);

    let named = layout("named");
    let config = named.config(0, 0);
    let manifests: Vec<Value> = (0..1000).map(|number| named.manifest(&config, 0, number)).collect();
    let inner = json!({ "schemaVersion": 2, "manifests": manifests });
    let mut index = named.put(inner.to_string().as_bytes(), "index");
    index["annotations"] = json!({ "org.opencontainers.image.ref.name": "n".repeat(DOCUMENT - 500) });
    named.lists(&[index]);
    named.inspected("a thousand images in an index with a name of 4 MiB", 1);
}

#[test]
fn no_document_is_much_larger_in_memory_than_on_disk() {
    let scratch = Scratch::new();
    let index = |what, item: &str| {
        let layout = Documents::new(&scratch, &digest(item.as_bytes()));
        let list = vec![item; (DOCUMENT - 100) / (item.len() + 1)].join(",");
        layout.index(&format!(r#"{{"schemaVersion":2,"manifests":[{list}]}}"#));
        layout.inspected(what, 1);
    };
    index("an index of as many descriptors as fit", r#"{"digest":"","size":0}"#);
    let one = |list: &str| format!(r#"{{"digest":"","size":0,{list}}}"#);
    index("a descriptor with many URLs", &one(&format!(r#""urls":[{}]"#, vec![r#""""#; 1_000_000].join(","))));
    let annotations: Vec<String> = (0..250_000).map(|number| format!(r#""{number}":"""#)).collect();
    index("a descriptor with many annotations", &one(&format!(r#""annotations":{{{}}}"#, annotations.join(","))));
    index("lists in lists", &"[".repeat(DOCUMENT - 200));

    for (what, more) in [("layers", "Layers"), ("tags", "RepoTags")] {
        let dir = scratch.dir(what);
        let list = vec![r#""""#; 1_300_000].join(",");
        fs::write(dir.join("manifest.json"), format!(r#"[{{"Config":"c","{more}":[{list}]}}]"#)).expect("manifest");
        let source = dir.display().to_string();
        weigh(what, Command::new(program_path()).args(["inspect", &source])).is(what, 1, IMAGE);
    }
}

#[test]
fn no_error_repeats_a_document() {
    let scratch = Scratch::new();
    let long = "A\\u0001".repeat(500_000);
    for (name, text) in [
        ("version", format!(r#"{{"schemaVersion":"{long}"}}"#)),
        ("type", format!(r#"{{"schemaVersion":2,"mediaType":"{long}"}}"#)),
        ("digest", format!(r#"{{"schemaVersion":2,"manifests":[{{"digest":"{long}","size":0}}]}}"#)),
        ("key", format!(r#"{{"schemaVersion":2,"manifests":{{"{long}":1}}}}"#)),
    ] {
        let layout = Documents::new(&scratch, name);
        layout.index(&text);
        layout.inspected(name, 1);
    }
    let docker = scratch.dir("docker");
    fs::write(docker.join("manifest.json"), format!(r#"[{{"Config":"{long}"}}]"#)).expect("manifest");
    let source = docker.display().to_string();
    for more in [&[][..], &["--json"]] {
        weigh("name", Command::new(program_path()).args(["inspect", &source]).args(more)).is("name", 1, IMAGE);
    }
}

/// A directory in the place of `/proc` that is none, in the program's own mount namespace: so it starts itself by the name
/// that it was executed by, which is one that leads there.
fn proc_with(scratch: &Scratch, frames: &str) -> PathBuf {
    let dir = scratch.dir(format!("proc-{frames}"));
    fs::create_dir_all(dir.join("self/fd")).expect("fd");
    let fake = include_str!("support/fake_helper.py").replacen(
        "os.path.basename(__file__).removesuffix(\".py\")",
        &format!("\"say-{frames}\""),
        1,
    );
    let script = scratch.file(format!("{frames}.py"), fake);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("mode");
    compile(
        &format!("#include <unistd.h>\nint main(void) {{ return execl({script:?}, \"fake\", (char *) 0); }}"),
        &dir.join(format!("self/fd/{PROGRAM}")),
    );
    dir
}

/// A script is not started as a helper.
fn compile(text: &str, program: &Path) {
    let mut compiler = Command::new("cc").args(["-x", "c", "-", "-o"]).arg(program).stdin(Stdio::piped()).spawn();
    let stdin = compiler.as_mut().ok().and_then(|child| child.stdin.take());
    std::io::Write::write_all(&mut stdin.expect("a compiler"), text.as_bytes()).expect("a program's text");
    assert!(compiler.and_then(|mut child| child.wait()).expect("a compiler").success());
}

/// The descriptor that the program is executed by, as `fexecve(3)` does it: its name is then `/dev/fd/70`.
const PROGRAM: u32 = 70;

fn with_helper(proc: &Path) -> Command {
    let execute = "import os, sys; os.dup2(os.open(sys.argv[2], os.O_RDONLY), int(sys.argv[1]), False); \
                   os.execve(int(sys.argv[1]), sys.argv[2:], os.environ)";
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c"]);
    command.arg("mount -t tmpfs tmpfs /proc && cp -a \"$0/.\" /proc && exec \"$@\"").arg(proc);
    command.args(["python3", "-c", execute, &PROGRAM.to_string()]).arg(program_path());
    command
}

#[test]
fn no_helper_costs_its_caller_more_than_the_purse() {
    if !need_root() || !need_tools(&["python3", "unshare", "mount", "cc"]) {
        return;
    }
    let scratch = Scratch::new();
    let archive = scratch.file("one.tar", Tarball::new().file("f", "x").build());
    // e an event of a megabyte, m a confinement with a million mounts, f a failure with long texts, r a report with
    // half a million events, l an entry with too many attributes; see `fake_helper.py`.
    for (frames, list, code, words) in [
        ("S_e40_R", false, 0, ""),
        ("S_e12_F", false, 1, ""),
        // A number of things that would take more room than a frame may is not believed.
        ("m", false, 3, "a frame that does not decode"),
        ("f", false, 1, ""),
        ("S_f", false, 1, ""),
        ("Sr", false, 3, "a frame that does not decode"),
        ("S_l9", true, 3, "more than it may"),
        ("S_x2_R", true, 0, ""),
    ] {
        let proc = proc_with(&scratch, frames);
        for more in [&[][..], &["--json"]] {
            let mut command = with_helper(&proc);
            command.args(more);
            if list {
                command.arg("-t");
            }
            let dest = scratch.dir("dest");
            let ran = weigh(&format!("{frames} {more:?}"), command.arg(dest).arg(&archive));
            // A partial report is beside the error.
            let ran = if frames.contains('e') { Ran { out: Vec::new(), ..ran } } else { ran };
            let said = String::from_utf8_lossy(&ran.err).into_owned();
            assert!(said.contains(words), "{frames}: {said}");
            ran.is(frames, code, HELPER);
        }
    }
}
