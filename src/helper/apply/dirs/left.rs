//! Directories that were left: what is kept of each, and how it is opened again where that is not by its number.

use super::anchors::{Given, look};
use super::handles::Opened;
use super::{Dirs, Found, NodeId};
use crate::helper::fault::Result;
use crate::helper::open::{self, Way};
use crate::inode::Identity;
use std::os::fd::OwnedFd;

impl Dirs {
    /// Whether inode numbers tell nothing on the file system of this directory.
    pub(crate) fn renumbers(&mut self, handle: &OwnedFd) -> Result<bool> {
        let device = look(handle)?.st_dev;
        Ok(self.open.anchors.renumbers(handle, device))
    }

    /// What is kept of a directory as it is given up; what was seen of it as it was opened is not asked again.
    pub(super) fn as_left(&mut self, id: NodeId, handle: &OwnedFd, seen: Option<Identity>) -> Result<Opened> {
        let identity = seen.map_or_else(|| look(handle).map(|stat| Identity::of(&stat)), Ok)?;
        if !self.open.anchors.renumbers(handle, identity.device) {
            return Ok(Opened::Left(identity));
        }
        let given = Given::of(&look(handle)?);
        match open::by(handle, b".", Way::Path) {
            Ok(path) if self.anchor(id) => Ok(Opened::Anchored(path, given)),
            _ => Ok(Opened::Adrift(given)),
        }
    }

    /// There is room for one, and the one left longest ago may have to go; false if there may be none.
    fn anchor(&mut self, id: NodeId) -> bool {
        let (oldest, taken) = self.open.anchors.take(id.0);
        if let Some(oldest) = oldest
            && let Opened::Anchored(_, given) = self.node(NodeId(oldest)).opened
        {
            self.node_mut(NodeId(oldest)).opened = Opened::Adrift(given);
        }
        taken
    }

    /// A directory through what holds it. Whoever moves it meanwhile moves what is made in it, as with one that is open.
    pub(super) fn open_anchored(&self, id: NodeId) -> Result<Option<OwnedFd>> {
        match &self.node(id).opened {
            Opened::Anchored(path, _) => open::directory(path, b".", true).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether what is at the name now can be what was left; what it hands down is asked again.
    pub(super) fn look_anew(&mut self, id: NodeId, opened: &OwnedFd, given: Given) -> Result<bool> {
        let same = Given::of(&look(opened)?) == given;
        if same {
            self.node_mut(id).inherit = Found::in_it(opened)?.inherit;
        }
        Ok(same)
    }
}
