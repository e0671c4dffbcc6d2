//! What happened: the report of a run, its events, and the failure that ended it.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// A SHA-256 digest, shown as `sha256:…`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs)]
pub struct Digest(pub [u8; 32]);

/// What one run did. After a failure it says how far the run came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// Entries by what they were.
    pub entries: EntryCounts,
    /// Bytes of the archive as the parent or the helper read them.
    pub bytes_in: u64,
    /// Bytes of the uncompressed stream.
    pub bytes_tar: u64,
    /// Bytes of file content written, holes left out.
    pub bytes_written: u64,
    /// How the archive was compressed.
    pub compression: crate::Compression,
    /// SHA-256 of the uncompressed stream to its end: the layer's diff ID.
    pub diff_id: Option<Digest>,
    /// SHA-256 of the archive as it came, computed by the parent when it was demanded.
    pub digest: Option<Digest>,
    /// Things skipped or softened, the first [`Limits::events`](crate::Limits::events) of them.
    pub events: Vec<Event>,
    /// All of them, those not in `events` too.
    pub event_count: u64,
    /// What confines the helper, as the kernel confirmed it.
    pub confinement: Confinement,
    /// Where the time went.
    pub times: Times,
}

/// Entries by what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EntryCounts {
    /// Regular files, sparse ones too.
    pub files: u64,
    /// Directories listed in the archive.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Hard links.
    pub hardlinks: u64,
    /// Character and block devices.
    pub devices: u64,
    /// FIFOs.
    pub fifos: u64,
    /// Whiteouts, opaque markers included.
    pub whiteouts: u64,
    /// Entries left out: by selection, by policy, or because they carry no file.
    pub skipped: u64,
}

impl EntryCounts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.files
            + self.directories
            + self.symlinks
            + self.hardlinks
            + self.devices
            + self.fifos
            + self.whiteouts
            + self.skipped
    }
}

/// Microseconds spent in each phase of the helper, by wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Times {
    /// From start to inside the root.
    pub enter_us: u64,
    /// Giving up rights.
    pub confine_us: u64,
    /// Reading and applying.
    pub apply_us: u64,
    /// Deferred directory metadata and synchronising.
    pub finish_us: u64,
    /// From spawn to reply, as the parent saw it.
    pub total_us: u64,
}

/// What confines the helper, as the kernel confirmed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Confinement {
    /// Which switch of root is in force.
    pub root: RootSwitch,
    /// The step that kept a stronger switch from being used, and its error number.
    pub fallback: Option<Fallback>,
    /// The root's mount is nosuid, nodev and noexec.
    pub mount_restricted: bool,
    /// Mount points below the root, relative to it.
    pub mounts_below: Vec<Vec<u8>>,
    /// The helper's user namespace, if it made one.
    pub user_namespace: Option<UserNamespaceReport>,
    /// Capabilities that remain, by name.
    pub capabilities: Vec<String>,
    /// Supplementary groups are gone.
    pub groups_cleared: bool,
    /// `no_new_privs` is set.
    pub no_new_privs: bool,
    /// The seccomp filter is in force.
    pub seccomp: bool,
    /// The Landlock ABI in force, 0 if none.
    pub landlock_abi: u32,
    /// Landlock's path rules are in force.
    pub landlock_paths: bool,
}

/// How the helper's root was switched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RootSwitch {
    /// Not yet.
    #[default]
    None,
    /// `pivot_root(2)`, the old root detached.
    Pivot,
    /// `chroot(2)` in a mount namespace of its own.
    ChrootInNamespace,
    /// `chroot(2)` alone.
    Chroot,
}

/// Why a stronger switch of root is not in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Fallback {
    /// The call that failed.
    pub operation: Operation,
    /// Its error number; 0 if the caller asked for the weaker switch.
    pub errno: i32,
}

/// The helper's own user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserNamespaceReport {
    /// User ids, as the kernel shows the map.
    pub uids: Vec<crate::IdRange>,
    /// Group ids, as the kernel shows the map.
    pub gids: Vec<crate::IdRange>,
}

