//! What the caller asks for: plain data, trusted, sent to the helper as one request.

mod jail;
mod pack;

pub use jail::{Isolation, Jail, Mounts, ProcessLimits, Sandbox, UserNamespace, Wall};
pub use pack::{Encoding, PackOptions, PackOwner, PackXattrs, Tolerance, UnmappedIds};

use crate::opened::Lower;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// How an archive is applied, and what bounds it.
///
/// The default applies a plain archive as `tar -xp --numeric-owner` would, as strictly confined as the
/// machine allows. Fields are added over time, so begin from [`Options::default`]:
///
/// ```
/// use untar_in_root::{Mode, Options};
/// let mut options = Options::default();
/// options.mode = Mode::Layer;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Options {
    /// What `.wh.` names mean.
    pub mode: Mode,
    /// How the archive is compressed.
    pub compression: Compression,
    /// What the helper is confined to.
    pub jail: Jail,
    /// Who owns what is made.
    pub owner: Owner,
    /// An owner or group that the kernel refuses (`EPERM`, `EINVAL`) is an event, not a failure; so is an ACL that
    /// names an id which the user namespace lacks (`EINVAL`).
    pub ignore_chown_errors: bool,
    /// Devices that cannot be made.
    pub devices: Devices,
    /// Every directory that the archive lists may be read, written and entered by its owner (`u+rwx`), whatever it says,
    /// so that an ordinary owner can look through the tree and remove it; each such directory is an event. Off: as the
    /// archive says.
    pub usable_modes: bool,
    /// Extended attributes and ACLs.
    pub xattrs: Xattrs,
    /// Set `trusted.*` attributes from the archive; needs `CAP_SYS_ADMIN` in the first user namespace.
    /// Off: they are dropped with an event.
    pub trusted_xattrs: bool,
    /// Set `security.*` attributes from the archive, the labels and signatures of security modules; needs `CAP_SYS_ADMIN`
    /// in the first user namespace. Off: they are dropped with an event. `security.capability` does not ask for it.
    pub security_xattrs: bool,
    /// Names that climb above the destination.
    pub escaping_names: EscapingNames,
    /// In layer and overlay mode, an opaque marker whose directory is missing makes it, as an entry below it would have it
    /// made. Off: there is nothing to hide, and nothing is made.
    pub opaque_makes_directory: bool,
    /// Leave the destination's own owner, mode, xattrs and time alone, whatever the archive says of `./`.
    pub ignore_root_metadata: bool,
    /// A directory entry over a symlink to a directory keeps the symlink.
    pub keep_directory_symlink: bool,
    /// Never let a directory replace something else, or something else a directory: refused, and `ENOTDIR` where an entry
    /// below the directory only implies it.
    pub no_overwrite_dir_nondir: bool,
    /// A header-only entry (link, device, directory) with a size is refused. Off: an event.
    pub strict_sizes: bool,
    /// Apply the records of PAX global headers to the entries after them. Off: they are ignored.
    pub pax_globals: bool,
    /// Leading components removed from each name and hardlink target; shorter names are skipped.
    pub strip_components: u32,
    /// Globs of names to take; empty takes all. As `bsdtar --include`: `*` matches `/`, a match on a
    /// directory takes what is below it. A name is compared as it stands in the archive and as it is after
    /// [`Options::strip_components`]; one of the two is enough. A glob that matches nothing is an event. With
    /// [`Options::exclude`], at most 32 MiB.
    pub include: Vec<String>,
    /// Globs of names to leave out, applied after `include`, with the same rules.
    pub exclude: Vec<String>,
    /// Times later than this (seconds since 1970) become this: `SOURCE_DATE_EPOCH`.
    pub clamp_mtime: Option<i64>,
    /// What has reached the disk when the report arrives.
    pub durability: Durability,
    /// Do not compute the SHA-256 of the uncompressed stream.
    pub skip_diff_id: bool,
    /// Return at the archive's end marker, for a source that stays open: what is behind the marker is not looked at, so
    /// there is no diff ID and no digest can be demanded ([`ErrorKind::Options`](crate::ErrorKind::Options)), and the
    /// report says so ([`Report::stopped_at_end`](crate::Report::stopped_at_end)). More than the archive may have been read
    /// of the source by then, up to some MiB. Without an end marker the stream must end. The end marker of what is
    /// compressed is the one in the compressed stream; of xz, the block that it is in must be complete. Off: the source is
    /// read to its end.
    pub stop_at_end: bool,
    /// Go on behind an end-of-archive marker, as `cat` and `tar -A` join archives: blocks of zeros are passed over, and what
    /// comes behind them are more entries, without the records of global headers before. [`Options::stop_at_end`] comes
    /// first. Off: what follows the marker is digested, ignored and told.
    pub ignore_zeros: bool,
    /// In literal mode, refuse an archive of no bytes at all, before or after decompressing, as where a download has failed
    /// ([`Cause::Empty`](crate::Cause::Empty)). Off: it is an archive without entries. In layer and overlay mode an empty
    /// blob is a layer, always.
    pub refuse_empty: bool,
    /// Send [`Progress`](crate::Progress) about ten times a second.
    pub progress: bool,
    /// List the entries instead of applying them.
    pub list: bool,
    /// Tell each entry that is applied too, as a listing does, before it is.
    pub verbose: bool,
    /// Threads that create files; `None` takes as many as there are processors.
    pub writers: Option<NonZeroU32>,
    /// Bounds on what the archive may cost.
    pub limits: Limits,
}

