//! Runs in another process: the test binary starts itself again, as another user or in a namespace, or to be killed.
//!
//! libtest knows no subcommands, so the child runs one test, `child_process`, with its job in the environment.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use untar_in_root::{
    Devices, Error, ErrorKind, Failure, IdRange, Isolation, Mode, Mounts, Options, Owner, Program, Report, Untar,
    UserNamespace,
};

use super::expected::Expected;
use super::run::{copy_program, line, program_path};
use super::scratch::Scratch;
use super::tree::Tree;

/// A run of the library in a process of its own.
pub struct Job {
    /// What comes before the program: `setpriv` and its arguments, for example.
    pub prefix: Vec<String>,
    pub dest: PathBuf,
    pub archive: PathBuf,
    /// Words that `change` understands.
    pub options: String,
}

impl Job {
    /// As this process.
    pub fn new(dest: &Path, archive: &Path, options: &str) -> Job {
        Job { prefix: Vec::new(), dest: dest.into(), archive: archive.into(), options: options.into() }
    }

    /// Behind these words.
    pub fn behind(mut self, prefix: &[&str]) -> Job {
        self.prefix = prefix.iter().map(ToString::to_string).collect();
        self
    }

    /// The command; its binaries are copied to where everybody may execute them.
    ///
    /// # Panics
    /// When they cannot be copied.
    pub fn command(&self, scratch: &Scratch) -> Command {
        let copy = |from: &Path, name: &str| {
            let to = scratch.join(name);
            if !to.exists() {
                copy_program(from, &to);
            }
            to
        };
        let test = copy(&env::current_exe().expect("this program"), "test-binary");
        let program = copy(&program_path(), "untar-in-root");
        let mut words = self.prefix.iter().map(Into::into).chain([test.into_os_string()]);
        let mut command = Command::new(words.next().expect("a word"));
        command
            .args(words)
            .args(["--exact", "support::child::child_process", "--nocapture", "--quiet"])
            .env("UNTAR_JOB_PROGRAM", program)
            .env("UNTAR_JOB_DEST", &self.dest)
            .env("UNTAR_JOB_ARCHIVE", &self.archive)
            .env("UNTAR_JOB_OPTIONS", &self.options);
        command
    }

    /// Runs it; what it said.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, scratch: &Scratch) -> Said {
        let Output { stdout, stderr, .. } = self.command(scratch).output().expect("a child");
        Said(format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
    }
}

/// What a child said: `key: value` lines, of which `answer` is what came of a run.
pub struct Said(pub String);

/// How a run of the library ended over there.
pub struct Answer {
    pub outcome: Result<Report, Failed>,
    /// What is there, as the child sees it; `None` if nothing is.
    pub tree: Option<String>,
}

/// An error of the library, as it comes out of another process.
#[derive(Debug)]
pub struct Failed {
    pub kind: ErrorKind,
    pub failure: Option<Failure>,
    /// Its text, for whoever reads why a test failed.
    #[allow(dead_code, reason = "shown by Debug")]
    text: String,
}

/// The kinds by number: they are told by their place here.
const KINDS: [ErrorKind; 16] = [
    ErrorKind::Archive,
    ErrorKind::Entry,
    ErrorKind::Refused,
    ErrorKind::Limit,
    ErrorKind::Image,
    ErrorKind::Digest,
    ErrorKind::Storage,
    ErrorKind::Read,
    ErrorKind::Root,
    ErrorKind::Confinement,
    ErrorKind::Helper,
    ErrorKind::Protocol,
    ErrorKind::Cancelled,
    ErrorKind::NotInitialised,
    ErrorKind::Options,
    ErrorKind::Write,
];

/// The report, or the number of the kind with failure and text.
type Sent = Result<Report, (usize, Option<Failure>, String)>;

fn sent(outcome: &Result<Report, Error>, tree: Option<String>) -> String {
    let outcome: Sent = match outcome {
        Ok(report) => Ok(report.clone()),
        Err(error) => {
            let kind = KINDS.iter().position(|kind| *kind == error.kind()).expect("a kind with a number");
            Err((kind, error.failure().cloned(), error.to_string()))
        }
    };
    format!("answer: {}", serde_json::to_string(&(outcome, tree)).expect("JSON"))
}

impl Said {
    /// The rest of the line that begins so.
    #[track_caller]
    pub fn get(&self, key: &str) -> &str {
        let line = self.0.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {key} in: {}", self.0))
    }

    /// The line of this key begins with this word of the test's own child.
    #[track_caller]
    pub fn begins(&self, key: &str, want: &str) {
        assert!(self.get(key).starts_with(want), "{key} does not begin with {want}: {}", self.0);
    }

    #[track_caller]
    pub fn answer(&self) -> Answer {
        let (outcome, tree): (Sent, _) = serde_json::from_str(self.get("answer")).expect("an answer");
        Answer { outcome: outcome.map_err(|(kind, failure, text)| Failed { kind: KINDS[kind], failure, text }), tree }
    }

    /// It succeeded.
    #[track_caller]
    pub fn succeeds(&self) -> Report {
        self.answer().outcome.unwrap_or_else(|failed| panic!("{failed:?}"))
    }

    /// It succeeded and this is what is there, as it sees it.
    #[track_caller]
    pub fn leads_to(&self, tree: &str) -> Report {
        let report = self.succeeds();
        assert_eq!(self.answer().tree.as_deref(), Some(tree), "{}", self.0);
        report
    }

