//! What is mounted below the root is covered, in our mount namespace alone: an empty, read-only directory or file lies
//! over each mount point, and a helper that was taken over finds no `/proc/self/fd` there that leads to the host's
//! files. Entering it is entering a mount, as before. `mount_namespaces(7)`: where a mount may not be taken off because
//! of a namespace above, it may still be mounted over.

use super::mounts::table::{Mounted, Table};
use super::top::Top;
use crate::helper::fault::{Attempt, Result, at, on};
use crate::helper::look::{self, Seen};
use crate::helper::sys::{self, fstat};
use crate::proc;
use crate::report::{Call, Cause, Descriptor};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};
use rustix::fs::{FileType, getxattr, listxattr};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

/// How often somebody may exchange the directories on the way before that is an error.
pub(crate) const ROUNDS: u32 = 100;
/// How many lists must say that nothing is left, where that rests on one mount lying above the way to another: the rows
/// of a list are not of one moment, and a directory exchanged between two of them looks like that.
const AGREE: u32 = 3;
/// What lies over a directory, and what over a file.
const DIRECTORY: &str = "/../directory";
const FILE: &str = "/../file";

/// What lies over a mount, and what was seen there before.
#[derive(Debug)]
pub(crate) struct Covered {
    /// The number of the mount that covers it.
    pub(crate) by: u64,
    pub(crate) seen: Seen,
    pub(crate) attributes: Shown,
}

/// Attributes as the kernel has told them: names, each with its value; of a directory, where they are wanted.
pub(crate) type Shown = std::result::Result<Vec<(Vec<u8>, std::result::Result<Vec<u8>, Errno>)>, Errno>;

/// Bytes of all names of a file, and of one value, that Linux has at most: `xattr(7)`.
const MOST: usize = 64 << 10;
/// Bytes of all values of one directory; no archive takes as many.
const MOST_VALUES: usize = 2 << 20;

/// Covers all that is mounted below the working directory; the kernel's own list says in the end that nothing is left.
/// `whole`: the directory is the root of its mount. What was covered is told where the kernel numbers mounts, with the
/// attributes of directories if they are wanted.
pub(crate) fn below_cwd(whole: bool, attributes: bool) -> Result<Vec<Covered>> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = openat(AT_FDCWD, ".", flags, Mode::empty())
        .call(Call::Openat, || at(Descriptor::Cwd, ".").with("O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY"))?;
    let (top, device) = empty()?;
    let (mut last, mut agree) = (Errno::EBUSY, 0);
    let mut covered = Vec::new();
    for _ in 0..ROUNDS {
        let table = match Table::of(&root, whole) {
            // Somebody renames a directory above.
            Err(fault) if matches!(fault.cause, Cause::Exchanged { .. }) => {
                last = Errno::ESTALE;
                continue;
            }
            table => table?,
        };
        let mut left = table.in_sight(device).peekable();
        if left.peek().is_none() {
            agree += 1;
            if agree >= AGREE || !table.has_hidden() {
                return top.off().map(|()| covered);
            }
            continue;
        }
        for mounted in left {
            match root_of(&root, &table, mounted) {
                Ok(place) => covered.extend(cover(&place, attributes)?),
                // Somebody moves it; the next list says where it is then.
                Err(errno) => last = errno,
            }
        }
    }
    Err(Cause::NotCovered(last as i32).into())
}

/// A file system with nothing in it but an empty directory and file, and its device number.
fn empty() -> Result<(Top, u64)> {
    let top = Top::tmpfs()?;
    let (read, pass) = (Mode::from_bits_truncate(0o444), Mode::from_bits_truncate(0o555));
    mkdirat(AT_FDCWD, DIRECTORY, pass).call(Call::Mkdirat, || at(Descriptor::Cwd, DIRECTORY).with("0555"))?;
    mknodat(AT_FDCWD, FILE, SFlag::S_IFREG, read, 0)
        .call(Call::Mknodat, || at(Descriptor::Cwd, FILE).with("S_IFREG|0444"))?;
    let root = top.seal(MsFlags::empty())?;
    let device = fstat(&root).call(Call::Fstat, || on(Descriptor::Mount).with("<stat>"))?.st_dev;
    Ok((top, device))
}

/// The root of that mount, through no link. Its mount point is the last step: only there a path leads into it.
fn root_of(root: &OwnedFd, table: &Table, mounted: &Mounted) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let (mut at, mut number) = (None::<OwnedFd>, None);
    for name in mounted.point.split(|b| *b == b'/') {
        if number == Some(mounted.id) {
            return Err(Errno::ESTALE);
        }
        let next = openat(at.as_ref().unwrap_or(root), OsStr::from_bytes(name), flags, Mode::empty())?;
        number = table.number_of(&next);
        at = Some(next);
    }
    at.filter(|_| number == Some(mounted.id)).ok_or(Errno::ESTALE)
}

fn cover(place: &OwnedFd, attributes: bool) -> Result<Option<Covered>> {
    let seen = look::of(place).ok();
    let attributes = attributes && seen.is_some_and(|seen| seen.kind == FileType::Directory);
    let attributes = if attributes { attributes_of(place) } else { Ok(Vec::new()) };
    let by = match bind(DIRECTORY, place) {
        // `mount(2)` and `move_mount(2)`, if it is a file.
        Err(fault) if matches!(fault.errno(), Some(Errno::ENOTDIR | Errno::EINVAL)) => bind(FILE, place),
        done => done,
    }?;
    Ok(by.zip(seen).map(|(by, seen)| Covered { by, seen, attributes }))
}

/// By its name in /proc: nothing is to be had of a path descriptor, and what is mounted there is not opened.
fn attributes_of(place: &OwnedFd) -> Shown {
    let known = |errno: rustix::io::Errno| Errno::from_raw(errno.raw_os_error());
    let name = proc::name_of(place).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::ENOENT)))?;
    let mut buffer = vec![0; MOST];
    let bytes = match listxattr(&name, &mut buffer[..]) {
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        listed => listed.map_err(known)?,
    };
    let names = buffer.get(..bytes).unwrap_or_default().to_vec();
    let mut left = MOST_VALUES;
    let mut value = |attribute: &[u8]| {
        let length = getxattr(&name, OsStr::from_bytes(attribute), &mut buffer[..]).map_err(known)?;
        left = left.checked_sub(length).ok_or(Errno::E2BIG)?;
        Ok(buffer.get(..length).unwrap_or_default().to_vec())
    };
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| (name.to_vec(), value(name))).collect())
}

/// The number of the mount that then lies there, where the kernel tells it.
fn bind(source: &str, place: &OwnedFd) -> Result<Option<u64>> {
    match move_clone(source, place) {
        Err(fault) if fault.errno().is_some_and(sys::is_absent) => {
            let name = proc::name_of(place).map_err(|_| fault)?;
            let none = None::<&str>;
            mount(Some(source), &name, none, MsFlags::MS_BIND, none)
                .call(Call::Mount, || format!("\"{source}\", \"{}\", NULL, MS_BIND, NULL", name.display()))?;
            Ok(None)
        }
        done => done,
    }
}

fn move_clone(source: &str, place: &OwnedFd) -> Result<Option<u64>> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(rustix::fs::CWD, source, flags)
        .call(Call::OpenTree, || at(Descriptor::Cwd, source).with("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC"))?;
    let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, "", place, "", both).call(Call::MoveMount, || {
        at(Descriptor::Mount, "").with("<mount>, \"\", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH")
    })?;
    Ok(look::of(&tree).ok().and_then(|seen| seen.mount))
}
