//! A packing that a task reads: the same run, driven by a reactor instead of a thread.

use super::watch::Watch;
use super::{runtime, shut_down, unheard};
use crate::canceller::Canceller;
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::linux::pack::PackRun;
use crate::report::{Packed, Progress};
use std::fmt;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinHandle;

/// Dropped before its end, it kills the helper; a thread of the runtime reaps it.
pub(crate) struct PackTask {
    state: State,
    watch: Option<Watch>,
    /// Before it is first polled, and in a runtime.
    unread: Option<OwnedFd>,
    pipe: Option<Receiver>,
    progress: Progress,
    canceller: Canceller,
}

enum State {
    /// Its helper is heard as it speaks.
    Heard(Box<PackRun>),
    /// A thread answers its helper.
    Answering(JoinHandle<Box<PackRun>>),
    /// All that can come has come, and a thread waits for the outcome.
    Ending(JoinHandle<Result<Packed, Error>>),
    Ended,
}

impl fmt::Debug for PackTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackTask").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl PackTask {
    pub(crate) fn new(mut run: PackRun) -> Box<PackTask> {
        let (progress, canceller, unread) = (run.progress(), run.canceller(), run.lend_pipe());
        Box::new(PackTask { state: State::Heard(Box::new(run)), watch: None, unread, pipe: None, progress, canceller })
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    pub(crate) fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Reads on; the outcome once the archive has come to its end, one way or the other.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Option<Result<Packed, Error>>> {
        loop {
            match &mut self.state {
                State::Ending(task) => {
                    let outcome = ready!(Pin::new(task).poll(cx)).unwrap_or_else(|error| Err(shut_down(error)));
                    self.state = State::Ended;
                    return Poll::Ready(Some(outcome));
                }
                State::Ended => return Poll::Ready(Some(Err(Error::of(ErrorKind::Cancelled)))),
                State::Heard(_) | State::Answering(_) => {}
            }
            match ready!(self.poll_on(cx, buffer)) {
                Ok(true) => return Poll::Ready(None),
                Ok(false) => {
                    if let Err(error) = self.end() {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    /// True once bytes have come, false if none will any more.
    fn poll_on(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<bool, Error>> {
        let over = match self.poll_heard(cx) {
            Poll::Ready(heard) => heard.map(|()| true)?,
            Poll::Pending => false,
        };
        let State::Heard(run) = &mut self.state else { return Poll::Pending };
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(false)) };
        let before = buffer.filled().len();
        match pin!(pipe).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                let came = buffer.filled().len() - before;
                run.count(came);
                Poll::Ready(Ok(came > 0))
            }
            Poll::Ready(Err(error)) => {
                Poll::Ready(Err(Error::io(ErrorKind::Read, "reading the archive from its helper", error)))
            }
            // What it has written is in the pipe before it says that it is done.
            Poll::Pending if over => Poll::Ready(Ok(false)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Hears the helper until it is over.
    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(pipe) = self.unread.take() {
            // The reactor's own clock.
            runtime()?;
            let pipe = Receiver::from_owned_fd(pipe);
            self.pipe = Some(pipe.map_err(|e| Error::io(ErrorKind::Helper, "taking up the pipe", e))?);
        }
        loop {
            match &mut self.state {
                State::Heard(run) if run.child.over() => return Poll::Ready(Ok(())),
                State::Heard(run) => {
                    let watch = match &mut self.watch {
                        Some(watch) => watch,
                        none => none.insert(Watch::new(&mut run.child)?),
                    };
                    if run.child.has_asked() {
                        let runtime = watch.runtime.clone();
                        if let Some(mut run) = self.take() {
                            self.state = State::Answering(runtime.spawn_blocking(move || {
                                run.child.answer_asked();
                                run
                            }));
                        }
                        continue;
                    }
                    ready!(watch.poll_hear(&mut run.child, cx)).map_err(unheard)?;
                    self.progress = run.progress();
                }
                State::Answering(task) => {
                    let run = ready!(Pin::new(task).poll(cx)).map_err(shut_down)?;
                    self.state = State::Heard(run);
                }
                State::Ending(_) | State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Lets a thread wait for the outcome.
    fn end(&mut self) -> Result<(), Error> {
        let runtime = runtime()?;
        self.pipe = None;
        if let Some(run) = self.take() {
            self.state = State::Ending(runtime.spawn_blocking(move || run.finish()));
        }
        Ok(())
    }

    /// The run, if no thread has it.
    fn take(&mut self) -> Option<Box<PackRun>> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Heard(run) => Some(run),
            other => {
                self.state = other;
                None
            }
        }
    }
}

impl Drop for PackTask {
    fn drop(&mut self) {
        match self.take() {
            // Reaping it may take a while.
            Some(mut run) => {
                run.child.signal_end();
                if let Some(watch) = &self.watch {
                    drop(watch.runtime.spawn_blocking(move || drop(run)));
                }
            }
            // Whatever the thread waits for of the helper, it ends.
            None if !matches!(self.state, State::Ended) => self.canceller.cancel(),
            None => {}
        }
    }
}
