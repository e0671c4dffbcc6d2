//! What stands in for the work on systems other than Linux: the same interface, and one answer.
//!
//! Compiled for the tests on Linux too, which is where it is tested.
#![cfg_attr(test, allow(dead_code, unreachable_pub))]

use crate::kind::ErrorKind;
use crate::options::{Durability, Jail, Limits, Mode, Options, Owner};
use crate::report::{Digest, Failure, LayerRef, Listed, Progress, Report};
use std::convert::Infallible;
use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
#[cfg(feature = "tokio")]
use tokio::io::AsyncRead;

// What `File` and the like turn into.
#[cfg(not(any(unix, windows)))]
use std::fs::File as OwnedFd;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
#[cfg(windows)]
use std::os::windows::io::OwnedHandle as OwnedFd;

/// The child side.
#[cfg(feature = "helper")]
pub mod helper {
    /// Returns at once: on this system no process is a helper.
    pub fn init() {}
}

/// Nothing: on this system no process is a helper.
#[cfg(all(feature = "helper", not(target_os = "linux")))]
#[macro_export]
macro_rules! helper_at_start {
    () => {};
}

/// Why a run failed: this system is not Linux.
#[non_exhaustive]
pub struct Error;

impl Error {
    /// [`ErrorKind::Unsupported`].
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Unsupported
    }

    /// `None`: there was no helper.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        None
    }

    /// `None`: only Linux helps.
    #[must_use]
    pub fn advice(&self) -> Option<crate::report::Advice> {
        None
    }

    /// `None`: there was no image.
    #[must_use]
    pub fn layer(&self) -> Option<LayerRef> {
        None
    }

    /// `None`: there was no run.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        None
    }

    /// `None`: there was no helper.
    #[must_use]
    pub fn status(&self) -> Option<ExitStatus> {
        None
    }

    /// Empty: there was no helper.
    #[must_use]
    pub fn helper_stderr(&self) -> &[u8] {
        &[]
    }

    /// `None`: no system call failed.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        None
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "untar-in-root works on Linux only, and this is {}", std::env::consts::OS)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Error");
        fields.field("kind", &self.kind()).field("message", &self.to_string()).finish()
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, error)
    }
}

/// Which program is started as the helper: here, none ever is.
#[derive(Clone, Debug)]
pub struct Program(());

impl Program {
    /// The program at this path.
    #[must_use]
    pub fn at(_path: impl AsRef<Path>) -> Program {
        Program(())
    }

    /// This very program.
    ///
    /// # Errors
    ///
    /// Always [`ErrorKind::Unsupported`].
    pub fn this() -> Result<Program, Error> {
        Err(Error)
    }

    /// Keep `LD_LIBRARY_PATH` in the helper's environment.
    #[must_use]
    pub fn keep_library_path(self) -> Program {
        self
    }
}

/// One application of an archive to a directory: a builder of what cannot be started on this system.
#[derive(Debug, Default)]
pub struct Untar {
    options: Options,
}

impl Untar {
    /// A run on this open directory.
    pub fn new(_root: impl Into<OwnedFd>) -> Untar {
        Untar::default()
    }

    /// A run on the directory of this name.
    ///
    /// # Errors
    ///
    /// Always [`ErrorKind::Unsupported`].
    pub fn open(_root: impl AsRef<Path>) -> Result<Untar, Error> {
        Err(Error)
    }

    /// A run whose directory appears whole or not at all.
    ///
    /// # Errors
    ///
    /// Always [`ErrorKind::Unsupported`].
    pub fn atomic(_place: impl AsRef<Path>) -> Result<Untar, Error> {
        Err(Error)
    }

    /// Which program is the helper.
    #[must_use]
    pub fn program(self, _program: Program) -> Untar {
        self
    }

    /// Entries go below this path inside the root.
    #[must_use]
    pub fn destination(self, _path: impl Into<PathBuf>) -> Untar {
        self
    }

    /// How the archive is applied.
    #[must_use]
    pub fn options(self, options: Options) -> Untar {
        Untar { options }
    }

