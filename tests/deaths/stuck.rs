//! Helpers that would not notice the end of their parent by themselves: whatever they are stuck in, they end with it.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use rustix::mount::{MountFlags, mount};
use rustix::process::Signal;

use super::outlived::{MODES, Place, Source, archive, can_run, command};
use crate::support::doomed::{Doomed, ENDS, Pace, Tally, feed, random, send, sleep_up_to, word};
use crate::support::privilege::{need_root, need_tools, skip};
use crate::support::process::{is_gone, wait_until, wait_until_at_rest};
use crate::support::run::{copy_program, program_path};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

#[test]
fn no_stopped_helper_outlives_its_parent() {
    if !can_run() {
        return;
    }
    let (mut place, mut tally) = (Place::new(), Tally::default());
    for mode in MODES {
        let (mut doomed, _feeder) = place.start(mode, Source::Endless);
        let helper = doomed.helper();
        // Before it has begun it cannot be tied to anything.
        wait_until("it is confined", || said_of(helper, "status").contains("NoNewPrivs:\t1"));
        sleep_up_to(40);
        send(helper, Signal::STOP);
        tally.kill(doomed, ENDS[random(2) as usize]);
    }
    tally.assert_none_left("stopped helpers");
}

/// Who it is in its user namespace the kernel takes for somebody else than who was tied to the parent at first.
#[test]
fn no_stopped_helper_that_became_another_user_outlives_its_parent() {
    if !need_root() || !need_tools(&["newuidmap", "newgidmap", "setpriv", "unshare"]) {
        return;
    }
    if !Path::new("/etc/subuid").exists() || !Path::new("/etc/subgid").exists() {
        _ = skip("no /etc/subuid");
        return;
    }
    let (scratch, mut tally) = (Scratch::new(), Tally::default());
    let (program, dest) = (scratch.join("untar-in-root"), scratch.dir("dest"));
    copy_program(&program_path(), &program);
    chown(&dest, Some(100_000), Some(100_000)).expect("owner");
    let ranges = scratch.file("ranges", "nobody:100000:65536\n");
    let inner = "mount --bind $0 /etc/subuid && mount --bind $0 /etc/subgid && exec \"$@\"";
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    for end in ENDS {
        let (stdin, _feeder) = feed(archive(), 20_000, Pace::Steady);
        let words = [&["setsid", "unshare", "--mount", "sh", "-c", inner, word(&ranges)][..], &nobody].concat();
        let words = [&words[..], &[word(&program), "--userns", "0:100000:1000", word(&dest), "-"]].concat();
        let mut doomed = Doomed::of("another user", command(&words).stdin(stdin));
        let helper = doomed.helper();
        wait_until("it is confined", || said_of(helper, "status").contains("NoNewPrivs:\t1"));
        send(helper, Signal::STOP);
        tally.kill(doomed, end);
    }
    tally.assert_none_left("helpers that became another user");
}

/// What `/proc` says of a process.
fn said_of(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

/// One thread is held, so that sooner or later all others wait for it, and nobody looks for the parent.
#[test]
fn no_helper_whose_threads_wait_for_each_other_outlives_its_parent() {
    if !need_root() {
        return;
    }
    let (mut place, mut tally) = (Place::new(), Tally::default());
    for end in ENDS {
        for which in 0..4 {
            let (mut doomed, _feeder) = place.start(("threads", &["--writers", "4"]), Source::Endless);
            let thread = hold_one(doomed.helper(), which);
            wait_until_at_rest(doomed.helper());
            tally.kill(doomed, end);
            _ = waitpid(thread, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG));
        }
    }
    tally.assert_none_left("threads that wait for each other");
}

/// Holds the first, the second, … thread of a helper that has several, and again the first.
fn hold_one(helper: u32, which: usize) -> Pid {
    let tasks = || {
        let tasks = fs::read_dir(format!("/proc/{helper}/task")).into_iter().flatten().flatten();
        let mut tasks: Vec<i32> = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect();
        tasks.sort_unstable();
        tasks
    };
    wait_until("it has threads", || tasks().len() > 2);
    // Writers are started as they are needed: where the file system is quick there may be none yet.
    let tasks = tasks();
    let thread = Pid::from_raw(tasks[which % tasks.len()]);
    ptrace::seize(thread, ptrace::Options::empty()).expect("seize");
    ptrace::interrupt(thread).expect("interrupt");
    waitpid(thread, Some(WaitPidFlag::__WALL)).expect("stop");
    thread
}

