//! Files that the command line names: a FIFO at whose other end nobody is, or from which nothing comes.

use super::signals::program;
use super::{Ran, can_run, feed, start};
use crate::support::privilege::need_tool;
use crate::support::process::{soon, wait_until, wait_until_at_rest};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;
use rustix::fs::{CWD, FileType, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Instant;

/// A root, an archive of it, and a FIFO.
struct Setting {
    scratch: Scratch,
    fifo: PathBuf,
}

impl Setting {
    fn new() -> Setting {
        let scratch = Scratch::new();
        for dir in ["root", "before", "dest"] {
            scratch.dir(dir);
        }
        scratch.file("root/f", "content");
        scratch.file("root/b.log", "log");
        scratch.file("archive", Tarball::new().file("f", "content").file("b.log", "log").build());
        let fifo = scratch.join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, 0o600.into(), 0).expect("FIFO");
        Setting { scratch, fifo }
    }

    /// A command line, in the directory of the setting.
    fn command(&self, words: &str) -> Command {
        let mut command = program();
        command.args(words.split(' ')).current_dir(self.scratch.path());
        command
    }

    fn start(&self, words: &str) -> Child {
        start(&mut self.command(words))
    }

    fn run(&self, words: &str) -> Ran {
        feed(&mut self.command(words), b"")
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.scratch.join(name)).expect(name)).into_owned()
    }
}

/// It has blocked its signals, and waits.
#[track_caller]
fn wait_until_it_waits(pid: u32) {
    let is_signalfd =
        |fd: fs::DirEntry| fs::read_link(fd.path()).is_ok_and(|link| link == Path::new("anon_inode:[signalfd]"));
    wait_until("it has blocked its signals", || {
        fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|mut all| all.any(|fd| fd.is_ok_and(is_signalfd)))
    });
    wait_until_at_rest(pid);
}

/// The signal that has ended it.
#[track_caller]
fn ended_by(what: &str, mut child: Child) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a status") {
            return status.signal();
        }
        if begun.elapsed() > soon() {
            child.kill().and_then(|()| child.wait().map(drop)).expect("its end");
            panic!("{what}: a signal does not end it");
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// What waits for the other end of a FIFO as soon as it begins.
const WAITING: [&str; 12] = [
    "pack -o fifo root",
    "pack --dockerignore fifo root",
    "pack --exclude-from fifo root",
    "pack --include-from fifo root",
    "diff -o fifo before root",
    "diff --gzip --output fifo --overlay root",
    "dest fifo",
    "--exclude-from fifo dest archive",
    "--include-from fifo dest archive",
    "-t fifo",
    "-t --exclude-from fifo archive",
    "image --exclude-from fifo archive new",
];

#[test]
fn a_signal_ends_what_waits_for_a_fifo() {
    for words in WAITING {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            let setting = Setting::new();
            let child = setting.start(words);
            wait_until_it_waits(child.id());
            kill_process(Pid::from_raw(child.id() as i32).expect("pid"), signal).expect("kill");
            assert_eq!(ended_by(words, child), Some(signal.as_raw()), "{words}");
            let left = fs::read_dir(setting.scratch.path()).expect("directory").count();
            assert_eq!(left, 5, "{words} leaves something");
        }
    }
}

/// Somebody is at its other end, and does nothing.
#[test]
fn a_signal_ends_what_waits_for_what_comes_through_a_fifo() {
    for words in ["pack --exclude-from fifo root", "--exclude-from fifo dest archive", "pack --dockerignore fifo root"]
    {
        let setting = Setting::new();
        let _other = OpenOptions::new().read(true).write(true).open(&setting.fifo).expect("both ends");
        let child = setting.start(words);
        wait_until_it_waits(child.id());
        kill_process(Pid::from_raw(child.id() as i32).expect("pid"), Signal::TERM).expect("kill");
        assert_eq!(ended_by(words, child), Some(Signal::TERM.as_raw()), "{words}");
    }
}

/// A report comes last: when everything has been done.
#[test]
fn a_signal_ends_what_waits_to_write_its_report() {
    if !can_run() {
        return;
    }
    for (words, full) in [
        ("pack -o new --json=fifo root", false),
        ("pack -o new --json=fifo root", true),
        ("diff -o new --json=fifo before root", false),
        ("copy --json=fifo root:f .:new", false),
    ] {
        let setting = Setting::new();
        let _other = full.then(|| {
            let both = OpenOptions::new().read(true).write(true).custom_flags(0o4000).open(&setting.fifo);
            let mut both = both.expect("both ends");
            while both.write(&[0; 4096]).is_ok() {}
            both
        });
        let child = setting.start(words);
        wait_until("it is done", || setting.scratch.join("new").exists());
        wait_until("its helpers are gone", || super::children_of(child.id()).is_empty());
        wait_until_it_waits(child.id());
        kill_process(Pid::from_raw(child.id() as i32).expect("pid"), Signal::TERM).expect("kill");
        assert_eq!(ended_by(words, child), Some(Signal::TERM.as_raw()), "{words}");
    }
}

