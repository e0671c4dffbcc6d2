//! What a request means to whoever listens to the helper: what may be said, how often, and for how long.

use crate::options::{Jail, Options, PackOptions};

pub(in crate::linux) struct Terms {
    pub(super) jail: Jail,
    pub(super) progress: bool,
    /// How many entries and events it may tell.
    pub(super) listed: u64,
    pub(super) events: u64,
    /// Attributes of one entry that it may tell.
    pub(super) xattrs: usize,
    /// It says when it waits for more of the archive.
    pub(super) in_step: bool,
    /// Told to end, it has an archive to cut where nobody takes it for whole.
    pub(super) cuts: bool,
}

impl Terms {
    pub(in crate::linux) fn applying(options: &Options, in_step: bool) -> Terms {
        Terms {
            jail: options.jail.clone(),
            progress: options.progress,
            listed: if options.list || options.verbose { options.limits.entries } else { 0 },
            events: options.limits.events.into(),
            // The two ACLs beside those that are counted.
            xattrs: (options.limits.xattrs as usize).saturating_add(2),
            in_step,
            cuts: false,
        }
    }

    pub(in crate::linux) fn packing(options: &PackOptions) -> Terms {
        Terms {
            jail: options.jail.clone(),
            progress: options.progress,
            listed: if options.verbose { options.limits.entries } else { 0 },
            events: options.limits.events.into(),
            // Each takes a byte of the list that Linux has of a file: `xattr(7)`.
            xattrs: 64 << 10,
            in_step: false,
            cuts: true,
        }
    }
}
