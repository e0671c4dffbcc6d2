//! Overlay mode: what the lower layers show through.

use super::{Child, Dirs, NodeId};
use crate::helper::apply::lower::{Lower, Lowers};
use crate::helper::apply::metadata::Metadata;
use crate::helper::fault::Result;
use std::os::fd::OwnedFd;
use std::rc::Rc;

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

    /// What the lower layers have at the root, which every path implies.
    pub(crate) fn root_below(&self) -> Result<Option<Metadata>> {
        self.lowers.as_ref().map_or(Ok(None), Lowers::root)
    }

    /// The roots of the lower layers.
    pub(crate) fn roots_below(&self) -> Result<Rc<[OwnedFd]>> {
        self.lowers.as_ref().map_or_else(|| Ok(Rc::from([])), Lowers::roots)
    }

    /// The lower layers have nothing at a name that shows through, for certain.
    pub(crate) fn nothing_below(&self, at: NodeId, name: &[u8]) -> Result<bool> {
        if !self.known_below(at) {
            return Ok(false);
        }
        match &self.lowers {
            Some(lowers) if !self.covered(at) => Ok(!lowers.have(&self.names(at), name)?),
            _ => Ok(true),
        }
    }

    /// It is known what the lower layers show through in a directory.
    pub(super) fn known_below(&self, at: NodeId) -> bool {
        self.covered(at) || self.lowers.as_ref().is_none_or(Lowers::known)
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
