//! From an asynchronous source into the helper's pipe.

use super::{State, Task, runtime, shut_down};
use crate::canceller::Canceller;
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::linux::root::Root;
use crate::linux::run::Run;
use crate::linux::start::spawn;
use crate::plan::Plan;
use crate::report::Report;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe::Sender;

/// The most read from the source at once: digesting it is the longest that the task is busy.
const PIECE: usize = 256 << 10;

pub(crate) async fn apply_async(root: Root, plan: Plan, archive: impl AsyncRead) -> Result<Report, Error> {
    let mut run = start(root, plan).await?;
    let pipe = run.child.take_pipe();
    let mut running = Task::new(run);
    let source = match pipe {
        Some(pipe) => running.stream(pipe, archive).await?,
        None => Ok(()),
    };
    if let Err(error) = source {
        running.end(Some(error))?;
    }
    running.await
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

async fn start(root: Root, plan: Plan) -> Result<Run, Error> {
    let mut dropped = Unless(Some(plan.canceller.clone()));
    let run = runtime()?.spawn_blocking(move || spawn(root, plan)).await.map_err(shut_down)?;
    dropped.0 = None;
    run
}

impl Task {
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
        if let State::Heard(run) = &mut self.state {
            run.count(written);
        }
    }

    /// What this poll gives, while the helper is heard; `None` once the run is over.
    async fn unless_over<T>(&mut self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Result<Option<T>, Error> {
        poll_fn(|cx| match self.poll_over(cx)? {
            Poll::Ready(()) => Poll::Ready(Ok(None)),
            // What is written is counted in the run, so it waits until that is back.
            Poll::Pending if !matches!(self.state, State::Heard(_)) => Poll::Pending,
            Poll::Pending => poll(cx).map(|value| Ok(Some(value))),
        })
        .await
    }
}
