//! The jail seen from outside: `/proc/PID` of a helper that is stopped mid-archive, and `strace` of a whole run.

mod loads;
mod names;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use untar_in_root::{ErrorKind, Options, Program, Session};

use crate::support::child::{Job, Said};
use crate::support::privilege::{need_root, need_tool};
use crate::support::process::{my_helper_on, wait_until_at_rest};
use crate::support::run::{literal, untar};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

/// A helper that has applied some entries and waits for more.
struct Stopped {
    _session: Session,
    proc: PathBuf,
}

impl Stopped {
    fn new(dest: &Path, change: impl FnOnce(&mut Options)) -> Stopped {
        let mut untar = untar(dest, change);
        untar.options_mut().progress = true;
        let mut session = untar.spawn().expect("helper");
        let bytes = (0..300).fold(Tarball::new().dir("d"), |tar, i| tar.file(format!("d/{}/f{i}", i % 9), "x")).build();
        session.write_all(&bytes[..bytes.len() - 5000]).expect("room");
        let deadline = Instant::now() + Duration::from_secs(10);
        while session.progress().entries == 0 && session.check().is_ok() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let pid = my_helper_on(dest).expect("the helper");
        // Writers are still busy when the first progress is told.
        wait_until_at_rest(pid);
        Stopped { _session: session, proc: format!("/proc/{pid}").into() }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.proc.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn status(&self, field: &str) -> String {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {field}")).trim().to_owned()
    }

    fn identity(&self, name: &str) -> (u64, u64) {
        identity(&self.proc.join(name))
    }

    fn mounts(&self) -> Vec<String> {
        let points = |line: &str| line.split(' ').nth(4).expect("mount point").to_owned();
        self.read("mountinfo").lines().map(points).collect()
    }
}

fn identity(path: &Path) -> (u64, u64) {
    let metadata = fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (metadata.dev(), metadata.ino())
}

/// CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP.
const NEEDED: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 27 | 1 << 31;

#[test]
fn the_root_and_the_working_directory_are_the_destination() {
    if !need_root() {
        return;
    }
    for change in [literal as fn(&mut Options), |o| o.jail.isolation = untar_in_root::Isolation::Chroot] {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        let stopped = Stopped::new(&dest, change);
        let want = identity(&dest);
        assert_eq!((stopped.identity("root"), stopped.identity("cwd")), (want, want));
    }
}

#[test]
fn no_mounts_but_the_root_and_those_below_it() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    assert_eq!(Stopped::new(&dest, literal).mounts(), ["/"]);
    scratch.tmpfs("dest/m", 1 << 16).expect("tmpfs");
    let stopped = Stopped::new(&dest, literal);
    // The last covers the one before.
    assert_eq!(stopped.mounts(), ["/", "/m", "/m"]);
    let options: Vec<_> =
        stopped.read("mountinfo").lines().map(|l| l.split(' ').nth(5).expect("options").to_owned()).collect();
    for flags in options {
        assert!(["nosuid", "nodev", "noexec"].iter().all(|flag| flags.contains(flag)), "{flags}");
    }
    // A namespace of its own.
    assert_ne!(fs::read_link(stopped.proc.join("ns/mnt")).ok(), fs::read_link("/proc/self/ns/mnt").ok());
}

