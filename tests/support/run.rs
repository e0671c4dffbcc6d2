//! Runs of the program through the library, and trees on one line.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use untar_in_root::{Error, ErrorKind, EventKind, Lower, Mode, Options, Overlay, Program, Report, Untar};

use super::expected::Expected;
use super::scratch::Scratch;
use super::tarball::Tarball;
use super::tree::Tree;
pub use super::tree::line;

/// The program under test.
pub fn program() -> Program {
    Program::at(env!("CARGO_BIN_EXE_untar-in-root"))
}

/// Its path.
pub fn program_path() -> PathBuf {
    env!("CARGO_BIN_EXE_untar-in-root").into()
}

/// Copies a program that is to be run, but not in this process: what another thread starts just then would hold the
/// copy open for writing, ETXTBSY.
///
/// # Panics
/// When it cannot be copied.
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-p").args([from, to]).status().expect("cp");
    assert!(copied.success(), "copy of {}", from.display());
}

/// The program under test, after these commands: what happens just before the helper begins.
///
/// # Panics
/// When it cannot be written.
pub fn program_after(scratch: &Scratch, commands: &str) -> Program {
    let number = fs::read_dir(scratch.path()).expect("scratch").count();
    let (text, script) = (scratch.join(format!("script-{number}.text")), scratch.join(format!("script-{number}")));
    let program = program_path();
    let lines = format!("#!/bin/bash\n{commands}\nexec -a untar-in-root:helper {}\n", program.display());
    fs::write(&text, lines).expect("script");
    fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).expect("script");
    copy_program(&text, &script);
    Program::at(script)
}

/// What a run that makes this place leaves when it is killed at work: its staging directory, nothing in its root yet.
///
/// # Panics
/// When it does not come so far.
pub fn killed_at_work(place: &Path) -> PathBuf {
    let list =
        || fs::read_dir(place.parent().expect("a parent")).expect("directory").flatten().map(|entry| entry.path());
    let before: Vec<_> = list().collect();
    let mut command = Command::new(program_path());
    let mut child = command.arg("--atomic").arg(place).arg("-").stdin(Stdio::piped()).spawn().expect("the program");
    let begun = Instant::now();
    let staging = loop {
        match list().find(|path| !before.contains(path) && path.join("root").exists()) {
            Some(path) => break path,
            None => assert!(begun.elapsed() < Duration::from_secs(30), "no staging directory"),
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    child.kill().and_then(|()| child.wait()).expect("killed");
    // What it was just starting has its descriptors, too, until it is another program.
    let held = fs::File::open(&staging).expect("staging directory");
    while rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the lock is held");
        std::thread::sleep(Duration::from_millis(2));
    }
    staging
}

/// A run on this directory, still to be started.
///
/// # Panics
/// When the directory cannot be opened.
pub fn untar(dest: &Path, change: impl FnOnce(&mut Options)) -> Untar {
    let mut untar = Untar::open(dest).expect("destination").program(program());
    change(untar.options_mut());
    untar
}

/// Applies an archive to a directory.
pub fn apply(dest: &Path, tar: &[u8], change: impl FnOnce(&mut Options)) -> Result<Report, Error> {
    untar(dest, change).apply(tar)
}

/// An upper directory over these, the topmost first.
///
/// # Panics
/// When one cannot be opened.
pub fn over<P: AsRef<Path>>(lowers: impl IntoIterator<Item = P>) -> Overlay {
    Overlay::over(lowers.into_iter().map(|path| Lower::open(path).expect("lower directory")))
}

/// Layer mode.
pub fn layer(options: &mut Options) {
    options.mode = Mode::Layer;
}

/// Literal mode, and all defaults.
pub fn literal(_: &mut Options) {}

/// What became of an archive.
pub struct Run {
    pub scratch: Scratch,
    pub dest: PathBuf,
    pub result: Result<Report, Error>,
}

impl Run {
    /// Applies archives on each other, the last with these options, those before as layers that must apply.
    #[track_caller]
    pub fn of(archives: &[Tarball], change: impl FnOnce(&mut Options)) -> Run {
        let scratch = Scratch::new();
        let guarded = scratch.guarded();
        let dest = guarded.dest();
        let (last, lower) = archives.split_last().expect("an archive");
        for archive in lower {
            apply(&dest, &archive.build(), layer).expect("a lower layer");
        }
        let result = apply(&dest, &last.build(), change);
        guarded.assert_untouched();
        Run { scratch, dest, result }
    }

    pub fn tree(&self) -> Tree {
        Tree::read(&self.dest)
    }

    /// The tree as one line.
    pub fn line(&self) -> String {
        line(&self.tree())
    }

    /// The report of a run that succeeded.
    #[track_caller]
    pub fn report(&self) -> &Report {
        match &self.result {
            Ok(report) => report,
            Err(error) => panic!("failed: {error:?}; the tree: {}", self.line()),
        }
    }

    /// The error of a run that failed.
    #[track_caller]
    pub fn error(&self) -> &Error {
        match &self.result {
            Ok(report) => panic!("succeeded: {:?}; the tree: {}", report.entries, self.line()),
            Err(error) => error,
        }
    }

    /// It succeeded, and this is what is there.
    #[track_caller]
    pub fn leads_to(self, want: &str) -> Run {
        self.report();
        assert_eq!(self.line(), want);
        self
    }

    /// It failed in this way.
    #[track_caller]
    pub fn fails(self, kind: ErrorKind, cause: impl Into<Expected>) -> Run {
        let error = self.error();
        assert_eq!(error.kind(), kind, "{error:?}");
        cause.into().assert_of(error);
        self
    }

    /// This is what is there, however it ended.
    #[track_caller]
    pub fn leaves(self, want: &str) -> Run {
        assert_eq!(self.line(), want);
        self
    }

    /// The events, without their entries.
    #[track_caller]
    fn events(&self) -> Vec<&EventKind> {
        self.report().events.iter().map(|event| &event.what).collect()
    }

    /// These events and no others.
    #[track_caller]
    pub fn tells(self, want: &[EventKind]) -> Run {
        assert_eq!(self.events(), want.iter().collect::<Vec<_>>());
        self
    }

    /// A field of a path in the result is this.
    #[track_caller]
    pub fn has(self, path: &str, field: &str, want: &str) -> Run {
        self.report();
        assert_eq!(self.tree().get(path, field), want, "{field} of {path}");
        self
    }
}

/// Gives a directory a time that no run has.
///
/// # Panics
/// When it cannot have it.
pub fn dated(dir: &Path) {
    let time = rustix::fs::Timespec { tv_sec: 77, tv_nsec: 7 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, dir, &times, rustix::fs::AtFlags::empty()).expect("a time");
}

/// As a layer on layers.
#[track_caller]
pub fn layers(archives: &[Tarball]) -> Run {
    Run::of(archives, layer)
}

/// In literal mode, on an empty directory.
#[track_caller]
pub fn plain(archive: Tarball) -> Run {
    Run::of(&[archive], literal)
}

/// The same outcome in both modes.
#[track_caller]
pub fn both(archives: &[Tarball], check: impl Fn(Run)) {
    check(Run::of(archives, literal));
    check(Run::of(archives, layer));
}
