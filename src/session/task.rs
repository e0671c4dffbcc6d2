//! A run that a task of tokio waits for: the same session, driven by a reactor instead of a thread.
//!
//! The task hears the helper and fills its pipe, neither of which waits. What may take its time goes to the runtime's
//! threads for that, with the session as a whole: the start, answers to the helper's questions, the end. So there is one
//! owner at each moment, and a future that is dropped leaves the rest to such a thread.

mod stream;
mod watch;

use super::{Canceller, Pending, Session};
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

/// A run that a task waits for: the future of a [`Pending`].
///
/// Dropped before its end, it kills the helper; a thread of the runtime reaps it, and removes what
/// [`Untar::atomic`](crate::Untar::atomic) had begun. Callbacks are called by the task, so they must not block.
///
/// # Panics
///
/// When it is first polled in a runtime without `enable_io`, or without `enable_time` while there is a time limit
/// ([`ProcessLimits::timeout`](crate::ProcessLimits::timeout)). Outside a runtime its outcome is [`ErrorKind::Options`].
#[must_use = "a future does nothing unless it is awaited, and kills the helper when it is dropped"]
pub struct Running {
    state: State,
    watch: Option<Watch>,
    progress: Progress,
    canceller: Canceller,
}

enum State {
    /// Its helper is heard as it speaks.
    Heard(Box<Session>),
    /// A thread answers its helper.
    Answering(JoinHandle<Box<Session>>),
    /// It is over, and a thread sees to the rest.
    Ending(JoinHandle<Result<Report, Error>>),
    Ended,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl Running {
    fn new(session: Session) -> Running {
        let (progress, canceller) = (session.progress(), session.canceller());
        Running { state: State::Heard(Box::new(session)), watch: None, progress, canceller }
    }

    /// How far the helper has come, as last heard ([`Options::progress`](crate::Options::progress)).
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// A handle that ends the run from elsewhere.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Hears the helper until the run is over.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            match &mut self.state {
                State::Heard(session) if session.child.over() => return Poll::Ready(Ok(())),
                State::Heard(session) => {
                    let watch = match &mut self.watch {
                        Some(watch) => watch,
                        none => none.insert(Watch::new(&mut session.child)?),
                    };
                    if session.child.has_asked() {
                        let runtime = watch.runtime.clone();
                        self.answer(&runtime);
                        continue;
                    }
                    ready!(watch.poll_hear(&mut session.child, cx)).map_err(unheard)?;
                    self.progress = session.progress();
                }
                State::Answering(task) => {
                    let session = ready!(Pin::new(task).poll(cx)).map_err(shut_down)?;
                    self.state = State::Heard(session);
                }
                State::Ending(_) | State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    fn answer(&mut self, runtime: &Handle) {
        if let Some(mut session) = self.take() {
            self.state = State::Answering(runtime.spawn_blocking(move || {
                session.child.answer_asked();
                session
            }));
        }
    }

    /// Lets a thread end it, with the error of the caller's own source if there was one.
    fn end(&mut self, source: Option<io::Error>) -> Result<(), Error> {
        let runtime = runtime()?;
        if let Some(mut session) = self.take() {
            session.child.close_pipe();
            self.state = State::Ending(runtime.spawn_blocking(move || session.outcome(source)));
        }
        Ok(())
    }

    /// The session, if no thread has it.
    fn take(&mut self) -> Option<Box<Session>> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Heard(session) => Some(session),
            other => {
                self.state = other;
                None
            }
        }
    }
}

impl Future for Running {
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

impl Drop for Running {
    fn drop(&mut self) {
        match self.take() {
            Some(session) => self.release(session),
            // Whatever the thread waits for of the helper, it ends.
            None if matches!(self.state, State::Answering(_)) => self.canceller.cancel(),
            None => {}
        }
    }
}

impl Running {
    /// Kills the helper now; reaping it and removing what was made may take a while.
    fn release(&self, mut session: Box<Session>) {
        session.child.signal_end();
        if let Some(watch) = &self.watch {
            drop(watch.runtime.spawn_blocking(move || drop(session)));
        }
    }
}

impl IntoFuture for Pending {
    type Output = Result<Report, Error>;
    type IntoFuture = Running;

    /// From here on a reactor waits, not a thread.
    fn into_future(self) -> Running {
        Running::new(self.session)
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
