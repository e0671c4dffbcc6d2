//! Entries of the archive.

use serde::{Deserialize, Serialize};

/// What kind of thing a tar entry describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file, dense or sparse.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A hard link.
    Hardlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A FIFO.
    Fifo,
    /// A socket, which no archive holds: only packing tells of one.
    Socket,
    /// Not known yet: only extended headers have come.
    Unknown,
    /// Anything else, by its type flag.
    Other(u8),
}

/// Names one entry of the archive, or a directory that was left after the entries that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EntryRef {
    /// Counted from 0, extended headers not counted; `None` for a directory that was left.
    pub index: Option<u64>,
    /// Where its own header block begins in the uncompressed stream, in bytes; `None` for a directory that was left.
    pub offset: Option<u64>,
    /// The raw name, at most 4096 bytes of it.
    pub path: Vec<u8>,
    /// Its kind.
    pub kind: EntryKind,
}

impl EntryRef {
    /// The longest name carried, in bytes; what is longer is cut.
    pub(crate) const MAX_PATH: usize = 4096;

    /// Names an entry.
    #[cfg(any(test, all(target_os = "linux", feature = "helper")))]
    pub(crate) fn new(index: u64, offset: u64, path: &[u8], kind: EntryKind) -> EntryRef {
        let path = path[..path.len().min(Self::MAX_PATH)].to_vec();
        EntryRef { index: Some(index), offset: Some(offset), path, kind }
    }

    /// A directory whose metadata is set as it is left; several entries may have made it.
    #[cfg(any(test, all(target_os = "linux", feature = "helper")))]
    pub(crate) fn left(path: &[u8]) -> EntryRef {
        EntryRef { index: None, offset: None, ..EntryRef::new(0, 0, path, EntryKind::Directory) }
    }
}

/// Which device a device file is: `makedev(3)`. A number that the archive cannot mean, below 0 or above 32 bits, is the
/// largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeviceNumber {
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Listed {
    /// Which entry; its whole name is in `path`.
    pub index: u64,
    /// Where its header begins in the uncompressed stream, in bytes.
    pub offset: u64,
    /// The raw name.
    pub path: Vec<u8>,
    /// The raw link target of links.
    pub link: Vec<u8>,
    /// What kind of thing it describes.
    pub kind: EntryKind,
    /// Permission and special bits.
    pub mode: u32,
    /// The user id as the archive has it.
    pub uid: i64,
    /// The group id as the archive has it.
    pub gid: i64,
    /// Bytes of content, holes included.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds within the second.
    pub mtime_ns: u32,
    /// Which device, of character and block devices.
    pub device: Option<DeviceNumber>,
    /// Names of extended attributes.
    pub xattrs: Vec<Vec<u8>>,
}
