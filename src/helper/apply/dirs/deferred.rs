//! Metadata of directories that waits until they are left. Attributes can be a megabyte for each of them: what waits
//! is bounded in bytes, and the directories used longest ago are left for it.

use super::handles::Due;
use super::{Dirs, Leaver, NodeId};
use crate::helper::apply::metadata::{Attributes, Metadata};
use crate::helper::fault::Result;
use crate::helper::read::entry::Time;

/// Attributes that may wait, in bytes.
const WAITING: usize = 8 << 20;

/// Why a directory that no entry lists gets its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unlisted {
    /// It was there before, and gets the one that it had.
    There,
    /// The run has made it for an entry, and it has that one's.
    Implied,
    /// The run has made it to hold a marker, until an entry touches it.
    Held,
}

/// What is set as a directory is left.
#[derive(Debug)]
pub(super) enum Deferred {
    Metadata(Small),
    Time(Time, Unlisted),
}

/// Metadata in few bytes: there is one for each directory that the archive lists.
#[derive(Debug)]
pub(super) struct Small {
    owner: Option<(u32, u32)>,
    mode: u16,
    mode_now: Option<u16>,
    seconds: (i64, i64),
    nanoseconds: (u32, u32),
    xattrs: Option<Box<Attributes>>,
}

/// How much waits.
#[derive(Default)]
pub(super) struct Waiting {
    bytes: usize,
}

impl Deferred {
    pub(super) fn new(due: Due) -> Deferred {
        match due {
            Due::Metadata(metadata) => Deferred::Metadata(Small::new(metadata)),
            Due::Time(time, unlisted) => Deferred::Time(time, unlisted),
        }
    }

    fn due(self) -> Due {
        match self {
            Deferred::Metadata(small) => Due::Metadata(small.metadata()),
            Deferred::Time(time, unlisted) => Due::Time(time, unlisted),
        }
    }

    fn attributes(&self) -> Option<&Attributes> {
        match self {
            Deferred::Metadata(small) => small.xattrs.as_deref(),
            Deferred::Time(..) => None,
        }
    }

    fn bytes(&self) -> usize {
        self.attributes().map_or(0, Metadata::bytes_of)
    }
}

impl Small {
    fn new(metadata: Metadata) -> Small {
        let Metadata { owner, mode, mode_now, mtime, atime, xattrs } = metadata;
        // Twelve bits.
        let small = |mode: u32| (mode & 0o7777) as u16;
        Small {
            owner,
            mode: small(mode),
            mode_now: mode_now.map(small),
            seconds: (mtime.seconds, atime.seconds),
            nanoseconds: (mtime.nanoseconds, atime.nanoseconds),
            xattrs: (!xattrs.is_empty()).then(|| Box::new(xattrs)),
        }
    }

    fn metadata(self) -> Metadata {
        Metadata {
            owner: self.owner,
            mode: self.mode.into(),
            mode_now: self.mode_now.map(u32::from),
            mtime: Time { seconds: self.seconds.0, nanoseconds: self.nanoseconds.0 },
            atime: Time { seconds: self.seconds.1, nanoseconds: self.nanoseconds.1 },
            xattrs: self.xattrs.map(|xattrs| *xattrs).unwrap_or_default(),
        }
    }
}

impl Dirs {
    /// Whether directories that were there get their times back, and whether the root was made for this run.
    pub(crate) fn unlisted(mut self, put_back: bool, root_made: bool) -> Dirs {
        self.put_back = put_back;
        if root_made {
            self.date(NodeId::ROOT, Time::default(), Unlisted::Held);
        } else if !put_back {
            self.wait(NodeId::ROOT, None);
        }
        self
    }

    /// The time of the entry at hand: what is made from now on is implied by it.
    pub(crate) fn implied_at(&mut self, time: Time) {
        self.time = time;
    }

    /// The first entry that is applied: it implies what was made before it, too.
    pub(crate) fn begin(&mut self) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        for node in &mut self.nodes {
            if let Some(Deferred::Time(time, Unlisted::Implied | Unlisted::Held)) = node.deferred.as_deref_mut() {
                *time = self.time;
            }
        }
    }

    /// The run has made a directory that no entry lists.
    pub(super) fn date(&mut self, id: NodeId, time: Time, unlisted: Unlisted) {
        self.wait(id, Some(Deferred::Time(time, unlisted)));
        self.node_mut(id).dirty = true;
    }

    /// An entry touches what only held a marker.
    pub(super) fn imply(&mut self, id: NodeId) {
        if let Some(Deferred::Time(_, Unlisted::Held)) = self.node(id).deferred.as_deref() {
            self.date(id, self.time, Unlisted::Implied);
        }
    }

    /// All that waits comes and goes here.
    pub(super) fn wait(&mut self, id: NodeId, deferred: Option<Deferred>) {
        let bytes = |deferred: Option<&Deferred>| deferred.map_or(0, Deferred::bytes);
        self.waiting.bytes += bytes(deferred.as_ref());
        let before = std::mem::replace(&mut self.node_mut(id).deferred, deferred.map(Box::new));
        self.waiting.bytes -= bytes(before.as_deref());
    }

    /// What waits for a directory that has changed since it was last set.
    pub(super) fn due(&mut self, id: NodeId) -> Option<Due> {
        let node = self.node_mut(id);
        let dirty = node.dirty;
        let deferred = node.deferred.take_if(|_| dirty);
        deferred.map(|deferred| {
            self.waiting.bytes -= deferred.bytes();
            deferred.due()
        })
    }

    /// Leaves those used longest ago, if too much waits. Where writers are still making files they are waited for.
    pub(crate) fn relieve(&mut self, leave: Leaver<'_>) -> Result<()> {
        if self.waiting.bytes <= WAITING {
            return Ok(());
        }
        self.leave_some(leave)?;
        if self.waiting.bytes > WAITING {
            self.writers.rest();
            self.leave_some(leave)?;
        }
        Ok(())
    }

    fn leave_some(&mut self, leave: Leaver<'_>) -> Result<()> {
        for id in self.oldest_first() {
            if self.waiting.bytes <= WAITING / 2 {
                break;
            }
            if self.node(id).deferred.as_ref().is_some_and(|deferred| deferred.attributes().is_some())
                && !self.in_use(id)
            {
                self.leave(id, leave)?;
            }
        }
        Ok(())
    }
}
