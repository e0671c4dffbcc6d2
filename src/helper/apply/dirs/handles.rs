//! Open directories, a bounded number of them at every moment, and what is set as one is left.

use super::anchors::{Anchors, Given, look};
use super::{Dirs, NodeId, Unlisted};
use crate::helper::apply::metadata::Metadata;
use crate::helper::fault::{Fault, Result};
use crate::helper::jail::limits::{Descriptors, OPEN_DIRECTORIES};
use crate::helper::open;
use crate::helper::read::entry::Time;
use crate::helper::sys::fstat;
use crate::inode::Identity;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What is kept of the ones opened on the way to a directory that was left, as a part of all: who goes up again finds
/// them open.
const ON_THE_WAY: usize = 8;

/// What is set as a directory is left.
pub(crate) enum Due {
    Metadata(Metadata),
    /// The time of one that no entry lists.
    Time(Time, Unlisted),
}

/// What is done with a directory as it is left.
pub(crate) enum Parting<'a> {
    Due(&'a Due),
    /// All is done in it and below, and it gets the owner's part of its mode.
    Narrow(u32),
}

/// A directory that is left, and what was deferred until then.
pub(crate) struct Leaving<'a> {
    /// `None`: it is no longer what it was.
    pub(crate) handle: Option<&'a OwnedFd>,
    pub(crate) parting: Parting<'a>,
    dirs: &'a Dirs,
    id: NodeId,
}

impl Leaving<'_> {
    /// The directory's path from the root, for messages.
    pub(crate) fn path(&self) -> Vec<u8> {
        self.dirs.path(self.id)
    }
}

