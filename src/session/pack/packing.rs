//! A packing that goes on: the archive to read, and the outcome.

use crate::canceller::Canceller;
#[cfg(feature = "tokio")]
use crate::error::Detail;
use crate::error::Error;
use crate::fd::OwnedFd;
#[cfg(doc)]
use crate::kind::ErrorKind;
use crate::report::{Packed, Progress};
use crate::system::PackRun;
#[cfg(feature = "tokio")]
use crate::system::PackTask;
use std::io::{self, Read};
#[cfg(feature = "tokio")]
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
#[cfg(feature = "tokio")]
use tokio::io::{AsyncRead, ReadBuf};

/// A running helper that packs: an [`io::Read`] of the archive.
///
/// It ends (`Ok(0)`) only when the helper has said that all is well and every byte of it has come; else reading fails, and
/// goes on failing, with the [`Error`] inside: a cut archive cannot be taken for a whole one. Dropped before, the helper is
/// killed and reaped.
///
/// With the feature `tokio` it is an `AsyncRead` too, with the same promise, in a runtime with `enable_io` (and `enable_time`
/// if there is a time limit). The task never blocks: the outcome is waited for by the runtime's threads for blocking work.
/// Whoever has begun to read it so reads it so to its end.
#[derive(Debug)]
pub struct Packing {
    state: State,
}

#[derive(Debug)]
enum State {
    Running(Box<PackRun>),
    /// A task reads it.
    #[cfg(feature = "tokio")]
    Polled(Box<PackTask>),
    Done(Box<Packed>),
    /// The error, until somebody has taken it.
    Failed(Option<Error>),
}

impl Packing {
    pub(super) fn new(run: PackRun) -> Packing {
        Packing { state: State::Running(Box::new(run)) }
    }

    /// What was packed, once the archive has been read to its end. What of it has not been read is read and thrown away.
    ///
    /// # Errors
    ///
    /// What a read has failed with, if that error has not been taken yet: [`ErrorKind::Entry`], [`ErrorKind::Refused`],
    /// [`ErrorKind::Limit`], [`ErrorKind::Storage`], [`ErrorKind::Root`], [`ErrorKind::Confinement`],
    /// [`ErrorKind::Helper`], [`ErrorKind::Protocol`], [`ErrorKind::Cancelled`] or [`ErrorKind::Options`].
    pub fn finish(mut self) -> Result<Packed, Error> {
        let mut rest = vec![0; 64 << 10];
        loop {
            match std::mem::replace(&mut self.state, State::Failed(None)) {
                State::Done(packed) => return Ok(*packed),
                State::Failed(Some(error)) => return Err(error),
                State::Failed(None) => return Err(Error::of(crate::kind::ErrorKind::Helper)),
                #[cfg(feature = "tokio")]
                State::Polled(_) => return Err(polled()),
                running @ State::Running(_) => {
                    self.state = running;
                    self.advance(&mut rest);
                }
            }
        }
    }

    /// Reads on; 0 if that has come to its end, one way or the other.
    pub(super) fn advance(&mut self, buffer: &mut [u8]) -> usize {
        #[cfg(feature = "tokio")]
        if matches!(self.state, State::Polled(_)) {
            self.state = State::Failed(Some(polled()));
        }
        let State::Running(run) = &mut self.state else { return 0 };
        let read = run.read(buffer);
        if let Ok(n @ 1..) = read {
            return n;
        }
        if let State::Running(run) = std::mem::replace(&mut self.state, State::Failed(None)) {
            let ended = match read {
                Ok(_) => run.finish(),
                Err(error) => {
                    Err(Error::io(crate::kind::ErrorKind::Read, "reading the archive from its helper", error))
                }
            };
            self.state = match ended {
                Ok(packed) => State::Done(Box::new(packed)),
                Err(error) => State::Failed(Some(error)),
            };
        }
        0
    }

    /// What was packed, once the archive has been read to its end.
    #[must_use]
    pub fn packed(&self) -> Option<&Packed> {
        match &self.state {
            State::Done(packed) => Some(packed),
            _ => None,
        }
    }

