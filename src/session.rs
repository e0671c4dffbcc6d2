//! The parent side: spawn the helper, stream the archive, collect the outcome.

mod child;
mod idmap;

use crate::error::{Error, Known, Outcome, verdict};
use crate::program::Program;
use crate::staging::{Place, Staging};
use crate::wire::{Down, Request};
use crate::{Digest, Durability, ErrorKind, Listed, Mode, Options, Progress, Report};
use child::{Child, Ready};
use nix::errno::Errno;
use nix::poll::PollTimeout;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub use child::Canceller;

/// The most read from the caller and written to the pipe at once.
const PIECE: usize = 1 << 20;

/// One application of an archive to a directory: a builder.
///
/// The root is an *open directory*, so that nobody can exchange it between the decision to use it and its
/// use. Names in the archive are relative to the [destination](Untar::destination), which is the root itself
/// unless said otherwise.
pub struct Untar {
    root: Root,
    program: Option<Program>,
    destination: PathBuf,
    options: Options,
    digest: Demand,
    expected_diff_id: Option<Digest>,
    callbacks: Callbacks,
    canceller: Canceller,
}

/// Where the archive is applied.
enum Root {
    There(OwnedFd),
    /// To be made, beside its place first.
    Made(Place),
}

/// What is wanted of the digest of the archive as it came.
#[derive(Clone, Copy, Default)]
enum Demand {
    #[default]
    None,
    Compute,
    Expect(Digest),
}

/// Called from whatever thread waits for the helper.
#[derive(Default)]
struct Callbacks {
    progress: Option<Box<dyn FnMut(Progress) + Send>>,
    listed: Option<Box<dyn FnMut(Listed) + Send>>,
    /// Returns once the lower directories are complete.
    lowers: Option<Box<dyn FnMut() + Send>>,
}

impl Untar {
    /// Applies to this open directory.
    pub fn new(root: impl Into<OwnedFd>) -> Untar {
        Untar::on(Root::There(root.into()))
    }

    fn on(root: Root) -> Untar {
        Untar {
            root,
            program: None,
            destination: PathBuf::new(),
            options: Options::default(),
            digest: Demand::None,
            expected_diff_id: None,
            callbacks: Callbacks::default(),
            canceller: Canceller::default(),
        }
    }

    /// Applies to the directory of this name, opened now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Root`] if it is missing or not a directory.
    pub fn open(root: impl AsRef<Path>) -> Result<Untar, Error> {
        open_root(root.as_ref()).map(Untar::new)
    }

    /// Applies to a directory that appears whole or not at all: it is made beside its place, below a directory
    /// of mode 0700, and renamed when everything is right, digests included.
    ///
    /// The place must be missing, or an empty directory (whose owner and mode the new one begins with; otherwise
    /// it belongs to the caller, 0755); the directory that it is in must exist, and is held open from now on. With
    /// a [`Durability`], the whole is on disk before it has its name, and the name when the run returns.
    ///
    /// After an error nothing is left, also if it is an error of moving the result to its place. A process that
    /// is killed leaves a directory `.untar-in-root-staging-…` beside the place, which the next such run beside
    /// it removes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Root`] if the place is taken or the directory that it is in is missing; later
    /// [`ErrorKind::Storage`] if nothing can be made there.
    pub fn atomic(place: impl AsRef<Path>) -> Result<Untar, Error> {
        Place::open(place.as_ref()).map(|place| Untar::on(Root::Made(place)))
    }

    /// Which program is the helper; without it, [`Program::this`].
    #[must_use]
    pub fn program(mut self, program: Program) -> Untar {
        self.program = Some(program);
        self
    }

    /// Applies below this path *inside the root*, resolved only after the root has been entered: symlinks in
    /// it cannot leave the root. What is missing of it is made, 0755.
    #[must_use]
    pub fn destination(mut self, path: impl Into<PathBuf>) -> Untar {
        self.destination = path.into();
        self
    }

    /// How the archive is applied.
    #[must_use]
    pub fn options(mut self, options: Options) -> Untar {
        self.options = options;
        self
    }

    /// The options, to change some.
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Computes the SHA-256 of the archive as it comes, in the parent.
    #[must_use]
    pub fn compute_digest(mut self) -> Untar {
        self.digest = Demand::Compute;
        self
    }

