//! Options about the archive.

use super::values::{self, Word};
use std::path::PathBuf;
use untar_in_root::{Compression, Digest, Mode, Options, OverlayPrefix};

const PREFIXES: &[Word<OverlayPrefix>] = &[
    ("auto", "trusted where that may be set, else user", OverlayPrefix::Auto),
    ("trusted", "trusted.overlay.*, for mounts by root", OverlayPrefix::Trusted),
    ("user", "user.overlay.*, for mounts with userxattr", OverlayPrefix::User),
];

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
    /// Apply an image layer: whiteouts remove what lower layers left
    ///
    /// `.wh.NAME` removes NAME and `.wh..wh..opq` empties its directory, as far as they come from lower layers
    /// (OCI image-spec, layer.md).
    #[arg(long)]
    layer: bool,

    /// Write an image layer as a fresh overlayfs upper directory
    ///
    /// Whiteouts become 0:0 devices and opaque directories get the overlay attribute, in the namespace of
    /// attributes that is named.
    #[arg(long, value_name = "PREFIX", num_args = 0..=1, require_equals = true, default_missing_value = "auto",
          value_parser = values::words(PREFIXES), conflicts_with = "layer")]
    overlay: Option<OverlayPrefix>,

    /// A lower directory of the overlay; repeatable, the topmost first
    ///
    /// Directories that the layer implies but does not list take their owner, mode, times and attributes from
    /// the topmost lower directory that has them.
    #[arg(long, value_name = "DIR", requires = "overlay")]
    lower: Vec<PathBuf>,

    /// How the archive is compressed
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = values::words(COMPRESSIONS))]
    compression: Compression,

    /// Fail unless the archive as it comes has this digest
    #[arg(long, value_name = "sha256:HEX", value_parser = values::digest)]
    pub(crate) digest: Option<Digest>,

    /// Fail unless the uncompressed archive has this digest
    ///
    /// An image's configuration lists it as the layer's diff ID. Like --digest it is known only at the end, when
    /// the files are already there: on status 4, throw them away, or use --atomic.
    #[arg(long, value_name = "sha256:HEX", value_parser = values::digest)]
    pub(crate) diff_id: Option<Digest>,

    /// Do not compute the digest of the uncompressed archive
    ///
    /// It is computed only for --diff-id and for the report of --json.
    #[arg(long, conflicts_with = "diff_id", hide_short_help = true)]
    no_diff_id: bool,

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
        if self.layer {
            options.mode = Mode::Layer;
        }
        if let Some(prefix) = self.overlay {
            let mut overlay = untar_in_root::Overlay::default();
            overlay.prefix = prefix;
            overlay.lower.clone_from(&self.lower);
            options.mode = Mode::Overlay(overlay);
        }
        options.compression = self.compression;
        options.skip_diff_id = self.no_diff_id;
        options.strict_sizes = self.strict_sizes;
        options.pax_globals = self.pax_globals;
    }
}
