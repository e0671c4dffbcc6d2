//! Deaths: of the helper at ten moments, of the parent at ten; nothing is left, and nobody waits.

mod outlived;
mod stuck;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use untar_in_root::{Error, ErrorKind, Report};

use crate::support::child::Job;
use crate::support::privilege::{has_capability, need_userns};
use crate::support::process::{PATIENCE, helper_of, is_gone, my_helper_now, my_helper_on, soon};
use crate::support::run::{literal, untar};
use crate::support::scratch::{Scratch, mounts_below};
use crate::support::tarball::{Tarball, gz};

/// Large enough to be killed in the middle: 3,000 files.
fn archive() -> Vec<u8> {
    let tar = Tarball::new().dir("d").file("big", vec![7; 1 << 20]);
    (0..3000).fold(tar, |tar, i| tar.file(format!("d/{}/f{i}", i % 50), "content")).build()
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a pid");
    _ = kill_process(pid, Signal::KILL);
}

/// Nothing is mounted below, and nothing is there but what the archive has.
#[track_caller]
fn nothing_stray(scratch: &Scratch, dest: &Path) {
    assert_eq!(mounts_below(scratch.path()), Vec::<std::path::PathBuf>::new());
    for entry in fs::read_dir(dest).expect("destination") {
        let name = entry.expect("entry").file_name();
        assert!(name == "d" || name == "big", "stray: {name:?}");
    }
}

#[track_caller]
fn died_by_signal_9(result: Result<Report, Error>) {
    use std::os::unix::process::ExitStatusExt;
    let error = result.expect_err("killed");
    assert_eq!(error.kind(), ErrorKind::Helper, "{error:?}");
    assert_eq!(error.status().and_then(|status| status.signal()), Some(9), "{error:?}");
    assert!(error.to_string().contains("signal 9 (SIGKILL)"), "{error}");
}

/// Kills the helper that works on this directory, once it is there and some time after; when it was dead.
fn killer(dest: &Path, after: Duration) -> mpsc::Receiver<Option<Instant>> {
    let (send, receive) = mpsc::channel();
    let dest = dest.to_path_buf();
    thread::spawn(move || {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut pid = None;
        while pid.is_none() && Instant::now() < deadline {
            pid = my_helper_now(&dest);
        }
        thread::sleep(after);
        if let Some(pid) = pid {
            kill(pid);
        }
        _ = send.send(pid.map(|_| Instant::now()));
    });
    receive
}

#[test]
fn the_helper_is_killed_at_ten_moments_while_the_source_is_stalled() {
    let bytes = archive();
    for moment in 0..10 {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        let (read, mut write) = std::io::pipe().expect("pipe");
        let part = (bytes.len() * moment / 10).min(60_000);
        write.write_all(&bytes[..part]).expect("room in the pipe");
        let killed = killer(&dest, Duration::from_millis(moment as u64 * 3));
        let result = untar(&dest, literal).apply_fd(OwnedFd::from(read));
        let noticed = Instant::now();
        let killed = killed.recv().expect("killer").expect("a helper to kill");
        assert!(noticed - killed < soon(), "noticed after {:?}", noticed - killed);
        died_by_signal_9(result);
        nothing_stray(&scratch, &dest);
        drop(write);
    }
}

#[test]
fn the_helper_is_killed_at_ten_moments_of_a_session() {
    let bytes = archive();
    for moment in 0..10 {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        let mut session = untar(&dest, literal).spawn().expect("helper");
        let part = bytes.len() * moment / 10;
        session.write_all(&bytes[..part]).expect("written");
        let pid = my_helper_on(&dest).expect("the helper");
        thread::sleep(Duration::from_millis(moment as u64));
        let start = Instant::now();
        kill(pid);
        // A write that comes after fails; `check` says so without one.
        while session.check().is_ok() {
            assert!(start.elapsed() < soon(), "not noticed");
            thread::sleep(Duration::from_millis(1));
        }
        let failed = session.write_all(&bytes[part..]).expect_err("nobody reads");
        assert_eq!(failed.kind(), std::io::ErrorKind::BrokenPipe);
        died_by_signal_9(session.finish());
        assert!(start.elapsed() < soon());
        nothing_stray(&scratch, &dest);
    }
}

#[test]
fn the_helper_is_killed_while_a_session_waits_for_the_outcome() {
    // Nothing was written, nothing is closed: `finish` waits for the helper's last word.
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    let (read, write) = std::io::pipe().expect("pipe");
    let killed = killer(&dest, Duration::from_millis(20));
    died_by_signal_9(untar(&dest, literal).compute_digest().apply_fd(OwnedFd::from(read)));
    assert!(killed.recv().expect("killer").expect("a helper").elapsed() < soon());
    drop(write);
}

