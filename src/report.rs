//! What happened: the report of a run, its events, and the failure that ended it.

mod advice;
mod confinement;
mod digest;
mod entry;
mod event;
mod failure;
mod looks_like;
mod operation;
mod packed;

pub use advice::Advice;
pub use confinement::{Confinement, Fallback, MapRefusal, MountsBelow, RootSwitch, UserNamespaceReport};
pub use digest::{Digest, ParseDigestError};
pub use entry::{DeviceNumber, EntryKind, EntryRef, Listed};
pub use event::{Event, EventKind, SourceChange};
pub use failure::{BadPattern, Cause, Damage, Failure, Limit, Malformed, MarkProblem, Refusal, Stage};
pub use looks_like::LooksLike;
pub use operation::{Call, Descriptor, Namespace, Operand, Operation, Purpose};
pub use packed::{Copied, Packed};

use serde::{Deserialize, Serialize};
use std::time::Duration;

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
    pub compression: crate::options::Compression,
    /// SHA-256 of the uncompressed stream to its end: the layer's diff ID.
    pub diff_id: Option<Digest>,
    /// SHA-256 of the archive as it came, computed by the parent when it was demanded.
    pub digest: Option<Digest>,
    /// The run ended at the archive's end marker, with whatever comes behind it unread, as
    /// [`Options::stop_at_end`](crate::Options::stop_at_end) asks.
    pub stopped_at_end: bool,
    /// Things skipped or softened, the first [`Limits::events`](crate::Limits::events) of them, as far as 8 MiB of
    /// memory go (for all layers of an image together). One that does not fit is left out, and counted.
    pub events: Vec<Event>,
    /// All of them, those not in `events` too.
    pub event_count: u64,
    /// In overlay mode: the marks are in `user.overlay.`, and the overlay is mounted with `userxattr`.
    pub user_marks: bool,
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

/// Time spent in each phase of the helper, by wall clock, in whole microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Times {
    /// Time from the helper's start until it was inside the root.
    pub enter: Duration,
    /// Giving up rights.
    pub confine: Duration,
    /// Reading and applying.
    pub apply: Duration,
    /// Deferred directory metadata and synchronising.
    pub finish: Duration,
    /// From spawn to reply, as the parent saw it.
    pub total: Duration,
}

/// Which layer of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerRef {
    /// Counted from 1, the bottom one first.
    pub number: usize,
    /// How many layers there are.
    pub of: usize,
    /// The diff ID.
    pub diff_id: Digest,
}

/// How far a run has come. While one entry keeps it busy (a large file is brought up, a tree is removed, many names are
/// hidden) it comes with the numbers of before: that something moves, and not how much.
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
