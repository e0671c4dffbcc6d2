//! Why the kernel said `EPERM`, where it can be known: a file or its directory is immutable or append-only.

use crate::helper::fault::Fault;
use crate::report::Purpose;
use nix::errno::Errno;
use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

/// The same fault, told apart from lacking a right; of a name in a directory, or of what is open.
#[cold]
pub(super) fn told(fault: Fault, at: &OwnedFd, name: Option<&[u8]>) -> Fault {
    let flagged = || is_flagged(at, b"") || name.is_some_and(|name| is_flagged(at, name));
    if fault.errno() == Some(Errno::EPERM) && flagged() { fault.meant(Purpose::Unchangeable) } else { fault }
}

fn is_flagged(at: &OwnedFd, name: &[u8]) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    let bits = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
    statx(at, OsStr::from_bytes(name), flags, StatxFlags::empty())
        .is_ok_and(|stat| stat.stx_attributes.intersects(bits))
}
