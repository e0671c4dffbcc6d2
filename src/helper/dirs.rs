//! The directories of this run: a trie of resolved, root-relative paths that holds what the archive has made
//! or touched, with a bounded number of them open. Parents are resolved here, with chroot semantics.
//!
//! A handle names an inode, not a path, so nothing cached here can be redirected from outside; what the
//! archive itself replaces is forgotten before it is replaced.

use super::fault::{Call, Fault, Result, quoted};
use super::lower::{Lower, Lowers};
use super::metadata::Metadata;
use super::open;
use super::writers::Writers;
use crate::{Cause, Limit};
use nix::errno::Errno;
use nix::sys::stat::fstat;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

/// Open directories kept: the deepest archive path of a real image is under 30.
const OPEN: usize = 192;
/// As the kernel: `path_resolution(7)`.
const LINKS: u32 = 40;
/// Directories that may be known however few entries are allowed: one path of the greatest depth, and more.
const FEWEST: u64 = 16_384;

/// A directory in the trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeId(u32);

impl NodeId {
    pub(crate) const ROOT: NodeId = NodeId(0);
}

/// What a name in a directory is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    /// Made or touched by this archive; not a directory. Where a writer makes it, the batch that it is in.
    Leaf(u32),
    /// A symlink that was there before and has been followed: known paths lead through it.
    Link,
    /// Overlay mode: a whiteout that this archive wrote.
    Whiteout,
    /// Overlay mode: brought up from a lower layer as the target of a hardlink.
    Copied,
    Dir(NodeId),
}

/// What files made in a directory take from it, against the wish of the archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inherit {
    /// The group: a set-gid directory.
    pub(crate) group: bool,
    /// A default ACL.
    pub(crate) acl: bool,
}

/// One known directory.
#[derive(Debug, Default)]
pub(crate) struct Node {
    parent: u32,
    name: Box<[u8]>,
    children: HashMap<Box<[u8]>, Child>,
    handle: Option<Arc<OwnedFd>>,
    used: u64,
    /// Set once the handle has been given up: what it must be when it is opened again.
    identity: Option<(u64, u64)>,
    /// This archive made or touched it, or something below it.
    pub(crate) upper: bool,
    /// Nothing of the lower layers is left in it.
    pub(crate) opaque: bool,
    pub(crate) inherit: Inherit,
    /// Set when the directory is left.
    deferred: Option<Box<Metadata>>,
    /// Changed since the deferred metadata was last set.
    dirty: bool,
    dead: bool,
}

/// What happens to directories that a path needs and that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// They are made.
    Make,
    /// There is nothing at the path.
    Nothing,
    /// Overlay mode: they are made to hold a marker, if the lower layers have them or are not known; they
    /// are not of this archive.
    Hold,
}

/// A directory to be made because a path needs it.
pub(crate) struct Implied<'a> {
    pub(crate) dir: &'a OwnedFd,
    pub(crate) inherit: Inherit,
    pub(crate) name: &'a [u8],
    /// What the lower layers have there.
    pub(crate) like: Option<&'a Metadata>,
    /// A whiteout of this archive gives way to it.
    pub(crate) over_whiteout: bool,
}

