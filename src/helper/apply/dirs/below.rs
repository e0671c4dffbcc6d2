//! Overlay mode: what the lower layers show through.

use super::{Child, Dirs, NodeId};
use crate::helper::apply::lower::Lower;
use crate::helper::fault::Result;

impl Dirs {
    /// What the lower layers show through at a name that the upper directory lacks.
    pub(crate) fn below(&self, at: NodeId, name: &[u8]) -> Result<Lower> {
        match &self.lowers {
            Some(lowers) if !self.covered(at) && self.child(at, name) != Some(Child::Whiteout) => {
                lowers.look(&self.names(at), name)
            }
            _ => Ok(Lower::Absent),
        }
    }

    /// It is known what the lower layers show through in a directory.
    pub(super) fn known_below(&self, at: NodeId) -> bool {
        self.covered(at) || self.lowers.as_ref().is_none_or(|lowers| lowers.known())
    }

    /// This directory or one above it hides the lower layers.
    pub(crate) fn covered(&self, id: NodeId) -> bool {
        let mut at = id;
        loop {
            if self.node(at).opaque {
                return true;
            }
            if at == NodeId::ROOT {
                return false;
            }
            at = self.parent(at);
        }
    }
}