    /// Fails with [`ErrorKind::Digest`] unless the archive as it comes has this SHA-256.
    #[must_use]
    pub fn expect_digest(mut self, digest: Digest) -> Untar {
        self.digest = Demand::Expect(digest);
        self
    }

    /// Fails with [`ErrorKind::Digest`] unless the uncompressed stream has this SHA-256.
    #[must_use]
    pub fn expect_diff_id(mut self, digest: Digest) -> Untar {
        self.expected_diff_id = Some(digest);
        self
    }

    /// Calls back as the run advances, if [`Options::progress`] is set.
    #[must_use]
    pub fn on_progress(mut self, callback: impl FnMut(Progress) + Send + 'static) -> Untar {
        self.callbacks.progress = Some(Box::new(callback));
        self
    }

    /// Calls back for each entry of a listing ([`Options::list`]).
    #[must_use]
    pub fn on_listed(mut self, callback: impl FnMut(Listed) + Send + 'static) -> Untar {
        self.callbacks.listed = Some(Box::new(callback));
        self
    }

    /// A handle that ends the run from another thread, before or after it has started.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// One canceller for several runs.
    #[cfg(feature = "image")]
    pub(crate) fn cancelled_by(mut self, canceller: Canceller) -> Untar {
        self.canceller = canceller;
        self
    }

    /// Overlay mode: the lower directories are there, but still being made. `wait` is called before the helper
    /// first looks at them, and returns once they are complete (or never will be, and this run is cancelled).
    #[cfg(feature = "image")]
    pub(crate) fn lowers_later(mut self, wait: impl FnMut() + Send + 'static) -> Untar {
        self.callbacks.lowers = Some(Box::new(wait));
        self
    }

    /// Starts the helper, to which the caller then writes the archive.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotInitialised`], [`ErrorKind::Options`], or [`ErrorKind::Helper`] if it cannot be
    /// started. What happens in it is told by [`Session::finish`].
    pub fn spawn(self) -> Result<Session, Error> {
        let (read, write) = child::archive_pipe()?;
        self.start(read, Some(write))
    }

    /// Applies what a reader gives. While the reader blocks, the helper's end is not noticed: where that
    /// matters, use [`apply_fd`](Untar::apply_fd) or a [`Session`].
    ///
    /// # Errors
    ///
    /// Any; an error of the reader comes before all others.
    pub fn apply(self, mut archive: impl Read) -> Result<Report, Error> {
        let mut session = self.spawn()?;
        let mut buffer = vec![0; PIECE];
        loop {
            match archive.read(&mut buffer) {
                Ok(0) => return session.finish(),
                Ok(n) if session.write_all(&buffer[..n]).is_err() => return session.finish(),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return session.abandon(e),
            }
        }
    }

    /// Applies what an open file, pipe or socket gives from its present position. The helper reads it
    /// directly, so nothing is copied; if a digest is demanded, the parent reads a regular file beside the
    /// helper (true only if nobody writes to it meanwhile) and pumps anything else itself.
    ///
    /// # Errors
    ///
    /// Any.
    pub fn apply_fd(self, archive: impl Into<OwnedFd>) -> Result<Report, Error> {
        let archive = File::from(archive.into());
        if matches!(self.digest, Demand::None) {
            return self.start(archive.into(), None)?.finish();
        }
        let start = archive.metadata().ok().filter(|m| m.is_file()).and_then(|_| position(&archive));
        match start {
            Some(start) => self.read_beside(archive, start),
            None => self.pump(archive),
        }
    }

