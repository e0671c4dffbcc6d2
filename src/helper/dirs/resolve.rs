//! The way to an entry's directory: with chroot semantics, making what is missing.

use super::{Child, Dirs, Inherit, NodeId};
use crate::helper::fault::{Fault, Result, quoted};
use crate::helper::lower::Lower;
use crate::helper::metadata::Metadata;
use crate::helper::open;
use nix::errno::Errno;
use std::os::fd::OwnedFd;

/// As the kernel: `path_resolution(7)`.
const LINKS: u32 = 40;

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

impl Dirs {
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

    /// A known path leads through this link from now on.
    fn note_link(&mut self, at: NodeId, name: &[u8]) {
        self.node_mut(at).children.entry(name.into()).or_insert(Child::Link);
    }
}

enum Step {
    Dir(NodeId),
    Link(Vec<u8>),
    Nothing,
}
