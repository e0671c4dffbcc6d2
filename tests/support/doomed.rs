//! Programs that are killed in the middle, and what they leave running.
//!
//! Each is started in a session of its own: whatever it starts has the session's number, also once it is an orphan.

use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, Signal, kill_process};

use super::process::{helper_of, soon};

/// How long a program may take to start its helper.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a parent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Killed,
    StoppedAndKilled,
}

pub const ENDS: [End; 2] = [End::Killed, End::StoppedAndKilled];

/// A program in its session.
pub struct Doomed {
    name: String,
    child: Child,
}

impl Doomed {
    /// Starts it; its first word is `setsid`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn of(name: impl Into<String>, command: &mut Command) -> Doomed {
        Doomed { name: name.into(), child: command.spawn().expect("setsid") }
    }

    /// What was said on standard output.
    pub fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Its helper, once it is there.
    ///
    /// # Panics
    /// When it ends without one.
    pub fn helper(&mut self) -> u32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(helper) = helper_of(self.child.id()) {
                return helper;
            }
            let ended = self.child.try_wait().expect("status");
            assert!(ended.is_none() && Instant::now() < deadline, "{}: no helper, {ended:?}", self.name);
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until there is a helper; what reads a file may be over before anybody looks.
    ///
    /// # Panics
    /// When neither comes.
    pub fn helper_or_end(&mut self) {
        let (pid, deadline) = (self.child.id(), Instant::now() + PATIENCE);
        while helper_of(pid).is_none() && !is_over(pid) {
            assert!(Instant::now() < deadline, "{}: no helper", self.name);
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What became of those who were killed.
#[derive(Default)]
pub struct Tally {
    kills: usize,
    /// How often there was a helper just before.
    with_helper: usize,
    left: Vec<String>,
    longest: (Duration, String),
}

impl Tally {
    /// Kills the parent; what is left after it is counted, and killed.
    ///
    /// # Panics
    /// When the parent cannot be killed.
    pub fn kill(&mut self, mut doomed: Doomed, end: End) {
        let session = doomed.child.id();
        if end == End::StoppedAndKilled {
            send(session, Signal::STOP);
        }
        self.kills += 1;
        self.with_helper += usize::from(members_of(session).len() > 1);
        let begun = Instant::now();
        send(session, Signal::KILL);
        doomed.child.wait().expect("its status");
        let mut left = members_of(session);
        while !left.is_empty() && begun.elapsed() < soon() {
            thread::sleep(Duration::from_millis(2));
            left = members_of(session);
        }
        if begun.elapsed() > self.longest.0 {
            self.longest = (begun.elapsed(), doomed.name.clone());
        }
        if !left.is_empty() {
            self.left.push(format!("{}, {end:?}: {}", doomed.name, left.len()));
            left.iter().for_each(|pid| send(*pid, Signal::KILL));
        }
    }

    /// Nothing was left, and there was something to be left.
    ///
    /// # Panics
    /// Else.
    #[track_caller]
    pub fn assert_none_left(self, what: &str) {
        let Tally { kills, with_helper, left, longest } = self;
        println!("{what}: {kills} kills, {with_helper} with a helper there; left: {}; longest {longest:?}", left.len());
        assert!(left.is_empty(), "{what}: helpers are left after {} of {kills} kills: {left:#?}", left.len());
        assert!(with_helper > 0, "{what}: no helper was there in {kills} kills");
    }
}

/// Sends a signal to a process of ours; it may be gone.
pub fn send(pid: u32, signal: Signal) {
    _ = kill_process(Pid::from_raw(pid.cast_signed()).expect("a pid"), signal);
}

/// Those of this session who are alive.
fn members_of(session: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| is_alive_in(*pid, session)).collect()
}

fn is_alive_in(pid: u32, session: u32) -> bool {
    let (state, of) = state_and_session(pid);
    !matches!(state.as_str(), "" | "Z" | "X") && of.parse() == Ok(session)
}

/// Of a child that nobody has waited for.
fn is_over(pid: u32) -> bool {
    matches!(state_and_session(pid).0.as_str(), "" | "Z" | "X")
}

/// Empty of what is not there: proc_pid_stat(5).
fn state_and_session(pid: u32) -> (String, String) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let mut next = |skipped| fields.nth(skipped).unwrap_or_default().to_owned();
    (next(0), next(2))
}

/// A random number below this one.
#[allow(clippy::disallowed_types, reason = "the tests have /dev")]
pub fn random(below: u64) -> u64 {
    std::hash::RandomState::new().build_hasher().finish() % below
}

pub fn sleep_up_to(milliseconds: u64) {
    thread::sleep(Duration::from_micros(random(milliseconds * 1000)));
}

/// The other end of a pipe, which says nothing of the archive's end while this value is there.
pub struct Feeder(#[allow(dead_code, reason = "dropped at the end")] mpsc::Sender<()>);

/// How an archive is fed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as it is read, but for a moment after each piece.
    Steady,
    /// Each piece is read before the next one comes.
    Drained,
}

/// Gives the archive in pieces of this size.
pub fn feed(bytes: &'static [u8], piece: usize, pace: Pace) -> (Stdio, Feeder) {
    let (read, write) = std::io::pipe().expect("a pipe");
    let looked_at = (pace == Pace::Drained).then(|| read.try_clone().expect("a copy"));
    let (over, wait) = mpsc::channel();
    thread::spawn(move || {
        let mut given = bytes.chunks(piece).map(|piece| give(&write, piece, looked_at.as_ref(), &wait));
        // Whoever reads may be gone, and so may be the test.
        if given.all(|given| given) {
            _ = wait.recv();
        }
    });
    (read.into(), Feeder(over))
}

fn give(mut write: &PipeWriter, piece: &[u8], looked_at: Option<&PipeReader>, over: &mpsc::Receiver<()>) -> bool {
    let given = write.write_all(piece).is_ok();
    loop {
        thread::sleep(Duration::from_micros(100));
        if over.try_recv() == Err(TryRecvError::Disconnected) {
            return false;
        }
        let full =
            |read: &PipeReader| poll(&mut [PollFd::new(read.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) != Ok(0);
        if !looked_at.is_some_and(full) {
            return given;
        }
    }
}

/// A path as a word of a command line.
///
/// # Panics
/// When it is no text.
pub fn word(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
