//! A program that is its own helper: `helper::init()` first in `main`, then `Program::this()`.
//!
//! No libtest: its `main` would come before ours.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use untar_in_root::{ErrorKind, Program, Untar};

const ARGV0: &str = "untar-in-root:helper";

/// An archive of one empty file `f`.
fn archive() -> Vec<u8> {
    let mut block = vec![0; 512 + 1024];
    block[0] = b'f';
    block[100..156].copy_from_slice(b"0000644\x000000000\x000000000\x0000000000000\x0000000000000\x00        ");
    block[156] = b'0';
    let sum: u32 = block[..512].iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn scratch() -> PathBuf {
    let dir = tempfile::Builder::new().prefix("untar-in-root-").tempdir().expect("directory").keep();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("mode");
    dir
}

fn this_is_the_helper() {
    let dir = scratch();
    // Nothing of the host's environment or arguments gets through: this very test would run otherwise.
    let report = Untar::open(&dir).expect("root").apply(&archive()[..]).expect("applied");
    assert_eq!(report.entries.files, 1);
    let program = Program::this().expect("initialised");
    Untar::open(&dir).expect("root").program(program).apply(&archive()[..]).expect("applied");
    fs::remove_dir_all(dir).expect("removed");
}

fn from_many_threads_at_once() {
    let dirs: Vec<PathBuf> = (0..16).map(|_| scratch()).collect();
    std::thread::scope(|scope| {
        for dir in &dirs {
            scope.spawn(move || {
                for _ in 0..3 {
                    Untar::open(dir).expect("root").apply(&archive()[..]).expect("applied");
                }
            });
        }
    });
    for dir in dirs {
        assert!(dir.join("f").exists());
        fs::remove_dir_all(dir).expect("removed");
    }
}

fn another_copy_by_path() {
    let dir = scratch();
    let program = Program::at(std::env::current_exe().expect("this program"));
    Untar::open(&dir).expect("root").program(program).apply(&archive()[..]).expect("applied");
    fs::remove_dir_all(dir).expect("removed");
}

fn the_file_may_be_gone() {
    // As after an upgrade: `/proc/self/exe` is the inode, not the name.
    let dir = scratch();
    let copy = dir.join("copy");
    fs::copy(std::env::current_exe().expect("this program"), &copy).expect("copy");
    let output = Command::new(&copy).arg("remove-yourself").arg(&dir).output().expect("copy");
    assert!(output.status.success(), "{output:?}");
    assert!(dir.join("f").exists() && !copy.exists());
    fs::remove_dir_all(dir).expect("removed");
}

fn remove_yourself(dir: &str) {
    fs::remove_file(std::env::current_exe().expect("this program")).expect("removed");
    Untar::open(dir).expect("root").apply(&archive()[..]).expect("applied");
}

/// Started by hand as a helper, with this as standard output.
fn by_hand(stdout: Stdio) -> Output {
    let exe = std::env::current_exe().expect("this program");
    Command::new(exe).arg0(ARGV0).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).output().expect("started")
}

fn a_helper_by_hand_says_what_it_is() {
    let output = by_hand(Stdio::piped());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("started by the library"), "{output:?}");
    // With a socket whose other end is closed: no request comes.
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    drop(ours);
    assert_eq!(by_hand(Stdio::from(std::os::fd::OwnedFd::from(theirs))).status.code(), Some(1));
}

fn a_set_uid_program_is_never_a_helper() {
    let name = "a_set_uid_program_is_never_a_helper";
    let all = std::env::var_os("UNTAR_REQUIRE_ALL").is_some_and(|v| v == "1");
    let root = rustix::process::geteuid().is_root();
    let dir = scratch();
    let copy = dir.join("set-uid");
    fs::copy(std::env::current_exe().expect("this program"), &copy).expect("copy");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o4755)).expect("mode");
    let forged = format!("exec -a {ARGV0} {} <&0", copy.display());
    let run = |stdout: Stdio| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-c", &forged]);
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).output()
    };
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    match run(Stdio::from(std::os::fd::OwnedFd::from(theirs))) {
        Ok(output) if root && !nosuid() => {
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains("raised privileges"), "{output:?}");
        }
        _ => {
            assert!(!all, "{name} cannot run");
            println!("SKIPPED {name}: not root, no setpriv, or set-uid programs are not in force");
        }
    }
    drop(ours);
    fs::remove_dir_all(dir).expect("removed");
}

/// Is the temporary directory mounted without set-uid, or are we in a namespace where it means nothing?
fn nosuid() -> bool {
    let flags = rustix::fs::statvfs(std::env::temp_dir()).map(|s| s.f_flag);
    !in_the_first_namespace() || flags.is_ok_and(|f| f.contains(rustix::fs::StatVfsMountFlags::NOSUID))
}

