//! What is left to do behind the last entry.

use super::dirs::NodeId;
use super::{Applier, failure, leaver};
use crate::helper::fault::{Attempt, Result, on};
use crate::helper::read::entry::End;
use crate::options::Durability;
use crate::report::{Call, Descriptor, EntryCounts, EventKind, Failure, Stage};

impl Applier<'_> {
    /// Overlay mode: every path implies the root. Last, because the layers below may not be complete before.
    pub(super) fn imply_root(&mut self) -> Result<()> {
        let wanted = !self.bottom && !self.options.list && !self.options.ignore_root_metadata && !self.root_listed;
        match wanted.then(|| self.dirs.root_below()).transpose()?.flatten() {
            Some(metadata) => self.merge(NodeId::ROOT, metadata),
            None => Ok(()),
        }
    }

    /// Sets what was deferred, the deepest first and the root last, then synchronises.
    pub(crate) fn finish(&mut self) -> Result<(), Box<Failure>> {
        let result = self.dirs.leave_all(&mut leaver(self.maker.setter, self.reporter));
        let unleft = self.dirs.unleft().unwrap_or_default();
        result.map_err(|fault| failure(Stage::Finish, fault.of(&unleft), None))
    }

    /// Synchronises as the policy says; the last thing, after the input has been drained.
    pub(crate) fn synchronise(&self) -> Result<(), Box<Failure>> {
        if self.options.durability == Durability::None || self.options.list {
            return Ok(());
        }
        rustix::fs::syncfs(&self.root)
            .call(Call::Syncfs, || on(Descriptor::Root))
            .map_err(|fault| failure(Stage::Finish, fault, None))
    }

    /// What the end of the archive was like.
    pub(crate) fn note_end(&mut self, end: End) {
        if !end.marker {
            self.reporter.event(None, EventKind::NoEndMarker);
        }
        if end.trailing_data {
            self.reporter.event(None, EventKind::TrailingData { bytes: end.trailing });
        }
    }

    pub(crate) fn counts(&self) -> (EntryCounts, u64, u64) {
        (self.counts, self.purse.spent(), self.reporter.events())
    }
}
