//! Interrupted system calls: a storm of signals in the caller and in the helper, and `EINTR` put in by strace,
//! change nothing.

use std::fs;
use std::io::{self, Read, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::Signal;
use rustix::process::{Pid, kill_process};
use untar_in_root::{Program, Report, Untar};

use crate::support::child::Job;
use crate::support::privilege::{need_root, need_tool};
use crate::support::process::helpers_of;
use crate::support::run::{line, program_path};
use crate::support::scratch::Scratch;
use crate::support::tarball::{Tarball, gz};
use crate::support::tree::Tree;

/// More than a pipe holds, in small files and a large one.
fn archive() -> Vec<u8> {
    let tar = Tarball::new().dir("d").file("d/large", vec![7; 3 << 20]).symlink("s", "d");
    (0..1500).fold(tar, |tar, i| tar.file(format!("d/{}/f{i}", i % 20), format!("{i}"))).build()
}

/// What must not change: what is there, and what is told.
fn outcome(dest: &Path, report: &Report) -> String {
    let counted = (report.entries, report.bytes_in, report.bytes_tar, report.digest, report.diff_id);
    format!("{counted:?} {:?} {}", report.events, line(&Tree::read(dest)))
}

/// A source that is a little late each time, so that both sides wait for each other.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        thread::sleep(Duration::from_micros(300));
        let most = buffer.len().min(40_000);
        self.0.read(&mut buffer[..most])
    }
}

type Way = fn(Untar, &[u8]) -> Report;

/// The ways to give an archive, each with a wait of its own.
const WAYS: &[(&str, Way)] = &[
    ("a reader", |untar, bytes| untar.compute_digest().apply(Slow(bytes)).expect("applied")),
    ("a session", |untar, bytes| {
        let mut session = untar.spawn().expect("helper");
        bytes.chunks(100_000).for_each(|piece| {
            session.write_all(piece).expect("written");
            thread::sleep(Duration::from_millis(1));
        });
        session.finish().expect("applied")
    }),
    ("a pipe that the library pumps", |untar, bytes| untar.compute_digest().apply_fd(piped(bytes)).expect("applied")),
    ("a pipe that the helper reads", |untar, bytes| untar.apply_fd(piped(bytes)).expect("applied")),
];

fn piped(bytes: &[u8]) -> OwnedFd {
    let (read, mut write) = io::pipe().expect("pipe");
    let bytes = bytes.to_vec();
    thread::spawn(move || io::copy(&mut Slow(&bytes), &mut write));
    read.into()
}

#[test]
fn a_storm_of_signals_changes_nothing() {
    // In a process of its own, whose handlers are its own.
    let scratch = Scratch::new();
    let archive = scratch.file("archive.tar.gz", gz(&archive()));
    let said = Job::new(&scratch.dir("dest"), &archive, "signals").run(&scratch);
    println!("storm: {}", said.get("storm"));
    said.begins("storm", "the same");
}

/// What the child of the test above does.
pub fn child(dest: &Path, archive: &Path, program: &Program) -> String {
    let bytes = fs::read(archive).expect("archive");
    let caught = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&caught);
    // A handler that does something: what is ignored interrupts nothing.
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&flag)).expect("a handler");
    let mut stopped = 0;
    for (name, way) in WAYS {
        let run = |place: &str| {
            let dest = dest.join(format!("{name} {place}"));
            fs::create_dir_all(&dest).expect("directory");
            let report = way(Untar::open(&dest).expect("root").program(program.clone()), &bytes);
            outcome(&dest, &report)
        };
        let calm = run("calm");
        let (stormy, stops) = in_a_storm(&flag, &counter, || run("stormy"));
        if calm != stormy {
            return format!("storm: {name}: {calm:.300} and {stormy:.300}");
        }
        stopped += stops;
    }
    let caught = caught.load(Ordering::Relaxed);
    assert!(caught > 200 && stopped > 20, "{caught} signals were caught, the helper was stopped {stopped} times");
    format!("storm: the same in {} ways; {caught} signals caught, {stopped} stops of the helper", WAYS.len())
}

/// While this runs, its thread is signalled all the time, and its helper is stopped, continued and told of windows
/// that have changed.
fn in_a_storm(flag: &AtomicBool, caught: &AtomicUsize, run: impl FnOnce() -> String) -> (String, usize) {
    let (thread, over) = (pthread_self(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                pthread_kill(thread, Signal::SIGUSR1).expect("the thread is there");
                thread::sleep(Duration::from_micros(100));
                caught.fetch_add(usize::from(flag.swap(false, Ordering::Relaxed)), Ordering::Relaxed);
            }
        });
        let stops = scope.spawn(|| {
            let mut stops = 0;
            while !over.load(Ordering::Relaxed) {
                for pid in helpers_of(std::process::id()) {
                    stops += usize::from(shake(pid));
                }
                thread::sleep(Duration::from_micros(500));
            }
            stops
        });
        let outcome = run();
        over.store(true, Ordering::Relaxed);
        (outcome, stops.join().expect("thread"))
    })
}

/// Signals that end nobody; whether it was there to be stopped.
fn shake(pid: u32) -> bool {
    use rustix::process::Signal;
    let pid = Pid::from_raw(pid.cast_signed()).expect("pid");
    let send = |signal| kill_process(pid, signal).is_ok();
    let stopped = send(Signal::STOP);
    thread::sleep(Duration::from_micros(200));
    // Whatever else: it goes on.
    let continued = send(Signal::CONT);
    send(Signal::WINCH);
    send(Signal::URG);
    stopped && continued
}

/// Each of these calls fails with `EINTR`, every third time, in both processes; but not the loader's, which has no use
/// for that.
#[test]
fn calls_that_are_interrupted_are_made_again() {
    if !need_root() || !need_tool("strace") {
        return;
    }
    let scratch = Scratch::new();
    let archive = archive();
    let run = |name: &str, calls: Option<&str>| {
        let dest = scratch.dir(name);
        let first = if name == "read" { 20 } else { 1 };
        let inject = calls.map(|calls| format!("inject={calls}:error=EINTR:when={first}+3"));
        let mut command = match &inject {
            Some(inject) => {
                let mut command = Command::new("strace");
                command.args(["-f", "-qq", "-o"]).arg(scratch.join(format!("{name}.log")));
                command.args(["-e", inject]).arg(program_path());
                // strace puts another call in place, which the filter would see.
                command.arg("--seccomp=off");
                command
            }
            None => Command::new(program_path()),
        };
        let output = command.arg("--json").arg(&dest).stdin(piped(&archive)).output().expect("the program");
        let log = fs::read_to_string(scratch.join(format!("{name}.log"))).unwrap_or_default();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{name}: {:?} {said}", output.status);
        (line(&Tree::read(&dest)), log.matches("EINTR (Interrupted system call) (INJECTED)").count())
    };
    let (calm, _) = run("calm", None);
    for calls in ["read", "write", "poll,ppoll", "recvfrom", "sendto"] {
        let (tree, interrupted) = run(calls, Some(calls));
        println!("{calls}: interrupted {interrupted} times");
        assert!(tree == calm, "{calls}: {tree:.300}");
        assert!(interrupted > 0, "{calls}: none was interrupted");
    }
}