/// Where in a run something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Stage {
    /// Reading the request.
    Request,
    /// Making namespaces and entering the root.
    Enter,
    /// Giving up rights.
    Confine,
    /// Reading the archive.
    Read,
    /// Decompressing.
    Decode,
    /// Reading tar headers.
    Parse,
    /// Applying an entry.
    Apply,
    /// Directory metadata, synchronising.
    Finish,
}

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
    /// Anything else, by its type flag.
    Other(u8),
}

/// Names one entry of the archive, or a directory that was left after the entries that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EntryRef {
    /// Counted from 0, extended headers not counted; `None` for a directory that was left.
    pub index: Option<u64>,
    /// Of its own header block in the uncompressed stream; `None` for a directory that was left.
    pub offset: Option<u64>,
    /// The raw name, at most 4096 bytes of it.
    pub path: Vec<u8>,
    /// Its kind; `Other(0)` while only extended headers are known of it.
    pub kind: EntryKind,
}

impl EntryRef {
    /// The longest name carried, in bytes; what is longer is cut.
    pub const MAX_PATH: usize = 4096;

    /// Names an entry.
    #[must_use]
    pub fn new(index: u64, offset: u64, path: &[u8], kind: EntryKind) -> EntryRef {
        let path = path[..path.len().min(Self::MAX_PATH)].to_vec();
        EntryRef { index: Some(index), offset: Some(offset), path, kind }
    }

    /// A directory whose metadata is set as it is left; several entries may have made it.
    #[cfg(any(test, all(target_os = "linux", feature = "helper")))]
    pub(crate) fn left(path: &[u8]) -> EntryRef {
        EntryRef { index: None, offset: None, ..EntryRef::new(0, 0, path, EntryKind::Directory) }
    }
}

/// Which layer of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerRef {
    /// Counted from 1, the bottom one first.
    pub number: usize,
    /// Of so many.
    pub of: usize,
    /// The diff ID.
    pub diff_id: Digest,
}

/// A system call as `strace(1)` would print it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Operation {
    /// Its name.
    pub call: Cow<'static, str>,
    /// Its arguments, control bytes escaped.
    pub arguments: String,
}

impl Operation {
    /// Names a call.
    #[must_use]
    pub fn new(call: &'static str, arguments: impl fmt::Display) -> Operation {
        Operation { call: Cow::Borrowed(call), arguments: arguments.to_string() }
    }
}

/// What went wrong in the helper: where, on which entry, in which call, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// Where in the run.
    pub stage: Stage,
    /// On which entry.
    pub entry: Option<EntryRef>,
    /// After which entry, where it failed before anything was known of the next: no header came, or a bad one.
    pub after: Option<EntryRef>,
    /// In which call.
    pub operation: Option<Operation>,
    /// Why.
    pub cause: Cause,
}

/// Why something failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Cause {
    /// The kernel said no; an error number of `errno(3)`.
    Os(i32),
    /// The archive is not what it claims to be, at this byte of the uncompressed stream.
    Malformed {
        /// What is wrong.
        what: Malformed,
        /// Where.
        offset: u64,
    },
    /// The compressed stream is damaged.
    Compressed {
        /// In which format.
        format: crate::Compression,
        /// What is wrong.
        what: Damage,
        /// Byte of the compressed stream reached.
        offset: u64,
    },
    /// The name climbs above the destination.
    PathEscapes,
    /// The hardlink's target climbs above the destination.
    LinkEscapes,
    /// Something in the way is another file system's mount point.
    CrossesMount,
    /// A limit was reached.
    Limit {
        /// Which.
        limit: Limit,
        /// Its value.
        value: u64,
    },
    /// The hardlink's target is not there.
    LinkTargetMissing {
        /// The target as the archive names it.
        target: Vec<u8>,
    },
    /// The entry is well formed, but not to be had.
    Refused(Refusal),
    /// The process on the other side is gone or asked to stop.
    Cancelled,
    /// The helper panicked.
    Panic {
        /// Its message and place.
        message: String,
    },
}

