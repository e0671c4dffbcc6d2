//! Whose the files are in the archive, and what else is packed of them.

use super::super::values::{self, Word};
use super::super::writing::{CONSENT, EPOCH, source_date_epoch};
use clap::error::ErrorKind;
use untar_in_root::{IdRange, PackOptions, PackOwner, PackXattrs, UnmappedIds};

pub(in crate::args) const UNMAPPED: &[Word<UnmappedIds>] = &[
    ("fail", "the run fails", UnmappedIds::Fail),
    ("nobody", "65534 takes its place, with a warning", UnmappedIds::Nobody),
];

const XATTRS: &[Word<PackXattrs>] = &[
    ("all", "they are packed, ACLs too", PackXattrs::All),
    ("capability", "security.capability alone, as docker packs", PackXattrs::Capability),
    ("none", "none is packed, and no ACL", PackXattrs::None),
];

const SPARSE: &[Word<bool>] =
    &[("yes", "as holes, PAX 1.0", false), ("no", "as zeros, so that the bytes depend on no file system", true)];

const TIMES: &[Word<bool>] = &[("nanoseconds", "as they are", false), ("seconds", "rounded down", true)];

/// Whose the files are, and what else is packed of them.
#[derive(Debug, clap::Args)]
pub(in crate::args) struct Metadata {
    /// Map user ids backwards: OUTSIDE (on disk) to INSIDE (in the archive)
    ///
    /// Repeatable, and several ranges can stand with commas between them. With only one of --uid-map and --gid-map, the
    /// other kind of id is not mapped. Ids in ACLs are mapped too.
    #[arg(long, value_name = "INSIDE:OUTSIDE:COUNT", value_delimiter = ',', value_parser = values::id_range,
          conflicts_with = "chown", help_heading = "Owners")]
    uid_map: Vec<IdRange>,

    /// Map group ids, as --uid-map
    #[arg(long, value_name = "INSIDE:OUTSIDE:COUNT", value_delimiter = ',', value_parser = values::id_range,
          conflicts_with = "chown", help_heading = "Owners")]
    gid_map: Vec<IdRange>,

    /// Give everything to these ids, whoever owns it
    #[arg(long, value_name = "UID:GID", value_parser = values::owner, help_heading = "Owners")]
    chown: Option<(u32, u32)>,

    /// What becomes of the run when an id is outside the map
    #[arg(long, value_name = "POLICY", default_value = "fail", value_parser = values::words(UNMAPPED),
          help_heading = "Owners")]
    unmapped_ids: UnmappedIds,

    /// Which extended attributes are packed
    #[arg(long, value_name = "WHICH", default_value = "all", value_parser = values::words(XATTRS),
          help_heading = "Metadata")]
    xattrs: PackXattrs,

    /// What becomes of trusted.* attributes
    #[arg(long, value_name = "POLICY", action = clap::ArgAction::Set, default_value = "drop",
          value_parser = values::words(CONSENT), hide_short_help = true, help_heading = "Metadata")]
    trusted_xattrs: bool,

    /// What becomes of security.* attributes, the labels and signatures of security modules
    ///
    /// security.capability is packed without it.
    #[arg(long, value_name = "POLICY", action = clap::ArgAction::Set, default_value = "drop",
          value_parser = values::words(CONSENT), hide_short_help = true, help_heading = "Metadata")]
    security_xattrs: bool,

    /// What becomes of attributes that claim an owner, as user.containers.override_stat
    #[arg(long, value_name = "POLICY", action = clap::ArgAction::Set, default_value = "drop",
          value_parser = values::words(CONSENT), hide_short_help = true, help_heading = "Metadata")]
    recorded_owners: bool,

    /// How holes are packed [default: yes, in a layer no]
    #[arg(long, value_name = "WHETHER", value_parser = values::words(SPARSE), help_heading = "Metadata")]
    sparse: Option<bool>,

    /// How exact times are [default: nanoseconds, in a layer seconds]
    #[arg(long, value_name = "HOW", value_parser = values::words(TIMES), help_heading = "Metadata")]
    times: Option<bool>,

    /// Make times later than SECONDS (since 1970) that time
    ///
    /// Without a value it is taken from the environment variable SOURCE_DATE_EPOCH.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, allow_negative_numbers = true,
          help_heading = "Metadata")]
    clamp_mtime: Option<Option<i64>>,
}

impl Metadata {
    pub(in crate::args) fn check(&self) -> Result<(), (ErrorKind, String)> {
        let given = [
            (self.trusted_xattrs, "--trusted-xattrs"),
            (self.security_xattrs, "--security-xattrs"),
            (self.recorded_owners, "--recorded-owners"),
        ];
        if let Some((_, option)) = given.into_iter().find(|(allowed, _)| *allowed && self.xattrs != PackXattrs::All) {
            let words = format!("{option} allow packs what --xattrs leaves out; leave one of them out");
            return Err((ErrorKind::ArgumentConflict, words));
        }
        if self.clamp_mtime == Some(None) && source_date_epoch().is_none() {
            let words = format!(
                "--clamp-mtime without a value takes it from {EPOCH}, which is not a number of seconds here; set it, or \
                 give --clamp-mtime=SECONDS"
            );
            return Err((ErrorKind::ValueValidation, words));
        }
        Ok(())
    }

    pub(in crate::args) fn set(&self, options: &mut PackOptions) {
        let or_identity = |ranges: &[IdRange]| match ranges {
            [] => vec![IdRange { inside: 0, outside: 0, count: u32::MAX }],
            ranges => ranges.to_vec(),
        };
        if let Some((uid, gid)) = self.chown {
            options.owner = PackOwner::Forced { uid, gid };
        } else if !self.uid_map.is_empty() || !self.gid_map.is_empty() {
            options.owner = PackOwner::Mapped { uids: or_identity(&self.uid_map), gids: or_identity(&self.gid_map) };
        }
        options.unmapped_ids = self.unmapped_ids;
        options.xattrs = self.xattrs;
        options.trusted_xattrs = self.trusted_xattrs;
        options.security_xattrs = self.security_xattrs;
        options.recorded_owners = self.recorded_owners;
        options.dense = self.sparse.unwrap_or(options.dense);
        options.whole_seconds = self.times.unwrap_or(options.whole_seconds);
        options.clamp_mtime = self.clamp_mtime.and_then(|given| given.or_else(source_date_epoch));
    }
}
