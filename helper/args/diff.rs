//! `untar-in-root diff`: what a directory changes, as a layer.

use super::jail;
use super::pack::metadata::Metadata;
use super::pack::{Limits, Live, Patterns, Shown, Written};
use super::values::{self, Word};
use clap::error::ErrorKind;
use std::path::{Path, PathBuf};
use untar_in_root::{OverlayPrefix, PackOptions};

const EXAMPLES: &str = "\
Examples:
  untar-in-root diff --overlay upper > layer.tar                       what an overlay's upper directory has
  untar-in-root diff --overlay --lower image --gzip -o l.tar.gz upper  the same, of what is below too
  untar-in-root diff before after | untar-in-root --layer copy         what makes `after` of `before`";

const PREFIXES: &[Word<OverlayPrefix>] = &[
    ("auto", "trusted where that may be read, else user", OverlayPrefix::Auto),
    ("trusted", "trusted.overlay.*, of mounts by root", OverlayPrefix::Trusted),
    ("user", "user.overlay.*, of mounts with userxattr", OverlayPrefix::User),
];

/// Packs what a directory changes as a layer of a container image.
///
/// With --overlay UPPER is the upper directory of an overlayfs: all that is in it is packed, and its whiteouts and opaque
/// directories become those of layers. Without it two directories are compared as containerd does: what is new or differs
/// is packed, and what is gone becomes a whiteout. The helper sees these directories and nothing else, and can change
/// nothing.
///
/// Times have whole seconds and holes are packed as zeros, so that the digest of a layer depends on no file system. A file
/// that changes meanwhile, and a mount below, are failures. So is a name that begins with .wh., which whoever applies the
/// layer would take for a whiteout. What patterns leave out is neither changed nor gone in the layer.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, mut_args(jail::of_packing))]
#[command(override_usage = "untar-in-root diff [OPTIONS] --overlay [--lower DIR]… UPPER > LAYER\n       \
    untar-in-root diff [OPTIONS] LOWER UPPER > LAYER")]
pub(crate) struct Diff {
    /// The directory that was there before, unless --overlay is given, and the one that is packed
    #[arg(value_name = "DIR", required = true, num_args = 1..=2)]
    dirs: Vec<PathBuf>,

    /// UPPER is the upper directory of an overlayfs
    ///
    /// WHICH says which attributes are its marks. Those of the other prefix are data: whoever owns a directory can set
    /// user.overlay.opaque.
    #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "auto",
          value_parser = values::words(PREFIXES), help_heading = "Overlay")]
    overlay: Option<OverlayPrefix>,

    /// A lower directory of that overlayfs; repeatable, the topmost first
    ///
    /// With all of them a whiteout is only packed of what they show, an opaque directory becomes a whiteout of each name
    /// that is gone, and what was renamed, or has but new metadata, is read from them. Without them an opaque directory
    /// gets the marker .wh..wh..opq, and the rest is an error.
    #[arg(long, value_name = "DIR", requires = "overlay", help_heading = "Overlay")]
    pub(crate) lower: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) written: Written,
    #[command(flatten)]
    pub(crate) patterns: Patterns,
    #[command(flatten)]
    metadata: Metadata,
    #[command(flatten)]
    live: Live,
    #[command(flatten)]
    jail: jail::Jail,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    pub(crate) shown: Shown,
}

/// What is packed.
pub(crate) enum Layer<'a> {
    Upper { dir: &'a Path, prefix: OverlayPrefix },
    Between { lower: &'a Path, upper: &'a Path },
}

impl Diff {
    pub(super) fn check(&self) -> Result<(), (ErrorKind, String)> {
        let words = match (self.overlay, self.dirs.len()) {
            (Some(_), 2..) => "with --overlay there is one DIR, the upper one; lower ones are named with --lower",
            (None, 1) => "two directories are compared, LOWER and UPPER; of an overlay's upper directory say --overlay",
            _ => {
                self.written.check(&self.shown)?;
                self.patterns.check()?;
                self.metadata.check()?;
                return self.jail.check(None);
            }
        };
        Err((ErrorKind::WrongNumberOfValues, words.into()))
    }

    pub(crate) fn layer(&self) -> Layer<'_> {
        match (self.overlay, &self.dirs[..]) {
            (None, [lower, upper]) => Layer::Between { lower, upper },
            (prefix, dirs) => {
                let dir = dirs.first().map_or(Path::new("."), PathBuf::as_path);
                Layer::Upper { dir, prefix: prefix.unwrap_or_default() }
            }
        }
    }

    /// Makes of them what the library wants.
    pub(crate) fn options(&self) -> PackOptions {
        let mut options = PackOptions::layer();
        self.written.set(&mut options);
        self.patterns.set(&mut options);
        self.metadata.set(&mut options);
        self.live.set(&mut options);
        self.jail.set(&mut options.jail);
        self.limits.set(&mut options);
        self.shown.set(&mut options);
        options
    }
}
