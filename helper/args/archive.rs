//! Options about the archive.

use super::values::{self, Word};
use untar_in_root::{Compression, Digest, Options};

const COMPRESSIONS: &[Word<Compression>] = &[
    ("auto", "found out from the first bytes", Compression::Detect),
    ("none", "plain tar", Compression::None),
    ("gzip", "any number of members", Compression::Gzip),
    ("zstd", "any number of frames, windows up to 128 MiB", Compression::Zstd),
    ("xz", "any number of streams", Compression::Xz),
    ("bzip2", "any number of streams", Compression::Bzip2),
];

/// What the archive is, and how it is known to be the right one.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Archive")]
pub(crate) struct Archive {
    /// How the archive is compressed
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = values::words(COMPRESSIONS))]
    compression: Compression,

    /// Fail unless the archive as it comes has this digest
    #[arg(long, value_name = "sha256:HEX")]
    pub(crate) digest: Option<Digest>,

    /// Fail unless the uncompressed archive has this digest
    ///
    /// An image's configuration lists it as the layer's diff ID. Like --digest it is known only at the end, when
    /// the files are already there: on status 4, throw them away, or use --atomic.
    #[arg(long, value_name = "sha256:HEX")]
    pub(crate) diff_id: Option<Digest>,

    /// Do not compute the digest of the uncompressed archive
    ///
    /// It is computed only for --diff-id and for the report of --json.
    #[arg(long, conflicts_with = "diff_id", hide_short_help = true)]
    no_diff_id: bool,

    /// Return at the archive's end marker, for a source that stays open
    ///
    /// What comes behind the marker is not looked at, so there is no digest. Without a marker, and without this option,
    /// the source must end.
    #[arg(long, conflicts_with_all = ["digest", "diff_id"], hide_short_help = true)]
    stop_at_end: bool,

    /// Refuse links, devices and directories that claim to have a size
    ///
    /// Otherwise that is a warning; no content is read for them.
    #[arg(long, hide_short_help = true)]
    strict_sizes: bool,

    /// Apply PAX global headers to the entries after them
    ///
    /// Otherwise they are ignored, as container tools do.
    #[arg(long, hide_short_help = true)]
    pax_globals: bool,
}

impl Archive {
    pub(super) fn set(&self, options: &mut Options) {
        options.compression = self.compression;
        options.skip_diff_id = self.no_diff_id;
        options.stop_at_end = self.stop_at_end;
        options.strict_sizes = self.strict_sizes;
        options.pax_globals = self.pax_globals;
    }
}

/// What of the archive is taken.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct Selection {
    /// Take only names that match; repeatable
    ///
    /// `*` and `?` match `/` too, `[…]` is a set, `{a,b}` are alternatives. A pattern must match the whole name
    /// (after --strip-components) or a directory above it.
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,

    /// Leave names out that match; repeatable, comes after --include
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,

    /// Remove N leading components from names and hardlink targets
    ///
    /// Names that have no more than N components are left out.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    strip_components: u32,
}

impl Selection {
    pub(super) fn set(&self, options: &mut Options) {
        options.include.clone_from(&self.include);
        options.exclude.clone_from(&self.exclude);
        options.strip_components = self.strip_components;
    }
}
