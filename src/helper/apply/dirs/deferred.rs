//! Metadata of directories that waits until they are left. Attributes can be a megabyte for each of them: what waits
//! is bounded in bytes, and the directories used longest ago are left for it.

use super::{Dirs, Leaver, NodeId};
use crate::helper::apply::metadata::{Attributes, Metadata};
use crate::helper::fault::Result;
use crate::helper::read::entry::Time;

/// Attributes that may wait, in bytes.
const WAITING: usize = 8 << 20;

/// Metadata in few bytes: there is one for each directory that the archive lists.
#[derive(Debug)]
pub(super) struct Deferred {
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
    pub(super) fn new(metadata: Metadata) -> Deferred {
        let Metadata { owner, mode, mode_now, mtime, atime, xattrs } = metadata;
        // Twelve bits.
        let small = |mode: u32| (mode & 0o7777) as u16;
        Deferred {
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

    fn bytes(&self) -> usize {
        self.xattrs.as_deref().map_or(0, Metadata::bytes_of)
    }
}

impl Dirs {
    /// All that waits comes and goes here.
    pub(super) fn wait(&mut self, id: NodeId, deferred: Option<Deferred>) {
        let bytes = |deferred: Option<&Deferred>| deferred.map_or(0, Deferred::bytes);
        self.waiting.bytes += bytes(deferred.as_ref());
        let before = std::mem::replace(&mut self.node_mut(id).deferred, deferred.map(Box::new));
        self.waiting.bytes -= bytes(before.as_deref());
    }

    /// What waits for a directory that has changed since it was last set.
    pub(super) fn due(&mut self, id: NodeId) -> Option<Metadata> {
        let node = self.node_mut(id);
        let dirty = node.dirty;
        let deferred = node.deferred.take_if(|_| dirty);
        deferred.map(|deferred| {
            self.waiting.bytes -= deferred.bytes();
            deferred.metadata()
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
            if self.node(id).deferred.as_ref().is_some_and(|deferred| deferred.xattrs.is_some()) && !self.in_use(id) {
                self.leave(id, leave)?;
            }
        }
        Ok(())
    }
}
