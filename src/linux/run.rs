//! A run that goes on: the helper, and what its outcome is compared with.

use super::child::{Child, Ready};
use super::feeder::Feeder;
use super::verdict::{Known, Outcome, verdict};
use crate::canceller::Canceller;
use crate::error::{Detail, Error};
use crate::kind::ErrorKind;
use crate::opened::Opened;
use crate::plan::PIECE;
use crate::report::{Digest, Progress, Report};
use crate::staging::{Made, Place, Staging};
use nix::poll::PollTimeout;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// A root that has no name yet.
pub(super) struct Making {
    pub(super) staging: Staging,
    pub(super) root: Made,
    pub(super) place: Place,
    pub(super) durable: bool,
}

impl Making {
    fn complete(self, report: Report) -> Result<Report, Error> {
        match self.staging.commit(&self.root, &self.place, self.durable) {
            Ok(()) => Ok(report),
            Err(error) => Err(error.with(Some(Box::new(report)), Vec::new())),
        }
    }
}

/// Dropped before its end, it kills and reaps the helper.
pub(crate) struct Run {
    pub(super) child: Child,
    pub(super) started: Instant,
    pub(super) hasher: Option<Sha256>,
    pub(super) bytes_in: u64,
    /// `bytes_in` is known here, not only in the helper.
    pub(super) counts: bool,
    pub(super) expected_digest: Option<Digest>,
    pub(super) expected_diff_id: Option<Digest>,
    /// Writes the archive in the caller's place.
    pub(super) feeder: Option<Feeder>,
    /// Dropped after the child: what nobody writes to any more is removed.
    pub(super) making: Option<Making>,
    /// Held, so that the helper's comparison is with inodes that nobody else can get.
    pub(super) _lowers: Vec<Opened>,
}

impl Run {
    /// Takes note of what the helper has said, without waiting.
    pub(crate) fn check(&mut self) -> io::Result<()> {
        // All of it, in turns: an edge-triggered host is not called again for what is left.
        while self.child.pump(Ready::default(), None, PollTimeout::ZERO).heard && !self.child.over() {}
        if self.child.over() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    pub(crate) fn progress(&self) -> Progress {
        self.child.progress()
    }

    pub(crate) fn canceller(&self) -> Canceller {
        self.child.canceller()
    }

    /// Waits until the helper needs more of the archive; false once it needs nothing any more.
    pub(crate) fn wait_until_hungry(&mut self) -> bool {
        self.child.wait_until_hungry()
    }

    pub(crate) fn finish(mut self) -> Result<Report, Error> {
        self.child.close_pipe();
        self.child.wait_for_reply();
        self.outcome(None)
    }

    pub(crate) fn abandon(mut self, error: io::Error) -> Error {
        self.child.pump(Ready::default(), None, PollTimeout::ZERO);
        match self.outcome(Some(error)) {
            Err(error) => error,
            // Never: the verdict on a reader's error is an error.
            Ok(_) => Error::of(ErrorKind::Read),
        }
    }

    /// The pipe that the archive goes into, and the rest.
    pub(crate) fn into_parts(mut self) -> Result<(OwnedFd, Run), Error> {
        let Some(pipe) = self.child.take_pipe().filter(|_| self.hasher.is_none()) else {
            let text = "the archive goes past a session that is taken apart, so its digest must be the caller's to \
                        compute; a diff ID can be expected";
            return Err(Error::new(ErrorKind::Options, Detail::Text(text)));
        };
        self.counts = false;
        Ok((pipe, self))
    }

    /// Has a thread write the archive.
    pub(super) fn feed(&mut self, archive: OwnedFd) -> io::Result<()> {
        let control = self.child.socket().try_clone_to_owned()?;
        if let Some(pipe) = self.child.take_pipe() {
            self.feeder = Some(Feeder::start(archive, pipe, control)?);
        }
        Ok(())
    }

    pub(super) fn count(&mut self, bytes: &[u8]) {
        self.bytes_in += bytes.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
    }

    pub(super) fn outcome(mut self, mut reader: Option<io::Error>) -> Result<Report, Error> {
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

impl Write for Run {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.child.write(&bytes[..bytes.len().min(PIECE)])?;
        self.count(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Run");
        fields.field("bytes_in", &self.bytes_in).field("progress", &self.child.progress()).finish_non_exhaustive()
    }
}

impl AsFd for Run {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.socket()
    }
}
