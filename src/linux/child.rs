//! The helper process as its parent sees it: compromised until proven otherwise.

mod filtered;
mod kept;
mod protocol;
mod questions;
mod reap;
mod start;
mod terms;

pub(super) use start::{archive_pipe, set_nonblocking, spawned};
pub(super) use terms::Terms;

use crate::canceller::Canceller;
use crate::error::{Error, Filtered, Garbled};
use crate::kind::ErrorKind;
use crate::plan::Callbacks;
use crate::program::Program;
use crate::purse::Purse;
use crate::report::Progress;
use crate::wire::{Channel, Down, Received, Reply, Up};
use kept::Kept;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown};
use protocol::Protocol;
use questions::Question;
use start::sockets;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The last words kept of the helper's standard error.
const TAIL: usize = 8 << 10;
/// How long a helper may take to exit after its last word.
const GRACE: Duration = Duration::from_millis(700);

/// What the pump waits for, and what it found.
#[derive(Clone, Copy, Default)]
pub(super) struct Ready {
    pub(super) pipe: bool,
    pub(super) source: bool,
    /// The helper may have more to say than it was given time for.
    pub(super) heard: bool,
    /// Its standard error may have more.
    pub(super) stderr: bool,
}

impl Ready {
    pub(super) const SOURCE: Ready = Ready { pipe: false, source: true, heard: false, stderr: false };
    const PIPE: Ready = Ready { pipe: true, source: false, heard: false, stderr: false };
}

/// What several runs may have in common.
pub(super) struct Shared {
    pub(super) canceller: Canceller,
    pub(super) purse: Purse,
}

pub(super) struct Child {
    process: std::process::Child,
    channel: Channel<Up, Down>,
    canceller: Canceller,
    attached: u32,
    pipe: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    tail: Vec<u8>,
    terms: Terms,
    callbacks: Callbacks,
    protocol: Protocol,
    progress: Progress,
    kept: Kept,
    /// Bytes of the archive that were written to the pipe here.
    fed: u64,
    /// So many of them the helper had used when it waited for more.
    hungry_at: Option<u64>,
    reply: Option<Reply>,
    garbled: Option<Garbled>,
    closed: bool,
    /// When a helper that does not keep its own time limit is stopped.
    deadline: Option<Instant>,
    expired: bool,
    /// The kernel says that nobody reads the pipe any more.
    broken: bool,
    reaped: bool,
    /// Questions wait for whoever drives this, since he may not be held up.
    defers: bool,
    asked: Option<Question>,
    /// If SIGSYS has killed it.
    filtered: Option<Filtered>,
}

