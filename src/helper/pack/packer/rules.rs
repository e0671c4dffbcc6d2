//! What packing goes by, the same for every entry; and how entries are told.

use super::super::header::Header;
use super::super::overlay::Marks;
use super::super::owners::Owners;
use crate::helper::jail::cover::Covered;
use crate::helper::look::{Inode, Seen};
use crate::helper::read::entry::Time;
use crate::options::{Mounts, PackOptions};
use crate::report::{DeviceNumber, EntryKind, Listed};
use rustix::fs::FileType;

/// What packing goes by, the same for every entry.
pub(crate) struct Rules<'a> {
    pub(crate) options: &'a PackOptions,
    pub(crate) owners: Owners<'a>,
    /// What is mounted below, as it was before it was covered.
    pub(crate) covered: &'a [Covered],
    /// Something is mounted below the root, or may be.
    pub(crate) mounted: bool,
    /// The root.
    pub(crate) top: Seen,
    /// Attributes that are overlayfs's own.
    pub(crate) marks: Option<Marks>,
    /// Attributes may be read of what is known by its name alone.
    pub(crate) by_name: bool,
    pub(crate) rebase: &'a [(Vec<u8>, Vec<u8>)],
    /// Names contradict each other, perhaps.
    pub(crate) strict: bool,
    /// Directories that came later than this are left out.
    pub(crate) began: Option<Time>,
    /// The file that the archive is written to.
    pub(crate) archive: Option<Inode>,
}

impl<'a> Rules<'a> {
    /// What is mounted here was seen to be this before something empty was laid over it.
    pub(super) fn covered(&self, seen: &Seen) -> Option<&'a Covered> {
        self.covered.iter().find(|covered| Some(covered.by) == seen.mount)
    }

    pub(super) fn crosses(&self) -> bool {
        self.options.jail.mounts == Mounts::Cross
    }

    /// What is mounted below, if anything is, is packed.
    pub(super) fn crosses_into_something(&self) -> bool {
        self.mounted && self.crosses()
    }

    pub(super) fn time(&self, time: Time) -> Time {
        let latest = self.options.clamp_mtime.map(|seconds| Time { seconds, nanoseconds: 0 });
        let time = match latest {
            Some(latest) if (time.seconds, time.nanoseconds) > (latest.seconds, 0) => latest,
            _ => time,
        };
        // Nanoseconds count from the second below, before 1970 too.
        if self.options.whole_seconds { Time { nanoseconds: 0, ..time } } else { time }
    }
}

pub(super) fn kind_of(kind: FileType) -> EntryKind {
    match kind {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        FileType::Fifo => EntryKind::Fifo,
        FileType::CharacterDevice => EntryKind::CharDevice,
        FileType::BlockDevice => EntryKind::BlockDevice,
        FileType::Socket => EntryKind::Socket,
        FileType::Unknown => EntryKind::Unknown,
    }
}

pub(super) fn listed(header: &Header<'_>, index: u64, offset: u64) -> Listed {
    let number = |id| i64::try_from(id).unwrap_or(i64::MAX);
    let names = header.records.iter().filter_map(|(key, _)| key.strip_prefix(b"SCHILY.xattr."));
    Listed {
        index,
        offset,
        path: header.name.to_vec(),
        link: header.link.to_vec(),
        kind: header.kind,
        mode: header.mode,
        uid: number(header.uid),
        gid: number(header.gid),
        size: header.size,
        mtime: header.mtime.seconds,
        mtime_ns: header.mtime.nanoseconds,
        device: header.device.map(|(major, minor)| DeviceNumber { major, minor }),
        xattrs: names.map(<[u8]>::to_vec).collect(),
    }
}
