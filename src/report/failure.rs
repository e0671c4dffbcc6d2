//! What went wrong: where, on which entry, in which call, and why.
//!
//! Each word for failing has one meaning: a *fault* is an operation and its cause, where it happens; a [`Failure`] is a
//! fault with its stage and entry, which is what ends a run and is sent to the parent; an [`Error`](crate::Error) is what
//! the caller gets: a failure, a death of the helper, or something of the parent's own, with its
//! [kind](crate::ErrorKind). A [`Cause`] says why; of the causes, [`Malformed`] and [`Damage`] are the archive's, a
//! [`Refusal`] and a [`Limit`] ours. A *problem* is an image's, before any of it is unpacked. What is skipped or softened
//! and ends nothing is an [`Event`](crate::Event). What may help is [`Advice`](crate::Advice), apart from all of these.

use super::{EntryRef, LooksLike, Operation, SourceChange};
use serde::{Deserialize, Serialize};
#[cfg(target_os = "linux")]
use std::{io, sync::OnceLock};

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
    /// Packing: finding and reading what is to be packed.
    Walk,
    /// Packing: compressing and writing the archive.
    Write,
}

/// What went wrong in the helper: where, on which entry, in which call, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// The part of the run that it failed in.
    pub stage: Stage,
    /// The entry that it failed on, where that is known.
    pub entry: Option<EntryRef>,
    /// After which entry, where it failed before anything was known of the next: no header came, or a bad one.
    pub after: Option<EntryRef>,
    /// The call, where one failed.
    pub operation: Option<Operation>,
    /// Why.
    pub cause: Cause,
}

/// Why something failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Cause {
    /// The kernel said no, to [`Failure::operation`] where that is known; an error number of `errno(3)`.
    Os(i32),
    /// Of the process's descriptors too few are left to begin with: `RLIMIT_NOFILE` of `getrlimit(2)`.
    Descriptors {
        /// So many it may have.
        limit: u64,
        /// So many are in use.
        used: u64,
    },
    /// Something else has come to a name or a descriptor's place since it was made or looked at.
    Exchanged {
        /// Its name or path, at most 4096 bytes of it.
        name: Vec<u8>,
    },
    /// An attribute that must be set (`Xattrs::Strict`) cannot be.
    Attribute {
        /// Its name, at most 4096 bytes of it.
        name: Vec<u8>,
        /// What the kernel answers to that: an error number of `errno(3)`.
        errno: i32,
    },
    /// A pattern that names are compared with does not parse.
    Pattern {
        /// The pattern, at most 4096 bytes of it; empty if it is all of them together.
        pattern: String,
        /// What is wrong.
        what: BadPattern,
    },
    /// The archive is not what it claims to be, at this byte of the uncompressed stream.
    Malformed {
        /// What is wrong.
        what: Malformed,
        /// Where.
        offset: u64,
    },
    /// The compressed stream is damaged.
    Compressed {
        /// Its format.
        format: crate::options::Compression,
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
    /// What is in the way has something mounted on it, so that nothing can replace it, remove it or link to it, whether
    /// mounts may be crossed or not.
    MountPoint {
        /// It is a directory; else a file, as where `/etc/resolv.conf` is bound into a container.
        directory: bool,
    },
    /// A limit was reached.
    Limit {
        /// Which.
        limit: Limit,
        /// Its value.
        value: u64,
    },
    /// The hardlink's target is not there.
    LinkTargetMissing {
        /// The target as the archive names it, at most 4096 bytes of it.
        target: Vec<u8>,
    },
    /// The entry is well formed, but not to be had.
    Refused(Refusal),
    /// The process on the other side is gone or asked to stop.
    Cancelled,
    /// A lower directory is held only in a mount namespace of the helper's own, and there is none; an error number of
    /// `errno(3)`.
    LowersNotHeld(i32),
    /// What is mounted below the destination cannot be covered; an error number of `errno(3)`, of the last try.
    NotCovered(i32),
    /// Landlock is there, but too old for what must be.
    Landlock {
        /// The version of its ABI.
        abi: u32,
        /// The version that is needed.
        least: u32,
    },
    /// The helper panicked.
    Panic {
        /// Its message and place.
        message: String,
    },
    /// It is no tar archive, but something else that is known.
    NotTar {
        /// What it looks like.
        looks_like: LooksLike,
        /// Of text, the beginning of its first line, at most 64 bytes; else empty.
        begins: Vec<u8>,
    },
    /// What is packed has changed while it was read, and that is to be an error:
    /// [`PackOptions::changes`](crate::PackOptions::changes).
    Source(SourceChange),
    /// The owner of what is packed, or an id in its ACL, is outside the map.
    UnmappedId {
        /// It is a group.
        group: bool,
        /// Which.
        id: u32,
    },
    /// Two files that are packed become one by their names: [`PackOptions::rebase`](crate::PackOptions::rebase).
    SameName {
        /// The name, at most 4096 bytes of it.
        name: Vec<u8>,
    },
    /// A name that begins with `.wh.` is no file's in a layer: whoever applies it would remove something.
    ReservedName,
    /// An attribute of overlayfs says something that does not hold, or that cannot be found out.
    OverlayMark {
        /// Its whole name, at most 4096 bytes of it.
        name: Vec<u8>,
        /// What is wrong.
        what: MarkProblem,
    },
    /// Packing with zstd needs a thread, since without one its bytes are others, and there is none to be had; an error number
    /// of `errno(3)`.
    NoThread(i32),
    /// There is not one byte to unpack, and that is refused: [`Options::refuse_empty`](crate::Options::refuse_empty).
    Empty,
    /// A line of [`PackOptions::dockerignore`](crate::PackOptions::dockerignore) does not parse.
    IgnoreLine {
        /// Its number, from 1.
        line: u64,
        /// What is wrong.
        what: BadPattern,
    },
}

