//! What a helper may do in its root, as a type: applying writes, packing reads. One who may only read enters a root
//! that cannot be written, keeps one capability, and has a filter of its own.

use super::cover::Covered;
use std::os::fd::OwnedFd;

/// [`Write`] or [`Read`]; its value holds what only that one finds in the root.
pub(crate) trait Right {
    /// Nothing may be made, removed or changed.
    const READS_ONLY: bool;
}

/// Applying.
pub(crate) struct Write {
    /// Files may take another group than the helper's even outside set-gid directories.
    pub(crate) group_from_directory: bool,
    /// Who the files that the helper makes belong to.
    pub(crate) own: (u32, u32),
    /// Lower layers of overlay mode, detached and read-only.
    pub(crate) lowers: Vec<OwnedFd>,
    /// Overlay's marks go into `trusted.`; else `user.`.
    pub(crate) trusted_marks: bool,
    /// They would go into `trusted.`, but cannot be set there on this file system or by this process.
    pub(crate) marks_fell_back: bool,
}

impl Right for Write {
    const READS_ONLY: bool = false;
}

/// Packing.
pub(crate) struct Read {
    /// What is mounted below the root and out of sight.
    pub(crate) covered: Vec<Covered>,
    /// The root's mount is read-only, so that no time of access changes.
    pub(crate) read_only: bool,
    /// Lower layers of a diff, detached and read-only, the topmost first.
    pub(crate) lowers: Vec<OwnedFd>,
}

impl Right for Read {
    const READS_ONLY: bool = true;
}
