//! What is told to the parent while the run goes on: events, counted and capped; progress, when it is time.

use crate::helper::fault::Result;
use crate::report::{Cause, EntryRef, Event, EventKind, Listed, Progress};
use crate::wire::{Channel, Down, PACE, Up, WireError};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The helper's end of the control socket.
pub(crate) struct Reporter {
    line: Line,
    events: u64,
    event_limit: u64,
}

/// The way to the parent, frame by frame; clones are of the same one.
#[derive(Clone)]
pub(crate) struct Line(Arc<Mutex<Way>>);

struct Way {
    channel: Channel<Down, Up>,
    /// When progress may be told again, if anybody wants it.
    next: Option<Instant>,
    last: Progress,
}

impl Line {
    fn way(&self) -> MutexGuard<'_, Way> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the last progress once more, if it is time to: one entry takes long, and goes on.
    pub(crate) fn goes_on(&self) {
        self.way().progress(|last| last);
    }
}

impl Way {
    fn progress(&mut self, how_far: impl FnOnce(Progress) -> Progress) {
        let Some(next) = self.next else { return };
        let now = Instant::now();
        if now >= next {
            self.next = Some(now + PACE);
            self.last = how_far(self.last);
            // A parent that has hung up is noticed where the archive is read, not here.
            let _ = self.channel.send(&Up::Progress(self.last));
        }
    }
}

impl Reporter {
    pub(crate) fn new(socket: OwnedFd) -> Reporter {
        let way = Way { channel: Channel::new(socket), next: None, last: Progress::default() };
        Reporter { line: Line(Arc::new(Mutex::new(way))), events: 0, event_limit: 0 }
    }

    pub(crate) fn line(&self) -> Line {
        self.line.clone()
    }

    /// Waits for what the parent has to say.
    pub(crate) fn receive(&mut self) -> Result<Down, WireError> {
        self.line.way().channel.receive()
    }

    /// Another handle of the same socket, for a question in the middle of a run.
    pub(crate) fn second_channel(&self) -> Result<Channel<Down, Up>> {
        match self.line.way().channel.as_fd().try_clone_to_owned() {
            Ok(socket) => Ok(Channel::new(socket)),
            Err(error) => Err(Cause::Os(error.raw_os_error().unwrap_or_default()).into()),
        }
    }

    /// What the caller wants to hear.
    pub(crate) fn configure(&mut self, event_limit: u32, progress: bool) {
        self.event_limit = event_limit.into();
        self.line.way().next = progress.then(Instant::now);
    }

    /// All events, told or not.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// A parent that has hung up is noticed where the archive is read, not here.
    pub(crate) fn send(&mut self, message: &Up) {
        let _ = self.line.way().channel.send(message);
    }

    /// Tells it with what is sent next, or when [`flush`](Reporter::flush) says so.
    pub(crate) fn hold(&mut self, message: &Up) {
        self.line.way().channel.hold(message);
    }

    pub(crate) fn flush(&mut self) {
        let _ = self.line.way().channel.flush();
    }

    pub(crate) fn event(&mut self, entry: Option<EntryRef>, what: EventKind) {
        self.events += 1;
        if self.events <= self.event_limit {
            self.send(&Up::Event(Box::new(Event { entry, what })));
        }
    }

    /// Events of which only the number is known.
    pub(crate) fn count_events(&mut self, number: u64) {
        self.events += number;
    }

    pub(crate) fn listed(&mut self, listed: Listed) {
        self.send(&Up::Listed(Box::new(listed)));
    }

    /// Tells how far the run has come, if it is time to.
    pub(crate) fn progress(&mut self, how_far: impl FnOnce() -> Progress) {
        self.line.way().progress(|_| how_far());
    }
}