/// How an archive can be malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Malformed {
    /// The checksum of a header block is wrong.
    Checksum,
    /// The stream ends inside a block or a body.
    Truncated,
    /// One block of zeros, followed by something else.
    StrayZeroBlock,
    /// A number field holds no number.
    Number,
    /// A number field is negative where it may not be.
    NegativeNumber,
    /// A number does not fit.
    NumberRange,
    /// A PAX record whose length does not add up.
    PaxRecord,
    /// A PAX value that does not parse.
    PaxValue,
    /// An extended header with no entry after it.
    DanglingExtendedHeader,
    /// An extended header applied to another extended header.
    MisplacedExtendedHeader,
    /// An empty name.
    EmptyName,
    /// A NUL byte in a name.
    NulInName,
    /// An empty link target.
    EmptyLink,
    /// A sparse map that overlaps, runs backwards or does not add up.
    SparseMap,
    /// The body is not as long as the header says it must be.
    Size,
    /// An ACL that does not parse.
    Acl,
}

/// How a compressed stream can be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Damage {
    /// It ends too soon.
    Truncated,
    /// Its data, length or check sum is wrong.
    Corrupt,
    /// It needs more memory than the limit allows.
    Memory,
    /// Something other than zeros follows the last member.
    TrailingGarbage,
    /// It does not begin as the forced format does.
    NotThisFormat,
}

/// Which limit was reached; see [`Limits`](crate::Limits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Limit {
    /// `total_bytes`
    TotalBytes,
    /// `file_bytes`
    FileBytes,
    /// `entries`
    Entries,
    /// `ratio`
    Ratio,
    /// `depth`
    Depth,
    /// `name_bytes`
    NameBytes,
    /// `extended_header_bytes`
    ExtendedHeaderBytes,
    /// `xattrs`
    Xattrs,
    /// `xattr_bytes`
    XattrBytes,
    /// `sparse_regions`
    SparseRegions,
    /// `timeout_ms`
    Timeout,
    /// `memory_bytes`
    Memory,
}

/// Why a well-formed entry is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// A type flag that this program does not apply.
    UnknownType(u8),
    /// The destination itself would become something other than a directory.
    RootNotDirectory,
    /// A whiteout of nothing, of `.` or of `..`.
    WhiteoutName,
    /// A `.wh.` component in the middle of a name.
    WhiteoutInPath,
    /// A user id outside 0..2^32-2 or outside the map.
    Uid,
    /// A group id outside 0..2^32-2 or outside the map.
    Gid,
    /// A device number that does not fit.
    DeviceNumber,
    /// A character device 0:0 in overlay mode: a forged whiteout.
    ForgedWhiteout,
    /// A header-only entry with a size, and `strict_sizes`.
    HeaderOnlySize,
    /// A directory over something else, or the reverse, and `no_overwrite_dir_nondir`.
    DirectoryConflict,
    /// A hardlink whose target is a directory.
    HardlinkToDirectory,
}

/// Something skipped or softened, that did not end the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// On which entry.
    pub entry: Option<EntryRef>,
    /// What.
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
    /// Bytes other than zeros after the end-of-archive marker.
    TrailingData {
        /// How many bytes follow the marker, zeros included.
        bytes: u64,
    },
    /// The extended attribute was not set: not supported here.
    XattrUnsupported {
        /// Its name.
        name: Vec<u8>,
        /// The kernel's answer.
        errno: i32,
    },
    /// The extended attribute was dropped by policy.
    XattrDropped {
        /// Its name.
        name: Vec<u8>,
    },
    /// The extended attribute was renamed so that overlayfs takes it for data.
    XattrEscaped {
        /// Its name in the archive.
        name: Vec<u8>,
    },
    /// The owner was not set.
    OwnerIgnored {
        /// The user id.
        uid: u32,
        /// The group id.
        gid: u32,
        /// The kernel's answer.
        errno: i32,
    },
    /// The set-id bits of a FIFO or device were not set.
    ModeIgnored {
        /// The mode that it should have.
        mode: u32,
        /// The kernel's answer.
        errno: i32,
    },
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
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes of the archive read.
    pub bytes_in: u64,
    /// Bytes of the uncompressed stream.
    pub bytes_tar: u64,
    /// Entries finished.
    pub entries: u64,
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Listed {
    /// Which entry; its whole name is in `path`.
    pub index: u64,
    /// Of its header in the uncompressed stream.
    pub offset: u64,
    /// The raw name.
    pub path: Vec<u8>,
    /// The raw link target of links.
    pub link: Vec<u8>,
    /// Its kind.
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
    /// Device numbers of devices.
    pub device: (u32, u32),
    /// Names of extended attributes.
    pub xattrs: Vec<Vec<u8>>,
}
