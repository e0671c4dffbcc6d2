//! Descriptor 0: the archive as it comes, read only while the parent is there.

use crate::helper::fault::{Fault, Result, on};
use crate::helper::reporter::Line;
use crate::report::{Call, Cause, Descriptor};
use crate::wire::{Channel, Down, Up};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fmt;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Says whether the run may go on: nobody has cancelled it and the time is not over.
#[derive(Clone)]
pub(crate) struct Watch {
    control: Arc<OwnedFd>,
    deadline: Option<(Instant, u64)>,
    /// Who is told that it goes on.
    line: Option<Line>,
}

impl Watch {
    /// The time counts from now, in milliseconds.
    pub(crate) fn new(control: OwnedFd, timeout_ms: Option<u64>) -> Watch {
        let end = |limit| Some((Instant::now().checked_add(Duration::from_millis(limit))?, limit));
        Watch { control: Arc::new(control), deadline: timeout_ms.and_then(end), line: None }
    }

    /// The parent hears of what [goes on](Watch::goes_on), if it wants to.
    pub(crate) fn telling(self, line: Line) -> Watch {
        Watch { line: Some(line), ..self }
    }

    /// Tells that work goes on, for whatever works for long on one entry, and fails as [`check`](Watch::check) does.
    pub(crate) fn goes_on(&self) -> Result<(), Cause> {
        self.check()?;
        self.line.iter().for_each(Line::goes_on);
        Ok(())
    }

    /// An error once the parent has hung up or the time is over; for who only waits.
    pub(crate) fn check(&self) -> Result<(), Cause> {
        self.wait_for(None, PollFlags::empty(), false).map(drop)
    }

    /// Waits until there is room for something to be written, or nobody is there to read it.
    pub(crate) fn wait_for_room(&self, fd: &OwnedFd) -> Result<(), Cause> {
        self.wait_for(Some(fd), PollFlags::POLLOUT, true).map(drop)
    }

    /// Waits until `fd`, if given, is ready for this; true if it is.
    fn wait_for(&self, fd: Option<&OwnedFd>, what: PollFlags, patient: bool) -> Result<bool, Cause> {
        loop {
            // A hang-up is always told, so nothing is asked for.
            let mut fds = vec![PollFd::new(self.control.as_fd(), PollFlags::empty())];
            fds.extend(fd.map(|fd| PollFd::new(fd.as_fd(), what)));
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
            return Err(Cause::Limit { limit: crate::report::Limit::Timeout, value });
        }
        // Rounded up, so that a poll does not spin through the last millisecond.
        Ok(PollTimeout::try_from(left.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX))
    }
}

/// The archive's bytes, counted.
pub(crate) struct Input {
    origin: Origin,
    count: Arc<AtomicU64>,
    patience: Patience,
    /// Who is told when a read has to wait.
    feeder: Option<Channel<Down, Up>>,
}

enum Origin {
    /// Shared with whoever keeps the number 0 taken when the input has been read to its end.
    Descriptor(Arc<OwnedFd>, Watch),
    /// Comes, and stalls, as a test wants it.
    #[cfg(any(fuzzing, test))]
    Script(crate::helper::fuzz::script::Script),
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
        Input::from(Origin::Descriptor(fd, watch))
    }

    #[cfg(any(fuzzing, test))]
    pub(crate) fn scripted(script: crate::helper::fuzz::script::Script) -> Input {
        Input::from(Origin::Script(script))
    }

    fn from(origin: Origin) -> Input {
        Input { origin, count: Arc::default(), patience: Patience(Arc::new(AtomicBool::new(true))), feeder: None }
    }

    /// Tells the parent when a read has to wait, with what was read so far.
    pub(crate) fn fed_by(mut self, parent: Channel<Down, Up>) -> Input {
        self.feeder = Some(parent);
        self
    }

    fn tell_hunger(&mut self) {
        if self.feeder.is_none() || self.is_ready() {
            return;
        }
        if let Some(feeder) = &mut self.feeder {
            // A parent that has hung up is noticed by the wait.
            let _ = feeder.send(&Up::Hungry(self.count.load(Ordering::Relaxed)));
        }
    }

    /// Whether a read would not have to wait, as far as is known.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.origin {
            Origin::Descriptor(fd, watch) => watch.wait_for(Some(fd), PollFlags::POLLIN, false).unwrap_or(false),
            #[cfg(any(fuzzing, test))]
            Origin::Script(_) => false,
        }
    }

    pub(crate) fn patience(&self) -> Patience {
        self.patience.clone()
    }

    /// Every read waits from now on, whatever is said to those who asked for its patience before.
    pub(crate) fn always_wait(&mut self) {
        self.patience = Patience(Arc::new(AtomicBool::new(true)));
    }

    /// Bytes read so far, to be looked at from elsewhere.
    pub(crate) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.count)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let patient = self.patience.0.load(Ordering::Relaxed);
        if patient {
            self.tell_hunger();
        }
        let n = match &mut self.origin {
            Origin::Descriptor(fd, watch) => read(fd, watch, patient, buffer)?,
            #[cfg(any(fuzzing, test))]
            Origin::Script(script) => script.read(patient, buffer)?,
        };
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

fn read(fd: &OwnedFd, watch: &Watch, patient: bool, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        if !watch.wait_for(Some(fd), PollFlags::POLLIN, patient).map_err(|cause| carried(cause.into()))? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match nix::unistd::read(fd, buffer) {
            Ok(n) => return Ok(n),
            // The descriptor's flags are the caller's: it may be non-blocking.
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => {
                let arguments = on(Descriptor::Archive).with(format_args!("<data>, {}", buffer.len()));
                return Err(carried(Fault::os(errno, Call::Read, arguments)));
            }
        }
    }
}

/// A fault on its way through a decoder, which knows only `io::Error`.
#[derive(Debug)]
struct Carried(Fault);

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Carried {}

pub(crate) fn carried(fault: Fault) -> io::Error {
    io::Error::other(Carried(fault))
}

/// The fault of the input that a decoder passed on, if it is one.
pub(crate) fn fault_in(error: &io::Error) -> Option<Fault> {
    Some(error.get_ref()?.downcast_ref::<Carried>()?.0.clone())
}
