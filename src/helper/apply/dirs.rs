//! The directories of this run: a trie of resolved, root-relative paths that holds what the archive has made
//! or touched, with a bounded number of them open. Parents are resolved here, with chroot semantics.
//!
//! A handle names an inode, not a path, so nothing cached here can be redirected from outside; what the
//! archive itself replaces is forgotten before it is replaced.

mod anchors;
mod below;
mod deferred;
mod handles;
pub(crate) mod id;
mod left;
mod links;
mod names;
mod narrow;
mod resolve;

pub(crate) use anchors::is_fuse;
pub(crate) use deferred::Unlisted;
pub(crate) use handles::{Due, Leaver, Leaving, Parting};
pub(crate) use id::NodeId;
pub(crate) use resolve::{Implied, Missing};

use super::lower::Lowers;
use super::made::{Inherit, NewDirectory};
use super::metadata::Metadata;
use super::writers::Writers;
use crate::helper::fault::{Attempt, Fault, Result, on};
use crate::helper::jail::limits::Descriptors;
use crate::helper::read::entry::Time;
use crate::helper::read::input::Watch;
use crate::helper::sys::fstat;
use crate::inode::Identity;
use crate::options::Limits;
use crate::report::{Call, Cause, Descriptor, Limit};
use deferred::{Deferred, Waiting};
use handles::{Open, Opened};
use links::Links;
use names::{Names, Table};
use narrow::Narrow;
use nix::errno::Errno;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

/// Names that may be known beyond those of as many entries as are allowed: one path of the greatest depth, and more.
const SPARE: u64 = 16_384;

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

impl Child {
    fn directory(self) -> Option<NodeId> {
        match self {
            Child::Dir(id) => Some(id),
            _ => None,
        }
    }
}

/// One known directory.
#[derive(Debug, Default)]
pub(crate) struct Node {
    parent: u32,
    /// The number of its own name, in the directory above.
    name: u32,
    children: Table,
    opened: Opened,
    /// This archive made or touched it, or something below it.
    pub(crate) upper: bool,
    /// Nothing of the lower layers is left in it.
    pub(crate) opaque: bool,
    pub(crate) inherit: Inherit,
    /// Set when the directory is left.
    deferred: Option<Box<Deferred>>,
    /// Changed since the deferred metadata was last set.
    dirty: bool,
    dead: bool,
    /// The destination, or above it.
    pinned: bool,
}

pub(crate) struct Dirs {
    nodes: Vec<Node>,
    free: Vec<u32>,
    names: Names,
    open: Open,
    waiting: Waiting,
    links: Links,
    /// Raised when a known path may lead elsewhere than before.
    generation: u64,
    cross_mounts: bool,
    /// Overlay mode: the root is an upper directory over these.
    lowers: Option<Rc<Lowers>>,
    /// Files that are on their way are waited for where something depends on them.
    writers: Rc<Writers>,
    /// The most names that may be known: one entry can imply thousands of directories, so they are counted, too.
    most: u64,
    /// What is told if it is exceeded.
    entries: u64,
    /// Directories that were there get their times back.
    put_back: bool,
    /// The time of the entry at hand.
    time: Time,
    begun: bool,
    narrow: Narrow,
}

impl Dirs {
    pub(crate) fn new(
        root: OwnedFd,
        cross_mounts: bool,
        lowers: Option<Rc<Lowers>>,
        writers: Rc<Writers>,
        watch: Watch,
    ) -> Result<Dirs> {
        let Found { inherit, time, .. } = Found::in_it(&root)?;
        let deferred = Some(Box::new(Deferred::Time(time, Unlisted::There)));
        let node = Node { opened: Opened::Held(Arc::new(root), 0), inherit, deferred, ..Node::default() };
        Ok(Dirs {
            nodes: vec![node],
            free: Vec::new(),
            names: Names::default(),
            open: Open::default(),
            waiting: Waiting::default(),
            links: Links::new(watch),
            generation: 0,
            cross_mounts,
            lowers,
            writers,
            most: u64::MAX,
            entries: u64::MAX,
            put_back: true,
            time: Time::default(),
            begun: false,
            narrow: Narrow::default(),
        })
    }

