//! Where the archive comes from: the caller's writes, a reader, a descriptor, an asynchronous source.

use super::Untar;
use crate::error::Error;
use crate::fd::OwnedFd;
#[cfg(doc)]
use crate::kind::ErrorKind;
use crate::plan::PIECE;
use crate::report::{Listed, Report};
use crate::session::{Pending, Session};
use crate::system;
use std::io::{self, Read, Write};
use std::sync::mpsc;
#[cfg(feature = "tokio")]
use tokio::io::AsyncRead;

impl Untar {
    /// Starts the helper, to which the caller then writes the archive.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotInitialised`], [`ErrorKind::Options`], or [`ErrorKind::Helper`] if it cannot be
    /// started. What happens in it is told by [`Session::finish`].
    pub fn spawn(self) -> Result<Session, Error> {
        system::spawn(self.root, self.plan).map(|run| Session { run })
    }

    /// Applies what a reader gives. While the reader blocks, the helper's end is not noticed: where that
    /// matters, use [`apply_fd`](Untar::apply_fd) or a [`Session`]. With
    /// [`Options::stop_at_end`](crate::Options::stop_at_end) nothing is read before the helper needs it, so that a reader
    /// that blocks behind the archive's end is not asked for more; that costs the decoder its own thread.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Untar::spawn) and [`Session::finish`]; [`ErrorKind::Read`] if the reader fails, which comes
    /// before all others.
    pub fn apply(self, mut archive: impl Read) -> Result<Report, Error> {
        let in_step = self.plan.options.stop_at_end;
        let mut session = self.spawn()?;
        let mut buffer = vec![0; PIECE];
        loop {
            if in_step && !session.run.wait_until_hungry() {
                return session.finish();
            }
            match archive.read(&mut buffer) {
                Ok(0) => return session.finish(),
                Ok(n) if session.write_all(&buffer[..n]).is_err() => return session.finish(),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(session.abandon(e)),
            }
        }
    }

    /// Applies what an open file, pipe or socket gives from its present position. The helper reads it
    /// directly, so nothing is copied; if a digest is demanded, the parent reads a regular file beside the
    /// helper (true only if nobody writes to it meanwhile) and pumps anything else itself.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Untar::spawn) and [`Session::finish`]; [`ErrorKind::Read`] if the archive cannot be read.
    pub fn apply_fd(self, archive: impl Into<OwnedFd>) -> Result<Report, Error> {
        system::run(self.root, self.plan, archive.into(), &mut || ())
    }

    /// Lists what an open file, pipe or socket gives from its present position, and applies nothing: the root is
    /// only what the helper is confined to. `entry` is called for each entry, in this thread.
    ///
    /// # Errors
    ///
    /// As [`apply_fd`](Untar::apply_fd); [`ErrorKind::Options`] with [`Untar::atomic`], which makes something.
    pub fn list(mut self, archive: impl Into<OwnedFd>, mut entry: impl FnMut(Listed)) -> Result<Report, Error> {
        self.plan.options.list = true;
        let (tell, told) = mpsc::channel();
        let untar = self.on_listed(move |listed| drop(tell.send(listed)));
        let each = &mut || told.try_iter().for_each(&mut entry);
        let outcome = system::run(untar.root, untar.plan, archive.into(), each);
        told.try_iter().for_each(&mut entry);
        outcome
    }

    /// Starts to apply what an open file, pipe or socket gives from its present position, without waiting: for
    /// hosts that wait on descriptors. The helper reads it directly; if a digest is demanded, a thread of this
    /// process reads it and hands it on.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Untar::spawn). What happens in the helper is told by [`Pending::wait`].
    pub fn start_fd(self, archive: impl Into<OwnedFd>) -> Result<Pending, Error> {
        system::start_fd(self.root, self.plan, archive.into()).map(|run| Pending { run })
    }

    /// Applies what an asynchronous source gives, in a tokio runtime (feature `tokio`), multi-threaded or not.
    ///
    /// The task never blocks: it reads the next piece of the source (256 KiB at most) once the last one is in the
    /// helper's pipe, waits for room there, and hears at once when the helper ends, however stalled the source is. What
    /// may wait is done by the runtime's threads for blocking work: starting the helper (`posix_spawn`, and what
    /// [`Untar::atomic`] makes), mapping ids (`newuidmap`), the end (reaping, and with
    /// [`Durability`](crate::Durability) the disk). Callbacks are called by the task, so they must not block.
    ///
    /// Dropped before its end, it kills the helper; a thread of the runtime reaps it, and removes what
    /// [`Untar::atomic`] had begun. Dropped while it is ending, it may be too late, and the directory appears.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Untar::spawn) and [`Session::finish`]; [`ErrorKind::Read`] if the source fails, which comes before all
    /// others; [`ErrorKind::Options`] outside a tokio runtime.
    ///
    /// # Panics
    ///
    /// In a runtime without `enable_io`, or without `enable_time` while there is a time limit
    /// ([`ProcessLimits::timeout`](crate::ProcessLimits::timeout)).
    #[cfg(feature = "tokio")]
    pub async fn apply_async(self, archive: impl AsyncRead) -> Result<Report, Error> {
        system::apply_async(self.root, self.plan, archive).await
    }
}
