//! Rule 25, at the command line: what a signal or an error ends before its first byte.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::failure::is_not_whole;
use crate::support::privilege::{need_root, need_tool, need_tools};
use crate::support::run::program_path;
use crate::support::scratch::Scratch;

const ENCODINGS: [&str; 3] = ["--quiet", "--gzip", "--zstd"];

/// Holds a lease on a file, and says when somebody wants to open it.
struct Holder {
    child: Child,
    words: BufReader<std::process::ChildStdout>,
}

impl Holder {
    fn of(file: &Path) -> Holder {
        let program = "import fcntl,os,signal,sys\n\
            fd=os.open(sys.argv[1],os.O_RDWR)\n\
            signal.signal(signal.SIGIO,lambda *a: print('wanted',flush=True))\n\
            fcntl.fcntl(fd,fcntl.F_SETLEASE,fcntl.F_WRLCK)\n\
            print('held',flush=True)\n\
            sys.stdin.read()\n";
        let mut command = Command::new("python3");
        command.args(["-c", program]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3");
        let words = BufReader::new(child.stdout.take().expect("output"));
        let mut holder = Holder { child, words };
        holder.says("held");
        holder
    }

    fn says(&mut self, want: &str) {
        let mut word = String::new();
        self.words.read_line(&mut word).expect("a word");
        assert_eq!(word.trim(), want);
    }

    fn release(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().expect("its end");
    }
}

/// The first file fills a block of the encoder's to its end, so that nothing more would come by itself.
fn tree(scratch: &Scratch) -> (PathBuf, PathBuf) {
    let root = scratch.dir("root");
    scratch.file("root/a", vec![b'x'; (256 << 10) - 512]);
    let held = scratch.file("root/b", "content");
    (root, held)
}

#[test]
fn pack_rule_25_what_a_signal_ends_is_no_whole_archive() {
    if !need_tool("python3") {
        return;
    }
    for (signal, group) in [(Signal::TERM, false), (Signal::INT, true), (Signal::TERM, true), (Signal::HUP, false)] {
        for encoding in ENCODINGS {
            let scratch = Scratch::new();
            let (root, held) = tree(&scratch);
            let mut holder = Holder::of(&held);
            let output = scratch.join("archive");
            let mut command = Command::new("env");
            command.args(["--default-signal=INT,TERM,HUP"]).arg(program_path());
            command.args(["pack", "--no-root", "--times=seconds", encoding]).arg(&root);
            command.stdout(File::create(&output).expect("a file")).stderr(Stdio::null()).process_group(0);
            let mut child = command.spawn().expect("the program");
            holder.says("wanted");
            let pid = Pid::from_child(&child);
            match group {
                true => kill_process_group(pid, signal).expect("kill"),
                false => kill_process(pid, signal).expect("kill"),
            }
            let status = child.wait().expect("its end");
            assert_eq!(status.signal(), Some(signal.as_raw()), "{status:?}");
            is_not_whole(&format!("{signal:?} {group} {encoding}"), &fs::read(&output).expect("archive"));
            holder.release();
        }
    }
}

/// What it says, and what is in the file then.
fn into_file(scratch: &Scratch, words: &[&str]) -> (std::process::Output, Vec<u8>) {
    let output = scratch.join("output");
    let file = File::create(&output).expect("a file");
    let said = Command::new(program_path()).args(words).stdout(file).output().expect("the program");
    (said, fs::read(&output).expect("archive"))
}

#[test]
fn pack_rule_25_what_fails_before_the_first_byte_is_no_empty_archive() {
    if !need_root() || !need_tools(&["setpriv", "bsdtar"]) {
        return;
    }
    let scratch = Scratch::new();
    let (root, _) = tree(&scratch);
    let name = root.to_str().expect("UTF-8");
    let ignore = scratch.file("ignore", "a\n!\n");
    let ignore = ignore.to_str().expect("UTF-8");
    for encoding in ENCODINGS {
        for words in [
            &["pack", encoding, "/nonexistent"][..],
            &["pack", encoding, "--dockerignore", ignore, name],
            &["pack", encoding, "--include-from", "/nonexistent", name],
            &["pack", encoding, name, "missing"],
            &["pack", encoding, "--max-memory=1M", name],
        ] {
            let (said, archive) = into_file(&scratch, words);
            assert!(!said.status.success() && !archive.is_empty(), "{words:?}: {said:?}");
            is_not_whole(&format!("{words:?}"), &archive);
        }
        // Who may enter no root.
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]);
        command.arg(program_path()).args(["pack", encoding, "--userns=never", "--isolation=pivot", "/"]);
        let said = command.output().expect("setpriv");
        if said.status.code() == Some(3) {
            is_not_whole(&format!("no root: {encoding}"), &said.stdout);
        }
    }
}

#[test]
fn what_zstd_lacks_is_named() {
    let scratch = Scratch::new();
    let (root, _) = tree(&scratch);
    fs::write(root.join("c"), vec![b'x'; 8 << 20]).expect("file");
    let name = root.to_str().expect("UTF-8");
    let (said, archive) = into_file(&scratch, &["pack", "--zstd=19", "--max-memory=96M", name]);
    let words = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(1), "{words}");
    assert!(words.contains("--max-memory"), "{words}");
    is_not_whole("no memory", &archive);
}