    /// What `.wh.` names mean.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Untar {
        self.options.mode = mode;
        self
    }

    /// Who owns what is made.
    #[must_use]
    pub fn owner(mut self, owner: Owner) -> Untar {
        self.options.owner = owner;
        self
    }

    /// What the helper is confined to.
    #[must_use]
    pub fn jail(mut self, jail: Jail) -> Untar {
        self.options.jail = jail;
        self
    }

    /// How long the run may take.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Untar {
        self.options.jail.limits.timeout = Some(time);
        self
    }

    /// What the archive may cost.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Untar {
        self.options.limits = limits;
        self
    }

    /// What has reached the disk when the report arrives.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Untar {
        self.options.durability = durability;
        self
    }

    /// The options, to change some.
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Computes the SHA-256 of the archive as it comes.
    #[must_use]
    pub fn compute_digest(self) -> Untar {
        self
    }

    /// Fails unless the archive as it comes has this SHA-256.
    #[must_use]
    pub fn expect_digest(self, _digest: Digest) -> Untar {
        self
    }

    /// Fails unless the uncompressed stream has this SHA-256.
    #[must_use]
    pub fn expect_diff_id(self, _digest: Digest) -> Untar {
        self
    }

    /// Calls back as the run advances.
    #[must_use]
    pub fn on_progress(self, _callback: impl FnMut(Progress) + Send + 'static) -> Untar {
        self
    }

    /// Calls back for each entry of a listing.
    #[must_use]
    pub fn on_listed(self, _callback: impl FnMut(Listed) + Send + 'static) -> Untar {
        self
    }

    /// A handle that ends the run from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller::default()
    }

    /// One canceller for several runs.
    #[must_use]
    pub fn cancelled_by(self, _canceller: Canceller) -> Untar {
        self
    }

    /// Starts the helper.
    ///
    /// # Errors
    ///
    /// Always [`ErrorKind::Unsupported`].
    pub fn spawn(self) -> Result<Session, Error> {
        Err(Error)
    }

    /// Applies what a reader gives.
    ///
    /// # Errors
    ///
    /// Always [`ErrorKind::Unsupported`]; nothing is read.
    pub fn apply(self, _archive: impl Read) -> Result<Report, Error> {
        Err(Error)
    }

    /// Applies what an open file, pipe or socket gives.
    ///
    /// # Errors
    ///
    /// Always [`ErrorKind::Unsupported`]; nothing is read.
    pub fn apply_fd(self, _archive: impl Into<OwnedFd>) -> Result<Report, Error> {
        Err(Error)
    }

    /// Applies what an asynchronous source gives.
    ///
    /// # Errors
    ///
    /// Always [`ErrorKind::Unsupported`]; nothing is read.
    #[cfg(feature = "tokio")]
    pub async fn apply_async(self, _archive: impl AsyncRead) -> Result<Report, Error> {
        Err(Error)
    }

    /// Lists what an open file, pipe or socket gives.
    ///
    /// # Errors
    ///
    /// Always [`ErrorKind::Unsupported`]; nothing is read.
    pub fn list(self, _archive: impl Into<OwnedFd>, _entry: impl FnMut(Listed)) -> Result<Report, Error> {
        Err(Error)
    }

    /// Starts to apply what an open file, pipe or socket gives.
    ///
    /// # Errors
    ///
    /// Always [`ErrorKind::Unsupported`]; nothing is read.
    pub fn start_fd(self, _archive: impl Into<OwnedFd>) -> Result<Pending, Error> {
        Err(Error)
    }
}

/// A lower directory of an overlay: there is none on this system, so no value of this type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lower(Infallible);

impl Lower {
    /// Opens the directory of this name.
    ///
    /// # Errors
    ///
    /// Always [`ErrorKind::Unsupported`].
    pub fn open(_path: impl AsRef<Path>) -> Result<Lower, Error> {
        Err(Error)
    }

    /// The name that it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self.0 {}
    }
}

/// Ends a run from another thread: here there is none to end.
#[derive(Clone, Debug, Default)]
pub struct Canceller(());

