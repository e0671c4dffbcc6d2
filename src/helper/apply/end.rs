//! What is left to do behind the last entry.

use super::Applier;
use super::dirs::NodeId;
use super::tree::Tree;
use crate::helper::fault::{Attempt, Result, on};
use crate::helper::feed::failure;
use crate::options::Durability;
use crate::report::{Call, Descriptor, Failure, Stage};

impl Applier<'_> {
    /// What was handed over is finished, and an earlier entry's failure is told before a later one's.
    pub(super) fn settle_all(&mut self, fed: Result<(), Box<Failure>>) -> Result<(), Box<Failure>> {
        if let Err(fault) = self.tree.settle() {
            return Err(failure(Stage::Apply, fault, self.tree.journal.blamed()));
        }
        fed?;
        self.imply_root().map_err(|fault| failure(Stage::Apply, fault, None))
    }

    /// Overlay mode: every path implies the root. Last, because the layers below may not be complete before.
    fn imply_root(&mut self) -> Result<()> {
        if self.bottom || self.options.ignore_root_metadata || self.root_listed {
            return Ok(());
        }
        match self.mode.root_below()? {
            Some(metadata) => self.merge(NodeId::ROOT, metadata),
            None => Ok(()),
        }
    }
}

impl Tree<'_> {
    /// Sets what was deferred, the deepest first and the root last.
    pub(super) fn leave_all(&mut self) -> Result<(), Box<Failure>> {
        let result = self.dirs.leave_all(&mut self.journal.leaver(self.maker.setter));
        let unleft = self.dirs.unleft().unwrap_or_default();
        result.map_err(|fault| failure(Stage::Finish, fault.of(&unleft), None))
    }

    /// Synchronises as the policy says.
    pub(super) fn synchronise(&self, durability: Durability) -> Result<(), Box<Failure>> {
        if durability == Durability::None {
            return Ok(());
        }
        rustix::fs::syncfs(&self.root)
            .call(Call::Syncfs, || on(Descriptor::Root))
            .map_err(|fault| failure(Stage::Finish, fault, None))
    }
}
