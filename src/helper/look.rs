//! What an inode is: `statx(2)`, which tells its mount and its birth in the same call; without it, what `fstatat(2)` tells.

use crate::helper::read::entry::Time;
use crate::helper::sys;
use nix::errno::Errno;
use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, StatxTimestamp, major, minor, statx};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

/// Which file it is. Numbers are given anew once a file is gone, so where a file system knows when it was born that
/// counts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inode {
    device: (u32, u32),
    number: u64,
    born: Option<(i64, u32)>,
}

/// What one look shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: FileType,
    /// Permission and special bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) links: u64,
    /// In bytes.
    pub(crate) size: u64,
    /// Of 512 bytes each.
    pub(crate) blocks: u64,
    pub(crate) mtime: Time,
    pub(crate) ctime: Time,
    pub(crate) inode: Inode,
    /// The number of its mount, since Linux 5.8.
    pub(crate) mount: Option<u64>,
    /// Which device it stands for: major and minor number.
    pub(crate) device: (u32, u32),
}

impl Seen {
    /// Whether this is in another mount than that; by the file system's device number where mounts have none.
    pub(crate) fn is_mounted_on(&self, above: &Seen) -> bool {
        match (self.mount, above.mount) {
            (Some(here), Some(there)) => here != there,
            _ => self.inode.device != above.inode.device,
        }
    }

    /// Whether it came into being after this time, where its file system knows.
    pub(crate) fn is_born_after(&self, time: Time) -> bool {
        self.inode.born.is_some_and(|born| born > (time.seconds, time.nanoseconds))
    }

    /// Nothing shows that somebody has changed it between the two looks.
    pub(crate) fn is_unchanged(&self, later: &Seen) -> bool {
        (self.size, self.mtime, self.ctime) == (later.size, later.mtime, later.ctime)
    }
}

const BASIC: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME).union(StatxFlags::MNT_ID);

/// The arguments of [`of`] behind the descriptor, as strace prints them.
pub(crate) const OPEN: &str = "\"\", AT_STATX_SYNC_AS_STAT|AT_EMPTY_PATH, STATX_ALL|STATX_MNT_ID, <stat>";
/// The arguments of [`at`] behind the name.
pub(crate) const NAMED: &str =
    "AT_STATX_SYNC_AS_STAT|AT_SYMLINK_NOFOLLOW|AT_NO_AUTOMOUNT, STATX_ALL|STATX_MNT_ID, <stat>";

/// Looks at `name` in `dir`, never through a link.
pub(crate) fn at(dir: &OwnedFd, name: &[u8]) -> Result<Seen, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match statx(dir, OsStr::from_bytes(name), flags, BASIC).map_err(known) {
        Ok(stat) => Ok(seen(&stat)),
        Err(errno) if sys::is_absent(errno) => {
            rustix::fs::statat(dir, OsStr::from_bytes(name), flags).map(|stat| older(&stat)).map_err(known)
        }
        Err(errno) => Err(errno),
    }
}

/// Looks at what is open.
pub(crate) fn of(fd: &OwnedFd) -> Result<Seen, Errno> {
    match statx(fd, c"", AtFlags::EMPTY_PATH, BASIC).map_err(known) {
        Ok(stat) => Ok(seen(&stat)),
        Err(errno) if sys::is_absent(errno) => rustix::fs::fstat(fd).map(|stat| older(&stat)).map_err(known),
        Err(errno) => Err(errno),
    }
}

fn known(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

fn seen(stat: &Statx) -> Seen {
    let has = |what: StatxFlags| stat.stx_mask & what.bits() != 0;
    let time = |at: StatxTimestamp| Time { seconds: at.tv_sec, nanoseconds: at.tv_nsec };
    let born = time(stat.stx_btime);
    let mode = u32::from(stat.stx_mode);
    Seen {
        kind: FileType::from_raw_mode(mode),
        mode: mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        links: stat.stx_nlink.into(),
        size: stat.stx_size,
        blocks: stat.stx_blocks,
        mtime: time(stat.stx_mtime),
        ctime: time(stat.stx_ctime),
        inode: Inode {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            number: stat.stx_ino,
            born: has(StatxFlags::BTIME).then_some((born.seconds, born.nanoseconds)),
        },
        mount: has(StatxFlags::MNT_ID).then_some(stat.stx_mnt_id),
        device: (stat.stx_rdev_major, stat.stx_rdev_minor),
    }
}

#[allow(clippy::useless_conversion, reason = "the number of links has 32 bits on other processors")]
fn older(stat: &rustix::fs::Stat) -> Seen {
    let time = |seconds, nanoseconds| Time { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or(0) };
    Seen {
        kind: FileType::from_raw_mode(stat.st_mode),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        links: u64::from(stat.st_nlink),
        size: stat.st_size.cast_unsigned(),
        blocks: stat.st_blocks.cast_unsigned(),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        inode: Inode { device: (major(stat.st_dev), minor(stat.st_dev)), number: stat.st_ino, born: None },
        mount: None,
        device: (major(stat.st_rdev), minor(stat.st_rdev)),
    }
}
