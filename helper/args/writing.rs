//! Options about what is written: as what, where, whose, with what.

use super::common::Common;
use super::values::{self, Word};
use clap::error::ErrorKind;
use std::path::PathBuf;
use untar_in_root::{EscapingNames, IdRange, Lower, Mode, Options, OverlayPrefix, Owner};

const PREFIXES: &[Word<OverlayPrefix>] = &[
    ("auto", "trusted where that may be set, else user", OverlayPrefix::Auto),
    ("trusted", "trusted.overlay.*, for mounts by root", OverlayPrefix::Trusted),
    ("user", "user.overlay.*, for mounts with userxattr", OverlayPrefix::User),
];

pub(super) const CONSENT: &[Word<bool>] =
    &[("drop", "they are dropped", false), ("allow", "they are kept; this takes CAP_SYS_ADMIN", true)];

const ESCAPING: &[Word<EscapingNames>] = &[
    ("refuse", "the entry fails", EscapingNames::Refuse),
    ("clamp", "`..` at the top stays at the top, as in a chroot", EscapingNames::Clamp),
];

const ROOT_METADATA: &[Word<bool>] = &[
    ("apply", "the destination takes what the archive says of `./`", false),
    ("ignore", "the destination keeps its own", true),
];

/// The environment's idea of the latest time: <https://reproducible-builds.org/specs/source-date-epoch/>.
pub(super) const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// What is written. Nothing in here says anything to --list, which refuses it.
#[derive(Debug, clap::Args)]
pub(crate) struct Writing {
    #[command(flatten)]
    pub(crate) layer: Layer,
    #[command(flatten)]
    pub(crate) destination: Destination,
    #[command(flatten)]
    owners: Owners,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    metadata: Metadata,
}

impl Writing {
    pub(super) fn check(&self) -> Result<(), (ErrorKind, String)> {
        self.owners.check()?;
        if let Some(option) = self.metadata.consent().filter(|_| self.common.ignores_xattrs()) {
            let words = format!("--xattrs none ignores all attributes, so {option} allow has none to allow");
            return Err((ErrorKind::ArgumentConflict, words));
        }
        self.metadata.check()
    }

    /// The option that says who owns what is made, if one does.
    pub(super) fn owner(&self) -> Option<&'static str> {
        self.owners.given()
    }

    pub(super) fn set(&self, options: &mut Options) {
        self.layer.set(options);
        self.destination.set(options);
        self.owners.set(options);
        self.common.set(options);
        self.metadata.set(options);
    }
}

/// What the archive's whiteouts become.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Image layers")]
pub(crate) struct Layer {
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

    /// An opaque marker whose directory is missing makes it
    ///
    /// As an entry below it would have it made. Without this there is nothing to hide, and nothing is made.
    #[arg(long, hide_short_help = true)]
    opaque_makes_directory: bool,
}

impl Layer {
    fn set(&self, options: &mut Options) {
        options.opaque_makes_directory = self.opaque_makes_directory;
        if self.layer {
            options.mode = Mode::Layer;
        }
        if let Some(prefix) = self.overlay {
            options.mode = Mode::Overlay(untar_in_root::Overlay::default().prefix(prefix));
        }
    }

    /// Opens the directories below, and puts them in.
    pub(crate) fn open_lowers(&self, options: &mut Options) -> Result<(), untar_in_root::Error> {
        if let Mode::Overlay(overlay) = &mut options.mode {
            overlay.lowers = self.lower.iter().map(Lower::open).collect::<Result<_, _>>()?;
        }
        Ok(())
    }
}

/// Where files are made, and what gives way to them.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Destination")]
pub(crate) struct Destination {
    /// Unpack below PATH inside ROOT; what is missing of it is made
    ///
    /// It is resolved only after ROOT has been entered, so symlinks in it cannot lead out of ROOT.
    #[arg(long, value_name = "PATH")]
    pub(crate) into: Option<PathBuf>,

    /// Make ROOT whole or not at all
    ///
    /// ROOT must be missing, or an empty directory, whose owner and mode it begins with. It is made beside its
    /// place, below a directory .untar-in-root-staging-… of mode 0700, and renamed when everything is right,
    /// digests included; after an error nothing is left. What a killed run has left there is removed by the next
    /// with --atomic and a ROOT in the same directory.
    #[arg(long, conflicts_with = "into")]
    pub(crate) atomic: bool,

    /// What becomes of names that climb above the destination
    #[arg(long, value_name = "POLICY", default_value = "refuse",
          value_parser = values::words(ESCAPING), hide_short_help = true)]
    escaping_names: EscapingNames,

    /// Owner, mode, attributes and time of the destination itself
    #[arg(long, value_name = "POLICY", action = clap::ArgAction::Set, default_value = "apply",
          value_parser = values::words(ROOT_METADATA), hide_short_help = true)]
    root_metadata: bool,

    /// Keep a symlink to a directory where the archive has a directory
    #[arg(long, hide_short_help = true)]
    keep_directory_symlink: bool,

    /// Never let a directory replace something else, or something else a directory
    #[arg(long, hide_short_help = true)]
    no_overwrite_dir_nondir: bool,
}

