//! Descriptor 0: the archive as it comes, read only while the parent is there.

use super::fault::{Fault, Result};
use crate::Cause;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fmt;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Says whether the run may go on: the parent is there and the time is not over.
#[derive(Clone)]
pub(crate) struct Watch {
    control: Arc<OwnedFd>,
    deadline: Option<(Instant, u64)>,
}

impl Watch {
    /// `timeout_ms` counts from now; 0 is no limit.
    pub(crate) fn new(control: OwnedFd, timeout_ms: u64) -> Watch {
        let deadline = (timeout_ms > 0)
            .then(|| Instant::now().checked_add(std::time::Duration::from_millis(timeout_ms)))
            .flatten();
        Watch { control: Arc::new(control), deadline: deadline.map(|d| (d, timeout_ms)) }
    }

    /// An error once the parent has hung up or the time is over.
    pub(crate) fn check(&self) -> Result<(), Cause> {
        self.wait_for(None, false).map(drop)
    }

    /// Waits until `fd`, if given, can be read; true if it can.
    fn wait_for(&self, fd: Option<&OwnedFd>, patient: bool) -> Result<bool, Cause> {
        loop {
            // A hang-up is always told, so nothing is asked for.
            let mut fds = vec![PollFd::new(self.control.as_fd(), PollFlags::empty())];
            fds.extend(fd.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
            let timeout = if patient { self.remaining()? } else { PollTimeout::ZERO };
            match poll(&mut fds, timeout) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Cause::Os(errno as i32)),
            }
            if fds[0].any().unwrap_or(true) {
                return Err(Cause::Cancelled);
            }
            self.remaining()?;
            let ready = fds.get(1).is_some_and(|slot| slot.any().unwrap_or(true));
            if ready || !patient {
                return Ok(ready);
            }
        }
    }

    fn remaining(&self) -> Result<PollTimeout, Cause> {
        let Some((deadline, value)) = self.deadline else { return Ok(PollTimeout::NONE) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Cause::Limit { limit: crate::Limit::Timeout, value });
        }
        // Rounded up, so that a poll does not spin through the last millisecond.
        Ok(PollTimeout::try_from(left.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX))
    }
}

/// The archive's bytes, counted.
pub(crate) struct Input {
    /// Shared with whoever keeps the number 0 taken when the input has been read to its end.
    fd: Arc<OwnedFd>,
    watch: Watch,
    count: Arc<AtomicU64>,
    patience: Patience,
}

/// Whether a read waits for the source; set by whoever reads through a decoder.
#[derive(Clone)]
pub(crate) struct Patience(Arc<AtomicBool>);

impl Patience {
    pub(crate) fn set(&self, patient: bool) {
        self.0.store(patient, Ordering::Relaxed);
    }
}

impl Input {
    pub(crate) fn new(fd: Arc<OwnedFd>, watch: Watch) -> Input {
        Input { fd, watch, count: Arc::default(), patience: Patience(Arc::new(AtomicBool::new(true))) }
    }

    /// Whether a read would not have to wait, as far as is known.
    pub(crate) fn is_ready(&self) -> bool {
        self.watch.wait_for(Some(&self.fd), false).unwrap_or(false)
    }

    pub(crate) fn patience(&self) -> Patience {
        self.patience.clone()
    }

    /// Bytes read so far, to be looked at from elsewhere.
    pub(crate) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.count)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let patient = self.patience.0.load(Ordering::Relaxed);
            if !self.watch.wait_for(Some(&self.fd), patient).map_err(carried)? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            match nix::unistd::read(&*self.fd, buffer) {
                Ok(n) => {
                    self.count.fetch_add(n as u64, Ordering::Relaxed);
                    return Ok(n);
                }
                // The descriptor's flags are the caller's: it may be non-blocking.
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(errno) => return Err(carried(Cause::Os(errno as i32))),
            }
        }
    }
}

/// A cause on its way through a decoder, which knows only `io::Error`.
#[derive(Debug)]
struct Carried(Cause);

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Carried {}

fn carried(cause: Cause) -> io::Error {
    io::Error::other(Carried(cause))
}

/// The fault of the input that a decoder passed on, if it is one.
pub(crate) fn fault_in(error: &io::Error) -> Option<Fault> {
    let cause = &error.get_ref()?.downcast_ref::<Carried>()?.0;
    let operation = matches!(cause, Cause::Os(_)).then(|| crate::Operation::new("read", "0"));
    Some(Fault { operation, cause: cause.clone() })
}