    /// Bounds the names by the number of entries and a few more, and the directories that are open.
    pub(crate) fn bound(mut self, limits: &Limits, dealt: &Descriptors) -> Dirs {
        (self.entries, self.most) = (limits.entries, limits.entries.saturating_add(SPARE));
        self.links.bound(limits.depth);
        self.open.bound(dealt);
        self
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    pub(crate) fn child(&self, id: NodeId, name: &[u8]) -> Option<Child> {
        self.names.child(self.names.find(&self.node(id).children, name)?)
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

    /// Defers metadata until the directory is left.
    pub(crate) fn defer(&mut self, id: NodeId, mut metadata: Metadata) {
        self.narrow.defer(id, &mut metadata.mode);
        self.wait(id, Some(Deferred::new(Due::Metadata(metadata))));
        self.node_mut(id).dirty = true;
    }

    /// This archive touched the directory: it and those above it are `upper` from now on.
    pub(crate) fn touch(&mut self, id: NodeId) {
        self.node_mut(id).dirty = true;
        let mut at = id;
        while !self.node(at).upper {
            self.node_mut(at).upper = true;
            self.imply(at);
            at = self.parent(at);
        }
    }

    /// The destination, and those above it, stay what they are, whichever way a name leads there.
    pub(crate) fn pin(&mut self, id: NodeId) {
        let mut at = id;
        while !self.node(at).pinned {
            self.node_mut(at).pinned = true;
            at = self.parent(at);
        }
    }

    /// Neither a marker nor another entry takes the directory away.
    pub(crate) fn is_pinned(&self, id: NodeId) -> bool {
        self.node(id).pinned
    }

    /// A marker takes away what is in the directory, and not the directory.
    pub(crate) fn outlives_markers(&self, id: NodeId) -> bool {
        self.node(id).upper || self.node(id).pinned
    }

    /// The directory changed without the archive's having put anything there.
    pub(crate) fn disturb(&mut self, id: NodeId) {
        self.node_mut(id).dirty = true;
    }

    /// This archive made something other than a directory here.
    pub(crate) fn set_leaf(&mut self, dir: NodeId, name: &[u8], leaf: Child) -> Result<()> {
        match self.child(dir, name) {
            // It may be a link that a known path leads through.
            Some(Child::Leaf(_) | Child::Whiteout | Child::Copied) => self.generation += 1,
            _ => self.forget(dir, name),
        }
        self.note(dir, name, leaf).map(drop)
    }

    /// Every name that is held in memory goes through here; its number.
    fn note(&mut self, dir: NodeId, name: &[u8], child: Child) -> Result<u32> {
        let table = &mut self.nodes[dir.0 as usize].children;
        let number = self.names.set(table, name, child);
        if self.names.count() as u64 > self.most {
            return Err(Cause::Limit { limit: Limit::Entries, value: self.entries }.into());
        }
        Ok(number)
    }

    /// Takes note of a directory that was there, open.
    pub(crate) fn add(&mut self, dir: NodeId, name: &[u8], opened: OwnedFd, leave: Leaver<'_>) -> Result<NodeId> {
        let Found { inherit, time, identity } = Found::in_it(&opened)?;
        let narrow = self.narrow.make_usable(&opened)?;
        let id = self.known(dir, name, Node { inherit, ..Node::default() })?;
        if self.put_back {
            self.wait(id, Some(Deferred::Time(time, Unlisted::There)));
        }
        self.narrow.note(id, narrow);
        self.keep(id, &Arc::new(opened), Some(identity), leave)?;
        Ok(id)
    }

    /// Takes note of a directory that was just made. It hands nothing down until its own attributes are set.
    pub(crate) fn add_made(
        &mut self,
        dir: NodeId,
        name: &[u8],
        made: NewDirectory,
        leave: Leaver<'_>,
    ) -> Result<NodeId> {
        // Without layers below, it holds nothing of theirs.
        let opaque = self.lowers.is_none();
        let id = self.known(dir, name, Node { opaque, ..Node::default() })?;
        self.narrow.note(id, None);
        self.keep(id, &Arc::new(made.handle), Some(made.identity), leave)?;
        Ok(id)
    }

    /// A directory of this name is known from now on.
    fn known(&mut self, dir: NodeId, name: &[u8], node: Node) -> Result<NodeId> {
        let id = self.free.pop().map_or_else(|| u32::try_from(self.nodes.len()), Ok);
        let id = NodeId(id.map_err(|_| Fault::from(Cause::Os(Errno::ENOMEM as i32)))?);
        let name = self.note(dir, name, Child::Dir(id))?;
        let node = Node { parent: dir.0, name, ..node };
        match self.nodes.get_mut(id.0 as usize) {
            Some(slot) => *slot = node,
            None => self.nodes.push(node),
        }
        Ok(id)
    }

    /// Forgets a name and all below it, as it is removed or replaced.
    pub(crate) fn forget(&mut self, dir: NodeId, name: &[u8]) {
        let table = &mut self.nodes[dir.0 as usize].children;
        let Some(child) = self.names.remove(table, name) else { return };
        self.generation += 1;
        let Child::Dir(id) = child else { return };
        let mut stack = vec![id];
        while let Some(id) = stack.pop() {
            self.wait(id, None);
            self.narrow.note(id, None);
            let node = std::mem::take(self.node_mut(id));
            self.node_mut(id).dead = true;
            self.free.push(id.0);
            stack.extend(self.names.remove_all(node.children).filter_map(Child::directory));
        }
        // Slots are used again, so a dead one must not stand in the list of open ones.
        let nodes = &self.nodes;
        self.open.retain(|id| !nodes[id as usize].dead);
    }

    /// The directory hides the lower layers from now on: links of theirs, which known paths lead through, too.
    pub(crate) fn set_opaque(&mut self, id: NodeId) {
        self.node_mut(id).opaque = true;
        self.generation += 1;
    }

    /// Whether this archive has put something there, or a directory is known to be.
    pub(crate) fn knows(&self, at: NodeId, name: &[u8]) -> bool {
        !matches!(self.child(at, name), None | Some(Child::Link))
    }

    /// The names from the root to there.
    pub(crate) fn names(&self, id: NodeId) -> Vec<&[u8]> {
        let mut names = Vec::new();
        let mut at = id;
        while at != NodeId::ROOT {
            names.push(self.name(at));
            at = self.parent(at);
        }
        names.reverse();
        names
    }

    fn name(&self, id: NodeId) -> &[u8] {
        self.names.text(self.node(id).name)
    }
}

/// A directory that was there before.
struct Found {
    /// What it hands down.
    inherit: Inherit,
    time: Time,
    identity: Identity,
}

impl Found {
    fn in_it(handle: &OwnedFd) -> Result<Found> {
        let stat = fstat(handle).call(Call::Fstat, || on(Descriptor::Directory).with("<stat>"))?;
        // rustix tells no size for an empty buffer; an ACL is there if anything is.
        let acl = rustix::fs::fgetxattr(handle, c"system.posix_acl_default", &mut [0u8; 0]).is_ok();
        let time = Time { seconds: stat.st_mtime, nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or_default() };
        let inherit = Inherit { group: stat.st_mode & 0o2000 != 0, acl };
        Ok(Found { inherit, time, identity: Identity::of(&stat) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_costs_a_bounded_number_of_bytes() {
        assert!(size_of::<Node>() <= 80, "{}", size_of::<Node>());
    }
}
