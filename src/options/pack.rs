//! What the caller asks of packing: plain data, trusted, sent to the helper as one request.

use super::{IdRange, Jail, Limits, Mounts};
use crate::cut;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// How a tree is packed, and what bounds it: `docs/pack-semantics.md`.
///
/// The default packs everything that an unpacker restores, as strictly confined as the machine allows; what is mounted
/// below the root is left out, each mount with an event. Fields are added over time, so begin from
/// [`PackOptions::default`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PackOptions {
    /// How the archive is compressed.
    pub encoding: Encoding,
    /// What the helper is confined to. Its [`Jail::mounts`] is [`Mounts::Skip`], where applying has
    /// [`Mounts::Refuse`]: a live root has `/proc` and `/sys` mounted.
    pub jail: Jail,
    /// Whose the files are in the archive.
    pub owner: PackOwner,
    /// An id that the map lacks.
    pub unmapped_ids: UnmappedIds,
    /// Extended attributes and ACLs.
    pub xattrs: PackXattrs,
    /// Pack `trusted.*` attributes; takes `CAP_SYS_ADMIN` in the first user namespace, without which nobody sees them.
    /// Off: they are left out.
    pub trusted_xattrs: bool,
    /// Pack `security.*` attributes other than `security.capability`: the labels and signatures of security modules.
    /// Off: they are left out.
    pub security_xattrs: bool,
    /// Pack attributes that claim an owner to those who believe them, as `user.containers.override_stat`. Off: they are
    /// left out, each with an event.
    pub recorded_owners: bool,
    /// Pack the holes of sparse files as zeros, so that the bytes do not depend on how a file system keeps zeros.
    pub dense: bool,
    /// Round times down to whole seconds. Off: nanoseconds.
    pub whole_seconds: bool,
    /// Times later than this (seconds since 1970) become this: `SOURCE_DATE_EPOCH`.
    pub clamp_mtime: Option<i64>,
    /// Without the entry of the root itself, `./`.
    pub no_root: bool,
    /// The directories above each path that is packed are packed before it, once each, without what else is in them; with
    /// [`Diff`](crate::Diff) always.
    pub parents: bool,
    /// Leading components of names and of hardlinks' targets that are replaced, the first that fits: whole ones, `(from,
    /// to)`, without `.` and `..`. An empty `to` puts what is below `from` at the top.
    pub rebase: Vec<(Vec<u8>, Vec<u8>)>,
    /// Globs of names to pack; empty packs all. As [`Options::include`](crate::Options::include), compared with names as
    /// they are in the root. A path that was named is packed whatever the patterns say.
    pub include: Vec<String>,
    /// Globs of names to leave out, applied after `include`, with the same rules.
    pub exclude: Vec<String>,
    /// What of the tree a `.dockerignore` file of this content leaves out, besides.
    pub dockerignore: Option<Vec<u8>>,
    /// A file that changes while it is packed.
    pub changes: Tolerance,
    /// A file or directory that cannot be read.
    pub unreadable: Tolerance,
    /// Threads that read files, the one that walks through the tree among them; at most 8. `None` takes as many as there
    /// are processors. The archive does not depend on it.
    pub readers: Option<NonZeroU32>,
    /// Compute no digests.
    pub skip_digests: bool,
    /// Send [`Progress`](crate::Progress) about ten times a second.
    pub progress: bool,
    /// Tell each entry, before it is packed.
    pub verbose: bool,
    /// Bounds on what the archive may cost; of these packing knows `total_bytes`, `file_bytes`, `entries`, `depth`,
    /// `name_bytes`, `extended_header_bytes`, `sparse_regions`, `hardlinks` and `events`. Its `depth` is 16,384.
    pub limits: Limits,
}

impl Default for PackOptions {
    fn default() -> PackOptions {
        PackOptions {
            encoding: Encoding::None,
            jail: Jail { mounts: Mounts::Skip, ..Jail::default() },
            owner: PackOwner::Kept,
            unmapped_ids: UnmappedIds::Fail,
            xattrs: PackXattrs::All,
            trusted_xattrs: false,
            security_xattrs: false,
            recorded_owners: false,
            dense: false,
            whole_seconds: false,
            clamp_mtime: None,
            no_root: false,
            parents: false,
            rebase: Vec::new(),
            include: Vec::new(),
            exclude: Vec::new(),
            dockerignore: None,
            changes: Tolerance::Tell,
            unreadable: Tolerance::Fail,
            readers: None,
            skip_digests: false,
            progress: false,
            verbose: false,
            limits: Limits { depth: 16_384, ..Limits::default() },
        }
    }
}

impl PackOptions {
    /// As a layer is packed, with [`Diff`](crate::Diff): its digest must not depend on how a file system keeps zeros and
    /// nanoseconds, so it is [`dense`](PackOptions::dense) and has [`whole_seconds`](PackOptions::whole_seconds); a
    /// source that changes meanwhile is a failure, and so is what is mounted below it, which no layer has.
    #[must_use]
    pub fn layer() -> PackOptions {
        let mut options = PackOptions::default();
        options.jail.mounts = Mounts::Refuse;
        (options.dense, options.whole_seconds, options.changes) = (true, true, Tolerance::Fail);
        options
    }
}

/// How an archive is compressed. The bytes depend on nothing but the level and the version of this crate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Encoding {
    /// Plain tar.
    #[default]
    None,
    /// RFC 1952, one member.
    Gzip {
        /// From 1 to 9.
        level: u8,
    },
    /// RFC 8878, one frame with a check sum.
    Zstd {
        /// From 1 to 19.
        level: u8,
    },
}

impl Encoding {
    /// What stands for an archive of which nothing came: the beginning of one, which every reader refuses. For whoever has
    /// promised an archive to somebody and has none: no byte at all is an empty archive to many readers.
    #[must_use]
    pub fn broken_off(self) -> &'static [u8] {
        match self {
            Encoding::None => &cut::TAR,
            Encoding::Gzip { .. } => &cut::GZIP,
            Encoding::Zstd { .. } => &cut::ZSTD,
        }
    }
}

/// Whose the files are in the archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PackOwner {
    /// As on disk.
    #[default]
    Kept,
    /// The ids on disk through a map, backwards: `outside` on disk is `inside` in the archive. Ids in ACLs and the root of
    /// a capability's namespace, too. Of ranges that overlap outside, the first counts.
    Mapped {
        /// User ids.
        uids: Vec<IdRange>,
        /// Group ids.
        gids: Vec<IdRange>,
    },
    /// These ids, for everything; ids in ACLs stay.
    Forced {
        /// The user id.
        uid: u32,
        /// The group id.
        gid: u32,
    },
}

/// What becomes of an id that the map lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum UnmappedIds {
    /// The run fails.
    #[default]
    Fail,
    /// It becomes 65534, with an event.
    Nobody,
}

/// Which extended attributes are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PackXattrs {
    /// All that may be, and ACLs.
    #[default]
    All,
    /// `security.capability` alone, as docker packs.
    Capability,
    /// None.
    None,
}

/// What becomes of a run that meets something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Tolerance {
    /// It goes on, with an event.
    #[default]
    Tell,
    /// It fails.
    Fail,
}
