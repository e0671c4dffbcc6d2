//! Exit statuses, by a table.

use super::{Dest, PROGRAM, can_run, children_of, fixture, program, run, start};
use crate::support::privilege::{need_root, need_tool};
use crate::support::run::copy_program;
use crate::support::tarball::{Checksum, Tarball, gz};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn failures_of_the_archive_are_1() {
    if !can_run() {
        return;
    }
    let good = Tarball::new().file("a", "x");
    let cut = gz(&Tarball::new().file("a", vec![7; 100_000]).build());
    for (archive, words) in [
        (Tarball::new().file("a", "x").with(|e| _ = e.checksum(Checksum::OffBy(1))).build(), "checksum"),
        (good.cut_at(512).build(), "ends in the middle"),
        (cut[..cut.len() / 2].to_vec(), "cut short"),
        (b"this is no archive at all, but long enough to be one".repeat(20), "reading tar headers"),
        (Tarball::new().entry("a", b'Z', b"").build(), "type flag 'Z'"),
        (Tarball::new().file("a", "x").with(|e| _ = e.uid(-1)).build(), ""),
        (Tarball::new().hardlink("link", "target").build(), "\"target\" is not there"),
        (Tarball::new().file("../a\x1b[2J", "x").build(), "\"../a\\033[2J\""),
    ] {
        let ran = Dest::new().run(&[], &archive).ended(1, words);
        assert_eq!(ran.err.lines().filter(|line| !line.contains("stopped after")).count(), 1, "{}", ran.err);
        assert!(ran.err.starts_with("untar-in-root: ") && ran.out.is_empty(), "{}", ran.err);
    }
}

#[test]
fn what_was_done_before_a_failure_is_told() {
    if !can_run() {
        return;
    }
    let archive = Tarball::new().file("a", "x").file("b", "x").file("../c", "x").build();
    let dest = Dest::new();
    dest.run(&[], &archive).ended(1, "stopped after 2 entries");
    assert!(dest.join("b").exists());
}

#[test]
fn failures_of_the_root_and_of_the_helper_are_3() {
    if !can_run() {
        return;
    }
    let dest = Dest::new();
    let file = dest.scratch.file("file", "");
    run([&file], b"").ended(2, "comes first: untar-in-root . ");
    for (root, words) in [(dest.join("missing"), "ENOENT"), (file.clone(), "ENOTDIR")] {
        let ran = run([&root, &file], b"").ended(3, words);
        assert!(ran.err.contains("opening the root"), "{}", ran.err);
    }
    // The helper is killed while it waits for the archive.
    let mut child = start(program().arg(&dest.path));
    let stdin = child.stdin.take();
    kill_process(Pid::from_raw(helper_of(child.id()) as i32).expect("pid"), Signal::KILL).expect("kill");
    let output = child.wait_with_output().expect("the program");
    drop(stdin);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(3) && err.contains("killed by signal 9 (SIGKILL)"), "{err}");
}

#[test]
fn a_caller_without_rights_is_told_so() {
    if !need_root() || !need_tool("setpriv") {
        return;
    }
    let dest = Dest::new();
    // The build directory may be closed to others; a descriptor is not.
    let mut command = Command::new("setpriv");
    let copy = dest.scratch.join("program");
    copy_program(PROGRAM.as_ref(), &copy);
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy).args(["--userns", "never"]);
    super::feed(command.arg(&dest.path), b"").ended(3, "CAP_SYS_CHROOT");
}

#[test]
fn failures_of_input_and_output_are_5() {
    if !can_run() {
        return;
    }
    let dest = Dest::new();
    let missing = dest.scratch.join("missing.tar");
    run([&dest.path, &missing], b"").ended(5, "opening the archive");
    run([&dest.path, &dest.scratch.dir("dir")], b"").ended(5, "the archive is a directory");
    if !need_root() {
        return;
    }
    let small = dest.scratch.tmpfs("small", 64 << 10).expect("tmpfs");
    run([&small], &Tarball::new().file("a", vec![7; 1 << 20]).build()).ended(5, "ENOSPC (No space left on device)");
    rustix::mount::mount_remount(&small, rustix::mount::MountFlags::RDONLY, "").expect("read-only");
    run([&small], &Tarball::new().file("b", "x").build()).ended(5, "EROFS");
}

#[test]
fn a_listing_that_nobody_reads_ends_quietly() {
    if !can_run() {
        return;
    }
    let archive = (0..30_000).fold(Tarball::new(), |t, n| t.file(format!("file-{n}"), "")).build();
    let mut child = start(program().args(["--list", "-"]));
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("stdin");
    let writer = std::thread::spawn(move || _ = stdin.write_all(&archive));
    let output = child.wait_with_output().expect("the program");
    writer.join().expect("writer");
    assert_eq!((output.status.code(), &*output.stderr), (Some(141), &b""[..]));
    // A full one is an error.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let mut command = program();
    let output = command.arg("--list").arg(fixture("hello.tar.gz")).stdout(full).output().expect("the program");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(5) && err.contains("standard output"), "{err}");
}

#[test]
fn closed_streams_never_panic() {
    if !can_run() {
        return;
    }
    let dest = Dest::new();
    let hello: OsString = fixture("hello.tar.gz").into();
    for (redirection, options, code) in [
        ("2>&-", &["-v"][..], 0),
        // The standard library opens what is closed on /dev/null.
        (">&-", &["--json"], 0),
        (">/dev/full", &["--json"], 5),
        ("2>/dev/full", &["-v"], 0),
        (">&- 2>&-", &["--json", "-v"], 0),
        ("<&-", &[], 0),
    ] {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("exec \"$0\" \"$@\" {redirection}")).arg(PROGRAM).args(options);
        command.arg(&dest.path).arg(&hello).stdin(Stdio::null());
        let output = command.output().expect("sh");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && !err.contains("panic"), "{redirection}: {err}");
    }
}

#[test]
fn the_helper_is_not_for_hands() {
    let output = Command::new(PROGRAM).arg0("untar-in-root:helper").stdin(Stdio::null()).output().expect("the program");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not by hand"));
}

/// Waits for the helper.
pub(super) fn helper_of(pid: u32) -> u32 {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let children = children_of(pid);
        // It has become the helper, and waits.
        let ready = |pid: &&u32| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let asleep = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default().contains(") S ");
            command.starts_with(b"untar-in-root:helper") && asleep
        };
        if let Some(helper) = children.iter().find(ready) {
            return *helper;
        }
        assert!(Instant::now() < deadline, "no helper");
        std::thread::sleep(Duration::from_millis(5));
    }
}