impl Child {
    pub(super) fn spawn(
        program: &Program,
        root: &OwnedFd,
        archive: OwnedFd,
        pipe: Option<OwnedFd>,
        terms: Terms,
        callbacks: Callbacks,
        shared: Shared,
    ) -> Result<Child, Error> {
        let Shared { canceller, purse } = shared;
        let (ours, theirs) = sockets()?;
        let second = ours.try_clone().map_err(|e| Error::io(ErrorKind::Helper, "duplicating a socket", e))?;
        // Not a pipe: the helper is to end with ours (helper/lifeline.rs).
        let (stderr, their_stderr) = sockets()?;
        set_nonblocking(&stderr)?;
        let process = start::process(program, root, [archive, theirs, their_stderr], &stderr)?;
        let attached = canceller.attach(move || {
            let _ = shutdown(second.as_raw_fd(), Shutdown::Both);
        });
        let limit = terms.jail.limits.timeout;
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit.checked_add(GRACE)?));
        let protocol = Protocol::new(&terms, callbacks.lowers.is_some());
        Ok(Child {
            deadline,
            expired: false,
            process,
            channel: Channel::new(ours),
            canceller,
            attached,
            pipe,
            stderr: Some(stderr),
            tail: Vec::new(),
            protocol,
            terms,
            callbacks,
            progress: Progress::default(),
            kept: Kept::new(purse),
            fed: 0,
            hungry_at: None,
            reply: None,
            garbled: None,
            closed: false,
            broken: false,
            reaped: false,
            defers: false,
            asked: None,
            filtered: None,
        })
    }

    pub(super) fn send(&mut self, message: &Down) {
        // A helper that is gone says so by the end of its stream.
        if self.channel.send(message).is_err() {
            self.broken = true;
        }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    #[cfg(feature = "tokio")]
    pub(super) fn stderr(&self) -> Option<BorrowedFd<'_>> {
        self.stderr.as_ref().map(AsFd::as_fd)
    }

    /// When it is stopped if it does not stop by itself.
    #[cfg(feature = "tokio")]
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    pub(super) fn has_pipe(&self) -> bool {
        self.pipe.is_some()
    }

    pub(super) fn take_pipe(&mut self) -> Option<OwnedFd> {
        self.pipe.take()
    }

    pub(super) fn close_pipe(&mut self) {
        self.pipe = None;
    }

    /// The helper has said its last word, or will say none.
    pub(super) fn over(&self) -> bool {
        self.silent() || self.expired
    }

    /// Nothing more of it is heard.
    fn silent(&self) -> bool {
        self.closed || self.reply.is_some() || self.garbled.is_some() || self.cancelled()
    }

    /// Nothing but an error can come of it.
    pub(super) fn failed(&self) -> bool {
        self.over() && self.reply.as_ref().is_none_or(|reply| reply.failure.is_some())
    }

    fn cancelled(&self) -> bool {
        self.canceller.is_cancelled()
    }

    /// Writes some of the archive, taking note of what the helper says while the pipe is full.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let Some(pipe) = self.pipe.as_ref().filter(|_| !self.over() && !self.broken) else {
                return Err(io::ErrorKind::BrokenPipe.into());
            };
            match nix::unistd::write(pipe, bytes) {
                Ok(n) => {
                    self.fed += n as u64;
                    return Ok(n);
                }
                Err(Errno::EAGAIN) => drop(self.pump(Ready::PIPE, None, PollTimeout::NONE)),
                Err(Errno::EINTR) => {}
                Err(Errno::EPIPE) => self.broken = true,
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Waits until something wanted is ready, the helper has said something, or the time is over.
    pub(super) fn pump(&mut self, wanted: Ready, source: Option<BorrowedFd<'_>>, timeout: PollTimeout) -> Ready {
        let (read, write) = (PollFlags::POLLIN, PollFlags::POLLOUT);
        let none = PollFlags::empty();
        let mut slots: [Option<(Slot, BorrowedFd<'_>, PollFlags)>; 4] = [None; 4];
        slots[0] = (!self.closed).then(|| (Slot::Socket, self.channel.as_fd(), read));
        slots[1] = self.stderr.as_ref().map(|fd| (Slot::Stderr, fd.as_fd(), read));
        slots[2] = self.pipe.as_ref().filter(|_| wanted.pipe).map(|fd| (Slot::Pipe, fd.as_fd(), write));
        slots[3] = source.filter(|_| wanted.source).map(|fd| (Slot::Source, fd, read));
        let present: Vec<_> = slots.into_iter().flatten().collect();
        let timeout = match self.deadline.map(until) {
            Some(left) if timeout.is_none() || left < timeout => left,
            _ => timeout,
        };
        let mut fds: Vec<PollFd<'_>> = present.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
        let polled = poll(&mut fds, timeout);
        self.expired |= self.is_late();
        if polled.is_err() {
            return Ready::default();
        }
        let hit: Vec<(Slot, PollFlags)> =
            present.iter().zip(&fds).map(|((slot, ..), fd)| (*slot, fd.revents().unwrap_or(none))).collect();
        let mut ready = Ready::default();
        for (slot, flags) in hit.into_iter().filter(|(_, flags)| !flags.is_empty()) {
            match slot {
                Slot::Socket => {
                    self.listen();
                    ready.heard = true;
                }
                Slot::Stderr => {
                    self.read_stderr();
                    ready.stderr = true;
                }
                Slot::Pipe => {
                    ready.pipe = true;
                    self.broken |= flags.contains(PollFlags::POLLERR);
                }
                Slot::Source => ready.source = true,
            }
        }
        ready
    }

    /// One turn: what one look at the socket brings, so that a helper that never stops talking starves neither the
    /// other descriptors nor the time limit.
    fn listen(&mut self) {
        if self.channel.look().is_err() {
            self.closed = true;
        }
        self.hear_all();
    }

    /// What has come, as far as the first question of which the answer waits.
    fn hear_all(&mut self) {
        while !self.silent() && self.asked.is_none() {
            match self.channel.next() {
                Ok(Received::Message(message)) => self.hear(message),
                Ok(Received::Pending) => return,
                Ok(Received::Closed) => self.closed = true,
                Err(garbled) => self.garbled = Some(garbled),
            }
        }
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn hear(&mut self, message: Up) {
        if !self.protocol.admits(&message) || !self.take(message) {
            self.garbled = Some(Garbled::Unexpected);
        }
    }

    /// False if it cannot have come from an honest helper.
    #[must_use]
    fn take(&mut self, message: Up) -> bool {
        match message {
            Up::NeedIdMap => self.is_asked(Question::IdMap),
            Up::Started(confinement) => return self.kept.confinement(*confinement),
            Up::Progress(progress) => {
                self.progress = progress;
                if let Some(callback) = &mut self.callbacks.progress {
                    callback(progress);
                }
            }
            Up::Listed(listed) => {
                if let Some(callback) = &mut self.callbacks.listed {
                    callback(*listed);
                }
            }
            Up::Event(event) => self.kept.event(*event),
            Up::NeedLowers => self.is_asked(Question::Lowers),
            Up::Hungry(at) => {
                self.hungry_at = Some(at);
                return at <= self.fed;
            }
            Up::Reply(reply) => return self.take_reply(reply),
        }
        true
    }

    /// The report of a run that failed early has a confinement of its own.
    fn take_reply(&mut self, mut reply: Box<Reply>) -> bool {
        reply.failure.iter_mut().for_each(kept::shorten);
        let confinement = std::mem::take(&mut reply.report.confinement);
        let fits = self.kept.confinement.is_some() || self.kept.confinement(confinement);
        self.reply = Some(*reply);
        fits
    }

    /// Nothing comes after its last word, so this looks once, when it is gone.
    fn hear_nothing_more(&mut self) {
        let _ = self.channel.look();
        if !matches!(self.channel.next(), Ok(Received::Pending | Received::Closed)) {
            self.garbled = Some(Garbled::Unexpected);
        }
    }

    fn read_stderr(&mut self) {
        let Some(stderr) = &self.stderr else { return };
        let mut buffer = [0; TAIL];
        match nix::unistd::read(stderr, &mut buffer) {
            Ok(0) => self.stderr = None,
            Ok(n) => {
                self.tail.extend_from_slice(&buffer[..n]);
                let excess = self.tail.len().saturating_sub(TAIL);
                self.tail.drain(..excess);
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.stderr = None,
        }
    }

    /// Waits until the helper has used all that it was given and needs more; false once it needs nothing any more.
    pub(super) fn wait_until_hungry(&mut self) -> bool {
        while !self.over() && self.fed > 0 && self.hungry_at != Some(self.fed) {
            self.pump(Ready::default(), None, PollTimeout::NONE);
        }
        !self.over()
    }

    /// Waits for the last word.
    pub(super) fn wait_for_reply(&mut self) {
        while !self.over() {
            self.pump(Ready::default(), None, PollTimeout::NONE);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
        }
        self.canceller.detach(self.attached);
    }
}

/// Rounded up, so that a poll does not spin through the last millisecond.
fn until(deadline: Instant) -> PollTimeout {
    let left = deadline.saturating_duration_since(Instant::now()).as_millis().saturating_add(1);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

#[derive(Clone, Copy)]
enum Slot {
    Socket,
    Stderr,
    Pipe,
    Source,
}
