//! Overlay mode: what the lower layers have at a path, as overlayfs would look it up.
//!
//! Each layer is a detached, read-only clone of its mount, whose `..` ends at its root; no step follows a link.

use super::entry::Time;
use super::fault::{Call, Fault, Result, quoted};
use super::metadata::{self, Metadata};
use super::open;
use crate::Cause;
use crate::wire::{Channel, Down, Up};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
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
    last: RefCell<Option<Looked>>,
}

/// The path of a directory, and what it merges from.
type Looked = (Vec<u8>, Rc<[OwnedFd]>);

/// What the merged lower layers have at a path.
pub(crate) enum Lower {
    Absent,
    /// With the metadata of the topmost layer that has it.
    Directory(Box<Metadata>),
    /// To there, in this directory.
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
    pub(crate) fn new(roots: &[OwnedFd], unfinished: Option<Channel<Down, Up>>) -> Result<Lowers> {
        let open = |root| open::directory(root, b".", true);
        let roots = roots.iter().map(open).collect::<Result<_>>()?;
        Ok(Lowers { roots, unfinished: RefCell::new(unfinished), last: RefCell::default() })
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
        let stack = self.merged(parents)?;
        for dir in stack.iter() {
            match find(dir, name)? {
                Found::Nothing => {}
                Found::Whiteout => return Ok(Lower::Absent),
                Found::Directory(handle) => return read_metadata(&handle).map(|m| Lower::Directory(Box::new(m))),
                Found::Other(stat) => {
                    let handle = open::directory(dir, b".", true)?;
                    return Ok(match open::link_target(dir, name)? {
                        Some(target) => Lower::Link(target, handle, stat),
                        None => Lower::Other(handle, stat),
                    });
                }
            }
        }
        Ok(Lower::Absent)
    }

    /// Whether they have anything at the last of these names.
    pub(crate) fn have(&self, parents: &[&[u8]], name: &[u8]) -> Result<bool> {
        for dir in self.merged(parents)?.iter() {
            if let Some(stat) = stat(dir, name)? {
                return Ok(!is_whiteout(&stat) && !is_xattr_whiteout(dir, name, &stat));
            }
        }
        Ok(false)
    }

    /// Names in the merged directory at this path.
    pub(crate) fn names(&self, parents: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        let stack = self.merged(parents)?;
        let mut names = Vec::new();
        for dir in stack.iter() {
            names.extend(super::remove::list(dir)?.into_iter().map(|(name, _)| name));
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// The directories that this one merges from, the topmost first.
    fn merged(&self, path: &[&[u8]]) -> Result<Rc<[OwnedFd]>> {
        let roots = self.complete()?;
        let Some((first, rest)) = path.split_first() else { return Ok(Rc::clone(roots)) };
        let joined = path.join(&b'/');
        if let Some((_, stack)) = self.last.borrow().as_ref().filter(|(last, _)| *last == joined) {
            return Ok(Rc::clone(stack));
        }
        let mut stack = descend(roots, first)?;
        for name in rest {
            stack = descend(&stack, name)?;
        }
        let stack = Rc::from(stack);
        self.last.replace(Some((joined, Rc::clone(&stack))));
        Ok(stack)
    }
}

/// The directories that `name` merges from, the topmost first.
fn descend(stack: &[OwnedFd], name: &[u8]) -> Result<Vec<OwnedFd>> {
    let mut found = Vec::new();
    for dir in stack {
        match find(dir, name)? {
            Found::Nothing => {}
            Found::Directory(handle) => {
                let opaque = is_opaque(&handle);
                found.push(handle);
                if opaque {
                    break;
                }
            }
            Found::Whiteout | Found::Other(_) => break,
        }
    }
    Ok(found)
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
    if is_whiteout(&stat) || is_xattr_whiteout(dir, name, &stat) {
        return Ok(Found::Whiteout);
    }
    Ok(Found::Other(Box::new(stat)))
}

fn stat(dir: &OwnedFd, name: &[u8]) -> Result<Option<FileStat>> {
    match fstatat(dir, OsStr::from_bytes(name), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(Fault::os(errno, "newfstatat", format_args!("lower, {}", quoted(name)))),
    }
}

/// The kind of a file, from its mode.
pub(crate) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// A character device 0:0.
pub(crate) fn is_whiteout(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFCHR && stat.st_rdev == 0
}

/// An empty file with the overlay attribute, as Linux 6.7 and later have it.
fn is_xattr_whiteout(dir: &OwnedFd, name: &[u8], stat: &FileStat) -> bool {
    if kind(stat) != SFlag::S_IFREG || stat.st_size != 0 {
        return false;
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    openat(dir, OsStr::from_bytes(name), flags, Mode::empty())
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
    let stat = fstat(fd).call("fstat", || "lower")?;
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
            Err(errno) => return Err(errno).call("fgetxattr", || quoted(name.to_bytes())),
        }
        found.push((name, value));
    }
    Ok(found)
}
