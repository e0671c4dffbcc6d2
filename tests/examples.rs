//! The programs in `examples/`, run as their first lines say. `cargo test` builds them first; with
//! `--test suite` alone they are those of the last build.

use crate::support::privilege::{need_root, need_tools};
use crate::support::run::{copy_program, program_path};
use crate::support::scratch::Scratch;
use crate::support::tarball::{Tarball, gz};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fs, io};

/// Cargo builds the examples of the workspace with its tests, in a directory beside the program's.
#[track_caller]
fn example(name: &str) -> PathBuf {
    let path = program_path().with_file_name("examples").join(name);
    assert!(path.exists(), "{} is not built: cargo build --examples", path.display());
    path
}

fn archive() -> Vec<u8> {
    Tarball::new().dir("etc/").file("etc/motd", "hello").symlink("motd", "etc/motd").build()
}

fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn run(name: &str, args: &[&Path], input: Stdio) -> Output {
    Command::new(example(name)).args(args).stdin(input).output().expect("the example")
}

/// With these bytes in a pipe.
fn pipe_into(name: &str, args: &[&Path], bytes: &[u8]) -> Output {
    let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat");
    // Less than a pipe holds, so nothing waits.
    io::Write::write_all(&mut cat.stdin.take().expect("a pipe"), bytes).expect("written");
    let output = run(name, args, cat.stdout.take().expect("a pipe").into());
    cat.wait().expect("cat");
    output
}

/// It ended well and said this.
#[track_caller]
fn says(output: &Output, want: &str) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains(want), "{}: {out}{err}", output.status);
}

/// It failed and said this.
#[track_caller]
fn complains(output: &Output, want: &str) {
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && err.contains(want), "{}: {err}", output.status);
}

/// It ends by itself in this time; otherwise it is killed. What it prints meanwhile must fit into a pipe.
#[track_caller]
fn ends_within(child: &mut Child, limit: Duration) {
    let start = Instant::now();
    while child.try_wait().expect("its status").is_none() {
        if start.elapsed() > limit {
            child.kill().and_then(|()| child.wait()).expect("killed");
            panic!("still running after {limit:?}");
        }
        sleep(Duration::from_millis(10));
    }
}

fn open(path: &Path) -> Stdio {
    fs::File::open(path).expect("input").into()
}

#[test]
fn self_helper_and_async_host_apply_their_standard_input() {
    for name in ["self_helper", "async_host"] {
        let scratch = Scratch::new();
        let root = scratch.dir("root");
        says(&pipe_into(name, &[&root], &archive()), "3 entries");
        assert_eq!(fs::read(root.join("motd")).expect("motd"), b"hello", "{name}");

        complains(&pipe_into(name, &[&root], &archive()[..700]), "cut short");
        complains(&run(name, &[], Stdio::null()), "usage: ");
    }
}

#[test]
fn async_host_hears_of_a_bad_archive_while_its_source_is_stalled() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    let mut command = Command::new(example("async_host"));
    let mut child = command.arg(&root).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the example");
    // Held open to the end: nothing more comes, and the archive does not end.
    let mut source = child.stdin.take().expect("a pipe");
    io::Write::write_all(&mut source, &[b'x'; 512]).expect("written");
    ends_within(&mut child, Duration::from_secs(60));
    complains(&child.wait_with_output().expect("its output"), "no tar archive");
    drop(source);
}

#[test]
fn shipped_beside_takes_the_helper_of_its_own_directory() {
    let scratch = Scratch::new();
    let (root, tar, bin) = (scratch.dir("root"), scratch.file("tar", archive()), scratch.dir("bin"));
    let program = bin.join("shipped_beside");
    copy_program(&example("shipped_beside"), &program);
    let start = || Command::new(&program).args([&root, &tar]).output().expect("the example");
    complains(&start(), "ENOENT");
    copy_program(&program_path(), &bin.join("untar-in-root"));
    says(&start(), "3 entries");
    assert_eq!(fs::read(root.join("motd")).expect("motd"), b"hello");
}

