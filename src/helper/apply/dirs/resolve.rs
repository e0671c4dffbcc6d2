//! The way to an entry's directory: with chroot semantics, making what is missing.

use super::links::Led;
use super::{Child, Dirs, Inherit, Leaver, NodeId};
use crate::helper::apply::lower::Lower;
use crate::helper::apply::metadata::Metadata;
use crate::helper::fault::{Fault, Result, quoted};
use crate::helper::open;
use nix::errno::Errno;
use std::os::fd::OwnedFd;

/// As many links as the kernel follows in one path: `path_resolution(7)`.
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

/// What is still to be done on the way.
enum Way {
    Part(Box<[u8]>),
    /// What comes after a link: the number of its name, and how many links had been followed before.
    Behind(u32, u32),
}

impl Dirs {
    /// Resolves directories from `start`, following symlinks inside the root.
    pub(crate) fn resolve(
        &mut self,
        start: NodeId,
        parts: &[&[u8]],
        missing: Missing,
        make: Maker<'_>,
        leave: Leaver<'_>,
    ) -> Result<Option<NodeId>> {
        let mut at = start;
        let mut way: Vec<Way> = parts.iter().rev().map(|part| Way::Part(Box::from(*part))).collect();
        let (mut links, mut own) = (0, way.len());
        self.links.allow();
        while let Some(next) = way.pop() {
            // What the path itself says is at the bottom.
            if way.len() < own {
                own = way.len();
            } else {
                self.links.step()?;
            }
            let name = match next {
                Way::Part(name) => name,
                Way::Behind(link, before) => {
                    self.remember(link, Led { to: at, links: links - before });
                    continue;
                }
            };
            match &name[..] {
                b"" | b"." => continue,
                b".." => {
                    at = self.parent(at);
                    continue;
                }
                _ => {}
            }
            if let Some(led) = self.led(at, &name) {
                links += led.links;
                at = led.to;
            } else {
                match self.step(at, &name, missing, make, leave)? {
                    Step::Dir(id) => at = id,
                    Step::Nothing => return Ok(None),
                    Step::Link(target, link) => {
                        way.push(Way::Behind(link, links));
                        links += 1;
                        if target.starts_with(b"/") {
                            at = NodeId::ROOT;
                        }
                        way.extend(target.split(|b| *b == b'/').rev().map(|part| Way::Part(Box::from(part))));
                    }
                }
            }
            if links > LINKS {
                return Err(Fault::os(Errno::ELOOP, "openat", quoted(&parts.join(&b'/'))));
            }
        }
        Ok(Some(at))
    }

    fn step(&mut self, at: NodeId, name: &[u8], missing: Missing, make: Maker<'_>, leave: Leaver<'_>) -> Result<Step> {
        match self.child(at, name) {
            Some(Child::Dir(id)) => return Ok(Step::Dir(id)),
            Some(Child::Whiteout) if missing != Missing::Make => return Ok(Step::Nothing),
            Some(Child::Leaf(batch)) => self.writers.wait(batch),
            _ => {}
        }
        let over_whiteout = self.child(at, name) == Some(Child::Whiteout);
        let handle = self.handle(at, leave)?;
        match open::directory(&handle, name, self.cross_mounts) {
            Ok(opened) => return self.add(at, name, opened, false, leave).map(Step::Dir),
            Err(fault) => match fault.errno() {
                Some(Errno::ENOENT) if missing == Missing::Nothing => return Ok(Step::Nothing),
                Some(Errno::ENOENT) => {}
                Some(Errno::ENOTDIR | Errno::ELOOP) => match open::link_target(&handle, name)? {
                    Some(target) => return Ok(Step::Link(target, self.note_link(at, name)?)),
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
            Lower::Link(target, ..) => return Ok(Step::Link(target, self.note_link(at, name)?)),
            Lower::Other(..) if missing == Missing::Hold => return Ok(Step::Nothing),
            Lower::Other(..) => {
                return Err(Fault::os(Errno::ENOTDIR, "openat", format_args!("lower, {}", quoted(name))));
            }
        };
        let inherit = self.node(at).inherit;
        let opened = make(Implied { dir: &handle, inherit, name, like: like.as_deref(), over_whiteout })?;
        self.disturb(at);
        self.forget(at, name);
        let id = self.add(at, name, opened, true, leave)?;
        self.node_mut(id).opaque |= over_whiteout;
        match like {
            // It was there: passing through does not touch it.
            Some(metadata) => self.defer(id, *metadata),
            None if missing == Missing::Make => self.touch(id),
            None => {}
        }
        Ok(Step::Dir(id))
    }

    /// A known path leads through this link from now on; the number of its name.
    fn note_link(&mut self, at: NodeId, name: &[u8]) -> Result<u32> {
        match self.names.find(&self.node(at).children, name) {
            Some(number) => Ok(number),
            None => self.note(at, name, Child::Link),
        }
    }
}

enum Step {
    Dir(NodeId),
    Link(Vec<u8>, u32),
    Nothing,
}
