//! What is had of a run that has been started: the public side of it, on every system.

mod copy;
#[cfg(unix)]
mod fd;
mod lower;
mod pack;
mod program;
#[cfg(feature = "tokio")]
mod running;
mod untar;

pub use copy::Copy;
pub use pack::{Diff, Pack, PackParts, Packing, PendingPack};
#[cfg(feature = "tokio")]
pub use running::Running;
pub use untar::Untar;

use crate::canceller::Canceller;
use crate::error::Error;
use crate::fd::OwnedFd;
#[cfg(doc)]
use crate::kind::ErrorKind;
use crate::report::{Progress, Report};
use crate::system::Run;
use std::io::{self, Write};

/// A running helper that waits for the archive: an [`io::Write`].
///
/// A write that fails with `BrokenPipe` means that the helper has ended; [`finish`](Session::finish) says
/// why. Dropped without `finish`, the helper is killed and reaped.
///
/// As [`AsFd`](std::os::fd::AsFd) it is the control socket, readable whenever [`check`](Session::check) has something to take
/// note of, the helper's end among it.
#[derive(Debug)]
pub struct Session {
    run: Run,
}

impl Session {
    /// Takes note of what the helper has said, without waiting.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` once the helper has ended: call [`finish`](Session::finish).
    pub fn check(&mut self) -> io::Result<()> {
        self.run.check()
    }

    /// How far the helper has come, as last heard ([`Options::progress`](crate::Options::progress)).
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.run.progress()
    }

    /// Ends the archive and waits for the outcome.
    ///
    /// # Errors
    ///
    /// Every kind but [`ErrorKind::Image`], [`ErrorKind::NotInitialised`] and [`ErrorKind::Unsupported`].
    pub fn finish(self) -> Result<Report, Error> {
        self.run.finish()
    }

    /// Ends the run because the caller's own source failed: the helper is killed, and what is returned tells this
    /// error before all others, with how far the run came.
    #[must_use]
    pub fn abandon(self, error: io::Error) -> Error {
        self.run.abandon(error)
    }

    /// A handle that ends the run from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.run.canceller()
    }

    /// Takes the session apart for an asynchronous host: the pipe that the archive goes into, and the outcome to
    /// wait for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] if a digest of the archive as it comes is demanded: bytes written to the pipe do
    /// not pass here. The uncompressed stream's ([`Untar::expect_diff_id`]) is the helper's to compute.
    pub fn into_parts(self) -> Result<Parts, Error> {
        let (pipe, run) = self.run.into_parts()?;
        Ok(Parts { pipe, pending: Pending { run } })
    }
}

impl Write for Session {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.run.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
/// As [`AsFd`](std::os::fd::AsFd) it is the control socket: whenever it is readable, ask [`is_over`](Pending::is_over). Dropped without
/// [`wait`](Pending::wait), the helper is killed and reaped.
#[derive(Debug)]
pub struct Pending {
    run: Run,
}

impl Pending {
    /// Takes note of what the helper has said, without waiting; true once the run is over and
    /// [`wait`](Pending::wait) will not block.
    pub fn is_over(&mut self) -> bool {
        self.run.check().is_err()
    }

    /// Waits for the outcome.
    ///
    /// # Errors
    ///
    /// As [`Session::finish`]; after [`Untar::start_fd`] also [`ErrorKind::Read`] if the archive cannot be read.
    pub fn wait(self) -> Result<Report, Error> {
        self.run.finish()
    }

    /// How far the helper has come, as last heard.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.run.progress()
    }

    /// A handle that ends the run from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.run.canceller()
    }
}
