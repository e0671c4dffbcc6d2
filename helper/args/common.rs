//! Options that every command which makes files takes: for an archive, and for an image.

use super::values::{self, Word};
use std::num::NonZeroU32;
use untar_in_root::{Devices, Durability, Options, Owner, Xattrs};

const DEVICES: &[Word<Devices>] = &[
    ("error", "the entry fails", Devices::Error),
    ("skip", "it is left out, with a warning", Devices::Skip),
    ("placeholder", "an empty file takes its place, with a warning", Devices::Placeholder),
];

const XATTRS: &[Word<Xattrs>] = &[
    ("best-effort", "what is not supported here is a warning", Xattrs::BestEffort),
    ("strict", "what cannot be set is an error", Xattrs::Strict),
    ("none", "they are ignored", Xattrs::None),
];

const DURABILITIES: &[Word<Durability>] = &[
    ("none", "whatever the kernel has written by then", Durability::None),
    ("file-system", "everything: one syncfs(2) at the end", Durability::FileSystem),
    ("per-file", "everything: an fsync(2) for each file, many times slower", Durability::PerFile),
];

/// What all files that are made get.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// What has reached the disk at the end
    ///
    /// In a store of layers it is always everything.
    #[arg(long, value_name = "POLICY", default_value = "none", help_heading = "Destination",
          value_parser = values::words(DURABILITIES))]
    durability: Durability,

    /// Threads that create files; as many as there are processors if not given
    ///
    /// So many for each layer of an image.
    #[arg(long, value_name = "N", help_heading = "Destination", hide_short_help = true,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    writers: Option<u32>,

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

    /// Let the owner read, write and enter every directory (u+rwx), whatever the archive says
    ///
    /// For who is not root: a directory of mode 0555 or 0000 could neither be changed nor removed. Each that is changed is
    /// a warning.
    #[arg(long, help_heading = "Metadata", hide_short_help = true)]
    usable_modes: bool,

    /// What becomes of extended attributes and ACLs
    #[arg(long, value_name = "POLICY", default_value = "best-effort", help_heading = "Metadata",
          value_parser = values::words(XATTRS))]
    xattrs: Xattrs,
}

impl Common {
    pub(super) fn set(&self, options: &mut Options) {
        options.durability = self.durability;
        options.writers = self.writers.and_then(NonZeroU32::new);
        if self.no_same_owner {
            options.owner = Owner::Caller;
        }
        options.ignore_chown_errors = self.ignore_chown_errors;
        options.devices = self.devices;
        options.usable_modes = self.usable_modes;
        options.xattrs = self.xattrs;
    }

    pub(super) fn ignores_xattrs(&self) -> bool {
        self.xattrs == Xattrs::None
    }
}
