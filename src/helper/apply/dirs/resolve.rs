//! The way to an entry's directory: with chroot semantics, making what is missing.

use super::links::Led;
use super::{Child, Dirs, Leaver, NodeId, Unlisted};
use crate::helper::apply::lower::Lower;
use crate::helper::apply::made::{Inherit, NewDirectory};
use crate::helper::apply::metadata::Metadata;
use crate::helper::apply::remove;
use crate::helper::fault::{self, Fault, Result};
use crate::helper::open;
use crate::report::{Call, Descriptor};
use nix::errno::Errno;
use std::os::fd::OwnedFd;

/// As many links as the kernel follows in one path: `path_resolution(7)`.
const LINKS: u32 = 40;

/// What happens to directories that a path needs and that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// They are made.
    Make,
    /// They are made, and what is in their way gives way to them, if it is of a lower layer and no directory.
    Replace,
    /// They are made, but not behind a link: a path that the caller gave is his, and what the link names may be a path
    /// of the host's.
    MakeUnlinked,
    /// They are an error that says where the path has led.
    Refuse,
    /// There is nothing at the path.
    Nothing,
    /// Overlay mode: they are made to hold a marker, if the lower layers have them or are not known; they
    /// are not of this archive.
    Hold,
}

impl Missing {
    fn is_made(self) -> bool {
        matches!(self, Missing::Make | Missing::Replace | Missing::MakeUnlinked | Missing::Refuse)
    }