/// A file system that never answers.
#[test]
fn no_helper_that_waits_for_a_file_system_outlives_its_parent() {
    if !need_root() {
        return;
    }
    let Ok(nobody) = OpenOptions::new().read(true).write(true).open("/dev/fuse") else {
        _ = skip("no /dev/fuse");
        return;
    };
    let (scratch, mut tally) = (Scratch::new(), Tally::default());
    let dead = scratch.dir("dest/dead");
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", nobody.as_raw_fd());
    let options = std::ffi::CString::new(options).expect("no NUL");
    mount("dead", &dead, "fuse", MountFlags::empty(), Some(options.as_c_str())).expect("FUSE");
    let archive = scratch.file("archive.tar", Tarball::new().file("a", "1").file("dead/f", "2").build());
    for end in ENDS {
        let (program, dest) = (program_path(), scratch.join("dest"));
        let words = ["setsid", word(&program), "--cross-mounts", word(&dest), word(&archive)];
        let mut doomed = Doomed::of("a dead file system", &mut command(&words));
        wait_until_at_rest(doomed.helper());
        tally.kill(doomed, end);
    }
    drop(nobody);
    tally.assert_none_left("a file system that does not answer");
}

/// A listing that nobody reads, and a file system that is full.
#[test]
fn no_helper_whose_sink_takes_nothing_outlives_its_parent() {
    if !need_root() {
        return;
    }
    let (scratch, mut tally) = (Scratch::new(), Tally::default());
    let small = scratch.tmpfs("small", 1 << 20).expect("tmpfs");
    let names = (0..20_000).fold(Tarball::new(), |tar, i| tar.file(format!("d/{i}"), ""));
    let (names, large) = (scratch.file("names.tar", names.build()), scratch.file("large.tar", archive()));
    for end in [ENDS; 2].concat() {
        let program = program_path();
        let (_unread, full) = io::pipe().expect("a pipe");
        let mut listing = command(&["setsid", word(&program), "-t", word(&names)]);
        let mut doomed = Doomed::of("a listing that nobody reads", listing.stdout(full));
        doomed.helper();
        sleep_up_to(200);
        tally.kill(doomed, end);
        let words = ["setsid", word(&program), word(&small), word(&large)];
        let doomed = Doomed::of("a full file system", &mut command(&words));
        sleep_up_to(60);
        tally.kill(doomed, end);
    }
    tally.assert_none_left("sinks");
}

/// A helper as the library starts it, whose ends of the sockets are ours.
fn helper_by_hand(control: OwnedFd, standard_error: impl Into<Stdio>) -> Child {
    let mut command = Command::new(program_path());
    command.arg0("untar-in-root:helper").env_clear().stdin(Stdio::null());
    command.stdout(Stdio::from(control)).stderr(standard_error).spawn().expect("a helper")
}

fn sockets() -> (std::os::unix::net::UnixStream, OwnedFd) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("sockets");
    (ours, theirs.into())
}

#[test]
fn no_helper_begins_whose_parent_is_gone_before() {
    let (_control, their_control) = sockets();
    let (ours, their_standard_error) = sockets();
    drop(ours);
    // Nobody has hung up on descriptor 1.
    let mut helper = helper_by_hand(their_control, their_standard_error);
    wait_until("it ends", || is_gone(helper.id()));
    assert!(!helper.wait().expect("its end").success());
}

/// From a parent of another version standard error is a pipe, and the kernel would signal whenever that is read.
#[test]
fn a_helper_that_cannot_be_tied_to_its_parent_still_ends_with_it_at_the_next_look() {
    let (control, their_control) = sockets();
    let (mut read, write) = io::pipe().expect("a pipe");
    let said = write.try_clone().expect("a copy");
    let mut helper = helper_by_hand(their_control, write);
    // It waits for its request.
    wait_until("it sleeps", || said_of(helper.id(), "stat").contains(") S "));
    (&said).write_all(b"x").expect("room");
    read.read_exact(&mut [0]).expect("what was said");
    drop(read);
    thread::sleep(Duration::from_millis(20));
    assert!(!is_gone(helper.id()), "ended by what was read on standard error");
    drop(control);
    assert_eq!(helper.wait().expect("its end").code(), Some(1));
}
