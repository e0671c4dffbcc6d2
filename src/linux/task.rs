//! A run that a task of tokio waits for: the same run, driven by a reactor instead of a thread.
//!
//! The task hears the helper and fills its pipe, neither of which waits. What may take its time goes to the runtime's
//! threads for that, with the run as a whole: the start, answers to the helper's questions, the end. So there is one
//! owner at each moment, and a future that is dropped leaves the rest to such a thread.

mod packing;
mod stream;
mod watch;

pub(crate) use packing::PackTask;
pub(crate) use stream::apply_async;

use super::run::Run;
use crate::canceller::Canceller;
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::report::{Progress, Report};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle};
use watch::Watch;

/// Dropped before its end, it kills the helper; a thread of the runtime reaps it, and removes what had been made.
pub(crate) struct Task {
    state: State,
    watch: Option<Watch>,
    progress: Progress,
    canceller: Canceller,
}

enum State {
    /// Its helper is heard as it speaks.
    Heard(Box<Run>),
    /// A thread answers its helper.
    Answering(JoinHandle<Box<Run>>),
    /// It is over, and a thread sees to the rest.
    Ending(JoinHandle<Result<Report, Error>>),
    Ended,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl Task {
    pub(crate) fn new(run: Run) -> Task {
        let (progress, canceller) = (run.progress(), run.canceller());
        Task { state: State::Heard(Box::new(run)), watch: None, progress, canceller }
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    pub(crate) fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Hears the helper until the run is over.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
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
                        self.answer(&runtime);
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

    fn answer(&mut self, runtime: &Handle) {
        if let Some(mut run) = self.take() {
            self.state = State::Answering(runtime.spawn_blocking(move || {
                run.child.answer_asked();
                run
            }));
        }
    }

    /// Lets a thread end it, with the error of the caller's own source if there was one.
    fn end(&mut self, source: Option<io::Error>) -> Result<(), Error> {
        let runtime = runtime()?;
        if let Some(mut run) = self.take() {
            run.child.close_pipe();
            self.state = State::Ending(runtime.spawn_blocking(move || run.outcome(source)));
        }
        Ok(())
    }

    /// The run, if no thread has it.
    fn take(&mut self) -> Option<Box<Run>> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Heard(run) => Some(run),
            other => {
                self.state = other;
                None
            }
        }
    }
}

impl Future for Task {
    type Output = Result<Report, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !matches!(self.state, State::Ending(_)) {
            ready!(self.poll_over(cx))?;
            self.end(None)?;
        }
        let outcome = match &mut self.state {
            State::Ending(task) => ready!(Pin::new(task).poll(cx)).unwrap_or_else(|error| Err(shut_down(error))),
            // Polled again after its end.
            _ => Err(Error::of(ErrorKind::Cancelled)),
        };
        self.state = State::Ended;
        Poll::Ready(outcome)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        match self.take() {
            Some(run) => self.release(run),
            // Whatever the thread waits for of the helper, it ends.
            None if matches!(self.state, State::Answering(_)) => self.canceller.cancel(),
            None => {}
        }
    }
}

impl Task {
    /// Kills the helper now; reaping it and removing what was made may take a while.
    fn release(&self, mut run: Box<Run>) {
        run.child.signal_end();
        if let Some(watch) = &self.watch {
            drop(watch.runtime.spawn_blocking(move || drop(run)));
        }
    }
}

fn runtime() -> Result<Handle, Error> {
    let text = "this future is polled outside a tokio runtime";
    Handle::try_current().map_err(|_| Error::new(ErrorKind::Options, crate::error::Detail::Text(text)))
}

/// A thread of the runtime that has panicked, in a callback of the caller's, or one that never ran.
fn shut_down(error: JoinError) -> Error {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Error::of(ErrorKind::Cancelled),
    }
}

fn unheard(error: io::Error) -> Error {
    Error::io(ErrorKind::Helper, "waiting for the helper", error)
}
