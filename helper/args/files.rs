//! Options about the files that are made: which, where, whose, with what.

use super::values::{self, Word};
use clap::error::ErrorKind;
use std::path::PathBuf;
use untar_in_root::{Devices, Durability, EscapingNames, IdRange, Options, Owner, Xattrs};

pub(super) const DEVICES: &[Word<Devices>] = &[
    ("error", "the entry fails", Devices::Error),
    ("skip", "it is left out, with a warning", Devices::Skip),
    ("placeholder", "an empty file takes its place, with a warning", Devices::Placeholder),
];

pub(super) const XATTRS: &[Word<Xattrs>] = &[
    ("best-effort", "what is not supported here is a warning", Xattrs::BestEffort),
    ("strict", "what cannot be set is an error", Xattrs::Strict),
    ("none", "they are ignored", Xattrs::None),
];

const TRUSTED: &[Word<bool>] =
    &[("drop", "they are dropped with a warning", false), ("allow", "they are set; this takes CAP_SYS_ADMIN", true)];

const ESCAPING: &[Word<EscapingNames>] = &[
    ("refuse", "the entry fails", EscapingNames::Refuse),
    ("clamp", "`..` at the top stays at the top, as in a chroot", EscapingNames::Clamp),
];

const ROOT_METADATA: &[Word<bool>] = &[
    ("apply", "the destination takes what the archive says of `./`", false),
    ("ignore", "the destination keeps its own", true),
];

pub(super) const DURABILITIES: &[Word<Durability>] = &[
    ("none", "whatever the kernel has written by then", Durability::None),
    ("file-system", "everything: one syncfs(2) at the end", Durability::FileSystem),
    ("per-file", "everything: an fsync(2) for each file, many times slower", Durability::PerFile),
];

/// The environment's idea of the latest time: <https://reproducible-builds.org/specs/source-date-epoch/>.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The files that are made.
#[derive(Debug, clap::Args)]
pub(crate) struct Files {
    /// Unpack below PATH inside ROOT; what is missing of it is made
    ///
    /// It is resolved only after ROOT has been entered, so symlinks in it cannot lead out of ROOT.
    #[arg(long, value_name = "PATH", help_heading = "Destination")]
    pub(crate) into: Option<PathBuf>,

    /// Make ROOT whole or not at all
    ///
    /// ROOT must be missing, or an empty directory, whose owner and mode it begins with. It is made beside its
    /// place, below a directory .untar-in-root-staging-… of mode 0700, and renamed when everything is right,
    /// digests included; after an error nothing is left. What a killed run has left there is removed by the next
    /// with --atomic and a ROOT in the same directory.
    #[arg(long, help_heading = "Destination", conflicts_with = "into")]
    pub(crate) atomic: bool,

