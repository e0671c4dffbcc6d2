//! What is told to the parent while the run goes on: events, counted and capped; progress, when it is time.

use crate::helper::fault::Result;
use crate::report::{Cause, EntryRef, Event, EventKind, Listed, Progress};
use crate::wire::{Channel, Down, PACE, Up};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// The helper's end of the control socket.
pub(crate) struct Reporter {
    channel: Channel<Down, Up>,
    events: u64,
    event_limit: u64,
    next_progress: Option<Instant>,
}

impl Reporter {
    pub(crate) fn new(socket: OwnedFd) -> Reporter {
        Reporter { channel: Channel::new(socket), events: 0, event_limit: 0, next_progress: None }
    }

    pub(crate) fn channel(&mut self) -> &mut Channel<Down, Up> {
        &mut self.channel
    }

    /// Another handle of the same socket, for a question in the middle of a run.
    pub(crate) fn second_channel(&self) -> Result<Channel<Down, Up>> {
        match self.channel.as_fd().try_clone_to_owned() {
            Ok(socket) => Ok(Channel::new(socket)),
            Err(error) => Err(Cause::Os(error.raw_os_error().unwrap_or_default()).into()),
        }
    }

    /// What the caller wants to hear.
    pub(crate) fn configure(&mut self, event_limit: u32, progress: bool) {
        self.event_limit = event_limit.into();
        self.next_progress = progress.then(Instant::now);
    }

    /// All events, told or not.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// A parent that has hung up is noticed where the archive is read, not here.
    pub(crate) fn send(&mut self, message: &Up) {
        let _ = self.channel.send(message);
    }

    /// Tells it with what is sent next, or when [`flush`](Reporter::flush) says so.
    pub(crate) fn hold(&mut self, message: &Up) {
        self.channel.hold(message);
    }

    pub(crate) fn flush(&mut self) {
        let _ = self.channel.flush();
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
        let Some(next) = self.next_progress else { return };
        let now = Instant::now();
        if now >= next {
            self.next_progress = Some(now + PACE);
            self.send(&Up::Progress(how_far()));
        }
    }
}
