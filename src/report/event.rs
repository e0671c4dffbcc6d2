//! What was skipped or softened.

use super::EntryRef;
use crate::options::Compression;
use serde::{Deserialize, Serialize};

/// Something skipped or softened, that did not end the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// The entry that was skipped or softened.
    pub entry: Option<EntryRef>,
    /// What became of it.
    pub what: EventKind,
}

/// What was skipped or softened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EventKind {
    /// An entry of a type that carries no file (`V`, `M`, `N`, `A`).
    SkippedType(u8),
    /// An `aufs` bookkeeping name, `.wh..wh.*`.
    SkippedAufs,
    /// A header-only entry had a size; no body was read.
    HeaderOnlySize(u64),
    /// The archive has no end-of-archive marker.
    NoEndMarker,
    /// The media type of an image's layer says of its compression what is not so; it was read as what its bytes are.
    CompressionDiffers {
        /// The format by the media type.
        declared: Compression,
        /// The format by the first bytes.
        found: Compression,
    },
    /// Bytes other than zeros after the end-of-archive marker.
    TrailingData {
        /// How many bytes follow the marker, zeros included.
        bytes: u64,
    },
    /// Another archive, or more of this one, after the end-of-archive marker; it was ignored:
    /// [`Options::ignore_zeros`](crate::Options::ignore_zeros).
    AnotherArchive {
        /// How many bytes follow the marker.
        bytes: u64,
    },
    /// No name in the archive matches this pattern of [`Options::include`](crate::Options::include) or
    /// [`Options::exclude`](crate::Options::exclude).
    PatternUnmatched {
        /// The pattern, at most 4096 bytes of it.
        pattern: String,
    },
    /// The extended attribute was not set: not supported here.
    XattrUnsupported {
        /// The attribute's name.
        name: Vec<u8>,
        /// The kernel's answer.
        errno: i32,
    },
    /// The extended attribute was dropped by policy.
    XattrDropped {
        /// The attribute's name.
        name: Vec<u8>,
    },
    /// The extended attribute was renamed so that overlayfs takes it for data.
    XattrEscaped {
        /// The attribute's name in the archive.
        name: Vec<u8>,
    },
    /// Where no root is entered ([`Isolation::Beneath`](crate::Isolation::Beneath)): what the archive has of other owners
    /// or with set-id bits belongs to the caller, without them. Told once in a run, of no entry.
    CallersOwn,
    /// The same: the times of symlinks and FIFOs are not set. Told once in a run, of no entry.
    LinksUntimed,
    /// The owner was not set.
    OwnerIgnored {
        /// The user id.
        uid: u32,
        /// The group id.
        gid: u32,
        /// The kernel's answer.
        errno: i32,
    },
    /// Bits of the mode of a FIFO or device were not set: set-id bits by a kernel before 6.6, the group's where an ACL
    /// would give them to others.
    ModeIgnored {
        /// The mode that it should have.
        mode: u32,
        /// The kernel's answer.
        errno: i32,
    },
    /// The entry was left out, or not done to its end: another file system is mounted there or below
    /// ([`Mounts::Skip`](crate::Mounts::Skip)).
    MountSkipped,
    /// The device was left out.
    DeviceSkipped {
        /// The kernel's answer.
        errno: i32,
    },
    /// The device became an empty file.
    DevicePlaceholder {
        /// The kernel's answer.
        errno: i32,
    },
    /// A name that climbs above the destination was clamped to it.
    Clamped,
    /// The directory's deferred metadata was dropped: it is no longer the same directory.
    DirectoryGone,
    /// In overlay mode: the marks are in `user.overlay.`, although this is the first user namespace, since none can be set
    /// in `trusted.overlay.` here. The overlay is mounted with `userxattr`.
    UserMarks,
    /// The times of a symlink, FIFO or device were not set: the kernel is older than 5.8.
    TimesIgnored {
        /// The kernel's answer.
        errno: i32,
    },
    /// The directory's owner may read, write and enter it, which the archive does not say
    /// ([`Options::usable_modes`](crate::Options::usable_modes)).
    ModeWidened {
        /// The mode in the archive.
        mode: u32,
    },
    /// A thread could not be started; the work was done on those that there were, or on one.
    NoThread {
        /// The kernel's answer.
        errno: i32,
    },
}