/// Where a directory or an image is wanted a FIFO is none, and nobody is waited for.
#[test]
fn a_fifo_in_place_of_something_else_is_refused_at_once() {
    for words in [
        "fifo archive",
        "--overlay --lower fifo dest archive",
        "pack fifo",
        "diff fifo root",
        "diff --overlay --lower fifo root",
        "copy fifo:f dest:",
        "copy root:f fifo:",
        "image fifo new",
        "image oci:fifo new",
        "image --staging fifo archive new",
        "inspect fifo",
        "inspect docker-archive:fifo",
        "store list fifo",
        "check fifo",
    ] {
        let setting = Setting::new();
        let mut child = setting.start(words);
        drop(child.stdin.take());
        let begun = Instant::now();
        while child.try_wait().expect("a status").is_none() && begun.elapsed() < soon() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let over = child.try_wait().expect("a status");
        child.kill().and_then(|()| child.wait().map(drop)).expect("its end");
        assert!(over.is_some_and(|status| status.code().is_some_and(|code| code > 0)), "{words}: {over:?}");
    }
}

#[test]
fn the_time_limit_ends_what_waits_for_a_fifo() {
    if !can_run() {
        return;
    }
    // A report comes when the run is over, which has the same time.
    let late = ["pack --timeout=5s -o new --json=fifo root", "copy --timeout=5s --json=fifo root:f .:new"];
    let late = late.map(|words| (Setting::new(), words)).map(|(setting, words)| (setting.start(words), setting));
    for words in WAITING {
        let setting = Setting::new();
        let (command, rest) = match words.split_once(' ') {
            Some((command @ ("pack" | "diff" | "copy" | "image"), rest)) => (command, rest),
            _ => ("", words),
        };
        setting.run(format!("{command} --timeout=100ms {rest}").trim_start()).ended(1, "the time limit");
    }
    for (child, setting) in late {
        let said = child.wait_with_output().expect("its end");
        let words = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.code() == Some(1) && words.contains("the time limit"), "{words}");
        assert!(setting.scratch.join("new").exists(), "what was asked for is there");
    }
}

#[test]
fn what_is_at_the_other_end_is_read_and_written_whenever_it_comes() {
    if !can_run() {
        return;
    }
    // Written to by somebody who comes late.
    for (words, comes) in [
        ("pack --exclude-from fifo -o new root", &b"*.log\n"[..]),
        ("pack --dockerignore fifo -o new root", b"*.log\n"),
        ("--exclude-from fifo dest archive", b"*.log\n"),
        ("dest fifo", &Tarball::new().file("f", "content").build()),
    ] {
        let setting = Setting::new();
        let child = setting.start(words);
        wait_until_it_waits(child.id());
        File::options().write(true).open(&setting.fifo).and_then(|mut fifo| fifo.write_all(comes)).expect("it reads");
        let said = child.wait_with_output().expect("its end");
        assert!(said.status.success(), "{words}: {}", String::from_utf8_lossy(&said.stderr));
        match setting.scratch.join("new").exists() {
            true => assert!(!setting.text("new").contains("b.log"), "{words}"),
            false => assert!(setting.text("dest/f") == "content" && !setting.scratch.join("dest/b.log").exists()),
        }
    }
    // Read by somebody who comes late.
    for (words, want) in [("pack -o fifo root", "b.log"), ("pack -o new --json=fifo root", "\"ok\":true")] {
        let setting = Setting::new();
        let child = setting.start(words);
        wait_until_it_waits(child.id());
        let mut text = Vec::new();
        File::open(&setting.fifo).and_then(|mut fifo| fifo.read_to_end(&mut text)).expect("it writes");
        let said = child.wait_with_output().expect("its end");
        assert!(said.status.success(), "{words}: {}", String::from_utf8_lossy(&said.stderr));
        assert!(String::from_utf8_lossy(&text).contains(want), "{words}");
    }
}

/// A shell's `<(…)` and `>(…)` are names of descriptors.
#[test]
fn a_shells_processes_are_files() {
    if !can_run() || !need_tool("bash") {
        return;
    }
    let setting = Setting::new();
    let line = "\"$0\" pack --exclude-from <(echo '*.log') --json=>(cat > report) -o >(cat > new) root && \
                \"$0\" dest <(cat archive)";
    let status = Command::new("bash").args(["-c", line, super::PROGRAM]).current_dir(setting.scratch.path()).status();
    assert!(status.expect("bash").success());
    let whole = |name: &str, end: &[u8]| fs::read(setting.scratch.join(name)).is_ok_and(|text| text.ends_with(end));
    wait_until("the archive", || whole("new", &[0; 1024]));
    wait_until("the report", || whole("report", b"}\n"));
    assert!(setting.text("new").contains("content") && !setting.text("new").contains("b.log"));
    assert_eq!(setting.text("dest/b.log"), "log");
}

#[test]
fn a_dash_is_standard_output_and_no_file() {
    if !can_run() {
        return;
    }
    let setting = Setting::new();
    let plain = setting.run("pack root").ended(0, "");
    assert_eq!(setting.run("pack -o - root").ended(0, "").out, plain.out);
    assert_eq!(setting.run("diff -o - before root").ended(0, "").out, setting.run("diff before root").ended(0, "").out);
    assert_eq!(setting.run("pack -o new --json=- root").ended(0, "").json()["ok"], true);
    assert_eq!(setting.run("copy --json=- root:f dest:").ended(0, "").json()["ok"], true);
    for words in ["pack --json=- root", "pack -o - --json=- root", "diff --json=- before root"] {
        setting.run(words).ended(2, "standard output");
    }
    assert!(!setting.scratch.join("-").exists());
    setting.run("pack -o ./- root").silent();
    assert_eq!(fs::read(setting.scratch.join("-")).expect("the file"), plain.out);
}