    /// It failed in this way.
    #[track_caller]
    pub fn fails(&self, kind: ErrorKind) -> Failed {
        let failed = self.answer().outcome.expect_err("it succeeded");
        assert_eq!(failed.kind, kind, "{failed:?}");
        failed
    }
}

impl Failed {
    /// For this cause.
    #[track_caller]
    pub fn because(&self, cause: impl Into<Expected>) -> &Failure {
        let (cause, failure) = (cause.into(), self.failure.as_ref());
        let failure = failure.unwrap_or_else(|| panic!("wanted {cause:?}, and the helper told nothing: {self:?}"));
        assert!(cause.is_of(failure), "wanted {cause:?}, got {failure:?}");
        failure
    }
}

/// Not a test: what a child does.
#[test]
fn child_process() {
    let Some(program) = env::var_os("UNTAR_JOB_PROGRAM") else { return };
    let path = |name: &str| PathBuf::from(env::var_os(name).expect("a job"));
    let (dest, archive) = (path("UNTAR_JOB_DEST"), path("UNTAR_JOB_ARCHIVE"));
    let options = env::var("UNTAR_JOB_OPTIONS").expect("a job");
    if env::var("UNTAR_JOB_OPTIONS").is_ok_and(|words| words == "leaks") {
        return say(&format!("leaks: {}", crate::faults::leaks(&dest, &Program::at(program))));
    }
    if options.starts_with("bomb ") {
        return say(&crate::bombs::child(&dest, &archive, &options, Program::at(program)));
    }
    if options.starts_with("many ") {
        return say(&crate::leaks::child(&dest, &options, &Program::at(program)));
    }
    if options == "racer" {
        return crate::hostile::beside::racer(&dest);
    }
    if options == "signals" {
        return say(&crate::interrupted::child(&dest, &archive, &Program::at(program)));
    }
    let has = |wanted: &str| options.split_whitespace().any(|word| word == wanted);
    let open = if has("atomic") { Untar::atomic } else { Untar::open };
    let mut untar = match open(&dest) {
        Ok(untar) => untar.program(Program::at(program)),
        Err(error) => return say(&sent(&Err(error), None)),
    };
    change(untar.options_mut(), &options);
    if has("contained") {
        let calls = options.split_whitespace().filter_map(|word| word.strip_prefix("without="));
        super::container::forbid(&calls.map(|call| call.parse().expect("a number")).collect::<Vec<_>>());
    }
    if has("stall") || has("stall-fd") {
        return stall(untar, &archive, has("stall-fd"));
    }
    let result = untar.apply_fd(File::open(archive).expect("archive"));
    say(&sent(&result, dest.exists().then(|| line(&Tree::read(&dest)))));
}

/// Gives half the archive, says so, and waits to be killed.
fn stall(untar: Untar, archive: &Path, by_descriptor: bool) {
    let bytes = fs::read(archive).expect("archive");
    if by_descriptor {
        let (read, mut write) = std::io::pipe().expect("pipe");
        write.write_all(&bytes[..bytes.len().min(60_000)]).expect("room in the pipe");
        say("half: given");
        drop(untar.apply_fd(std::os::fd::OwnedFd::from(read)));
        return drop(write);
    }
    let mut session = untar.spawn().expect("helper");
    let given = session.write_all(&bytes[..bytes.len() / 2]);
    say(&format!("half: {given:?}"));
    loop {
        std::thread::park();
    }
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // On a line of its own: libtest writes there, too.
    writeln!(out, "\n{text}").and_then(|()| out.flush()).expect("standard output");
}

/// Applies words to options.
///
/// # Panics
/// On a word that it does not know.
fn change(options: &mut Options, words: &str) {
    for word in words.split_whitespace() {
        match word {
            "layer" => options.mode = Mode::Layer,
            "overlay" => options.mode = Mode::Overlay(untar_in_root::Overlay::default()),
            "pivot" => options.jail.isolation = Isolation::Pivot,
            "chroot" => options.jail.isolation = Isolation::Chroot,
            "beneath" => options.jail.isolation = Isolation::Beneath,
            "forced" => options.owner = Owner::Forced { uid: 1, gid: 1 },
            "skip" => options.jail.mounts = Mounts::Skip,
            "single" => options.jail.user_namespace = UserNamespace::Single,
            "never" => options.jail.user_namespace = UserNamespace::Never,
            "mapped" => {
                let range = |inside, outside, count| IdRange { inside, outside, count };
                let ranges = || vec![range(0, 65534, 1), range(1, 100_000, 1000)];
                options.jail.user_namespace = UserNamespace::Mapped { uids: ranges(), gids: ranges() };
            }
            "mapped-own" => {
                let own = |id| vec![IdRange { inside: 0, outside: id, count: 1 }];
                options.jail.user_namespace = UserNamespace::Mapped { uids: own(65534), gids: own(65534) };
            }
            "skip-devices" => options.devices = Devices::Skip,
            "ignore-owners" => options.ignore_chown_errors = true,
            "atomic" | "stall" | "stall-fd" | "contained" => {} // The child's own.
            word if word.starts_with("without=") => {}
            unknown => panic!("no option of a child: {unknown}"),
        }
    }
}

#[test]
#[should_panic(expected = "skip-device")]
fn child_options_that_nobody_knows_are_no_options() {
    change(&mut Options::default(), "layer skip-device");
}
