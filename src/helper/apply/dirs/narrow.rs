//! Directories whose mode keeps their owner out, where that binds us (`apply/usable.rs`): they get it when all is done,
//! the deepest first, since one of them may be needed again until then.

use super::{Dirs, NodeId};
use crate::helper::apply::usable::{self, ALL};
use crate::helper::fault::Result;
use crate::helper::hash::Map;
use std::os::fd::OwnedFd;

/// The owner's part of their modes, by directory.
#[derive(Default)]
pub(super) struct Narrow {
    /// Whose they are, if the mode binds us.
    own: Option<u32>,
    owners: Map<u32, u32>,
}

impl Narrow {
    /// Makes a directory that was there usable; what it is to have again.
    pub(super) fn make_usable(&self, opened: &OwnedFd) -> Result<Option<u32>> {
        usable::make(opened, self.own)
    }

    pub(super) fn note(&mut self, id: NodeId, owners: Option<u32>) {
        match owners {
            Some(owners) => self.owners.insert(id.0, owners),
            None => self.owners.remove(&id.0),
        };
    }

    /// The mode that a directory has until then.
    pub(super) fn defer(&mut self, id: NodeId, mode: &mut u32) {
        if self.own.is_some() {
            self.note(id, Some(*mode & ALL).filter(|owners| *owners != ALL));
            *mode |= ALL;
        }
    }

    pub(super) fn take(&mut self, id: NodeId) -> Option<u32> {
        self.owners.remove(&id.0)
    }
}

impl Dirs {
    /// Modes bind us in directories of this user's, who we are.
    pub(crate) fn bound_by_modes(mut self, own: Option<u32>) -> Result<Dirs> {
        self.narrow.own = own;
        if let Some(root) = self.used(NodeId::ROOT) {
            let owners = self.narrow.make_usable(&root)?;
            self.narrow.note(NodeId::ROOT, owners);
        }
        Ok(self)
    }
}