/// In a mount namespace without `/proc`, started by this name, with this directory to unpack in.
fn without_proc(job: &str, start: &str, dir: &Path) -> Output {
    let exe = std::env::current_exe().expect("this program");
    let script = format!("umount -l /proc && cd \"$(dirname \"$0\")\" && exec {start} {job} \"$1\"");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]).arg(exe).arg(dir);
    command.output().expect("unshare")
}

/// `AT_EXECFN` is what it was started by.
fn without_proc_it_is_started_by_its_name() {
    if !can_do_without_proc() {
        return;
    }
    let dir = scratch();
    let output = without_proc("unpack", "\"$0\"", &dir);
    assert!(output.status.success() && dir.join("f").exists(), "{output:?}");
    fs::remove_dir_all(dir).expect("removed");
}

/// A relative name would be looked for wherever the process is by then.
fn without_proc_and_by_a_relative_name_it_says_so() {
    if !can_do_without_proc() {
        return;
    }
    let dir = scratch();
    let output = without_proc("be-refused", "\"./$(basename \"$0\")\"", &dir);
    assert!(output.status.success() && !dir.join("f").exists(), "{output:?}");
    fs::remove_dir_all(dir).expect("removed");
}

fn can_do_without_proc() -> bool {
    let can = rustix::process::geteuid().is_root() && in_the_first_namespace();
    if !can {
        let all = std::env::var_os("UNTAR_REQUIRE_ALL").is_some_and(|v| v == "1");
        assert!(!all, "without_proc cannot run");
        println!("SKIPPED without_proc: not root, so /proc cannot be unmounted");
    }
    can
}

fn unpack(dir: &str) {
    Untar::open(dir).expect("root").apply(&archive()[..]).expect("applied");
}

fn be_refused(dir: &str) {
    let error = Untar::open(dir).and_then(|untar| untar.apply(&archive()[..])).expect_err("it cannot start itself");
    assert_eq!(error.kind(), ErrorKind::Helper);
    assert!(error.to_string().contains("/proc is not mounted"), "{error}");
}

fn in_the_first_namespace() -> bool {
    fs::read_to_string("/proc/self/uid_map").unwrap_or_default().contains("4294967295")
}

fn a_wrong_root_is_an_error_here_too() {
    let error = Untar::open("/nowhere").expect_err("missing");
    assert_eq!(error.kind(), ErrorKind::Root);
}

type Test = (&'static str, fn());

const TESTS: [Test; 10] = [
    ("this_is_the_helper", this_is_the_helper),
    ("from_many_threads_at_once", from_many_threads_at_once),
    ("another_copy_by_path", another_copy_by_path),
    ("the_file_may_be_gone", the_file_may_be_gone),
    ("a_program_that_has_threads_before_init_is_told_so", a_program_that_has_threads_before_init_is_told_so),
    ("a_helper_by_hand_says_what_it_is", a_helper_by_hand_says_what_it_is),
    ("a_set_uid_program_is_never_a_helper", a_set_uid_program_is_never_a_helper),
    ("without_proc_it_is_started_by_its_name", without_proc_it_is_started_by_its_name),
    ("without_proc_and_by_a_relative_name_it_says_so", without_proc_and_by_a_relative_name_it_says_so),
    ("a_wrong_root_is_an_error_here_too", a_wrong_root_is_an_error_here_too),
];

/// Under this name the program is one whose runtime starts its threads before `init`.
const LATE: &str = "late";

fn a_program_that_has_threads_before_init_is_told_so() {
    let dir = scratch();
    let late = dir.join(LATE);
    // Copied by another process, since what another thread starts just then would hold it open for writing, ETXTBSY.
    let copied = Command::new("cp").arg(std::env::current_exe().expect("this program")).arg(&late).status();
    assert!(copied.expect("cp").success());
    let error = Untar::open(&dir).expect("root").program(Program::at(&late)).apply(&archive()[..]).expect_err("late");
    assert_eq!(error.kind(), ErrorKind::Helper, "{error}");
    assert!(error.to_string().contains("helper::init() must come first in main"), "{error}");
    fs::remove_dir_all(dir).expect("removed");
}

fn main() {
    if std::env::current_exe().is_ok_and(|program| program.ends_with(LATE)) {
        std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(60)));
    }
    untar_in_root::helper::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["remove-yourself", dir] => return remove_yourself(dir),
        ["unpack", dir] => return unpack(dir),
        ["be-refused", dir] => return be_refused(dir),
        _ => {}
    }
    if args.iter().any(|arg| arg == "--list") {
        return;
    }
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    for (name, test) in TESTS {
        if filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())) {
            test();
            println!("test {name} ... ok");
        }
    }
}
