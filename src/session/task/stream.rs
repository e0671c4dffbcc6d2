//! From an asynchronous source into the helper's pipe.

use super::{Running, State, runtime, shut_down};
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::report::Report;
use crate::session::{Canceller, Session, Untar};
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe::Sender;

/// The most read from the source at once: digesting it is the longest that the task is busy.
const PIECE: usize = 256 << 10;

impl Untar {
    /// Applies what an asynchronous source gives, in a tokio runtime (feature `tokio`), multi-threaded or not.
    ///
    /// The task never blocks: it reads the source only when there is room in the helper's pipe, and hears at once
    /// when the helper ends, however stalled the source is. What may wait is done by the runtime's threads for
    /// blocking work: starting the helper (`posix_spawn`, and what [`Untar::atomic`] makes), mapping ids
    /// (`newuidmap`), the end (reaping, and with [`Durability`](crate::Durability) the disk). Callbacks are called by
    /// the task, so they must not block.
    ///
    /// Dropped before its end, it kills the helper; a thread of the runtime reaps it, and removes what
    /// [`Untar::atomic`] had begun. Dropped while it is ending, it may be too late, and the directory appears.
    ///
    /// # Errors
    ///
    /// Any; an error of the source comes before all others ([`ErrorKind::Read`]). Outside a tokio runtime
    /// [`ErrorKind::Options`].
    ///
    /// # Panics
    ///
    /// In a runtime without `enable_io`, or without `enable_time` while there is a time limit
    /// ([`ProcessLimits::timeout`](crate::ProcessLimits::timeout)).
    pub async fn apply_async(self, archive: impl AsyncRead) -> Result<Report, Error> {
        let mut session = start(self).await?;
        let pipe = session.child.take_pipe();
        let mut running = Running::new(session);
        let source = match pipe {
            Some(pipe) => running.stream(pipe, archive).await?,
            None => Ok(()),
        };
        if let Err(error) = source {
            running.end(Some(error))?;
        }
        running.await
    }
}

/// Ends what is being started for a future that is dropped meanwhile.
struct Unless(Option<Canceller>);

impl Drop for Unless {
    fn drop(&mut self) {
        if let Some(canceller) = &self.0 {
            canceller.cancel();
        }
    }
}

async fn start(untar: Untar) -> Result<Session, Error> {
    let mut dropped = Unless(Some(untar.canceller()));
    let session = runtime()?.spawn_blocking(move || untar.spawn()).await.map_err(shut_down)?;
    dropped.0 = None;
    session
}

impl Running {
    /// Until the source ends or fails, or nothing more is wanted of it.
    async fn stream(&mut self, pipe: OwnedFd, source: impl AsyncRead) -> Result<io::Result<()>, Error> {
        let pipe = Sender::from_owned_fd(pipe);
        let mut pipe = pipe.map_err(|e| Error::io(ErrorKind::Helper, "taking up the pipe", e))?;
        let mut source = pin!(source);
        let mut buffer = vec![0; PIECE];
        loop {
            let mut piece = ReadBuf::new(&mut buffer);
            match self.unless_over(|cx| source.as_mut().poll_read(cx, &mut piece)).await? {
                Some(Err(e)) if e.kind() == io::ErrorKind::Interrupted => continue,
                Some(Err(e)) => return Ok(Err(e)),
                Some(Ok(())) if !piece.filled().is_empty() => {}
                _ => return Ok(Ok(())),
            }
            if !self.write_all(&mut pipe, piece.filled()).await? {
                return Ok(Ok(()));
            }
        }
    }

    /// False if the helper takes no more: why, its outcome tells.
    async fn write_all(&mut self, pipe: &mut Sender, mut rest: &[u8]) -> Result<bool, Error> {
        while !rest.is_empty() {
            let Some(Ok(written)) = self.unless_over(|cx| pin!(&mut *pipe).poll_write(cx, rest)).await? else {
                return Ok(false);
            };
            self.count(&rest[..written]);
            rest = &rest[written..];
        }
        Ok(true)
    }

    fn count(&mut self, written: &[u8]) {
        if let State::Heard(session) = &mut self.state {
            session.count(written);
        }
    }

    /// What this poll gives, while the helper is heard; `None` once the run is over.
    async fn unless_over<T>(&mut self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Result<Option<T>, Error> {
        poll_fn(|cx| match self.poll_over(cx)? {
            Poll::Ready(()) => Poll::Ready(Ok(None)),
            // What is written is counted in the session, so it waits until that is back.
            Poll::Pending if !matches!(self.state, State::Heard(_)) => Poll::Pending,
            Poll::Pending => poll(cx).map(|value| Ok(Some(value))),
        })
        .await
    }
}