#[test]
fn builder_tells_digest_and_diff_id_of_each_layer() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    let upper = Tarball::new().file(".wh.motd", "").build();
    let (one, two) = (scratch.file("1", gz(&archive())), scratch.file("2", &upper));
    let output = run("builder", &[&root, &one, &two], Stdio::null());
    let size = fs::metadata(&one).expect("layer").len();
    let (digest, diff_id) = (sha256(&gz(&archive())), sha256(&archive()));
    says(&output, &format!("size {size} digest {digest} diff_id {diff_id}\n"));
    let diff_id = sha256(&upper);
    says(&output, &format!("size {} digest {diff_id} diff_id {diff_id}\n", upper.len()));
    assert!(root.join("etc/motd").exists() && fs::symlink_metadata(root.join("motd")).is_err());
}

/// The lower directory, a change and a deletion in an overlay over it, and what others make of the image.
#[test]
fn commit_makes_an_image_that_other_tools_take() {
    if !need_root() || !need_tools(&["skopeo", "umoci", "mount"]) {
        return;
    }
    let scratch = Scratch::new();
    let (lower, upper, work, at) =
        (scratch.dir("lower"), scratch.dir("upper"), scratch.dir("work"), scratch.dir("merged"));
    fs::write(lower.join("gone"), "g").and_then(|()| fs::write(lower.join("kept"), "k")).expect("lower");
    let done = |command: &mut Command| {
        let output = command.output().expect("a tool");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let options = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    done(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&at));
    fs::remove_file(at.join("gone")).and_then(|()| fs::create_dir(at.join("new"))).expect("changes");
    fs::write(at.join("new/file"), "content").expect("a change");
    rustix::mount::unmount(&at, rustix::mount::UnmountFlags::empty()).expect("umount");
    let layout = scratch.join("layout");
    says(&run("commit", &[&layout, "box".as_ref(), &upper, &lower], Stdio::null()), "4 entries, diff_id sha256:");
    // skopeo looks at each digest and size; umoci unpacks, and its layer hides what is not there.
    let (from, to) = (format!("oci:{}:box", layout.display()), scratch.join("archive"));
    let archive = format!("docker-archive:{}:box:latest", to.display());
    done(Command::new("skopeo").args(["--insecure-policy", "copy", "-q", &from, &archive]));
    let bundle = scratch.join("bundle");
    done(Command::new("umoci").args(["unpack", "--image", &format!("{}:box", layout.display())]).arg(&bundle));
    assert_eq!(fs::read(bundle.join("rootfs/new/file")).expect("what umoci made"), b"content");
    // Over what it was made from, with our own program: the archive that skopeo wrote.
    done(Command::new(program_path()).args(["image", "--in-place"]).args([&to, &lower]));
    assert!(!lower.join("gone").exists() && lower.join("kept").exists());
    assert_eq!(fs::read(lower.join("new/file")).expect("a change"), b"content");
}

#[test]
fn puller_keeps_a_layer_only_if_both_digests_are_right() {
    let scratch = Scratch::new();
    let (store, blob) = (scratch.dir("store"), scratch.file("blob", gz(&archive())));
    let (digest, diff_id, wrong) = (sha256(&gz(&archive())), sha256(&archive()), sha256(b"else"));
    let pull = |digest: &str, diff_id: &str| run("puller", &[&store, digest.as_ref(), diff_id.as_ref()], open(&blob));
    let kept = || fs::read_dir(&store).expect("store").map(|e| e.expect("layer").file_name()).collect::<Vec<_>>();

    complains(&pull(&wrong, &diff_id), "digest mismatch");
    complains(&pull(&digest, &wrong), "diff ID mismatch");
    assert_eq!(kept().len(), 0);
    says(&pull(&digest, &diff_id), "3 entries");
    assert_eq!(kept(), [diff_id.as_str()]);
    assert_eq!(fs::read(store.join(&diff_id).join("motd")).expect("motd"), b"hello");
}
