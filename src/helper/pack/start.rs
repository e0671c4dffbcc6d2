//! Where a path that was named leads: with chroot semantics, step by step, the last component never followed (rule 1).

use super::open::{Opener, Unopened};
use super::walk::Listing;
use crate::helper::fault::{Attempt, Fault, Result, at, on};
use crate::helper::look::{self, Inode, Seen};
use crate::helper::open;
use crate::report::{Call, Cause, Descriptor, SourceChange};
use nix::errno::Errno;
use rustix::fs::FileType;
use std::os::fd::OwnedFd;

/// As many links as the kernel follows in one path: `path_resolution(7)`.
const LINKS: u32 = 40;

/// On the way no directory is read, so that the right to enter it will do.
const STEP: open::Way = open::Way::Step;

/// Where packing begins.
pub(crate) enum Start {
    /// A name in a directory, whose path in the archive is this.
    Entry { dir: OwnedFd, path: Vec<u8>, listing: Listing },
    /// A directory itself, whose path in the archive is this: the root, or what a path that ends in `..` leads to.
    Directory { dir: OwnedFd, path: Vec<u8> },
}

/// What a path leads to.
pub(crate) struct Found {
    /// Its path in the archive, before names are rebased.
    pub(crate) path: Vec<u8>,
    /// That path leads through a link, which is another file than the directory that the archive has in its place.
    pub(crate) linked: bool,
    pub(crate) inode: Inode,
    pub(crate) start: Start,
}

/// Finds starts below one root.
pub(crate) struct Finder<'a> {
    pub(crate) root: &'a OwnedFd,
    /// As the root was seen.
    pub(crate) seen: &'a Seen,
    pub(crate) opener: &'a mut Opener,
    /// What is mounted below may be entered.
    pub(crate) cross: bool,
}

/// How far a path has been gone.
struct Way {
    dir: OwnedFd,
    /// What it is named in the archive: as the path says, and where `..` followed a link as that has led.
    named: Vec<Vec<u8>>,
    /// Where it is in the root, through no link.
    real: Vec<Vec<u8>>,
    /// The two differ.
    linked: bool,
    links: u32,
}

