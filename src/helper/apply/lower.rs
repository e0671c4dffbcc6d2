//! Overlay mode: what the lower layers have at a path, as overlayfs would look it up.
//!
//! Each layer is a detached, read-only clone of its mount, whose `..` ends at its root; no step follows a link.

use super::metadata::{self, Metadata};
use crate::helper::fault::{Attempt, Fault, Result, at, on, quoted};
use crate::helper::open::{self, Way};
use crate::helper::read::entry::Time;
use crate::helper::read::input::Watch;
use crate::helper::sys::fstat;
use crate::inode;
use crate::report::{Call, Cause, Descriptor};
use crate::wire::{Channel, Down, Up};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, fstatat};
use std::cell::RefCell;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

/// The lower layers, the topmost first.
pub(crate) struct Lowers {
    roots: Rc<[OwnedFd]>,
    /// They are still being made; the parent says when they are complete, and is asked before the first look.
    unfinished: RefCell<Option<Channel<Down, Up>>>,
    /// The directory looked at last. Nothing changes in the layers during a run.
    last: RefCell<Looked>,
    /// How many directories may be held open besides the roots.
    held: usize,
    watch: Watch,
}

/// A directory, and what it merges from as far as that has been looked for.
#[derive(Default)]
struct Looked {
    path: Vec<u8>,
    stack: Vec<OwnedFd>,
    /// The first layer that has not been looked into.
    next: usize,
    /// What is above hides what is below.
    covered: bool,
}

/// Steps between two looks at the clock and the parent.
const LOOK: usize = 1024;
/// Attributes of one file that are read, in bytes: more than an archive may give.
const ATTRIBUTES: usize = 4 << 20;

/// What the merged lower layers have at a path.
pub(crate) enum Lower {
    Absent,
    /// A directory with the metadata of the topmost layer that has it.
    Directory(Box<Metadata>),
    /// A link to there, in this directory.
    Link(Vec<u8>, OwnedFd, Box<FileStat>),
    /// Something else, in this directory.
    Other(OwnedFd, Box<FileStat>),
}

/// What one layer has at a name.
enum Found {
    Nothing,
    /// Nothing, and nothing in the layers below either.
    Whiteout,
    Directory(OwnedFd),
    Other(Box<FileStat>),
}

impl Lowers {
    /// `held`: how many directories may be open besides the roots.
    pub(crate) fn new(
        roots: Vec<OwnedFd>,
        unfinished: Option<Channel<Down, Up>>,
        held: usize,
        watch: Watch,
    ) -> Result<Lowers> {
        let open = |root| open::directory(&root, b".", true);
        let roots = roots.into_iter().map(open).collect::<Result<_>>()?;
        Ok(Lowers { roots, unfinished: RefCell::new(unfinished), last: RefCell::default(), held, watch })
    }

    /// Every look goes through here.
    fn complete(&self) -> Result<&Rc<[OwnedFd]>> {
        if let Some(mut parent) = self.unfinished.take() {
            let sent = parent.send(&Up::NeedLowers);
            if sent.is_err() || !matches!(parent.receive(), Ok(Down::LowersReady)) {
                return Err(Cause::Cancelled.into());
            }
        }
        Ok(&self.roots)
    }

    /// Whether the caller has named any.
    pub(crate) fn known(&self) -> bool {
        !self.roots.is_empty()
    }

    /// Metadata of the merged root.
    pub(crate) fn root(&self) -> Result<Option<Metadata>> {
        self.complete()?.first().map(read_metadata).transpose()
    }

    /// What they have at the last of these names.
    pub(crate) fn look(&self, parents: &[&[u8]], name: &[u8]) -> Result<Lower> {
        let found = self.each(parents, |dir| match find(dir, name)? {
            Found::Nothing => Ok(None),
            Found::Whiteout => Ok(Some(Lower::Absent)),
            Found::Directory(handle) => read_metadata(&handle).map(|m| Some(Lower::Directory(Box::new(m)))),
            Found::Other(stat) => {
                let handle = open::directory(dir, b".", true)?;
                Ok(Some(match open::link_target(dir, name)? {
                    Some(target) => Lower::Link(target, handle, stat),
                    None => Lower::Other(handle, stat),
                }))
            }
        });
        Ok(found?.unwrap_or(Lower::Absent))
    }

    /// Whether they have anything at the last of these names.
    pub(crate) fn have(&self, parents: &[&[u8]], name: &[u8]) -> Result<bool> {
        let found = self.each(parents, |dir| {
            let there = stat(dir, name)?;
            Ok(there.map(|stat| !inode::is_whiteout(&stat) && !is_xattr_whiteout(dir, name, &stat)))
        });
        Ok(found?.unwrap_or(false))
    }

    /// Each layer's root.
    pub(crate) fn roots(&self) -> Result<Rc<[OwnedFd]>> {
        self.complete().map(Rc::clone)
    }

