//! The command line: what each option does, how each failure ends, what is shown and what is left behind.

mod archives;
mod check;
mod exits;
mod hints;
mod json;
mod limits;
mod listing;
mod named;
mod options;
mod output;
mod places;
mod signals;
mod text;
mod usage;

use crate::support::privilege::{has_capability, need_userns};
use crate::support::scratch::Scratch;
use crate::support::tree::Tree;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_untar-in-root");

/// The program, nothing of the test's environment deciding what it does.
fn program() -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_remove("SOURCE_DATE_EPOCH").env("TERM", "xterm");
    command
}

/// What one run said.
struct Ran {
    status: ExitStatus,
    out: Vec<u8>,
    err: String,
}

impl Ran {
    /// Ended with this status; these words on standard error.
    #[track_caller]
    fn ended(self, code: i32, words: &str) -> Ran {
        assert_eq!(self.status.code(), Some(code), "{:?}: {}", self.status.signal(), self.err);
        assert!(self.err.contains(words), "{words:?} is not in {:?}", self.err);
        self
    }

    /// Done, with nothing to say.
    #[track_caller]
    fn silent(self) -> Ran {
        assert!(self.status.success() && self.err.is_empty() && self.out.is_empty(), "{:?}: {}", self.status, self.err);
        self
    }

    fn text(&self) -> String {
        String::from_utf8(self.out.clone()).expect("UTF-8")
    }

    fn json(&self) -> serde_json::Value {
        let text = self.text();
        let last = text.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error} in {last:?}; {}", self.err))
    }
}

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program")
}

/// Runs with this archive on standard input.
fn feed(command: &mut Command, archive: &[u8]) -> Ran {
    let mut child = start(command);
    let mut stdin = child.stdin.take().expect("stdin");
    let archive = archive.to_vec();
    // A program that fails early does not read to the end.
    let writer = std::thread::spawn(move || _ = stdin.write_all(&archive));
    let output = child.wait_with_output().expect("the program");
    writer.join().expect("writer");
    Ran { status: output.status, out: output.stdout, err: String::from_utf8_lossy(&output.stderr).into_owned() }
}

fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, archive: &[u8]) -> Ran {
    feed(program().args(args), archive)
}

/// A destination, and runs into it.
struct Dest {
    scratch: Scratch,
    path: PathBuf,
}

impl Dest {
    fn new() -> Dest {
        let scratch = Scratch::new();
        let path = scratch.dir("dest");
        Dest { scratch, path }
    }

    fn run(&self, options: &[&str], archive: &[u8]) -> Ran {
        let words = options.iter().map(OsStr::new).chain([self.path.as_os_str()]);
        run(words, archive)
    }

    fn tree(&self) -> Tree {
        Tree::read(&self.path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// The right to enter a root, or a user namespace that gives it.
fn can_run() -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    has_capability(CAP_SYS_ADMIN) || need_userns()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name)
}

/// Pids whose parent this is.
fn children_of(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().filter_map(|n| n.parse().ok()).collect::<Vec<u32>>()).collect()
}
