//! Where a path that was named leads: with chroot semantics, step by step, the last component never followed (rule 1).

use super::open::{Opener, Unopened};
use super::walk::Listing;
use crate::helper::fault::{Attempt, Fault, Result, at};
use crate::helper::look::{self, Seen};
use crate::report::{Call, Cause, Descriptor};
use nix::errno::Errno;
use nix::fcntl::readlinkat;
use rustix::fs::FileType;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// As many links as the kernel follows in one path: `path_resolution(7)`.
const LINKS: u32 = 40;

/// Where packing begins.
pub(crate) enum Start {
    /// A name in a directory, whose path in the archive is this.
    Entry { dir: OwnedFd, path: Vec<u8>, listing: Listing },
    /// A directory itself, whose path in the archive is this: the root, or what a path that ends in `..` leads to.
    Directory { dir: OwnedFd, path: Vec<u8> },
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

impl Finder<'_> {
    /// Finds what the path names; its last component must be there.
    pub(crate) fn find(&mut self, path: &[u8]) -> Result<Start> {
        let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !matches!(part, [] | [b'.'])).collect();
        let (last, above) = match parts.split_last() {
            Some((last, above)) if **last != *b".." => (*last, above),
            _ => {
                let dir = self.directory(&parts)?;
                return Ok(Start::Directory { dir, path: fold(&parts) });
            }
        };
        let dir = self.directory(above)?;
        look::at(&dir, last).call(Call::Statx, || at(Descriptor::Directory, last).with("AT_SYMLINK_NOFOLLOW"))?;
        Ok(Start::Entry { dir, path: fold(above), listing: Listing::of_one(last) })
    }

    /// Goes to a directory, through links.
    pub(crate) fn directory(&mut self, parts: &[&[u8]]) -> Result<OwnedFd> {
        let mut way: Vec<Vec<u8>> = parts.iter().rev().map(|part| part.to_vec()).collect();
        let (mut here, mut links) = (again(self.root)?, 0);
        while let Some(part) = way.pop() {
            match &part[..] {
                b"" | b"." => {}
                // Of the root it is the root itself.
                b".." => here = self.step(&here, b"..")?,
                name => match link(&here, name)? {
                    None => here = self.step(&here, name)?,
                    Some(_) if links == LINKS => return Err(not_there(Errno::ELOOP, name)),
                    Some(target) => {
                        links += 1;
                        if target.starts_with(b"/") {
                            here = again(self.root)?;
                        }
                        way.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                    }
                },
            }
        }
        Ok(here)
    }

    fn step(&mut self, dir: &OwnedFd, name: &[u8]) -> Result<OwnedFd> {
        let next = match self.opener.directory(dir, name) {
            Ok(next) => next,
            Err(Unopened::Unreadable(fault) | Unopened::Failed(fault)) => return Err(fault),
            Err(Unopened::Source(change)) => {
                let gone = change == crate::report::SourceChange::Vanished;
                return Err(not_there(if gone { Errno::ENOENT } else { Errno::ENOTDIR }, name));
            }
        };
        let seen = look::of(&next).call(Call::Statx, || at(Descriptor::Directory, name).with("AT_EMPTY_PATH"))?;
        if seen.is_mounted_on(self.seen) && !self.cross {
            return Err(Cause::CrossesMount.into());
        }
        Ok(next)
    }
}

/// Where a link leads; nothing if it is none, or is not there.
fn link(dir: &OwnedFd, name: &[u8]) -> Result<Option<Vec<u8>>> {
    match look::at(dir, name) {
        Ok(seen) if seen.kind == FileType::Symlink => match readlinkat(dir, OsStr::from_bytes(name)) {
            Ok(target) => Ok(Some(target.into_vec())),
            Err(errno) => Err(errno).call(Call::Readlinkat, || at(Descriptor::Directory, name).with("<path>, 4096")),
        },
        // Going there says what is wrong.
        _ => Ok(None),
    }
}

/// Opens a directory that is held once more, to be read from its beginning.
pub(crate) fn again(dir: &OwnedFd) -> Result<OwnedFd> {
    use nix::fcntl::{OFlag, openat};
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(dir, ".", flags, nix::sys::stat::Mode::empty())
        .call(Call::Openat, || at(Descriptor::Root, ".").with("O_RDONLY|O_NOFOLLOW|O_CLOEXEC|O_DIRECTORY"))
}

fn not_there(errno: Errno, name: &[u8]) -> Fault {
    let flags = "O_RDONLY|O_NONBLOCK|O_NOFOLLOW|O_CLOEXEC|O_DIRECTORY";
    Fault::os(errno, Call::Openat, at(Descriptor::Directory, name).with(flags))
}

/// The name in the archive: what the path says, `..` folded away, never above the root.
pub(crate) fn fold(parts: &[&[u8]]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for part in parts {
        match *part {
            b".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    kept.join(&b'/')
}
