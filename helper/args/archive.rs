//! Options about the archive.

use super::values::{self, Word};
use clap::error::ErrorKind;
use std::path::{Path, PathBuf};
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

    /// Go on behind an end-of-archive marker: archives that were joined with cat
    ///
    /// Otherwise what follows the marker is ignored, with a warning.
    #[arg(long, conflicts_with = "stop_at_end")]
    ignore_zeros: bool,

    /// Take an archive of no bytes at all
    ///
    /// Otherwise that is an error, since what should have written it has likely failed. With --layer and --overlay it is
    /// always taken.
    #[arg(long, hide_short_help = true)]
    allow_empty: bool,

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
        options.ignore_zeros = self.ignore_zeros;
        options.refuse_empty = !self.allow_empty;
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
    /// `*` and `?` match `/` too, `[…]` is a set, `{a,b}` are alternatives, a backslash takes the next character as it is. A
    /// pattern must match the whole name or a directory above it: the name as it stands in the archive, or as it is after
    /// --strip-components. One that nothing matches is told with a warning.
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,

    /// Leave names out that match; repeatable, comes after --include
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,

    /// Take names that match a pattern in FILE, one on each line; repeatable
    ///
    /// `-` is standard input. They are added to those of --include. Empty lines are passed over; nothing else is special,
    /// and the letters of a pattern mean what they mean there.
    #[arg(long, value_name = "FILE")]
    pub(crate) include_from: Vec<PathBuf>,

    /// Leave names out that match a pattern in FILE, as --include-from
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude_from: Vec<PathBuf>,

    /// Remove N leading components from names and hardlink targets
    ///
    /// Names that have no more than N components are left out.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    strip_components: u32,
}

impl Selection {
    /// Standard input is read once.
    pub(super) fn check(&self, archive: Option<&Path>) -> Result<(), (ErrorKind, String)> {
        let standard = |path: &&PathBuf| path.as_os_str() == "-";
        let lists = self.include_from.iter().chain(&self.exclude_from).filter(standard).count();
        if lists > 1 || lists == 1 && archive.is_none() {
            let words =
                "patterns from standard input (-), and the archive or other patterns too; name a file for one of them";
            return Err((ErrorKind::ArgumentConflict, words.into()));
        }
        Ok(())
    }

    pub(super) fn set(&self, options: &mut Options) {
        options.include.clone_from(&self.include);
        options.exclude.clone_from(&self.exclude);
        options.strip_components = self.strip_components;
    }
}
