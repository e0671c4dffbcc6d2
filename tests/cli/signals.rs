//! SIGINT and SIGTERM cancel, clean up, and end the program as they should; nothing is left behind.

use super::exits::helper_of;
use super::{Dest, PROGRAM, can_run, start};
use crate::support::privilege::has_capability;
use crate::support::process::{PATIENCE, is_gone, wait_until};
use crate::support::scratch::mounts_below;
use crate::support::tarball::Tarball;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const CAP_SYS_RESOURCE: u32 = 24;

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).expect("pid"), signal).expect("kill");
}

/// The program, as a terminal starts it: who started the tests may ignore signals (`nohup`, a shell's background), and
/// what is ignored stays so in all that he starts.
pub(super) fn program() -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=INT,TERM,HUP", PROGRAM]);
    command
}

/// How it ended.
#[track_caller]
fn ended(mut child: Child) -> (Option<i32>, String) {
    let began = Instant::now();
    let stdin = child.stdin.take();
    let output = child.wait_with_output().expect("the program");
    drop(stdin);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    (output.status.signal(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Its remains do not count: process 1 takes them away when it comes to it.
#[track_caller]
fn assert_gone(pid: u32) {
    wait_until("the end of the helper", || is_gone(pid));
}

/// Is this signal in this set of a process?
fn has(pid: u32, set: &str, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let mask = status.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(":\t")).expect(set);
    u64::from_str_radix(mask, 16).expect(set) >> (signal.as_raw() - 1) & 1 == 1
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
            let mut child = start(program().args(options).arg(&dest.path));
            child.stdin.as_mut().expect("stdin").write_all(&half).expect("write");
            let helper = helper_of(child.id());
            send(child.id(), signal);
            let (by, err) = ended(child);
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
    assert_eq!(ended(child), (Some(Signal::TERM.as_raw()), String::new()));
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
    assert_eq!(ended(child).0, Some(Signal::TERM.as_raw()));
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
    // Its standard output is a full pipe, which is not read here.
    let output = child.stdout.take().expect("stdout");
    wait_until("a full pipe", || rustix::io::ioctl_fionread(&output).expect("FIONREAD") > 60_000);
    send(child.id(), Signal::TERM);
    wait_until("the end of the program", || is_gone(child.id()));
    assert_eq!(child.wait().expect("status").signal(), Some(Signal::TERM.as_raw()));
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
    command.args(["-c", "trap '' INT; exec env --default-signal=TERM \"$0\" \"$@\"", PROGRAM]).arg(&dest.path);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("sh");
    let helper = helper_of(child.id());
    let status = std::fs::read_to_string(format!("/proc/{helper}/status")).expect("status");
    assert!(status.lines().any(|line| line == "SigBlk:\t0000000000000000"), "{status}");
    assert!(has(child.id(), "SigIgn", Signal::INT) && !has(child.id(), "SigIgn", Signal::TERM));
    // It would have ended by the first.
    send(child.id(), Signal::INT);
    send(child.id(), Signal::TERM);
    assert_eq!(ended(child).0, Some(Signal::TERM.as_raw()));
    assert_gone(helper);
}

#[test]
fn what_the_kernel_is_to_spare_is_the_caller_and_not_its_helper() {
    if !can_run() {
        return;
    }
    let score = |pid| std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("a score");
    let mut cases = vec![("300", "300\n")];
    // The unit test of `helper::jail::limits` is all there is of it elsewhere.
    match has_capability(CAP_SYS_RESOURCE) {
        true => cases.push(("-500", "0\n")),
        false => println!("NOT TRIED: a score below 0, without CAP_SYS_RESOURCE"),
    }
    for (given, helpers) in cases {
        let dest = Dest::new();
        let mut command = Command::new("choom");
        command.args(["-n", given, "--", "env", "--default-signal=INT,TERM,HUP", PROGRAM]).arg(&dest.path);
        let child = start(&mut command);
        let helper = helper_of(child.id());
        assert_eq!((score(child.id()).trim(), &*score(helper)), (given, helpers));
        send(child.id(), Signal::TERM);
        assert_eq!(ended(child).0, Some(Signal::TERM.as_raw()));
        assert_gone(helper);
    }
}