impl std::error::Error for Failure {
    /// The error number as the standard library has it, where there is one.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.raw_os_error().and_then(of_number).map(|error| error as &(dyn std::error::Error + 'static))
    }
}

/// A failure has come over a socket, as a number; a source is lent.
#[cfg(target_os = "linux")]
fn of_number(errno: i32) -> Option<&'static io::Error> {
    static ERRORS: [OnceLock<io::Error>; 134] = [const { OnceLock::new() }; 134];
    let place = usize::try_from(errno).ok().filter(|errno| *errno != 0)?;
    Some(ERRORS.get(place)?.get_or_init(|| io::Error::from_raw_os_error(errno)))
}

/// The numbers are Linux's, and mean something else here.
#[cfg(not(target_os = "linux"))]
fn of_number(_: i32) -> Option<&'static std::io::Error> {
    None
}

impl Cause {
    /// The error number that is or comes to this, where there is one.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Cause::Os(errno)
            | Cause::LowersNotHeld(errno)
            | Cause::NotCovered(errno)
            | Cause::NoThread(errno)
            | Cause::Attribute { errno, .. } => Some(*errno),
            // ESTALE, on every architecture of Linux that we know.
            Cause::Exchanged { .. } => Some(116),
            // EMFILE.
            Cause::Descriptors { .. } => Some(24),
            _ => None,
        }
    }
}

/// How a pattern can fail to parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BadPattern {
    /// `[` without `]`.
    UnclosedClass,
    /// A range in a class that runs backwards.
    Range,
    /// `}` without `{`.
    UnopenedAlternates,
    /// `{` without `}`.
    UnclosedAlternates,
    /// Nothing follows the last `\`.
    DanglingEscape,
    /// More than 64 `{` within one another.
    TooDeep,
    /// Of a `.dockerignore` file: a line with nothing but `!`.
    LoneException,
    /// Of a `.dockerignore` file: a `[` that begins no class.
    Class,
}

/// What can be wrong with an attribute of overlayfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MarkProblem {
    /// What it speaks of is in the lower directories, and none were given: [`Diff::lowers`](crate::Diff::lowers).
    NeedsLowers,
    /// What it speaks of is in none of the lower directories.
    NotThere,
    /// Its value is neither a name nor a path; overlayfs refuses it too.
    Malformed,
    /// Its value says no metacopy; overlayfs shows an input/output error in place of the file.
    NoMetacopy,
    /// Whoever owns a file can set attributes in `user.`, so there overlayfs does not follow it.
    NotFollowed,
    /// Attributes of this prefix cannot be read here: it takes `CAP_SYS_ADMIN` in the first user namespace.
    OutOfReach,
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
    /// Linux has no attribute with a longer name: `xattr(7)`. No option raises it.
    XattrName,
    /// `sparse_regions`
    SparseRegions,
    /// `hardlinks`
    Hardlinks,
    /// [`ProcessLimits::timeout`](crate::ProcessLimits::timeout), in milliseconds.
    Timeout,
    /// [`ProcessLimits::memory_bytes`](crate::ProcessLimits::memory_bytes)
    Memory,
}

/// Why a well-formed entry is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// A type flag that this program does not apply.
    UnknownType(u8),
    /// The destination itself would become something other than a directory: the entry's name is `.`, `/` or the like,
    /// or leads there, or to a directory above it, through a link.
    RootNotDirectory,
    /// Packing: rebased it has no name ([`PackOptions::rebase`](crate::PackOptions::rebase)), which no file but a directory
    /// can be without.
    Nameless,
    /// The same by a name that climbs above the destination, clamped to it: [`EscapingNames::Clamp`](crate::EscapingNames).
    ClampedToRoot,
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