/// What `.wh.` names mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Mode {
    /// Plain tar: `.wh.` names are ordinary files.
    #[default]
    Literal,
    /// An image layer ([OCI image-spec, `layer.md`](https://github.com/opencontainers/image-spec/blob/main/layer.md)):
    /// whiteouts remove what lower layers left in the directory.
    Layer,
    /// An image layer written as a fresh overlayfs upper directory: whiteouts become 0:0 devices,
    /// opaque directories get the overlay attribute.
    Overlay(Overlay),
}

/// How an overlayfs upper directory is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Overlay {
    /// Which attribute namespace marks opaque directories.
    pub prefix: OverlayPrefix,
    /// Lower directories, the topmost first; they lend implied parents their metadata. They are held read-only in the
    /// helper's mount namespace; without one the run is refused:
    /// [`Cause::LowersNotHeld`](crate::Cause::LowersNotHeld). They are no part of what is serialised.
    #[serde(skip)]
    pub lowers: Vec<Lower>,
}

impl Overlay {
    /// Describes an upper directory over these, the topmost first, in the attribute namespace that the helper may use.
    #[must_use]
    pub fn over(lowers: impl IntoIterator<Item = Lower>) -> Overlay {
        Overlay { prefix: OverlayPrefix::Auto, lowers: lowers.into_iter().collect() }
    }

    /// Chooses the attribute namespace.
    #[must_use]
    pub fn prefix(mut self, prefix: OverlayPrefix) -> Overlay {
        self.prefix = prefix;
        self
    }
}

/// The attribute namespace of overlayfs marks (`userxattr` mount option).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OverlayPrefix {
    /// `trusted.` where the helper may set it on the destination's file system, else `user.`; decided before a byte of the
    /// archive is read.
    #[default]
    Auto,
    /// `trusted.overlay.`
    Trusted,
    /// `user.overlay.`, for mounts with `userxattr`.
    User,
}

/// How the archive is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Compression {
    /// Found out from the first bytes.
    #[default]
    Detect,
    /// The archive is not compressed.
    None,
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames, windows of at most 128 MiB.
    Zstd,
    /// The `.xz` format, any number of streams.
    Xz,
    /// bzip2, any number of streams.
    Bzip2,
}

/// One line of an id map: `count` ids from `inside` on are `outside` and following on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs)]
pub struct IdRange {
    /// The first id in the archive.
    pub inside: u32,
    /// The first id on disk.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// Who owns what is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Owner {
    /// The numeric ids of the archive.
    #[default]
    Archive,
    /// The archive's ids through a map; an id outside it is refused. Several ids of the archive may lead to one on disk,
    /// as in a user's own root where everything is his: applying reads the map one way only. (Packing would read it the
    /// other way, where such a map says nothing.) Of ranges that overlap inside, the first counts.
    Mapped {
        /// User ids.
        uids: Vec<IdRange>,
        /// Group ids.
        gids: Vec<IdRange>,
    },
    /// These ids, for everything.
    Forced {
        /// The user id.
        uid: u32,
        /// The group id.
        gid: u32,
    },
    /// Whoever the helper runs as.
    Caller,
}

/// What becomes of a device that the helper may not make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Devices {
    /// The entry fails.
    #[default]
    Error,
    /// It is left out, with an event.
    Skip,
    /// An empty file with its name, owner and mode, with an event.
    Placeholder,
}

/// How extended attributes and ACLs are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Xattrs {
    /// Set; what the file system or the kind of file does not support is an event, other errors fail.
    #[default]
    BestEffort,
    /// Set; whatever cannot be set fails the entry.
    Strict,
    /// Ignored.
    None,
}

/// What becomes of names that climb above the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EscapingNames {
    /// The entry fails.
    #[default]
    Refuse,
    /// `..` at the top stays at the top, as in a chroot.
    Clamp,
}

/// What has reached the disk when the report arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Durability {
    /// Whatever the kernel chose.
    #[default]
    None,
    /// The whole file system: one `syncfs(2)`.
    FileSystem,
    /// Each file and directory: `fsync(2)` on each.
    PerFile,
}

/// Bounds on what the archive may cost, each with the attack that it bounds in `SECURITY.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the uncompressed stream, and of file content written, in all; default 256 GiB.
    pub total_bytes: u64,
    /// Bytes of one file, holes included; default 64 GiB.
    pub file_bytes: u64,
    /// Entries, whiteouts and skipped ones included; beyond 16,384, directories that entries imply, too; default
    /// 10 million.
    pub entries: u64,
    /// Uncompressed over compressed bytes, tested once 64 MiB are out; default 1,000.
    pub ratio: u64,
    /// Components of one name; default 8,192.
    pub depth: u32,
    /// Bytes of one name or link target; default 128 KiB.
    pub name_bytes: u32,
    /// Bytes of all extended headers of one entry together; default 1 MiB.
    pub extended_header_bytes: u32,
    /// Extended attributes of one entry; default 256.
    pub xattrs: u32,
    /// Bytes of one extended attribute; default 64 KiB.
    pub xattr_bytes: u32,
    /// Data regions of one sparse file; default 100,000.
    pub sparse_regions: u32,
    /// In packing, files with several names, each of which is remembered; default 4 million. Applying remembers none.
    pub hardlinks: u64,
    /// Events reported; the rest are counted, which is no error; default 1,000.
    pub events: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            total_bytes: 256 << 30,
            file_bytes: 64 << 30,
            entries: 10_000_000,
            ratio: 1_000,
            depth: 8_192,
            name_bytes: 128 << 10,
            extended_header_bytes: 1 << 20,
            xattrs: 256,
            xattr_bytes: 64 << 10,
            sparse_regions: 100_000,
            hardlinks: 4_000_000,
            events: 1_000,
        }
    }
}
