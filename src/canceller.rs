//! Ending a run from another thread.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Ends a run from another thread: the session's next or present call returns
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
#[derive(Clone, Default)]
pub struct Canceller {
    /// How its helpers are hung up on, numbered. Whoever cancels sets the flag before locking, whoever starts looks at it
    /// after unlocking, so a helper is either not waited for or hung up on.
    lines: Arc<Mutex<Vec<(u32, HangUp)>>>,
    cancelled: Arc<AtomicBool>,
}

/// Hangs up on one helper; it may be called more than once.
type HangUp = Box<dyn Fn() + Send>;

impl Canceller {
    /// Ends the run. The helper leaves by itself, or is killed when the session is finished or dropped.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        // The helper sees the hang-up, the parent the end of the stream; no process id is involved.
        if let Ok(lines) = self.lines.lock() {
            lines.iter().for_each(|(_, hang_up)| hang_up());
        }
    }

    /// Whether somebody has.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub(crate) fn detach(&self, number: u32) {
        if let Ok(mut lines) = self.lines.lock() {
            lines.retain(|(of, _)| *of != number);
        }
    }

    /// The number is for [`detach`](Canceller::detach).
    pub(crate) fn attach(&self, hang_up: impl Fn() + Send + 'static) -> u32 {
        let Ok(mut lines) = self.lines.lock() else { return 0 };
        let number = lines.last().map_or(0, |(last, _)| last.wrapping_add(1));
        lines.push((number, Box::new(hang_up)));
        number
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}
