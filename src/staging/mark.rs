//! The mark by which a staging directory is known as ours.
//!
//! Whoever owns the directory beside may give any directory of ours in it a staging directory's name, but cannot put
//! anything into one of mode 0700. The mark is a socket, which no archive can hold and so nobody can have unpacked
//! there; its name has the directory's own name and inode in it, so that it marks no other.

use super::PREFIX;
use crate::inode;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mknodat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;

const MARK: &str = ".untar-in-root-made-";

/// The mark of a directory with this name.
pub(super) fn name(directory: &OsStr, stat: &FileStat) -> OsString {
    let bytes = directory.as_encoded_bytes();
    let own = String::from_utf8_lossy(bytes.strip_prefix(PREFIX.as_bytes()).unwrap_or(bytes));
    format!("{MARK}{own}-{}", stat.st_ino).into()
}

/// Marks a directory; its mark and what that is. `None` where the file system has no sockets.
pub(super) fn make(
    held: BorrowedFd<'_>,
    directory: &OsStr,
    stat: &FileStat,
) -> Result<Option<(OsString, FileStat)>, Errno> {
    let mark = name(directory, stat);
    match mknodat(held, &*mark, SFlag::S_IFSOCK, Mode::S_IRUSR | Mode::S_IWUSR, 0) {
        Ok(()) => fstatat(held, &*mark, AtFlags::AT_SYMLINK_NOFOLLOW).map(|made| Some((mark, made))),
        Err(Errno::EPERM | Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(None),
        Err(Errno::EEXIST) => Err(Errno::ESTALE),
        Err(errno) => Err(errno),
    }
}

/// The mark that a directory has.
pub(super) fn find(held: BorrowedFd<'_>, directory: &OsStr, stat: &FileStat) -> Option<OsString> {
    let mark = name(directory, stat);
    let found = fstatat(held, &*mark, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
    let is_socket = inode::kind(&found) == SFlag::S_IFSOCK;
    (is_socket && found.st_uid == stat.st_uid && found.st_nlink == 1).then_some(mark)
}

/// The last thing that goes before the directory does.
pub(super) fn remove(held: BorrowedFd<'_>, mark: &OsStr) -> Result<(), Errno> {
    match unlinkat(held, mark, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        result => result,
    }
}