#[test]
fn five_capability_sets_and_no_way_back() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let stopped = Stopped::new(&scratch.dir("dest"), literal);
    let set = |name: &str| u64::from_str_radix(&stopped.status(name), 16).expect("hexadecimal");
    assert_eq!(["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(set), [0, NEEDED, NEEDED, NEEDED, 0]);
    assert_eq!((stopped.status("NoNewPrivs"), stopped.status("Seccomp")), ("1".into(), "2".into()));
    assert_eq!((stopped.status("Groups"), stopped.status("Umask")), (String::new(), "0000".into()));
    // Every thread of it.
    for task in fs::read_dir(stopped.proc.join("task")).expect("threads") {
        let status = fs::read_to_string(task.expect("thread").path().join("status")).expect("status");
        for line in [format!("CapEff:\t{NEEDED:016x}"), "NoNewPrivs:\t1".into(), "Seccomp:\t2".into()] {
            assert!(status.contains(&line), "{line} is not in {status}");
        }
    }
}

/// Landlock handles the right to execute, and with it that to link from one directory to another: without a rule for
/// `REFER` each such link would be `EXDEV`.
#[test]
fn under_landlocks_path_rules_hardlinks_lead_from_one_directory_to_another() {
    if !need_root() {
        return;
    }
    let archive = Tarball::new().dir("a").dir("b").file("a/f", "1").hardlink("b/c/h", "a/f").hardlink("b/f", "/b/c/h");
    let changes: [fn(&mut Options); 2] =
        [|o| o.jail.sandbox.landlock_paths = true, |o| o.jail.isolation = untar_in_root::Isolation::Chroot];
    for change in changes {
        let scratch = Scratch::new();
        let report = untar(scratch.path(), change).apply(&archive.build()[..]).expect("applied");
        assert!(
            report.confinement.landlock_paths && report.confinement.landlock_abi.is_some(),
            "{:?}",
            report.confinement
        );
        let names = ["a/f", "b/c/h", "b/f"].map(|name| identity(&scratch.join(name)));
        assert_eq!(names, [names[0]; 3]);
    }
}

#[test]
fn capabilities_follow_the_options() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let set = |change: fn(&mut Options)| {
        let dest = scratch.dir("dest");
        u64::from_str_radix(&Stopped::new(&dest, change).status("CapBnd"), 16).expect("hexadecimal")
    };
    assert_eq!(set(|o| o.trusted_xattrs = true), NEEDED | 1 << 21);
    assert_eq!(set(|o| o.security_xattrs = true), NEEDED | 1 << 21);
    assert_eq!(set(|o| o.owner = untar_in_root::Owner::Caller), NEEDED & !1);
}

#[test]
fn nothing_of_the_host_is_inherited() {
    if !need_root() {
        return;
    }
    // A descriptor that somebody forgot to mark close-on-exec.
    let leaked = rustix::fs::open("/etc", rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).expect("/etc");
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    let stopped = Stopped::new(&dest, literal);
    drop(leaked);
    assert_eq!(stopped.read("environ").trim_matches('\0'), "");
    assert_eq!(stopped.read("cmdline"), "untar-in-root:helper\0");
    let root_dev = identity(&dest).0;
    let mut standard = Vec::new();
    for entry in fs::read_dir(stopped.proc.join("fd")).expect("descriptors") {
        let path = entry.expect("descriptor").path();
        let number: u32 = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok()).expect("number");
        let target = fs::read_link(&path).expect("link").to_string_lossy().into_owned();
        match number {
            0 => assert!(target.starts_with("pipe:"), "{target}"),
            1 | 2 => assert!(target.starts_with("socket:"), "{number}: {target}"),
            _ if target.starts_with("socket:") => standard.push(target),
            // Seen through the helper's root, it is the same file: inside.
            _ => {
                let inside = stopped.proc.join("root").join(target.trim_start_matches('/'));
                assert_eq!(identity(&path).0, root_dev, "{number}: {target}");
                assert!(
                    identity(&path) == identity(&inside) || identity(&path) == identity(&dest),
                    "{number}: {target}"
                );
            }
        }
    }
    let control = fs::read_link(stopped.proc.join("fd/1")).expect("link").to_string_lossy().into_owned();
    assert!(standard.iter().all(|socket| *socket == control), "{standard:?}, {control}");
}

#[test]
fn the_helper_is_not_to_be_traced_or_dumped() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let stopped = Stopped::new(&scratch.dir("dest"), literal);
    let limits = stopped.read("limits");
    let line = |name: &str| {
        limits.lines().find(|l| l.starts_with(name)).expect("limit").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(line("Max core file size").contains(" 0 0"), "{limits}");
    assert!(line("Max open files").contains("4096 4096"), "{limits}");
    // Not dumpable: its files in /proc are root's, whoever it runs as; here both are, so the mode tells.
    assert_eq!(fs::metadata(stopped.proc.join("environ")).expect("environ").uid(), 0);
}

#[test]
fn a_program_without_init_is_told_so() {
    // The test harness has no `helper::init()`.
    let error = Program::this().expect_err("not initialised");
    assert_eq!(error.kind(), ErrorKind::NotInitialised);
    assert!(error.to_string().contains("init"), "{error}");
    let scratch = Scratch::new();
    let run = untar_in_root::Untar::open(scratch.path()).expect("root");
    assert_eq!(run.apply(std::io::empty()).expect_err("not initialised").kind(), ErrorKind::NotInitialised);
}

