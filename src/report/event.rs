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
    /// Packing an upper directory: overlayfs's marks are taken to be those in `user.overlay.`, since those in
    /// `trusted.overlay.` cannot be read here. Told once in a run, of no entry.
    MarksOutOfReach,
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
    /// Packing: it changed while it was read, so what the archive has of it is said here.
    Source(SourceChange),
    /// Packing: a socket was left out, since tar has no type for it.
    SocketSkipped,
    /// Packing: it could not be read and was left out ([`PackOptions::unreadable`](crate::PackOptions::unreadable)).
    Unreadable {
        /// The kernel's answer.
        errno: i32,
    },
    /// Packing: another file system is mounted on this directory, which was packed as it shows itself, and nothing in it
    /// ([`Mounts::Skip`](crate::Mounts::Skip)).
    MountNotEntered,
    /// Packing: another file system is mounted here and was entered ([`Mounts::Cross`](crate::Mounts::Cross)).
    MountCrossed,
    /// Packing: the extended attribute could not be read and was left out.
    XattrUnreadable {
        /// The attribute's name.
        name: Vec<u8>,
        /// The kernel's answer.
        errno: i32,
    },
    /// Packing: a capability for the root of a user namespace that is not the archive's root was packed as it is
    /// (`capabilities(7)`, version 3).
    ForeignCapability {
        /// That root's id.
        root: u32,
    },
    /// Packing: its owner is outside the map, and 65534 took its place
    /// ([`PackOptions::unmapped_ids`](crate::PackOptions::unmapped_ids)).
    OwnerUnmapped {
        /// The user id.
        uid: u32,
        /// The group id.
        gid: u32,
    },
    /// Packing: an id in its ACL is outside the map, and 65534 took its place there.
    AclUnmapped {
        /// It is a group.
        group: bool,
        /// Which; 4294967295 where a user namespace lacks it and does not say more.
        id: u32,
    },
    /// Packing: it is the file that the archive is written to, and was left out.
    ArchiveItself,
    /// Packing: its holes were packed as zeros, since their list is too long, or, where that was asked for
    /// ([`PackOptions::dense`](crate::PackOptions::dense)), more than a gibibyte of them.
    HolesFilled,
    /// Packing: if it has an ACL or other attributes they were not read, since those of a FIFO or device are had by name alone,
    /// which takes a new root.
    AttributesUnread,
    /// Packing: reading changes times of access, since they may not be kept here.
    AccessTimes {
        /// The kernel's answer.
        errno: i32,
    },
    /// A thread could not be started; the work was done on those that there were, or on one.
    NoThread {
        /// The kernel's answer.
        errno: i32,
    },
}

/// How a file has changed while it was packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SourceChange {
    /// It got shorter than it was when it was opened: zeros are in the archive from here on.
    Shrank {
        /// Byte of the file.
        at: u64,
    },
    /// It got longer than it was when it was opened: what came behind is left out.
    Grew {
        /// Bytes of it that are in the archive.
        size: u64,
    },
    /// Something else of it changed, or another file came to its name. A file is in the archive as it was read, unless it
    /// is no longer what was listed: then it is left out.
    Changed,
    /// A directory came into being after the copy began, perhaps by the copy: left out, or a copy into itself had no end.
    Appeared,
    /// It was listed, and was gone when it was to be read: left out.
    Vanished,
    /// Somebody who holds a lease on it did not give it up in time: left out (`F_SETLEASE` in `fcntl(2)`).
    Busy,
}