/// A reader that kills the helper after so many reads.
struct Treacherous<'a> {
    bytes: &'a [u8],
    left: usize,
    dest: &'a Path,
}

impl std::io::Read for Treacherous<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => {
                if let Some(pid) = my_helper_on(self.dest) {
                    kill(pid);
                }
                self.left = usize::MAX;
            }
        }
        let n = self.bytes.len().min(buffer.len()).min(100_000);
        buffer[..n].copy_from_slice(&self.bytes[..n]);
        self.bytes = &self.bytes[n..];
        Ok(n)
    }
}

#[test]
fn the_helper_is_killed_at_ten_moments_of_apply() {
    let bytes = archive();
    for moment in 0..10 {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        let reader = Treacherous { bytes: &bytes, left: moment * 2, dest: &dest };
        died_by_signal_9(untar(&dest, literal).apply(reader));
        nothing_stray(&scratch, &dest);
    }
}

#[test]
fn a_dropped_or_cancelled_session_leaves_nothing() {
    let bytes = gz(&archive());
    for cancel in [false, true] {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        let mut session = untar(&dest, literal).spawn().expect("helper");
        session.write_all(&bytes[..bytes.len() / 2]).expect("written");
        let pid = my_helper_on(&dest).expect("the helper");
        let start = Instant::now();
        if cancel {
            let canceller = session.canceller();
            thread::spawn(move || canceller.cancel()).join().expect("cancelled");
            assert_eq!(session.finish().expect_err("cancelled").kind(), ErrorKind::Cancelled);
        } else {
            drop(session);
        }
        assert!(is_gone(pid) && start.elapsed() < soon());
        nothing_stray(&scratch, &dest);
    }
}

#[test]
fn cancelling_ends_a_run_whose_source_is_stalled() {
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    let session = untar(&dest, literal).spawn().expect("helper");
    let canceller = session.canceller();
    let parts = session.into_parts().expect("parts");
    let start = Instant::now();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        canceller.cancel();
    });
    // The pipe stays open: nobody has said that the archive is complete.
    assert_eq!(parts.pending.wait().expect_err("cancelled").kind(), ErrorKind::Cancelled);
    assert!(start.elapsed() < soon());
    drop(parts.pipe);
}

/// Kills a parent in the middle; its helper must be gone within a second.
fn the_parent_is_killed(options: &str, moments: u64) {
    if !has_capability(21) && !need_userns() {
        return;
    }
    let scratch = Scratch::new();
    let archive = scratch.file("archive.tar", archive());
    for moment in 0..moments {
        let dest = scratch.dir(format!("dest{moment}"));
        let mut command = Job::new(&dest, &archive, options).command(&scratch);
        let mut parent = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("parent");
        let mut helper = None;
        if moment == 0 {
            // Once it has given half and waits.
            let lines = BufReader::new(parent.stdout.take().expect("pipe")).lines();
            assert!(lines.map_while(Result::ok).any(|line| line.starts_with("half: ")));
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while helper.is_none() && Instant::now() < deadline {
            helper = helper_of(parent.id());
        }
        thread::sleep(Duration::from_millis(moment * 2));
        kill(parent.id());
        let start = Instant::now();
        parent.wait().expect("parent");
        let helper = helper.expect("the parent's helper");
        while !is_gone(helper) {
            assert!(start.elapsed() < soon(), "{options}, moment {moment}: the helper lives on");
            thread::sleep(Duration::from_millis(2));
        }
        nothing_stray(&scratch, &dest);
    }
}

#[test]
fn the_parent_is_killed_at_ten_moments_of_a_session() {
    the_parent_is_killed("stall", 10);
}

#[test]
fn the_parent_is_killed_at_ten_moments_with_a_descriptor() {
    the_parent_is_killed("stall-fd", 10);
}

#[test]
fn a_source_that_ends_with_the_parent_alive_is_an_error_not_a_wait() {
    let scratch = Scratch::new();
    let bytes = archive();
    let half = scratch.file("half.tar", &bytes[..bytes.len() / 2 - 700]);
    let start = Instant::now();
    let error = untar(&scratch.dir("dest"), literal).apply_fd(File::open(half).expect("file")).expect_err("truncated");
    assert_eq!(error.kind(), ErrorKind::Archive);
    assert!(start.elapsed() < PATIENCE);
}