/// One file of `strace -ff` for each thread.
struct Trace(Vec<(u32, String)>);

impl Trace {
    fn of(options: &str) -> Trace {
        let entries =
            Tarball::new().dir("d").file("d/f", "1").symlink("l", "/etc").file("l/passwd", "2").hardlink("h", "d/f");
        let (trace, said) = Trace::on(options, &entries.fifo("p").build(), |_| {});
        said.leads_to("d/ d/f=1 etc/ etc/passwd=2 h==d/f l->/etc p|");
        trace
    }

    /// Of this archive, on what is put into the destination before.
    fn on(options: &str, archive: &[u8], before: impl FnOnce(&Path)) -> (Trace, Said) {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        before(&dest);
        let archive = scratch.file("archive.tar", archive);
        let log = scratch.join("trace");
        let log = log.to_str().expect("UTF-8");
        let said = Job::new(&dest, &archive, options).behind(&["strace", "-ff", "-s", "300", "-o", log]).run(&scratch);
        let files = fs::read_dir(scratch.path()).expect("directory").flatten().filter_map(|entry| {
            let pid = entry.file_name().to_str()?.strip_prefix("trace.")?.parse().ok()?;
            Some((pid, fs::read_to_string(entry.path()).ok()?))
        });
        (Trace(files.collect()), said)
    }

    /// The helper's threads: its own file from its start on, and those that it made.
    fn helper(&self) -> Vec<Vec<&str>> {
        let started = |line: &&str| {
            line.starts_with("execve(") && line.contains("\"untar-in-root:helper\"") && line.ends_with("= 0")
        };
        let (_, main) = self.0.iter().find(|(_, text)| text.lines().any(|l| started(&l))).expect("the helper");
        let main: Vec<&str> = main.lines().skip_while(|l| !started(l)).skip(1).collect();
        let made: Vec<u32> = main
            .iter()
            .filter(|l| l.starts_with("clone"))
            .filter_map(|l| l.rsplit("= ").next()?.parse().ok())
            .collect();
        let threads = self.0.iter().filter(|(pid, _)| made.contains(pid)).map(|(_, text)| text.lines().collect());
        std::iter::once(main.clone()).chain(threads).collect()
    }
}

#[test]
fn strace_nothing_outside_is_opened_after_the_switch_and_nothing_executed() {
    if !need_root() || !need_tool("strace") {
        return;
    }
    for (options, switch) in [("pivot", "pivot_root("), ("chroot", "chroot(")] {
        let trace = Trace::of(options);
        let threads = trace.helper();
        let (main, others) = threads.split_first().expect("the helper");
        let at = main.iter().position(|l| l.starts_with(switch) && l.ends_with("= 0")).expect("the switch");
        let after = main[at..].iter().chain(others.iter().flatten());
        let mut opened = 0;
        for line in after {
            assert!(!line.starts_with("exec"), "{line}");
            assert!(!line.starts_with("clone") || line.contains("CLONE_THREAD"), "{line}");
            opened += usize::from(line.starts_with("open"));
            // An absolute path would still be inside; there is only the root itself.
            let absolute = line.split('"').skip(1).step_by(2).any(|s| s.starts_with('/') && s != "/");
            let looks = ["open", "stat", "newfstatat", "access", "faccessat", "readlink", "statx", "unlink", "mkdir"];
            assert!(
                !(absolute && looks.iter().any(|call| line.starts_with(call)) && !line.starts_with("readlinkat")),
                "{line}"
            );
        }
        assert!(opened > 3, "the trace has the helper's own calls");
        assert!(main.iter().all(|l| !l.starts_with("exec") && !l.starts_with("fork") && !l.starts_with("vfork")));
    }
}

#[test]
fn strace_the_parent_never_forks() {
    if !need_root() || !need_tool("strace") {
        return;
    }
    let trace = Trace::of("");
    let mut started = 0;
    for line in trace.0.iter().flat_map(|(_, text)| text.lines()) {
        assert!(!line.starts_with("fork("), "{line}");
        if line.starts_with("clone") && !line.contains("CLONE_THREAD") {
            assert!(line.contains("CLONE_VFORK") && line.contains("CLONE_VM"), "{line}");
            started += 1;
        }
        started += usize::from(line.starts_with("vfork("));
    }
    assert_eq!(started, 1, "one helper");
}
