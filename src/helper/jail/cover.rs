//! What is mounted below the root is covered, in our mount namespace alone: an empty, read-only directory or file lies
//! over each mount point, and a helper that was taken over finds no `/proc/self/fd` there that leads to the host's
//! files. Entering it is entering a mount, as before. `mount_namespaces(7)`: where a mount may not be taken off because
//! of a namespace above, it may still be mounted over.

use super::mounts::table::{Mounted, Table};
use super::top::Top;
use crate::helper::fault::{Call, Fault, Result};
use crate::helper::sys;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, openat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat, mknodat};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// How often somebody may exchange the directories on the way before that is an error.
pub(crate) const ROUNDS: u32 = 100;
/// How many lists must say that nothing is left, where that rests on one mount lying above the way to another: the rows
/// of a list are not of one moment, and a directory exchanged between two of them looks like that.
const AGREE: u32 = 3;
/// What lies over a directory, and what over a file.
const DIRECTORY: &str = "/../directory";
const FILE: &str = "/../file";

/// Covers all that is mounted below the working directory; the kernel's own list says in the end that nothing is left.
/// `whole`: the directory is the root of its mount.
pub(crate) fn below_cwd(whole: bool) -> Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(".", flags, Mode::empty()).call("openat", || "AT_FDCWD, \".\", O_PATH|O_DIRECTORY")?;
    let (top, device) = empty()?;
    let (mut last, mut agree) = (Errno::EBUSY, 0);
    for _ in 0..ROUNDS {
        let table = match Table::of(&root, whole) {
            // Somebody renames a directory above.
            Err(fault) if fault.errno() == Some(Errno::ESTALE) => {
                last = Errno::ESTALE;
                continue;
            }
            table => table?,
        };
        let mut left = table.in_sight(device).peekable();
        if left.peek().is_none() {
            agree += 1;
            if agree >= AGREE || !table.has_hidden() {
                return top.off();
            }
            continue;
        }
        for mounted in left {
            match root_of(&root, &table, mounted) {
                Ok(place) => cover(&place)?,
                // Somebody moves it; the next list says where it is then.
                Err(errno) => last = errno,
            }
        }
    }
    Err(Fault::os(last, "openat", "what is mounted below the root, to cover it"))
}

/// A file system with nothing in it but an empty directory and file, and its device number.
fn empty() -> Result<(Top, u64)> {
    let top = Top::tmpfs()?;
    let (read, pass) = (Mode::from_bits_truncate(0o444), Mode::from_bits_truncate(0o555));
    mkdirat(AT_FDCWD, DIRECTORY, pass).call("mkdirat", || "AT_FDCWD, \"/../directory\", 0555")?;
    mknodat(AT_FDCWD, FILE, SFlag::S_IFREG, read, 0).call("mknodat", || "AT_FDCWD, \"/../file\", S_IFREG|0444")?;
    let root = top.seal(MsFlags::empty())?;
    let device = fstat(&root).call("fstat", || "tmpfs")?.st_dev;
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

fn cover(place: &OwnedFd) -> Result<()> {
    match bind(DIRECTORY, place) {
        // `mount(2)` and `move_mount(2)`, if it is a file.
        Err(fault) if matches!(fault.errno(), Some(Errno::ENOTDIR | Errno::EINVAL)) => bind(FILE, place),
        done => done,
    }
}

fn bind(source: &str, place: &OwnedFd) -> Result<()> {
    match move_clone(source, place) {
        Err(fault) if fault.errno().is_some_and(sys::is_absent) => {
            let (name, none) = (format!("/proc/self/fd/{}", place.as_raw_fd()), None::<&str>);
            mount(Some(source), name.as_str(), none, MsFlags::MS_BIND, none)
                .call("mount", || format!("\"{source}\", mount point, MS_BIND"))
        }
        done => done,
    }
}

fn move_clone(source: &str, place: &OwnedFd) -> Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(rustix::fs::CWD, source, flags)
        .call("open_tree", || format!("AT_FDCWD, \"{source}\", OPEN_TREE_CLONE"))?;
    let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, "", place, "", both).call("move_mount", || "tree, \"\", mount point, \"\"")
}