impl Canceller {
    /// Does nothing.
    pub fn cancel(&self) {}
}

/// A running helper: there is none on this system, so no value of this type.
#[derive(Debug)]
pub struct Session(Infallible);

impl Session {
    /// Takes note of what the helper has said.
    ///
    /// # Errors
    ///
    /// Never called.
    pub fn check(&mut self) -> io::Result<()> {
        match self.0 {}
    }

    /// How far the helper has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match self.0 {}
    }

    /// Ends the archive and waits for the outcome.
    ///
    /// # Errors
    ///
    /// Never called.
    pub fn finish(self) -> Result<Report, Error> {
        match self.0 {}
    }

    /// Ends the run because the caller's own source failed.
    #[must_use]
    pub fn abandon(self, _error: io::Error) -> Error {
        match self.0 {}
    }

    /// A handle that ends the run from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        match self.0 {}
    }

    /// Takes the session apart for an asynchronous host.
    ///
    /// # Errors
    ///
    /// Never called.
    pub fn into_parts(self) -> Result<Parts, Error> {
        match self.0 {}
    }
}

impl Write for Session {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}

#[cfg(unix)]
impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}

/// What a session is made of: no value of this type either.
#[derive(Debug)]
#[non_exhaustive]
pub struct Parts {
    /// Where the archive is written to.
    pub pipe: OwnedFd,
    /// The outcome to wait for.
    pub pending: Pending,
}

/// The outcome of a run whose archive is read elsewhere: no value of this type either.
#[derive(Debug)]
pub struct Pending(Infallible);

impl Pending {
    /// True once the run is over.
    pub fn is_over(&mut self) -> bool {
        match self.0 {}
    }

    /// Waits for the outcome.
    ///
    /// # Errors
    ///
    /// Never called.
    pub fn wait(self) -> Result<Report, Error> {
        match self.0 {}
    }

    /// How far the helper has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match self.0 {}
    }

    /// A handle that ends the run from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        match self.0 {}
    }
}

#[cfg(unix)]
impl AsFd for Pending {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}

/// A run that a task waits for: no value of this type either.
#[cfg(feature = "tokio")]
#[must_use = "a future does nothing unless it is awaited"]
#[derive(Debug)]
pub struct Running(Infallible);

#[cfg(feature = "tokio")]
impl Running {
    /// How far the helper has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match self.0 {}
    }

    /// A handle that ends the run from elsewhere.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        match self.0 {}
    }
}

#[cfg(feature = "tokio")]
impl Future for Running {
    type Output = Result<Report, Error>;

    fn poll(self: std::pin::Pin<&mut Self>, _cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        match self.0 {}
    }
}

#[cfg(feature = "tokio")]
impl IntoFuture for Pending {
    type Output = Result<Report, Error>;
    type IntoFuture = Running;

    fn into_future(self) -> Running {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> Untar {
        Untar::new(std::fs::File::open("/").expect("a directory"))
    }

    #[test]
    fn whatever_can_fail_answers_unsupported() {
        let errors = [
            Untar::open("/").err(),
            Untar::atomic("/new").err(),
            Program::this().err(),
            Lower::open("/").err(),
            any().spawn().err(),
            any().list(std::fs::File::open("/dev/null").expect("null"), |_| ()).err(),
            any().start_fd(std::fs::File::open("/dev/null").expect("null")).err(),
            any().apply(io::empty()).err(),
            any().program(Program::at("/bin/true")).apply_fd(std::fs::File::open("/dev/null").expect("null")).err(),
        ];
        for error in errors {
            let error = error.expect("an error");
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().starts_with("untar-in-root works on Linux only, and this is "), "{error}");
            assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Unsupported);
        }
    }

    #[test]
    fn what_cannot_fail_keeps_what_it_was_given() {
        let mut untar = any().compute_digest().mode(Mode::Layer).destination("srv");
        untar.options_mut().strip_components = 3;
        untar.canceller().cancel();
        assert_eq!(untar.on_progress(|_| {}).options.strip_components, 3);
    }
}