    /// The helper reads the file; the parent reads it too, for the digest.
    fn read_beside(self, archive: File, start: u64) -> Result<Report, Error> {
        let beside = archive.try_clone().map_err(|e| Error::io(ErrorKind::Read, "duplicating a descriptor", e))?;
        let mut session = self.start(archive.into(), None)?;
        let mut buffer = vec![0; PIECE];
        let mut at = start;
        loop {
            match beside.read_at(&mut buffer, at) {
                Ok(0) => return session.finish(),
                Ok(n) => session.count(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return session.abandon(e),
            }
            at = start + session.bytes_in;
            session.child.pump(Ready::default(), None, PollTimeout::ZERO);
            if session.child.failed() {
                return session.finish();
            }
        }
    }

    /// The parent reads and writes on, awake to the helper's end while the source is stalled.
    fn pump(self, archive: File) -> Result<Report, Error> {
        let mut session = self.spawn()?;
        let mut buffer = vec![0; PIECE];
        loop {
            let ready = session.child.pump(Ready::SOURCE, Some(archive.as_fd()), PollTimeout::NONE);
            if session.child.over() {
                return session.finish();
            }
            if !ready.source {
                continue;
            }
            match nix::unistd::read(&archive, &mut buffer) {
                Ok(0) => return session.finish(),
                Ok(n) if session.write_all(&buffer[..n]).is_err() => return session.finish(),
                Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(e) => return session.abandon(e.into()),
            }
        }
    }

    fn start(self, archive: OwnedFd, pipe: Option<OwnedFd>) -> Result<Session, Error> {
        let started = Instant::now();
        check(&self.options, &self.destination)?;
        let program = self.program.map_or_else(Program::this, Ok)?;
        let destination = self.destination.as_os_str().as_bytes().to_vec();
        let options = absolute_lowers(self.options)?;
        let lowers_later = self.callbacks.lowers.is_some();
        let request = Request { destination, options: options.clone(), lowers_later };
        let durable = options.durability != Durability::None;
        let (root, making) = match self.root {
            Root::There(root) => (root, None),
            Root::Made(_) if options.list || !self.destination.as_os_str().is_empty() => {
                let text = "a listing makes nothing, and a destination inside the root needs a root that is there";
                return Err(Error::new(ErrorKind::Options, crate::error::Detail::Text(text)));
            }
            Root::Made(place) => {
                let (staging, root) = Staging::beside(&place, Some(program.clone()))?;
                (root, Some(Making { staging, place, durable }))
            }
        };
        let mut child = Child::spawn(&program, &root, archive, pipe, options, self.callbacks, self.canceller)?;
        child.send(&Down::Request(Box::new(request)));
        let (hasher, expected_digest) = match self.digest {
            Demand::None => (None, None),
            Demand::Compute => (Some(Sha256::new()), None),
            Demand::Expect(digest) => (Some(Sha256::new()), Some(digest)),
        };
        Ok(Session {
            counts: child.has_pipe() || hasher.is_some(),
            child,
            started,
            hasher,
            bytes_in: 0,
            expected_digest,
            expected_diff_id: self.expected_diff_id,
            making,
        })
    }
}

/// A root that has no name yet.
struct Making {
    staging: Staging,
    place: Place,
    durable: bool,
}

impl Making {
    fn complete(self, report: Report) -> Result<Report, Error> {
        match self.staging.commit(&self.place, self.durable) {
            Ok(()) => Ok(report),
            Err(error) => Err(error.with(Some(Box::new(report)), Vec::new())),
        }
    }
}

pub(crate) fn open_root(root: &Path) -> Result<OwnedFd, Error> {
    use nix::fcntl::{OFlag, open};
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = open(root, flags, nix::sys::stat::Mode::empty());
    opened.map_err(|e| Error::io_at(ErrorKind::Root, "opening the root", root, e.into()))
}

fn position(file: &File) -> Option<u64> {
    u64::try_from(nix::unistd::lseek(file, 0, nix::unistd::Whence::SeekCur).ok()?).ok()
}

/// The helper's working directory is the root, so a relative name must not wait until then.
fn absolute_lowers(mut options: Options) -> Result<Options, Error> {
    if let Mode::Overlay(overlay) = &mut options.mode {
        for lower in &mut overlay.lower {
            *lower = std::path::absolute(&*lower)
                .map_err(|e| Error::io_at(ErrorKind::Options, "making a lower directory's name absolute", lower, e))?;
        }
    }
    Ok(options)
}

/// Refuses options that contradict each other, before anything is started.
fn check(options: &Options, destination: &Path) -> Result<(), Error> {
    let wrong = match options {
        Options { mode: Mode::Overlay(_), .. } if !destination.as_os_str().is_empty() => {
            "overlay mode writes a whole upper directory, so there is no destination inside it"
        }
        Options { durability: crate::Durability::PerFile | crate::Durability::FileSystem, list: true, .. } => {
            "a listing writes nothing, so it has no durability"
        }
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Options, crate::error::Detail::Text(wrong)))
}