/// Sets a directory's metadata as it is left.
pub(crate) type Leaver<'a> = &'a mut dyn FnMut(Leaving<'_>) -> Result<()>;

/// Whether a directory is open.
#[derive(Debug, Default)]
pub(super) enum Opened {
    #[default]
    Never,
    /// And when it was last used.
    Held(Arc<OwnedFd>, u64),
    /// Given up: what it must be when it is opened again.
    Left(Identity),
    /// Given up where inode numbers change, and held by its path alone: it is opened again through that.
    Anchored(OwnedFd, Given),
    /// The same without a descriptor left for it: it is looked at anew.
    Adrift(Given),
}

/// A directory that is open, and what was seen of it as it was opened.
struct Listed {
    id: u32,
    seen: Option<Identity>,
}

/// The one list of open directories, but for the root.
pub(super) struct Open {
    list: Vec<Listed>,
    most: usize,
    pub(super) anchors: Anchors,
    clock: u64,
    /// The directory that could not be left.
    unleft: Option<Vec<u8>>,
}

impl Default for Open {
    fn default() -> Open {
        Open { list: Vec::new(), most: OPEN_DIRECTORIES, anchors: Anchors::default(), clock: 0, unleft: None }
    }
}

impl Open {
    pub(super) fn bound(&mut self, dealt: &Descriptors) {
        self.most = dealt.directories.clamp(1, OPEN_DIRECTORIES);
        self.anchors.bound(dealt.anchors);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.list.retain(|open| keep(open.id));
        self.anchors.retain(keep);
    }

    /// It is open no longer; what was seen of it.
    fn take_off(&mut self, id: NodeId) -> Option<Identity> {
        let place = self.list.iter().position(|open| open.id == id.0)?;
        self.list.swap_remove(place).seen
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

impl Dirs {
    /// This directory, open; opened again step by step if its handle was given up.
    pub(crate) fn handle(&mut self, id: NodeId, leave: Leaver<'_>) -> Result<Arc<OwnedFd>> {
        if let Some(handle) = self.used(id) {
            return Ok(handle);
        }
        let mut chain = Vec::new();
        let mut above = id;
        let mut handle = loop {
            if let Some(handle) = self.used(above) {
                break handle;
            }
            if let Some(opened) = self.open_anchored(above)? {
                let opened = Arc::new(opened);
                self.keep(above, &opened, None, leave)?;
                break opened;
            }
            chain.push(above);
            above = self.parent(above);
        };
        while let Some(next) = chain.pop() {
            self.links.look()?;
            let (opened, seen) = self.open_again(&handle, next)?;
            let opened = Arc::new(opened);
            if chain.len() <= self.open.most / ON_THE_WAY {
                self.keep(next, &opened, seen, leave)?;
            }
            handle = opened;
        }
        Ok(handle)
    }

    pub(super) fn used(&mut self, id: NodeId) -> Option<Arc<OwnedFd>> {
        let now = self.open.tick();
        match &mut self.node_mut(id).opened {
            Opened::Held(handle, used) => {
                *used = now;
                Some(Arc::clone(handle))
            }
            _ => None,
        }
    }

    /// Opens a directory that was left; beside it stands what was seen of it as it was left.
    fn open_again(&mut self, above: &OwnedFd, id: NodeId) -> Result<(OwnedFd, Option<Identity>)> {
        let opened = open::directory(above, self.name(id), self.cross_mounts)?;
        let (same, seen) = match self.node(id).opened {
            Opened::Left(identity) => (Identity::of(&look(&opened)?) == identity, Some(identity)),
            Opened::Adrift(given) => (self.look_anew(id, &opened, given)?, None),
            _ => (true, None),
        };
        if same { Ok((opened, seen)) } else { Err(Fault::exchanged(&self.path(id))) }
    }

    /// Every directory that is open for longer than a step goes through here.
    pub(super) fn keep(
        &mut self,
        id: NodeId,
        handle: &Arc<OwnedFd>,
        seen: Option<Identity>,
        leave: Leaver<'_>,
    ) -> Result<()> {
        self.relieve(leave)?;
        if self.open.list.len() >= self.open.most {
            self.make_room(leave)?;
        }
        let now = self.open.tick();
        if let Opened::Anchored(..) =
            std::mem::replace(&mut self.node_mut(id).opened, Opened::Held(Arc::clone(handle), now))
        {
            self.open.anchors.retain(|anchored| anchored != id.0);
        }
        self.open.list.push(Listed { id: id.0, seen });
        Ok(())
    }

    /// Gives up the handles used longest ago; what is given up is left. Where writers are still making files they are
    /// waited for, but for no more of them than is needed: they go on meanwhile.
    fn make_room(&mut self, leave: Leaver<'_>) -> Result<()> {
        self.give_up_oldest(leave)?;
        while self.open.list.len() >= self.open.most && self.writers.halve() {
            self.give_up_oldest(leave)?;
        }
        Ok(())
    }

    fn give_up_oldest(&mut self, leave: Leaver<'_>) -> Result<()> {
        let most = self.open.most / 2;
        for id in self.oldest_first() {
            if self.open.list.len() <= most {
                break;
            }
            if !self.in_use(id) {
                self.give_up(id, leave)?;
            }
        }
        Ok(())
    }

    pub(super) fn oldest_first(&self) -> Vec<NodeId> {
        let used = |id: &u32| match self.nodes[*id as usize].opened {
            Opened::Held(_, used) => used,
            _ => 0,
        };
        let mut open: Vec<u32> = self.open.list.iter().map(|open| open.id).collect();
        open.sort_by_cached_key(used);
        open.into_iter().map(NodeId).collect()
    }

    /// Somebody is making something in it just now.
    pub(super) fn in_use(&self, id: NodeId) -> bool {
        matches!(&self.node(id).opened, Opened::Held(handle, _) if Arc::strong_count(handle) > 1)
    }

    fn give_up(&mut self, id: NodeId, leave: Leaver<'_>) -> Result<()> {
        self.leave(id, leave)?;
        let seen = self.open.take_off(id);
        if let Opened::Held(handle, _) = &self.node(id).opened {
            let handle = Arc::clone(handle);
            self.node_mut(id).opened = self.as_left(id, &handle, seen)?;
        }
        Ok(())
    }

    /// Sets what was deferred, if the directory has changed since; what it takes to open it is there.
    pub(super) fn leave(&mut self, id: NodeId, leave: Leaver<'_>) -> Result<()> {
        let Some(mut due) = self.due(id) else { return Ok(()) };
        let handle = self.used(id);
        let left = leave(Leaving { handle: handle.as_deref(), parting: Parting::Due(&due), dirs: self, id });
        if left.is_err() {
            self.open.unleft = Some(self.path(id));
        }
        let node = self.node_mut(id);
        node.dirty = false;
        if let Due::Metadata(metadata) = &mut due {
            node.inherit.acl |= metadata.has_default_acl();
            node.inherit.group |= metadata.mode & 0o2000 != 0;
            metadata.forget_what_stays();
        }
        self.wait(id, Some(super::Deferred::new(due)));
        left
    }

    /// The directory that could not be left, if that was what failed and not an entry.
    pub(crate) fn unleft(&mut self) -> Option<Vec<u8>> {
        self.open.unleft.take()
    }

    /// Leaves every directory, the deepest first and the root last; told of those, too, that are no longer what they
    /// were.
    pub(crate) fn leave_all(&mut self, leave: Leaver<'_>) -> Result<()> {
        let mut stack = vec![(NodeId::ROOT, false)];
        while let Some((id, all_below_left)) = stack.pop() {
            if !all_below_left {
                stack.push((id, true));
                let below = self.names.children(&self.node(id).children).filter_map(super::Child::directory);
                stack.extend(below.map(|id| (id, false)));
                continue;
            }
            if self.node(id).dirty && self.node(id).deferred.is_some() {
                match self.handle(id, leave) {
                    Err(fault) if fault.errno().is_none() || self.open.unleft.is_some() => return Err(fault),
                    // If it cannot be opened it is gone, which is told as it is left.
                    _ => self.leave(id, leave)?,
                }
            }
            self.narrow_down(id, leave)?;
            if id != NodeId::ROOT {
                self.close(id);
            }
        }
        Ok(())
    }

    /// Nothing below it is needed any more.
    fn narrow_down(&mut self, id: NodeId, leave: Leaver<'_>) -> Result<()> {
        let Some(owners) = self.narrow.take(id) else { return Ok(()) };
        let handle = match self.handle(id, leave) {
            Err(fault) if fault.errno().is_none() || self.open.unleft.is_some() => return Err(fault),
            handle => handle.ok(),
        };
        let left = leave(Leaving { handle: handle.as_deref(), parting: Parting::Narrow(owners), dirs: self, id });
        if left.is_err() {
            self.open.unleft = Some(self.path(id));
        }
        left
    }

    /// Leaves a known directory and those below it that are still there, the deepest first.
    pub(crate) fn leave_below(&mut self, dir: NodeId, name: &[u8], leave: Leaver<'_>) -> Result<()> {
        for id in self.waiting_below(dir, name).into_iter().rev() {
            match self.handle(id, leave) {
                Err(fault) if fault.errno().is_none() || self.open.unleft.is_some() => return Err(fault),
                Ok(handle) if fstat(&*handle).is_ok_and(|stat| stat.st_nlink > 0) => {
                    self.disturb(id);
                    self.leave(id, leave)?;
                }
                // Gone.
                _ => {}
            }
        }
        Ok(())
    }

    /// Those of a known directory and what is below it for which something waits, each behind the ones that it is in.
    fn waiting_below(&self, dir: NodeId, name: &[u8]) -> Vec<NodeId> {
        let mut found: Vec<NodeId> = self.child(dir, name).and_then(super::Child::directory).into_iter().collect();
        let mut next = 0;
        while let Some(id) = found.get(next) {
            let below = self.names.children(&self.node(*id).children).filter_map(super::Child::directory);
            let below: Vec<_> = below.collect();
            found.extend(below);
            next += 1;
        }
        found.retain(|id| self.node(*id).deferred.is_some());
        found
    }

    fn close(&mut self, id: NodeId) {
        if let Opened::Held(..) = self.node(id).opened {
            self.node_mut(id).opened = Opened::Never;
            self.open.take_off(id);
        }
    }
}