impl Finder<'_> {
    /// Finds what the path names; its last component must be there. A `/` or `/.` at its end is a step into a directory.
    pub(crate) fn find(&mut self, path: &[u8]) -> Result<Found> {
        let wants_directory = path.ends_with(b"/") || path.ends_with(b"/.");
        let parts = parts(path);
        let (last, above) = match parts.split_last() {
            Some((last, above)) if **last != *b".." => (Some(*last), above),
            _ => (None, &parts[..]),
        };
        let mut way = self.way(above)?;
        let Some(last) = last else {
            let path = way.named.join(&b'/');
            return self.directory_at(&way, path, way.linked);
        };
        let seen = look::at(&way.dir, last).call(Call::Statx, || at(Descriptor::Directory, last).with(look::NAMED))?;
        let above = way.named.join(&b'/');
        way.named.push(last.to_vec());
        let path = way.named.join(&b'/');
        if wants_directory && seen.kind != FileType::Directory {
            self.go(&mut way, vec![last.to_vec()], false)?;
            return self.directory_at(&way, path, way.linked);
        }
        self.is_entered(&seen)?;
        let start = Start::Entry { dir: way.dir, path: above, listing: Listing::of_one(last) };
        Ok(Found { path, linked: way.linked, inode: seen.inode, start })
    }

    fn directory_at(&mut self, way: &Way, path: Vec<u8>, linked: bool) -> Result<Found> {
        let dir = self.read(&way.dir)?;
        let seen = look::of(&dir).call(Call::Statx, || on(Descriptor::Directory).with(look::OPEN))?;
        Ok(Found { path: path.clone(), linked, inode: seen.inode, start: Start::Directory { dir, path } })
    }

    /// What was named is packed, or it is an error: of what is mounted on a file nothing would be (rule 6).
    fn is_entered(&self, seen: &Seen) -> Result<()> {
        match seen.kind {
            FileType::Directory => Ok(()),
            _ if self.cross || !seen.is_mounted_on(self.seen) => Ok(()),
            _ => Err(Cause::MountPoint { directory: false }.into()),
        }
    }

    /// Finds what a path leads to, through a link that it ends in too. Its path is that of where it leads.
    pub(crate) fn end_of(&mut self, path: &[u8], directory: bool) -> Result<Found> {
        let mut way = self.way(&[])?;
        let parts = parts(path).into_iter().rev().map(<[u8]>::to_vec).collect();
        let path = |way: &Way| way.real.join(&b'/');
        match self.go(&mut way, parts, !directory)? {
            None => self.directory_at(&way, path(&way), false),
            Some((last, seen)) => {
                self.is_entered(&seen)?;
                let above = path(&way);
                let listing = Listing::of_one(&last);
                way.real.push(last);
                let path = path(&way);
                Ok(Found {
                    path,
                    linked: false,
                    inode: seen.inode,
                    start: Start::Entry { dir: way.dir, path: above, listing },
                })
            }
        }
    }

    /// Goes to a directory, through links.
    pub(crate) fn directory(&mut self, parts: &[&[u8]]) -> Result<OwnedFd> {
        let way = self.way(parts)?;
        self.read(&way.dir)
    }

    fn way(&mut self, parts: &[&[u8]]) -> Result<Way> {
        let dir = again(self.root)?;
        let mut way = Way { dir, named: Vec::new(), real: Vec::new(), linked: false, links: 0 };
        for part in parts {
            if **part == *b".." {
                self.go(&mut way, vec![b"..".to_vec()], false)?;
                way.up();
            } else {
                way.named.push(part.to_vec());
                self.go(&mut way, vec![part.to_vec()], false)?;
            }
        }
        Ok(way)
    }

    /// Goes what parts of a path say, which a link may make more; what comes next is last. `open`: it may end in what is
    /// neither a directory nor a link, which is told.
    fn go(&mut self, way: &mut Way, mut parts: Vec<Vec<u8>>, open: bool) -> Result<Option<(Vec<u8>, Seen)>> {
        while let Some(part) = parts.pop() {
            match &part[..] {
                b"" | b"." => {}
                b".." => {
                    way.real.pop();
                    way.dir = self.up(way)?;
                }
                name => match self.link(&way.dir, name)? {
                    None => {
                        if open
                            && parts.is_empty()
                            && let Some(seen) = other(&way.dir, name)
                        {
                            return Ok(Some((part, seen)));
                        }
                        way.dir = self.step(&way.dir, name)?;
                        way.real.push(part);
                    }
                    Some(_) if way.links == LINKS => return Err(not_there(Errno::ELOOP, name)),
                    Some(target) => {
                        way.links += 1;
                        way.linked = true;
                        if target.starts_with(b"/") {
                            way.dir = again(self.root)?;
                            way.real.clear();
                        }
                        parts.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                    }
                },
            }
        }
        Ok(None)
    }

    /// Of the root it is the root itself.
    fn up(&mut self, way: &Way) -> Result<OwnedFd> {
        match self.step(&way.dir, b"..") {
            // No root was entered, so nobody goes up.
            Err(fault) if fault.errno() == Some(Errno::EXDEV) => {
                let from = again(self.root)?;
                way.real.iter().try_fold(from, |dir, name| self.step(&dir, name))
            }
            above => above,
        }
    }

    fn step(&mut self, dir: &OwnedFd, name: &[u8]) -> Result<OwnedFd> {
        let next = open::by(dir, name, STEP)
            .map_err(|errno| not_there(if errno == Errno::ELOOP { Errno::ENOTDIR } else { errno }, name))?;
        let seen = look::of(&next).call(Call::Statx, || on(Descriptor::Directory).with(look::OPEN))?;
        if seen.is_mounted_on(self.seen) && !self.cross {
            return Err(Cause::CrossesMount.into());
        }
        Ok(next)
    }

    /// Where a link leads; nothing if it is none, or is not there.
    fn link(&mut self, dir: &OwnedFd, name: &[u8]) -> Result<Option<Vec<u8>>> {
        match look::at(dir, name) {
            Ok(seen) if seen.kind == FileType::Symlink => match self.opener.link(dir, name) {
                Ok(target) => Ok(Some(target)),
                Err(errno) => {
                    Err(errno).call(Call::Readlinkat, || at(Descriptor::Directory, name).with("<path>, 4096"))
                }
            },
            // Going there says what is wrong.
            _ => Ok(None),
        }
    }

    /// The directory, to be read.
    fn read(&mut self, dir: &OwnedFd) -> Result<OwnedFd> {
        match self.opener.directory(dir, b".") {
            Ok(dir) => Ok(dir),
            Err(Unopened::Unreadable(fault) | Unopened::Failed(fault)) => Err(fault),
            Err(Unopened::Source(SourceChange::Vanished)) => Err(not_there(Errno::ENOENT, b".")),
            Err(Unopened::Source(_)) => Err(not_there(Errno::ENOTDIR, b".")),
        }
    }
}

impl Way {
    /// After `..`.
    fn up(&mut self) {
        if self.linked {
            self.named.clone_from(&self.real);
            self.linked = false;
        } else {
            self.named.pop();
        }
    }
}

/// What is there, if it is neither a directory nor a link.
fn other(dir: &OwnedFd, name: &[u8]) -> Option<Seen> {
    look::at(dir, name).ok().filter(|seen| !matches!(seen.kind, FileType::Directory | FileType::Symlink))
}

/// The components of a path.
pub(crate) fn parts(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(part, [] | [b'.'])).collect()
}

/// Holds a directory once more, to go on from it.
pub(crate) fn again(dir: &OwnedFd) -> Result<OwnedFd> {
    open::by(dir, b".", STEP).map_err(|errno| open::failed(errno, STEP, Descriptor::Root, b"."))
}

fn not_there(errno: Errno, name: &[u8]) -> Fault {
    open::failed(errno, STEP, Descriptor::Directory, name)
}
