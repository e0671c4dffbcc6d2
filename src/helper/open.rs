//! One step of a path, from an open directory: never following a link, never leaving the mount unasked.

use crate::helper::fault::{Attempt, Fault, Result, at};
use crate::helper::sys;
use crate::report::{Call, Cause, Descriptor};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::Mode;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::atomic::{AtomicBool, Ordering};

/// There is no `openat2` (before Linux 5.6, or a filter keeps it back).
static OLD_KERNEL: AtomicBool = AtomicBool::new(false);

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Opens the directory `name` in `dir`. `ENOTDIR` or `ELOOP` if it is something else.
pub(crate) fn directory(dir: &OwnedFd, name: &[u8], cross_mounts: bool) -> Result<OwnedFd> {
    // Asked once: another thread may find out meanwhile.
    let old = OLD_KERNEL.load(Ordering::Relaxed);
    let opened = if cross_mounts || old {
        openat(dir, OsStr::from_bytes(name), DIRECTORY, Mode::empty())
    } else {
        let resolve = ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        openat2(dir.as_fd(), OsStr::from_bytes(name), OpenHow::new().flags(DIRECTORY).resolve(resolve))
    };
    match opened {
        Ok(fd) if cross_mounts || !old || same_mount(dir, &fd) => Ok(fd),
        Ok(_) | Err(Errno::EXDEV) => match mounted(dir, name) {
            // What is no directory is not entered, whatever is allowed.
            Some(file @ Cause::MountPoint { directory: false }) => Err(file.into()),
            _ => Err(Cause::CrossesMount.into()),
        },
        Err(errno) if sys::is_absent(errno) && !cross_mounts && !old => {
            OLD_KERNEL.store(true, Ordering::Relaxed);
            directory(dir, name, cross_mounts)
        }
        Err(errno) => Err(not_opened(errno, name, cross_mounts || old)),
    }
}

/// What stands in for `openat2`: mounts are told apart by their id where `statx` has it, else by device number.
fn same_mount(a: &OwnedFd, b: &OwnedFd) -> bool {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let id = |fd: &OwnedFd| {
        let stat = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
        (stat.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(stat.stx_mnt_id)
    };
    let device = |fd: &OwnedFd| nix::sys::stat::fstat(fd).map(|s| s.st_dev).ok();
    match (id(a), id(b)) {
        (Some(a), Some(b)) => a == b,
        _ => device(a) == device(b),
    }
}

/// What is at `name` in `dir`, if something is mounted on it; where no kernel tells (before Linux 5.8), it may be.
pub(crate) fn mounted(dir: &OwnedFd, name: &[u8]) -> Option<Cause> {
    use rustix::fs::{AtFlags, FileType, StatxAttributes, StatxFlags, statx};
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let Ok(stat) = statx(dir, OsStr::from_bytes(name), flags, StatxFlags::TYPE) else {
        return Some(Cause::CrossesMount);
    };
    let directory = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory;
    let told = stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
    (!told || stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)).then_some(Cause::MountPoint { directory })
}

/// Something is mounted on `name` in `dir`, as far as the kernel tells (since Linux 5.8).
pub(crate) fn is_mount(dir: &OwnedFd, name: &[u8]) -> bool {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    statx(dir, OsStr::from_bytes(name), flags, StatxFlags::empty())
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cold]
fn not_opened(errno: Errno, name: &[u8], old: bool) -> Fault {
    const FLAGS: &str = "O_RDONLY|O_NOFOLLOW|O_CLOEXEC|O_DIRECTORY";
    let arguments = at(Descriptor::Directory, name);
    if old {
        return Fault::os(errno, Call::Openat, arguments.with(FLAGS));
    }
    let how = format!("{{flags={FLAGS}, resolve=RESOLVE_NO_XDEV|RESOLVE_NO_MAGICLINKS|RESOLVE_BENEATH}}, 24");
    Fault::os(errno, Call::Openat2, arguments.with(how))
}

/// The text of the symlink `name` in `dir`; `None` if it is something else or not there.
pub(crate) fn link_target(dir: &OwnedFd, name: &[u8]) -> Result<Option<Vec<u8>>> {
    match readlinkat(dir, OsStr::from_bytes(name)) {
        Ok(target) => Ok(Some(target.into_vec())),
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno).call(Call::Readlinkat, || at(Descriptor::Directory, name).with("<path>, 4096")),
    }
}