    /// Looks into each directory that merges here, the topmost first, until something is found.
    fn each<T>(&self, path: &[&[u8]], mut look: impl FnMut(&OwnedFd) -> Result<Option<T>>) -> Result<Option<T>> {
        let roots = self.complete()?;
        if path.is_empty() {
            return roots.iter().find_map(|root| look(root).transpose()).transpose();
        }
        let mut last = self.last.borrow_mut();
        let joined = path.join(&b'/');
        if last.path != joined {
            *last = Looked { path: joined, ..Looked::default() };
        }
        if let Some(found) = last.stack.iter().find_map(|dir| look(dir).transpose()) {
            return found.map(Some);
        }
        let (mut next, mut covered) = (last.next, last.covered);
        while !covered && next < roots.len() {
            let (dir, covers) = self.walk(&roots[next], path)?;
            let found = dir.as_ref().map_or(Ok(None), &mut look)?;
            // Without gaps: from the first that is not kept on, they are opened again each time.
            if last.next == next && last.stack.len() < self.held {
                last.stack.extend(dir);
                (last.next, last.covered) = (next + 1, covers);
            }
            if found.is_some() {
                return Ok(found);
            }
            (next, covered) = (next + 1, covers);
        }
        Ok(None)
    }

    /// One layer's directory at a path, and whether it hides what the layers below have there.
    fn walk(&self, root: &OwnedFd, path: &[&[u8]]) -> Result<(Option<OwnedFd>, bool)> {
        let (mut here, mut covers) = (None, false);
        for (depth, name) in path.iter().enumerate() {
            if depth % LOOK == LOOK - 1 {
                self.watch.goes_on()?;
            }
            match find(here.as_ref().unwrap_or(root), name)? {
                Found::Nothing => return Ok((None, covers)),
                Found::Directory(handle) => {
                    covers |= is_opaque(&handle);
                    here = Some(handle);
                }
                Found::Whiteout | Found::Other(_) => return Ok((None, true)),
            }
        }
        Ok((here, covers))
    }
}

fn find(dir: &OwnedFd, name: &[u8]) -> Result<Found> {
    match open::directory(dir, name, true) {
        Ok(handle) => return Ok(Found::Directory(handle)),
        Err(fault) => match fault.errno() {
            Some(Errno::ENOENT) => return Ok(Found::Nothing),
            Some(Errno::ENOTDIR | Errno::ELOOP) => {}
            _ => return Err(fault),
        },
    }
    let Some(stat) = stat(dir, name)? else { return Ok(Found::Nothing) };
    if inode::is_whiteout(&stat) || is_xattr_whiteout(dir, name, &stat) {
        return Ok(Found::Whiteout);
    }
    Ok(Found::Other(Box::new(stat)))
}

fn stat(dir: &OwnedFd, name: &[u8]) -> Result<Option<FileStat>> {
    match fstatat(dir, OsStr::from_bytes(name), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => {
            Err(errno).call(Call::Newfstatat, || at(Descriptor::Lower, name).with("<stat>, AT_SYMLINK_NOFOLLOW"))
        }
    }
}

/// An empty file with the overlay attribute, as Linux 6.7 and later have it.
fn is_xattr_whiteout(dir: &OwnedFd, name: &[u8], stat: &FileStat) -> bool {
    if !inode::is_regular(stat) || stat.st_size != 0 {
        return false;
    }
    open::by(dir, name, Way::Lower)
        .is_ok_and(|file| has(&file, c"trusted.overlay.whiteout") || has(&file, c"user.overlay.whiteout"))
}

fn is_opaque(dir: &OwnedFd) -> bool {
    [c"trusted.overlay.opaque", c"user.overlay.opaque"].into_iter().any(|name| {
        let mut value = [0u8; 1];
        rustix::fs::fgetxattr(dir, name, &mut value).is_ok_and(|_| value == *b"y")
    })
}

fn has(file: &OwnedFd, name: &CStr) -> bool {
    rustix::fs::fgetxattr(file, name, &mut [0u8; 0]).is_ok()
}

/// Owner, mode, times, ACLs and attributes of an open file or directory, overlay's own left out. They do not go by the
/// policy on owners: their ids are of the disk, read in the user namespace in which they are written again.
pub(crate) fn read_metadata(fd: &OwnedFd) -> Result<Metadata> {
    let stat = fstat(fd).call(Call::Fstat, || on(Descriptor::Lower).with("<stat>"))?;
    Ok(Metadata { xattrs: read_xattrs(fd)?, ..metadata_of(&stat) })
}

/// What `stat` tells.
pub(crate) fn metadata_of(stat: &FileStat) -> Metadata {
    let time = |seconds, nanoseconds| Time { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or_default() };
    Metadata {
        owner: Some((stat.st_uid, stat.st_gid)),
        mode: stat.st_mode & 0o7777,
        mode_now: None,
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        atime: time(stat.st_atime, stat.st_atime_nsec),
        xattrs: Vec::new(),
    }
}

fn read_xattrs(fd: &OwnedFd) -> Result<Vec<(CString, Vec<u8>)>> {
    let mut found = Vec::new();
    for name in metadata::xattr_names(fd)? {
        let mut value = vec![0u8; 64 << 10];
        match rustix::fs::fgetxattr(fd, name.as_c_str(), &mut value[..]) {
            Ok(size) => value.truncate(size),
            Err(rustix::io::Errno::NODATA) => continue,
            Err(errno) => {
                return Err(errno).call(Call::Fgetxattr, || {
                    on(Descriptor::Lower).with(format_args!("{}, <value>, 65536", quoted(name.to_bytes())))
                });
            }
        }
        // It may wait, and would hold the room for the longest.
        value.shrink_to_fit();
        found.push((name, value));
        if Metadata::bytes_of(&found) > ATTRIBUTES {
            return Err(Fault::as_if(Errno::E2BIG));
        }
    }
    Ok(found)
}