/// Makes and opens an implied directory.
pub(crate) type Maker<'a> = &'a mut dyn FnMut(Implied<'_>) -> Result<OwnedFd>;

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

pub(crate) struct Dirs {
    nodes: Vec<Node>,
    free: Vec<u32>,
    open: Vec<u32>,
    clock: u64,
    /// Raised when a known path may lead elsewhere than before.
    generation: u64,
    cross_mounts: bool,
    /// Overlay mode: the root is an upper directory over these.
    lowers: Option<Lowers>,
    /// Files that are on their way are waited for where something depends on them.
    writers: Rc<Writers>,
    /// The most entries: one entry can imply thousands of directories, so they are counted, too.
    most: u64,
}

impl Dirs {
    pub(crate) fn new(root: OwnedFd, cross_mounts: bool, lowers: Option<Lowers>, writers: Rc<Writers>) -> Result<Dirs> {
        let inherit = inherit_of(&root)?;
        let node = Node { handle: Some(Arc::new(root)), inherit, ..Node::default() };
        let (free, open) = (Vec::new(), Vec::new());
        let most = u64::MAX;
        Ok(Dirs { nodes: vec![node], free, open, clock: 0, generation: 0, cross_mounts, lowers, writers, most })
    }

    /// At most so many directories, or a few if that is less.
    pub(crate) fn bound(mut self, entries: u64) -> Dirs {
        self.most = entries.max(FEWEST);
        self
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    pub(crate) fn child(&self, id: NodeId, name: &[u8]) -> Option<Child> {
        self.node(id).children.get(name).copied()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn parent(&self, id: NodeId) -> NodeId {
        NodeId(self.node(id).parent)
    }

    /// The path from the root, for messages.
    pub(crate) fn path(&self, id: NodeId) -> Vec<u8> {
        self.names(id).join(&b'/')
    }

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

    fn keep(&mut self, id: NodeId, opened: OwnedFd) -> Arc<OwnedFd> {
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

    /// Defers metadata until the directory is left.
    pub(crate) fn defer(&mut self, id: NodeId, metadata: Metadata) {
        let node = self.node_mut(id);
        node.deferred = Some(Box::new(metadata));
        node.dirty = true;
    }

    /// This archive touched the directory: it and those above it are `upper` from now on.
    pub(crate) fn touch(&mut self, id: NodeId) {
        self.node_mut(id).dirty = true;
        let mut at = id;
        while !self.node(at).upper {
            self.node_mut(at).upper = true;
            at = self.parent(at);
        }
    }

    /// The directory changed without the archive's having put anything there.
    pub(crate) fn disturb(&mut self, id: NodeId) {
        self.node_mut(id).dirty = true;
    }

    /// This archive made something other than a directory here.
    pub(crate) fn set_leaf(&mut self, dir: NodeId, name: &[u8], leaf: Child) {
        match self.node_mut(dir).children.get_mut(name) {
            // It may be a link that a known path leads through.
            Some(child @ (Child::Leaf(_) | Child::Whiteout | Child::Copied)) => {
                *child = leaf;
                self.generation += 1;
            }
            _ => {
                self.forget(dir, name);
                self.node_mut(dir).children.insert(name.into(), leaf);
            }
        }
    }

    /// Takes note of an open directory.
    pub(crate) fn add(&mut self, dir: NodeId, name: &[u8], opened: OwnedFd, fresh: bool) -> Result<NodeId> {
        // One that we made hands nothing down until its own attributes are set.
        let inherit = if fresh { Inherit::default() } else { inherit_of(&opened)? };
        // Without layers below, what we made holds nothing of theirs.
        let opaque = fresh && self.lowers.is_none();
        let node = Node { parent: dir.0, name: name.into(), opaque, inherit, ..Node::default() };
        let id = match self.free.pop() {
            Some(id) => {
                self.nodes[id as usize] = node;
                NodeId(id)
            }
            None if self.nodes.len() as u64 > self.most => {
                return Err(Cause::Limit { limit: Limit::Entries, value: self.most }.into());
            }
            None => {
                self.nodes.push(node);
                NodeId(u32::try_from(self.nodes.len() - 1).map_err(|_| Fault::from(Cause::Os(Errno::ENOMEM as i32)))?)
            }
        };
        self.node_mut(dir).children.insert(name.into(), Child::Dir(id));
        self.keep(id, opened);
        Ok(id)
    }

    /// Forgets a name and all below it, before it is removed or replaced.
    pub(crate) fn forget(&mut self, dir: NodeId, name: &[u8]) {
        let Some(child) = self.node_mut(dir).children.remove(name) else { return };
        self.generation += 1;
        let Child::Dir(id) = child else { return };
        let mut stack = vec![id];
        while let Some(id) = stack.pop() {
            let node = std::mem::take(self.node_mut(id));
            self.node_mut(id).dead = true;
            self.free.push(id.0);
            stack.extend(node.children.into_values().filter_map(|child| match child {
                Child::Dir(id) => Some(id),
                _ => None,
            }));
        }
        // Slots are used again, so a dead one must not stand in the list of open ones.
        self.open.retain(|id| !self.nodes[*id as usize].dead);
    }

    /// Resolves directories from `start`, following symlinks inside the root.
    pub(crate) fn resolve(
        &mut self,
        start: NodeId,
        parts: &[&[u8]],
        missing: Missing,
        make: Maker<'_>,
    ) -> Result<Option<NodeId>> {
        let mut at = start;
        let mut queue: Vec<Box<[u8]>> = parts.iter().rev().map(|part| Box::from(*part)).collect();
        let mut links = 0;
        while let Some(part) = queue.pop() {
            match &part[..] {
                b"" | b"." => continue,
                b".." => at = self.parent(at),
                name => match self.step(at, name, missing, make)? {
                    Step::Dir(id) => at = id,
                    Step::Nothing => return Ok(None),
                    Step::Link(target) => {
                        links += 1;
                        if links > LINKS {
                            return Err(Fault::os(Errno::ELOOP, "openat", quoted(&parts.join(&b'/'))));
                        }
                        if target.starts_with(b"/") {
                            at = NodeId::ROOT;
                        }
                        queue.extend(target.split(|b| *b == b'/').rev().map(Box::from));
                    }
                },
            }
        }
        Ok(Some(at))
    }

    fn step(&mut self, at: NodeId, name: &[u8], missing: Missing, make: Maker<'_>) -> Result<Step> {
        match self.child(at, name) {
            Some(Child::Dir(id)) => return Ok(Step::Dir(id)),
            Some(Child::Whiteout) if missing != Missing::Make => return Ok(Step::Nothing),
            Some(Child::Leaf(batch)) => self.writers.wait(batch),
            _ => {}
        }
        let over_whiteout = self.child(at, name) == Some(Child::Whiteout);
        let handle = self.handle(at)?;
        match open::directory(&handle, name, self.cross_mounts) {
            Ok(opened) => return self.add(at, name, opened, false).map(Step::Dir),
            Err(fault) => match fault.errno() {
                Some(Errno::ENOENT) if missing == Missing::Nothing => return Ok(Step::Nothing),
                Some(Errno::ENOENT) => {}
                Some(Errno::ENOTDIR | Errno::ELOOP) => match open::link_target(&handle, name)? {
                    Some(target) => {
                        self.note_link(at, name);
                        return Ok(Step::Link(target));
                    }
                    None if missing != Missing::Make => return Ok(Step::Nothing),
                    None if over_whiteout => {}
                    None => return Err(fault),
                },
                _ => return Err(fault),
            },
        }
        let like = match self.below(at, name)? {
            Lower::Absent if missing == Missing::Hold && self.known_below(at) => return Ok(Step::Nothing),
            Lower::Absent => None,
            Lower::Directory(metadata) => Some(metadata),
            Lower::Link(target, ..) => {
                self.note_link(at, name);
                return Ok(Step::Link(target));
            }
            Lower::Other(..) if missing == Missing::Hold => return Ok(Step::Nothing),
            Lower::Other(..) => {
                return Err(Fault::os(Errno::ENOTDIR, "openat", format_args!("lower, {}", quoted(name))));
            }
        };
        let inherit = self.node(at).inherit;
        let opened = make(Implied { dir: &handle, inherit, name, like: like.as_deref(), over_whiteout })?;
        self.disturb(at);
        self.forget(at, name);
        let id = self.add(at, name, opened, true)?;
        self.node_mut(id).opaque |= over_whiteout;
        match like {
            // It was there: passing through does not touch it.
            Some(metadata) => self.defer(id, *metadata),
            None if missing == Missing::Make => self.touch(id),
            None => {}
        }
        Ok(Step::Dir(id))
    }

    /// The directory hides the lower layers from now on: links of theirs, which known paths lead through, too.
    pub(crate) fn set_opaque(&mut self, id: NodeId) {
        self.node_mut(id).opaque = true;
        self.generation += 1;
    }

    /// A known path leads through this link from now on.
    fn note_link(&mut self, at: NodeId, name: &[u8]) {
        self.node_mut(at).children.entry(name.into()).or_insert(Child::Link);
    }

    /// Whether this archive has put something there, or a directory is known to be.
    pub(crate) fn knows(&self, at: NodeId, name: &[u8]) -> bool {
        !matches!(self.child(at, name), None | Some(Child::Link))
    }

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

    /// Names that the lower layers show through in a directory.
    pub(crate) fn names_below(&self, at: NodeId) -> Result<Vec<Vec<u8>>> {
        match &self.lowers {
            Some(lowers) if !self.covered(at) => lowers.names(&self.names(at)),
            _ => Ok(Vec::new()),
        }
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
    fn known_below(&self, at: NodeId) -> bool {
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

    fn names(&self, id: NodeId) -> Vec<&[u8]> {
        let mut names = Vec::new();
        let mut at = id;
        while at != NodeId::ROOT {
            names.push(&self.node(at).name[..]);
            at = self.parent(at);
        }
        names.reverse();
        names
    }
}

enum Step {
    Dir(NodeId),
    Link(Vec<u8>),
    Nothing,
}

fn identity(handle: &OwnedFd) -> Result<(u64, u64)> {
    let stat = fstat(handle).call("fstat", || "directory")?;
    Ok((stat.st_dev, stat.st_ino))
}

/// What a directory that was there before hands down.
fn inherit_of(handle: &OwnedFd) -> Result<Inherit> {
    let stat = fstat(handle).call("fstat", || "directory")?;
    // rustix tells no size for an empty buffer; an ACL is there if anything is.
    let acl = rustix::fs::fgetxattr(handle, c"system.posix_acl_default", &mut [0u8; 0]).is_ok();
    Ok(Inherit { group: stat.st_mode & 0o2000 != 0, acl })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_costs_a_bounded_number_of_bytes() {
        assert!(size_of::<Node>() <= 192, "{}", size_of::<Node>());
    }
}