impl Destination {
    fn set(&self, options: &mut Options) {
        options.escaping_names = self.escaping_names;
        options.ignore_root_metadata = self.root_metadata;
        options.keep_directory_symlink = self.keep_directory_symlink;
        options.no_overwrite_dir_nondir = self.no_overwrite_dir_nondir;
    }
}

/// Whose they are.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Owners")]
pub(super) struct Owners {
    /// Map user ids: INSIDE (in the archive) to OUTSIDE (on disk)
    ///
    /// Repeatable, and several ranges can stand with commas between them. Ids that no range covers are refused. Several
    /// may lead to one id on disk.
    /// With only one of --uid-map and --gid-map, the other kind of id is not mapped.
    #[arg(long, value_name = "INSIDE:OUTSIDE:COUNT", value_delimiter = ',',
          value_parser = values::id_range, conflicts_with_all = ["chown", "no_same_owner"])]
    uid_map: Vec<IdRange>,

    /// Map group ids, as --uid-map
    #[arg(long, value_name = "INSIDE:OUTSIDE:COUNT", value_delimiter = ',',
          value_parser = values::id_range, conflicts_with_all = ["chown", "no_same_owner"])]
    gid_map: Vec<IdRange>,

    /// Give everything to these ids, whatever the archive says
    #[arg(long, value_name = "UID:GID", value_parser = values::owner,
          conflicts_with = "no_same_owner")]
    chown: Option<(u32, u32)>,
}

impl Owners {
    pub(super) fn check(&self) -> Result<(), (ErrorKind, String)> {
        for (option, ranges) in [("--uid-map", &self.uid_map), ("--gid-map", &self.gid_map)] {
            values::check_map(option, ranges, false).map_err(|words| (ErrorKind::ValueValidation, words))?;
        }
        Ok(())
    }

    /// The first of them that was given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let given = [
            (self.chown.is_some(), "--chown"),
            (!self.uid_map.is_empty(), "--uid-map"),
            (!self.gid_map.is_empty(), "--gid-map"),
        ];
        given.into_iter().find_map(|(given, option)| given.then_some(option))
    }

    pub(super) fn set(&self, options: &mut Options) {
        let or_identity = |ranges: &[IdRange]| match ranges {
            [] => vec![IdRange { inside: 0, outside: 0, count: u32::MAX }],
            ranges => ranges.to_vec(),
        };
        if let Some((uid, gid)) = self.chown {
            options.owner = Owner::Forced { uid, gid };
        } else if !self.uid_map.is_empty() || !self.gid_map.is_empty() {
            options.owner = Owner::Mapped { uids: or_identity(&self.uid_map), gids: or_identity(&self.gid_map) };
        }
    }
}

/// What else they get.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Metadata")]
struct Metadata {
    /// What becomes of trusted.* attributes
    #[arg(long, value_name = "POLICY", action = clap::ArgAction::Set, default_value = "drop",
          value_parser = values::words(CONSENT), hide_short_help = true)]
    trusted_xattrs: bool,

    /// What becomes of security.* attributes, the labels and signatures of security modules
    ///
    /// security.capability is always applied.
    #[arg(long, value_name = "POLICY", action = clap::ArgAction::Set, default_value = "drop",
          value_parser = values::words(CONSENT), hide_short_help = true)]
    security_xattrs: bool,

    /// Make times later than SECONDS (since 1970) that time
    ///
    /// Without a value it is taken from the environment variable SOURCE_DATE_EPOCH.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, allow_negative_numbers = true)]
    clamp_mtime: Option<Option<i64>>,
}

impl Metadata {
    /// The option by which attributes are allowed that are dropped without it.
    fn consent(&self) -> Option<&'static str> {
        let given = [(self.trusted_xattrs, "--trusted-xattrs"), (self.security_xattrs, "--security-xattrs")];
        given.into_iter().find_map(|(allowed, option)| allowed.then_some(option))
    }

    fn check(&self) -> Result<(), (ErrorKind, String)> {
        if self.clamp_mtime == Some(None) && source_date_epoch().is_none() {
            let words = format!(
                "--clamp-mtime without a value takes it from {EPOCH}, which is not a number of seconds here; set it, \
                 or give --clamp-mtime=SECONDS"
            );
            return Err((ErrorKind::ValueValidation, words));
        }
        Ok(())
    }

    fn set(&self, options: &mut Options) {
        options.trusted_xattrs = self.trusted_xattrs;
        options.security_xattrs = self.security_xattrs;
        options.clamp_mtime = self.clamp_mtime.and_then(|given| given.or_else(source_date_epoch));
    }
}

pub(super) fn source_date_epoch() -> Option<i64> {
    std::env::var(EPOCH).ok()?.parse().ok()
}
