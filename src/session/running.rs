//! A run that a task waits for.

use super::Pending;
use crate::canceller::Canceller;
use crate::error::Error;
#[cfg(doc)]
use crate::kind::ErrorKind;
use crate::report::{Progress, Report};
use crate::system::Task;
use std::pin::Pin;
use std::task::{Context, Poll};

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
#[derive(Debug)]
pub struct Running {
    task: Task,
}

impl Running {
    /// How far the helper has come, as last heard ([`Options::progress`](crate::Options::progress)).
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.task.progress()
    }

    /// A handle that ends the run from elsewhere.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.task.canceller()
    }
}

impl Future for Running {
    type Output = Result<Report, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.task).poll(cx)
    }
}

impl IntoFuture for Pending {
    type Output = Result<Report, Error>;
    type IntoFuture = Running;

    /// From here on a reactor waits, not a thread.
    fn into_future(self) -> Running {
        Running { task: Task::new(self.run) }
    }
}
