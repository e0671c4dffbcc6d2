//! The parent side: spawn the helper, stream the archive, collect the outcome.

mod canceller;
mod child;
mod feeder;
mod idmap;
#[cfg(feature = "tokio")]
mod task;
mod untar;
mod whiteouts;

pub use canceller::Canceller;
#[cfg(feature = "image")]
pub(crate) use child::KEPT;
#[cfg(feature = "tokio")]
pub use task::Running;
pub use untar::Untar;

#[cfg(feature = "image")]
pub(crate) use untar::{emptier, open_root};

use crate::error::{Error, Known, Outcome, verdict};
use crate::kind::ErrorKind;
use crate::opened::Opened;
use crate::report::{Digest, Progress, Report};
use crate::staging::{Made, Place, Staging};
use child::{Child, Ready};
use feeder::Feeder;
use nix::poll::PollTimeout;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The most read from the caller and written to the pipe at once.
const PIECE: usize = 1 << 20;

/// A root that has no name yet.
struct Making {
    staging: Staging,
    root: Made,
    place: Place,
    durable: bool,
}

impl Making {
    fn complete(self, report: Report) -> Result<Report, Error> {
        match self.staging.commit(&self.root, &self.place, self.durable) {
            Ok(()) => Ok(report),
            Err(error) => Err(error.with(Some(Box::new(report)), Vec::new())),
        }
    }
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
    /// Writes the archive in the caller's place.
    feeder: Option<Feeder>,
    /// Dropped after the child: what nobody writes to any more is removed.
    making: Option<Making>,
    /// Held, so that the helper's comparison is with inodes that nobody else can get.
    _lowers: Vec<Opened>,
}

impl Session {
    /// Takes note of what the helper has said, without waiting.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` once the helper has ended: call [`finish`](Session::finish).
    pub fn check(&mut self) -> io::Result<()> {
        // All of it, in turns: an edge-triggered host is not called again for what is left.
        while self.child.pump(Ready::default(), None, PollTimeout::ZERO).heard && !self.child.over() {}
        if self.child.over() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    /// How far the helper has come, as last heard ([`Options::progress`](crate::Options::progress)).
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.child.progress()
    }

    /// Ends the archive and waits for the outcome.
    ///
    /// # Errors
    ///
    /// Every kind but [`ErrorKind::Image`], [`ErrorKind::NotInitialised`] and [`ErrorKind::Unsupported`].
    pub fn finish(mut self) -> Result<Report, Error> {
        self.child.close_pipe();
        self.child.wait_for_reply();
        self.outcome(None)
    }

    /// Ends the run because the caller's own source failed: the helper is killed, and what is returned tells this
    /// error before all others, with how far the run came.
    #[must_use]
    pub fn abandon(mut self, error: io::Error) -> Error {
        self.child.pump(Ready::default(), None, PollTimeout::ZERO);
        match self.outcome(Some(error)) {
            Err(error) => error,
            // Never: the verdict on a reader's error is an error.
            Ok(_) => Error::of(ErrorKind::Read),
        }
    }

    /// A handle that ends the run from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.child.canceller()
    }

    /// Takes the session apart for an asynchronous host: the pipe that the archive goes into, and the outcome to
    /// wait for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] if a digest of the archive as it comes is demanded: bytes written to the pipe do
    /// not pass here. The uncompressed stream's ([`Untar::expect_diff_id`]) is the helper's to compute.
    pub fn into_parts(mut self) -> Result<Parts, Error> {
        let Some(pipe) = self.child.take_pipe().filter(|_| self.hasher.is_none()) else {
            let text = "the archive goes past a session that is taken apart, so its digest must be the caller's to \
                        compute; a diff ID can be expected";
            return Err(Error::new(ErrorKind::Options, crate::error::Detail::Text(text)));
        };
        self.counts = false;
        Ok(Parts { pipe, pending: Pending { session: self } })
    }

    /// Has a thread write the archive.
    fn feed(&mut self, archive: OwnedFd) -> io::Result<()> {
        let control = self.child.socket().try_clone_to_owned()?;
        if let Some(pipe) = self.child.take_pipe() {
            self.feeder = Some(Feeder::start(archive, pipe, control)?);
        }
        Ok(())
    }

    fn count(&mut self, bytes: &[u8]) {
        self.bytes_in += bytes.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
    }

    fn outcome(mut self, mut reader: Option<io::Error>) -> Result<Report, Error> {
        let mut outcome: Outcome = self.child.end();
        if let Some(feeder) = self.feeder {
            let fed = feeder.join();
            (self.hasher, self.bytes_in) = (Some(fed.hasher), fed.bytes);
            reader = reader.or(fed.error);
        }
        let digest = self.hasher.map(|hasher| Digest(hasher.finalize().into()));
        outcome.reader = reader;
        outcome.expected_digest = self.expected_digest;
        outcome.expected_diff_id = self.expected_diff_id;
        outcome.known = Known {
            bytes_in: self.counts.then_some(self.bytes_in),
            digest,
            total: Duration::from_micros(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)),
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

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Session");
        fields.field("bytes_in", &self.bytes_in).field("progress", &self.child.progress()).finish_non_exhaustive()
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.socket()
    }
}

/// What a session is made of; from [`Session::into_parts`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Parts {
    /// Where the archive is written to: a pipe, non-blocking. Dropping it ends the archive.
    pub pipe: OwnedFd,
    /// The outcome to wait for.
    pub pending: Pending,
}

/// The outcome of a run whose archive is read elsewhere: from [`Session::into_parts`] or [`Untar::start_fd`].
///
/// As [`AsFd`] it is the control socket: whenever it is readable, ask [`is_over`](Pending::is_over). Dropped without
/// [`wait`](Pending::wait), the helper is killed and reaped.
#[derive(Debug)]
pub struct Pending {
    session: Session,
}

impl Pending {
    /// Takes note of what the helper has said, without waiting; true once the run is over and
    /// [`wait`](Pending::wait) will not block.
    pub fn is_over(&mut self) -> bool {
        self.session.check().is_err()
    }

    /// Waits for the outcome.
    ///
    /// # Errors
    ///
    /// As [`Session::finish`]; after [`Untar::start_fd`] also [`ErrorKind::Read`] if the archive cannot be read.
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