/// A running helper that waits for the archive: an [`io::Write`].
///
/// A write that fails with `BrokenPipe` means that the helper has ended; [`finish`](Session::finish) says
/// why. Dropped without `finish`, the helper is killed and reaped.
///
/// As [`AsFd`] it is the control socket, readable whenever [`check`](Session::check) has something to take
/// note of, the helper's end among it.
pub struct Session {
    child: Child,
    started: Instant,
    hasher: Option<Sha256>,
    bytes_in: u64,
    /// `bytes_in` is known here, not only in the helper.
    counts: bool,
    expected_digest: Option<Digest>,
    expected_diff_id: Option<Digest>,
    /// Dropped after the child: what nobody writes to any more is removed.
    making: Option<Making>,
}

impl Session {
    /// Takes note of what the helper has said, without waiting.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` once the helper has ended: call [`finish`](Session::finish).
    pub fn check(&mut self) -> io::Result<()> {
        self.child.pump(Ready::default(), None, PollTimeout::ZERO);
        if self.child.over() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    /// How far the helper has come, as last heard ([`Options::progress`]).
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.child.progress()
    }

    /// Ends the archive and waits for the outcome.
    ///
    /// # Errors
    ///
    /// Any.
    pub fn finish(mut self) -> Result<Report, Error> {
        self.child.close_pipe();
        self.child.wait_for_reply();
        self.outcome(None)
    }

    /// Ends the run because the caller's own source failed: the helper is killed, and the error is told
    /// before all others.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn abandon(mut self, error: io::Error) -> Result<Report, Error> {
        self.child.pump(Ready::default(), None, PollTimeout::ZERO);
        self.outcome(Some(error))
    }

    /// A handle that ends the run from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.child.canceller()
    }

    /// Takes the session apart for an asynchronous host: the pipe that the archive goes into, non-blocking,
    /// and the outcome to wait for. Dropping the pipe ends the archive. `None` for the pipe if the helper
    /// reads a descriptor of the caller's.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] if a digest of the archive as it comes is demanded: bytes written to the pipe do
    /// not pass here. The uncompressed stream's ([`Untar::expect_diff_id`]) is the helper's to compute.
    pub fn into_parts(mut self) -> Result<(Option<OwnedFd>, Pending), Error> {
        if self.hasher.is_some() {
            let text = "the archive goes past a session that is taken apart, so its digest must be the caller's to \
                        compute; a diff ID can be expected";
            return Err(Error::new(ErrorKind::Options, crate::error::Detail::Text(text)));
        }
        let pipe = self.child.take_pipe();
        self.counts = false;
        Ok((pipe, Pending { session: self }))
    }

    fn count(&mut self, bytes: &[u8]) {
        self.bytes_in += bytes.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
    }

    fn outcome(self, reader: Option<io::Error>) -> Result<Report, Error> {
        let digest = self.hasher.map(|hasher| Digest(hasher.finalize().into()));
        let mut outcome: Outcome = self.child.end();
        outcome.reader = reader;
        outcome.expected_digest = self.expected_digest;
        outcome.expected_diff_id = self.expected_diff_id;
        outcome.known = Known {
            bytes_in: self.counts.then_some(self.bytes_in),
            digest,
            total_us: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            ..outcome.known
        };
        let report = verdict(outcome)?;
        match self.making {
            Some(making) => making.complete(report),
            None => Ok(report),
        }
    }
}

impl Write for Session {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.child.write(&bytes[..bytes.len().min(PIECE)])?;
        self.count(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.socket()
    }
}

/// The outcome of a run whose archive is written elsewhere; from [`Session::into_parts`].
///
/// As [`AsFd`] it is the control socket: whenever it is readable, call [`poll`](Pending::poll).
pub struct Pending {
    session: Session,
}

impl Pending {
    /// Takes note of what the helper has said, without waiting; true once the run is over and
    /// [`wait`](Pending::wait) will not block.
    pub fn poll(&mut self) -> bool {
        self.session.check().is_err()
    }

    /// Waits for the outcome.
    ///
    /// # Errors
    ///
    /// Any.
    pub fn wait(self) -> Result<Report, Error> {
        self.session.finish()
    }

    /// How far the helper has come, as last heard.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.session.progress()
    }

    /// A handle that ends the run from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.session.canceller()
    }
}

impl AsFd for Pending {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.session.as_fd()
    }
}
