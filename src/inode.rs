//! What an inode is, by its `stat(2)`: one answer for both sides.

use nix::sys::stat::{FileStat, SFlag};

/// What tells an inode that somebody holds from every other: its device's number and its own.
#[cfg(feature = "helper")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) number: u64,
}

#[cfg(feature = "helper")]
impl Identity {
    pub(crate) fn of(stat: &FileStat) -> Identity {
        Identity { device: stat.st_dev, number: stat.st_ino }
    }
}

/// The inode's type.
pub(crate) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

#[cfg(any(feature = "helper", feature = "image"))]
pub(crate) fn is_directory(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFDIR
}

#[cfg(any(feature = "helper", feature = "image"))]
pub(crate) fn is_regular(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFREG
}

/// A character device 0:0, which overlayfs takes for one.
#[cfg(feature = "helper")]
pub(crate) fn is_whiteout(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFCHR && stat.st_rdev == 0
}
