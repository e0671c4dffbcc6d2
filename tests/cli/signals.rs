//! SIGINT and SIGTERM cancel, clean up, and end the program as they should; nothing is left behind.

use super::exits::helper_of;
use super::{Dest, PROGRAM, can_run, program, start};
use crate::support::scratch::mounts_below;
use crate::support::tarball::Tarball;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).expect("pid"), signal).expect("kill");
}

/// How it ended, within so long.
#[track_caller]
fn ended(mut child: Child, within: Duration) -> (Option<i32>, String) {
    let began = Instant::now();
    let stdin = child.stdin.take();
    let output = child.wait_with_output().expect("the program");
    drop(stdin);
    assert!(began.elapsed() < within, "{:?}", began.elapsed());
    (output.status.signal(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[track_caller]
fn assert_gone(pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(2);
    while Path::new(&format!("/proc/{pid}")).exists() {
        assert!(Instant::now() < deadline, "process {pid} is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn signals_end_a_run_in_the_middle() {
    if !can_run() {
        return;
    }
    let half = Tarball::new().file("a", "x").file("b", vec![7; 1 << 20]).cut_at(600_000).build();
    let none = format!("sha256:{}", "0".repeat(64));
    // Handed over to the helper, and pumped by the parent.
    for options in [&[][..], &["--digest", &none]] {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let dest = Dest::new();
            // What a shell started in the background ignores SIGINT, and so would the program.
            let mut command = Command::new("env");
            command.args(["--default-signal=INT,TERM,HUP", PROGRAM]).args(options).arg(&dest.path);
            let mut child = start(&mut command);
            child.stdin.as_mut().expect("stdin").write_all(&half).expect("write");
            let helper = helper_of(child.id());
            send(child.id(), signal);
            let (by, err) = ended(child, Duration::from_secs(1));
            assert_eq!((by, &*err), (Some(signal.as_raw()), ""), "{options:?}");
            assert_gone(helper);
            assert!(mounts_below(dest.scratch.path()).is_empty());
        }
    }
}

#[test]
fn a_signal_to_the_whole_group_is_no_death_of_the_helper() {
    if !can_run() {
        return;
    }
    let dest = Dest::new();
    let child = start(program().arg(&dest.path).process_group(0));
    let helper = helper_of(child.id());
    let group = Pid::from_raw(child.id() as i32).expect("pid");
    rustix::process::kill_process_group(group, Signal::TERM).expect("kill");
    assert_eq!(ended(child, Duration::from_secs(1)), (Some(Signal::TERM.as_raw()), String::new()));
    assert_gone(helper);
}

#[test]
fn signals_end_a_listing_and_its_directory() {
    if !can_run() {
        return;
    }
    let dest = Dest::new();
    let temporary = dest.scratch.dir("tmp");
    let child = start(program().env("TMPDIR", &temporary).arg("-t"));
    let helper = helper_of(child.id());
    assert_eq!(std::fs::read_dir(&temporary).expect("tmp").count(), 1);
    send(child.id(), Signal::TERM);
    assert_eq!(ended(child, Duration::from_secs(1)).0, Some(Signal::TERM.as_raw()));
    assert_gone(helper);
    assert_eq!(std::fs::read_dir(&temporary).expect("tmp").count(), 0);
}

#[test]
fn signals_end_a_program_whose_output_nobody_takes() {
    if !can_run() {
        return;
    }
    let archive = (0..20_000).fold(Tarball::new(), |t, n| t.file(format!("file-{n}"), "")).build();
    let dest = Dest::new();
    let temporary = dest.scratch.dir("tmp");
    let mut child = start(program().env("TMPDIR", &temporary).arg("-t"));
    let mut stdin = child.stdin.take().expect("stdin");
    let writer = std::thread::spawn(move || _ = stdin.write_all(&archive));
    let helper = helper_of(child.id());
    std::thread::sleep(Duration::from_millis(300));
    send(child.id(), Signal::TERM);
    let deadline = Instant::now() + Duration::from_secs(3);
    // Its standard output is a full pipe, which is not read here.
    let status = loop {
        match child.try_wait().expect("wait") {
            Some(status) => break status,
            None => assert!(Instant::now() < deadline, "it does not end"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
    assert_gone(helper);
    assert_eq!(std::fs::read_dir(&temporary).expect("tmp").count(), 0);
    writer.join().expect("writer");
}

#[test]
fn what_was_ignored_stays_ignored_and_the_helper_inherits_no_mask() {
    if !can_run() {
        return;
    }
    let dest = Dest::new();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' INT; exec \"$0\" \"$@\"", PROGRAM]).arg(&dest.path);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("sh");
    let helper = helper_of(child.id());
    let status = std::fs::read_to_string(format!("/proc/{helper}/status")).expect("status");
    assert!(status.lines().any(|line| line == "SigBlk:\t0000000000000000"), "{status}");
    send(child.id(), Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    assert!(Path::new(&format!("/proc/{helper}")).exists());
    send(child.id(), Signal::TERM);
    assert_eq!(ended(child, Duration::from_secs(1)).0, Some(Signal::TERM.as_raw()));
    assert_gone(helper);
}
