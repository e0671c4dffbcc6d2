//! Ending a run from another thread.

use nix::sys::socket::{Shutdown, shutdown};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Ends a run from another thread: the session's next or present call returns
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
#[derive(Clone, Debug, Default)]
pub struct Canceller {
    /// The sockets of its helpers, numbered. Whoever cancels sets the flag before locking, whoever starts looks at it
    /// after unlocking, so a helper is either not waited for or hung up on.
    socket: Arc<Mutex<Vec<(u32, OwnedFd)>>>,
    cancelled: Arc<AtomicBool>,
}

impl Canceller {
    /// Ends the run. The helper leaves by itself, or is killed when the session is finished or dropped.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        // The helper sees the hang-up, the parent the end of the stream; no process id is involved.
        if let Ok(sockets) = self.socket.lock() {
            for (_, socket) in sockets.iter() {
                let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
            }
        }
    }

    /// Whether somebody has.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub(super) fn detach(&self, number: u32) {
        if let Ok(mut sockets) = self.socket.lock() {
            sockets.retain(|(of, _)| *of != number);
        }
    }

    /// The number is for [`detach`](Canceller::detach).
    pub(super) fn attach(&self, socket: OwnedFd) -> u32 {
        let Ok(mut sockets) = self.socket.lock() else { return 0 };
        let number = sockets.last().map_or(0, |(last, _)| last.wrapping_add(1));
        sockets.push((number, socket));
        number
    }
}