    /// How far the helper has come, as last heard ([`PackOptions::progress`](crate::PackOptions::progress)).
    #[must_use]
    pub fn progress(&self) -> Progress {
        match &self.state {
            State::Running(run) => run.progress(),
            #[cfg(feature = "tokio")]
            State::Polled(task) => task.progress(),
            _ => Progress::default(),
        }
    }

    /// A handle that ends the run from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        match &self.state {
            State::Running(run) => run.canceller(),
            #[cfg(feature = "tokio")]
            State::Polled(task) => task.canceller(),
            _ => Canceller::default(),
        }
    }

    /// Takes it apart for an asynchronous host: the pipe that the archive comes out of, and the outcome to wait for.
    ///
    /// The end of the pipe is not the end of the archive: only [`PendingPack::wait`] says whether it is whole.
    ///
    /// # Errors
    ///
    /// What [`finish`](Packing::finish) would answer, if it is over.
    pub fn into_parts(self) -> Result<PackParts, Error> {
        match self.state {
            State::Running(mut run) => match run.take_pipe() {
                Some(pipe) => Ok(PackParts { pipe, pending: PendingPack { run: *run } }),
                None => Err(Error::of(crate::kind::ErrorKind::Helper)),
            },
            #[cfg(feature = "tokio")]
            State::Polled(_) => Err(polled()),
            State::Failed(Some(error)) => Err(error),
            State::Failed(None) | State::Done(_) => Err(Error::of(crate::kind::ErrorKind::Options)),
        }
    }
}

impl Read for Packing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match self.advance(buffer) {
            0 => self.ended().map(|()| 0),
            n => Ok(n),
        }
    }
}

impl Packing {
    /// Nothing comes any more; an error unless that is all of it.
    fn ended(&mut self) -> io::Result<()> {
        let State::Failed(error) = &mut self.state else { return Ok(()) };
        Err(match error.take() {
            // Whoever reads takes an interrupted read for one to be tried again.
            Some(error) if error.kind() == crate::kind::ErrorKind::Cancelled => io::Error::other(error),
            Some(error) => error.into(),
            None => io::Error::other("the packing has failed, and its archive is not whole"),
        })
    }
}

#[cfg(feature = "tokio")]
fn polled() -> Error {
    let text = "a packing that a task has begun to read is read to its end by it";
    Error::new(crate::kind::ErrorKind::Options, Detail::Text(text))
}

#[cfg(feature = "tokio")]
impl AsyncRead for Packing {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.state = match std::mem::replace(&mut self.state, State::Failed(None)) {
            State::Running(run) => State::Polled(PackTask::new(*run)),
            other => other,
        };
        if let State::Polled(task) = &mut self.state {
            match ready!(task.poll_read(cx, buffer)) {
                None => return Poll::Ready(Ok(())),
                Some(Ok(packed)) => self.state = State::Done(Box::new(packed)),
                Some(Err(error)) => self.state = State::Failed(Some(error)),
            }
        }
        Poll::Ready(self.ended())
    }
}

/// What a packing is made of; from [`Packing::into_parts`].
#[derive(Debug)]
#[non_exhaustive]
pub struct PackParts {
    /// Where the archive is read from: a pipe, non-blocking. What it brings is whole only if `pending` says so.
    pub pipe: OwnedFd,
    /// The outcome to wait for.
    pub pending: PendingPack,
}

/// The outcome of a packing whose archive is read elsewhere.
///
/// Dropped without [`wait`](PendingPack::wait), the helper is killed and reaped.
#[derive(Debug)]
pub struct PendingPack {
    run: PackRun,
}

impl PendingPack {
    /// Takes note of what the helper has said, without waiting; true once the run is over and [`wait`](PendingPack::wait)
    /// will not block.
    pub fn is_over(&mut self) -> bool {
        self.run.check().is_err()
    }

    /// Waits for the outcome. The pipe must be read meanwhile, or have been.
    ///
    /// # Errors
    ///
    /// As [`Packing::finish`].
    pub fn wait(self) -> Result<Packed, Error> {
        self.run.finish()
    }

    /// A handle that ends the run from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.run.canceller()
    }
}
