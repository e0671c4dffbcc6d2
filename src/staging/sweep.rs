//! What dead processes left beside a place, and how a tree is removed.

use super::{DIRECTORY, Emptier, PREFIX, is_at, is_dot, mark, take};
use nix::NixPath;
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::renameat;
use nix::sys::stat::{FchmodatFlags, Mode as Bits, fchmod, fchmodat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Directories on their way out, moved to the top of what is removed.
const AWAY: &str = "away-";

/// Names looked at in one sweep; what is left has its turn another time.
const MOST: usize = 1_000;

/// Removes what dead processes of this user have left here, known by its mark. One without a mark, killed before it
/// had one, is removed only if it is empty.
pub(super) fn sweep(parent: BorrowedFd<'_>, emptier: &Emptier) {
    let Ok(mut dir) = Dir::openat(parent, ".", DIRECTORY, Bits::empty()) else { return };
    let names = dir.iter().flatten().map(|entry| entry.file_name().to_owned());
    let ours = names.filter(|name| name.to_bytes().starts_with(PREFIX.as_bytes()));
    // Whoever owns the parent may make as many as he likes.
    let left: Vec<_> = ours.take(MOST).collect();
    for name in left {
        let name = OsStr::from_bytes(name.to_bytes());
        let Ok(taken) = take(parent, name) else { continue };
        if !is_at(&taken, parent, name) {
            continue;
        }
        match mark::find(taken.lock.as_fd(), name, &taken.stat) {
            Some(mark) => remove(parent, name, taken.lock.as_fd(), Some(&mark), emptier),
            None => drop(unlinkat(parent, name, UnlinkatFlags::RemoveDir)),
        }
    }
}

/// Removes a directory that is held, its mark last. What only a user namespace's root may remove, the emptier
/// has its turn at first. A helper whose parent was killed may still be writing for a moment.
pub(super) fn remove(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    held: BorrowedFd<'_>,
    mark: Option<&OsStr>,
    emptier: &Emptier,
) {
    let unmark = || mark.map_or(Ok(()), |mark| mark::remove(held, mark));
    for attempt in 0..20 {
        let emptied = empty(held, mark).and_then(|()| unmark());
        match emptied.and_then(|()| unlinkat(parent, name, UnlinkatFlags::RemoveDir)) {
            Err(Errno::EACCES | Errno::EPERM) if attempt == 0 => with_more_rights(held, mark, emptier),
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => std::thread::sleep(Duration::from_millis(50)),
            _ => return,
        }
    }
}

/// Removes all that is in a directory but its mark: follows no link, crosses no mount, needs no more stack or descriptors the
/// deeper it is. A directory that is not empty is moved to the top first, which the kernel refuses for what
/// something is mounted on.
fn empty(top: BorrowedFd<'_>, mark: Option<&OsStr>) -> Result<(), Errno> {
    let mut moved = 0;
    names(top, mark)?.iter().try_for_each(|(name, kind)| part(top, name, *kind, top, &mut moved))?;
    let mut done = 0;
    while done < moved {
        let name = format!("{AWAY}{done}");
        done += 1;
        match open(top, &name) {
            Ok(mut dir) => clear(&mut dir, top, &mut moved)?,
            Err(Errno::ENOENT) => continue,
            Err(errno) => return Err(errno),
        }
        unlinkat(top, &*name, UnlinkatFlags::RemoveDir)?;
    }
    Ok(())
}

/// Nobody but us has anything from what is on its way out, so what its owner's bits keep back is his: a caller without
/// `CAP_DAC_OVERRIDE`.
fn open(top: BorrowedFd<'_>, name: &str) -> Result<Dir, Errno> {
    let opened = match Dir::openat(top, name, DIRECTORY, Bits::empty()) {
        Err(Errno::EACCES) => {
            widen(top, name)?;
            Dir::openat(top, name, DIRECTORY, Bits::empty())
        }
        opened => opened,
    }?;
    // Of another owner's the removal will say more.
    let _ = fchmod(opened.as_fd(), Bits::S_IRWXU);
    Ok(opened)
}

fn widen<P: ?Sized + NixPath>(dir: BorrowedFd<'_>, name: &P) -> Result<(), Errno> {
    fchmodat(dir, name, Bits::S_IRWXU, FchmodatFlags::NoFollowSymlink)
}

/// Whatever comes of it, the removal is tried again.
fn with_more_rights(held: BorrowedFd<'_>, mark: Option<&OsStr>, emptier: &Emptier) {
    if let (Ok(root), Ok(names)) = (held.try_clone_to_owned(), names(held, mark)) {
        emptier(root, &names.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
    }
}

/// Listed first: what is moved here must not be met again.
fn names(top: BorrowedFd<'_>, mark: Option<&OsStr>) -> Result<Vec<(CString, Option<Type>)>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::openat(top, ".", DIRECTORY, Bits::empty())?.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if !is_dot(name) && mark.is_none_or(|mark| mark.as_bytes() != name.to_bytes()) {
            names.push((name.to_owned(), entry.file_type()));
        }
    }
    Ok(names)
}

fn clear(dir: &mut Dir, top: BorrowedFd<'_>, moved: &mut u64) -> Result<(), Errno> {
    let fd = dir.as_fd().try_clone_to_owned().map_err(|_| Errno::EMFILE)?;
    for entry in dir.iter() {
        let entry = entry?;
        if !is_dot(entry.file_name()) {
            part(fd.as_fd(), entry.file_name(), entry.file_type(), top, moved)?;
        }
    }
    Ok(())
}

/// Removes one name, or moves it to the top.
fn part(
    dir: BorrowedFd<'_>,
    name: &CStr,
    kind: Option<Type>,
    top: BorrowedFd<'_>,
    moved: &mut u64,
) -> Result<(), Errno> {
    if kind != Some(Type::Directory) {
        match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EISDIR) => {}
            Err(errno) => return Err(errno),
        }
    }
    match unlinkat(dir, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let mut widened = false;
    loop {
        let away = format!("{AWAY}{moved}");
        *moved += 1;
        match renameat(dir, name, top, &*away) {
            // A directory that gets another parent is written to.
            Err(Errno::EACCES) if !widened => {
                widen(dir, name)?;
                widened = true;
            }
            // An earlier removal that was interrupted left something of that name: it has its turn.
            Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR | Errno::EINVAL) => {}
            result => return result,
        }
    }
}
