//! Open directories, a bounded number of them, and what is set as one is left.

use super::{Child, Dirs, NodeId};
use crate::helper::fault::{Call, Fault, Result, quoted};
use crate::helper::metadata::Metadata;
use crate::helper::open;
use nix::errno::Errno;
use nix::sys::stat::fstat;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Open directories kept: the deepest archive path of a real image is under 30.
const OPEN: usize = 192;

/// A directory that is left, and what was deferred until then.
pub(crate) struct Leaving<'a> {
    pub(crate) handle: &'a OwnedFd,
    pub(crate) metadata: &'a Metadata,
    dirs: &'a Dirs,
    id: NodeId,
}

impl Leaving<'_> {
    /// From the root, for messages.
    pub(crate) fn path(&self) -> Vec<u8> {
        self.dirs.path(self.id)
    }
}

/// Sets a directory's metadata as it is left.
pub(crate) type Leaver<'a> = &'a mut dyn FnMut(Leaving<'_>) -> Result<()>;

impl Dirs {
    /// This directory, open; opened again step by step if its handle was given up.
    pub(crate) fn handle(&mut self, id: NodeId) -> Result<Arc<OwnedFd>> {
        self.clock += 1;
        let clock = self.clock;
        let node = self.node_mut(id);
        node.used = clock;
        if let Some(handle) = &node.handle {
            return Ok(Arc::clone(handle));
        }
        let mut chain = vec![id];
        let mut above = self.parent(id);
        while self.node(above).handle.is_none() {
            chain.push(above);
            above = self.parent(above);
        }
        let mut handle = self.handle(above)?;
        while let Some(next) = chain.pop() {
            let name = &self.node(next).name;
            let opened = open::directory(&handle, name, self.cross_mounts)?;
            let identity = identity(&opened)?;
            if self.node(next).identity.is_some_and(|known| known != identity) {
                return Err(Fault::os(Errno::ESTALE, "openat", quoted(&self.path(next))));
            }
            handle = self.keep(next, opened);
        }
        Ok(handle)
    }

    pub(super) fn keep(&mut self, id: NodeId, opened: OwnedFd) -> Arc<OwnedFd> {
        self.clock += 1;
        let handle = Arc::new(opened);
        let clock = self.clock;
        let node = self.node_mut(id);
        node.handle = Some(Arc::clone(&handle));
        node.used = clock;
        self.open.push(id.0);
        handle
    }

    /// Gives up the handles used longest ago, if there are too many; what is given up is left. A directory that
    /// cannot be left is returned by its path.
    pub(crate) fn trim(&mut self, leave: Leaver<'_>) -> Result<(), (Vec<u8>, Fault)> {
        if self.open.len() <= OPEN {
            return Ok(());
        }
        let mut open = std::mem::take(&mut self.open);
        open.retain(|id| !self.nodes[*id as usize].dead && self.nodes[*id as usize].handle.is_some());
        open.sort_unstable_by_key(|id| std::cmp::Reverse(self.nodes[*id as usize].used));
        open.dedup();
        let mut kept: Vec<u32> = open.drain(..open.len().min(OPEN / 2)).collect();
        for id in open {
            // A writer may still be making files in it: it is left another time.
            let id = NodeId(id);
            if !self.give_up(id, leave).map_err(|fault| (self.path(id), fault))? {
                kept.push(id.0);
            }
        }
        self.open = kept;
        Ok(())
    }

    fn give_up(&mut self, id: NodeId, leave: Leaver<'_>) -> Result<bool> {
        let node = self.node_mut(id);
        if node.handle.as_ref().is_none_or(|handle| Arc::strong_count(handle) > 1) {
            return Ok(node.handle.is_none());
        }
        self.leave(id, leave)?;
        let node = self.node_mut(id);
        if let Some(handle) = node.handle.take() {
            node.identity = Some(identity(&handle)?);
        }
        Ok(true)
    }

    /// Sets what was deferred, if the directory has changed since.
    fn leave(&mut self, id: NodeId, leave: Leaver<'_>) -> Result<()> {
        let node = self.node_mut(id);
        let Some(mut metadata) = node.deferred.take_if(|_| node.dirty) else { return Ok(()) };
        let handle = self.handle(id);
        if let Ok(handle) = &handle {
            leave(Leaving { handle, metadata: &metadata, dirs: self, id })?;
        }
        let node = self.node_mut(id);
        node.inherit.acl |= metadata.has_default_acl();
        node.inherit.group |= metadata.mode & 0o2000 != 0;
        node.dirty = false;
        metadata.forget_what_stays();
        node.deferred = Some(metadata);
        handle.map(drop)
    }

    /// Leaves every directory, the deepest first and the root last. Those that are no longer what they were
    /// are returned by their path; so is the one that could not be left.
    pub(crate) fn leave_all(&mut self, leave: Leaver<'_>) -> Result<Vec<Vec<u8>>, (Vec<u8>, Fault)> {
        let mut gone = Vec::new();
        for (id, entering) in self.walk() {
            if entering {
                continue;
            }
            let waiting = self.node(id).dirty && self.node(id).deferred.is_some();
            if waiting && self.handle(id).is_err() {
                gone.push(self.path(id));
                continue;
            }
            self.leave(id, leave).map_err(|fault| (self.path(id), fault))?;
            if id != NodeId::ROOT {
                self.node_mut(id).handle = None;
            }
        }
        Ok(gone)
    }

    /// Every live directory, before and after its children.
    fn walk(&self) -> Vec<(NodeId, bool)> {
        let mut order = Vec::new();
        let mut stack = vec![(NodeId::ROOT, true)];
        while let Some((id, entering)) = stack.pop() {
            order.push((id, entering));
            if entering {
                stack.push((id, false));
                stack.extend(self.node(id).children.values().filter_map(|child| match child {
                    Child::Dir(id) => Some((*id, true)),
                    _ => None,
                }));
            }
        }
        order
    }
}

fn identity(handle: &OwnedFd) -> Result<(u64, u64)> {
    let stat = fstat(handle).call("fstat", || "directory")?;
    Ok((stat.st_dev, stat.st_ino))
}