    fn behind_a_link(self) -> Missing {
        if self == Missing::MakeUnlinked { Missing::Refuse } else { self }
    }
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
pub(crate) type Maker<'a> = &'a mut dyn FnMut(Implied<'_>) -> Result<NewDirectory>;

/// What is still to be done on the way.
enum Way {
    Part(Box<[u8]>),
    /// What comes after a link: the number of its name, and how many links had been followed before.
    Behind(u32, u32),
}

/// How far a path has been gone, and what is left of it.
struct Walk {
    at: NodeId,
    /// What comes next is last: what the path itself says is at the bottom, where links lead above it.
    way: Vec<Way>,
    /// How much of it the path itself says.
    own: usize,
    links: u32,
    /// The link that the path itself names and that is being followed.
    followed: Option<(NodeId, Box<[u8]>)>,
}

impl Walk {
    fn new(start: NodeId, parts: &[&[u8]]) -> Walk {
        let way: Vec<Way> = parts.iter().rev().map(|part| Way::Part(Box::from(*part))).collect();
        Walk { at: start, own: way.len(), way, links: 0, followed: None }
    }

    /// What comes next, and whether the path itself says it.
    fn next(&mut self) -> Option<(Way, bool)> {
        let next = self.way.pop()?;
        let of_path = self.way.len() < self.own;
        if of_path {
            self.own = self.way.len();
            self.followed = None;
        }
        Some((next, of_path))
    }

    /// On to where a link leads; it is known by the number of its name.
    fn follow(&mut self, name: Box<[u8]>, target: &[u8], number: u32) {
        self.followed.get_or_insert((self.at, name));
        self.way.push(Way::Behind(number, self.links));
        self.links += 1;
        if target.starts_with(b"/") {
            self.at = NodeId::ROOT;
        }
        self.way.extend(target.split(|b| *b == b'/').rev().map(|part| Way::Part(Box::from(part))));
    }

    /// Back to what the path itself names: this, or the link that has led to it.
    fn back_out(&mut self, name: Box<[u8]>) -> (NodeId, Box<[u8]>) {
        self.way.truncate(self.own);
        self.followed.take().unwrap_or((self.at, name))
    }
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
        let mut walk = Walk::new(start, parts);
        self.links.allow();
        while let Some((next, of_path)) = walk.next() {
            if !of_path {
                self.links.step()?;
            }
            let name = match next {
                Way::Part(name) => name,
                Way::Behind(link, before) => {
                    self.remember(link, Led { to: walk.at, links: walk.links - before });
                    continue;
                }
            };
            match &name[..] {
                b"" | b"." => continue,
                b".." => {
                    walk.at = self.parent(walk.at);
                    continue;
                }
                _ => {}
            }
            if let Some(led) = self.led(walk.at, &name) {
                walk.links += led.links;
                walk.at = led.to;
            } else {
                let missing = if walk.links > 0 { missing.behind_a_link() } else { missing };
                match self.step(walk.at, &name, missing, make, leave)? {
                    Met::Dir(id) => walk.at = id,
                    Met::Nothing => return Ok(None),
                    Met::Link(target, link) => walk.follow(name, &target, link),
                    Met::Blocked(fault) => {
                        let (dir, blocking) = walk.back_out(name);
                        walk.at = self.replace(dir, &blocking, missing, fault, make, leave)?;
                    }
                }
            }
            if walk.links > LINKS {
                return Err(Fault::as_if(Errno::ELOOP));
            }
        }
        Ok(Some(walk.at))
    }

    fn step(&mut self, at: NodeId, name: &[u8], missing: Missing, make: Maker<'_>, leave: Leaver<'_>) -> Result<Met> {
        match self.child(at, name) {
            Some(Child::Dir(id)) => return Ok(Met::Dir(id)),
            Some(Child::Whiteout) if !missing.is_made() => return Ok(Met::Nothing),
            Some(Child::Leaf(batch)) => self.writers.wait(batch),
            _ => {}
        }
        let over_whiteout = self.child(at, name) == Some(Child::Whiteout);
        let handle = self.handle(at, leave)?;
        match open::directory(&handle, name, self.cross_mounts) {
            Ok(opened) => return self.add(at, name, opened, leave).map(Met::Dir),
            Err(fault) => match fault.errno() {
                Some(Errno::ENOENT) if missing == Missing::Nothing => return Ok(Met::Nothing),
                Some(Errno::ENOENT) if missing == Missing::Refuse => return Err(self.lacking(at, name)),
                Some(Errno::ENOENT) => {}
                Some(Errno::ENOTDIR | Errno::ELOOP) => match open::link_target(&handle, name)? {
                    Some(target) => return Ok(Met::Link(target, self.note_link(at, name)?)),
                    None if !missing.is_made() => return Ok(Met::Nothing),
                    None if over_whiteout => {}
                    None => return Ok(Met::Blocked(fault)),
                },
                _ => return Err(fault),
            },
        }
        let like = match self.below(at, name)? {
            Lower::Absent if missing == Missing::Hold && self.known_below(at) => return Ok(Met::Nothing),
            Lower::Absent => None,
            Lower::Directory(metadata) => Some(metadata),
            Lower::Link(target, ..) => return Ok(Met::Link(target, self.note_link(at, name)?)),
            Lower::Other(..) if missing == Missing::Hold => return Ok(Met::Nothing),
            Lower::Other(..) => {
                let fault = Fault::as_if(Errno::ENOTDIR);
                return Ok(Met::Blocked(fault));
            }
        };
        let inherit = self.node(at).inherit;
        let implied = Implied { dir: &handle, inherit, name, like: like.as_deref(), over_whiteout };
        let made = make(implied)?;
        let id = self.add_implied(at, name, made, leave)?;
        self.node_mut(id).opaque |= over_whiteout;
        match like {
            // It was there: passing through does not touch it.
            Some(metadata) => self.defer(id, *metadata),
            None => {
                self.date(id, self.time, Unlisted::Held);
                if missing.is_made() {
                    self.touch(id);
                }
            }
        }
        Ok(Met::Dir(id))
    }

    fn add_implied(&mut self, at: NodeId, name: &[u8], made: NewDirectory, leave: Leaver<'_>) -> Result<NodeId> {
        self.disturb(at);
        self.forget(at, name);
        self.add_made(at, name, made, leave)
    }

    /// Rule 10: a directory in the place of what is of a lower layer and none, in the upper directory or over it.
    fn replace(
        &mut self,
        at: NodeId,
        name: &[u8],
        missing: Missing,
        fault: Fault,
        make: Maker<'_>,
        leave: Leaver<'_>,
    ) -> Result<NodeId> {
        // What an upper directory holds besides is of no lower layer.
        let here = match self.child(at, name) {
            None | Some(Child::Link) => self.lowers.is_none(),
            Some(Child::Copied) => true,
            Some(Child::Leaf(_) | Child::Whiteout | Child::Dir(_)) => return Err(fault),
        };
        if missing != Missing::Replace {
            return Err(fault);
        }
        let handle = self.handle(at, leave)?;
        if here {
            remove::remove_one(&handle, name)?;
        }
        let inherit = self.node(at).inherit;
        let implied = Implied { dir: &handle, inherit, name, like: None, over_whiteout: false };
        let made = make(implied).map_err(|other| if other.errno() == Some(Errno::EEXIST) { fault } else { other })?;
        let id = self.add_implied(at, name, made, leave)?;
        self.date(id, self.time, Unlisted::Held);
        self.touch(id);
        Ok(id)
    }

    /// The error of a path that led, through a link, to where nothing is.
    fn lacking(&self, at: NodeId, name: &[u8]) -> Fault {
        let resolved = [&b""[..]].into_iter().chain(self.names(at)).chain([name]).collect::<Vec<_>>().join(&b'/');
        let arguments = fault::at(Descriptor::Root, resolved).with("O_RDONLY|O_NOFOLLOW|O_CLOEXEC|O_DIRECTORY");
        Fault::os(Errno::ENOENT, Call::Openat, arguments)
    }

    /// A known path leads through this link from now on; the number of its name.
    fn note_link(&mut self, at: NodeId, name: &[u8]) -> Result<u32> {
        match self.names.find(&self.node(at).children, name) {
            Some(number) => Ok(number),
            None => self.note(at, name, Child::Link),
        }
    }
}

/// What a path leads to at one of its names.
enum Met {
    Dir(NodeId),
    Link(Vec<u8>, u32),
    /// Something that is neither a directory nor a link.
    Blocked(Fault),
    Nothing,
}