    /// What becomes of names that climb above the destination
    #[arg(long, value_name = "POLICY", default_value = "refuse", help_heading = "Destination",
          value_parser = values::words(ESCAPING), hide_short_help = true)]
    escaping_names: EscapingNames,

    /// Owner, mode, attributes and time of the destination itself
    #[arg(long, value_name = "POLICY", action = clap::ArgAction::Set, default_value = "apply", help_heading = "Destination",
          value_parser = values::words(ROOT_METADATA), hide_short_help = true)]
    root_metadata: bool,

    /// Keep a symlink to a directory where the archive has a directory
    #[arg(long, help_heading = "Destination", hide_short_help = true)]
    keep_directory_symlink: bool,

    /// Never let a directory replace something else, or something else a directory
    #[arg(long, help_heading = "Destination", hide_short_help = true)]
    no_overwrite_dir_nondir: bool,

    /// Enter and change file systems mounted below ROOT
    ///
    /// Without it they are covered, in the helper's mount namespace. With it a decoder that an archive has taken over
    /// reaches all that is mounted there: through a /proc below ROOT files of the host as well.
    #[arg(long, help_heading = "Destination", hide_short_help = true)]
    cross_mounts: bool,

    /// What has reached the disk at the end
    #[arg(long, value_name = "POLICY", default_value = "none", help_heading = "Destination",
          value_parser = values::words(DURABILITIES))]
    durability: Durability,

    /// Threads that create files; as many as there are processors if not given
    #[arg(long, value_name = "N", help_heading = "Destination", hide_short_help = true,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    writers: Option<u32>,

    /// Take only names that match; repeatable
    ///
    /// `*` and `?` match `/` too, `[…]` is a set, `{a,b}` are alternatives. A pattern must match the whole name
    /// (after --strip-components) or a directory above it.
    #[arg(long, value_name = "GLOB", help_heading = "Selection")]
    include: Vec<String>,

    /// Leave names out that match; repeatable, comes after --include
    #[arg(long, value_name = "GLOB", help_heading = "Selection")]
    exclude: Vec<String>,

    /// Remove N leading components from names and hardlink targets
    ///
    /// Names that have no more than N components are left out.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, help_heading = "Selection")]
    strip_components: u32,

    /// Map user ids: INSIDE (in the archive) to OUTSIDE (on disk)
    ///
    /// Repeatable, and several ranges can stand with commas between them. Ids that no range covers are refused.
    /// With only one of --uid-map and --gid-map, the other kind of id is not mapped.
    #[arg(long, value_name = "INSIDE:OUTSIDE:COUNT", value_delimiter = ',', help_heading = "Owners",
          value_parser = values::id_range, conflicts_with_all = ["chown", "no_same_owner"])]
    uid_map: Vec<IdRange>,

    /// Map group ids, as --uid-map
    #[arg(long, value_name = "INSIDE:OUTSIDE:COUNT", value_delimiter = ',', help_heading = "Owners",
          value_parser = values::id_range, conflicts_with_all = ["chown", "no_same_owner"])]
    gid_map: Vec<IdRange>,

    /// Give everything to these ids, whatever the archive says
    #[arg(long, value_name = "UID:GID", help_heading = "Owners", value_parser = values::owner,
          conflicts_with = "no_same_owner")]
    chown: Option<(u32, u32)>,

    /// Leave everything to whoever the helper runs as
    #[arg(long, help_heading = "Owners")]
    no_same_owner: bool,

    /// An owner that the kernel refuses is a warning, not an error
    ///
    /// Such files lose their setuid and setgid bits.
    #[arg(long, help_heading = "Owners", conflicts_with = "no_same_owner")]
    ignore_chown_errors: bool,

    /// What becomes of devices that may not be made here
    #[arg(long, value_name = "POLICY", default_value = "error", help_heading = "Metadata",
          value_parser = values::words(DEVICES))]
    devices: Devices,

    /// What becomes of extended attributes and ACLs
    #[arg(long, value_name = "POLICY", default_value = "best-effort", help_heading = "Metadata",
          value_parser = values::words(XATTRS))]
    xattrs: Xattrs,

    /// What becomes of trusted.* attributes
    #[arg(long, value_name = "POLICY", action = clap::ArgAction::Set, default_value = "drop", help_heading = "Metadata",
          value_parser = values::words(TRUSTED), hide_short_help = true)]
    trusted_xattrs: bool,

    /// Make times later than SECONDS (since 1970) that time
    ///
    /// Without a value it is taken from the environment variable SOURCE_DATE_EPOCH.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, allow_negative_numbers = true,
          help_heading = "Metadata")]
    clamp_mtime: Option<Option<i64>>,
}

impl Files {
    pub(super) fn check(&self) -> Result<(), (ErrorKind, String)> {
        let wrong = |words| Err((ErrorKind::ValueValidation, words));
        for (option, ranges) in [("--uid-map", &self.uid_map), ("--gid-map", &self.gid_map)] {
            values::check_map(option, ranges).or_else(wrong)?;
        }
        if self.xattrs == Xattrs::None && self.trusted_xattrs {
            let words = "--xattrs none ignores all attributes, so --trusted-xattrs allow has none to allow";
            return Err((ErrorKind::ArgumentConflict, words.into()));
        }
        if self.clamp_mtime == Some(None) && source_date_epoch().is_none() {
            return wrong(format!(
                "--clamp-mtime without a value takes it from {EPOCH}, which is not a number of seconds here; set it, \
                 or give --clamp-mtime=SECONDS"
            ));
        }
        Ok(())
    }

    pub(super) fn set(&self, options: &mut Options) {
        options.escaping_names = self.escaping_names;
        options.ignore_root_metadata = self.root_metadata;
        options.keep_directory_symlink = self.keep_directory_symlink;
        options.no_overwrite_dir_nondir = self.no_overwrite_dir_nondir;
        options.cross_mounts = self.cross_mounts;
        options.durability = self.durability;
        options.writers = self.writers.unwrap_or(0);
        options.include.clone_from(&self.include);
        options.exclude.clone_from(&self.exclude);
        options.strip_components = self.strip_components;
        options.owner = self.owner();
        options.ignore_chown_errors = self.ignore_chown_errors;
        options.devices = self.devices;
        options.xattrs = self.xattrs;
        options.trusted_xattrs = self.trusted_xattrs;
        options.clamp_mtime = self.clamp_mtime.and_then(|given| given.or_else(source_date_epoch));
    }

    fn owner(&self) -> Owner {
        let or_identity = |ranges: &[IdRange]| match ranges {
            [] => vec![IdRange { inside: 0, outside: 0, count: u32::MAX }],
            ranges => ranges.to_vec(),
        };
        match (self.chown, self.no_same_owner) {
            (Some((uid, gid)), _) => Owner::Forced { uid, gid },
            (None, true) => Owner::Caller,
            (None, false) if self.uid_map.is_empty() && self.gid_map.is_empty() => Owner::Archive,
            (None, false) => Owner::Mapped { uids: or_identity(&self.uid_map), gids: or_identity(&self.gid_map) },
        }
    }
}

fn source_date_epoch() -> Option<i64> {
    std::env::var(EPOCH).ok()?.parse().ok()
}
