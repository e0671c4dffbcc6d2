//! Where the entry at hand is, and which source it is of.

use super::super::walk::{Dir, Listing, Name, Walk};
use super::{Failed, Packer};
use crate::helper::fault::Fault;
use crate::helper::look::Seen;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A name in an open directory.
pub(crate) struct Spot<'w> {
    pub(crate) dir: &'w Arc<Dir>,
    /// In the root.
    pub(crate) path: &'w [u8],
    pub(crate) name: &'w [u8],
}

impl<'w> Spot<'w> {
    /// Where the walk is.
    pub(super) fn of(walk: &'w Walk) -> Option<Spot<'w>> {
        Some(Spot { dir: walk.dir()?, path: walk.path(), name: walk.name() })
    }
}

/// A directory that is to be gone into.
pub(crate) struct Entered {
    pub(crate) dir: Arc<Dir>,
    pub(crate) listing: Listing,
}

/// Makes entries of the names that a walk finds.
pub(crate) trait Entries<'a> {
    /// Of the directory that packing begins with. Returns what is in it.
    fn top(&mut self, packer: &mut Packer<'a>, dir: &OwnedFd, seen: &Seen, path: &[u8]) -> Result<Listing, Failed> {
        if !(path.is_empty() && packer.rules.options.no_root) {
            packer.directory(dir, seen, path)?;
        }
        Ok(Listing::read(dir)?)
    }

    /// Of a name, so many directories deep. Returns a directory to be gone into.
    fn entry(
        &mut self,
        packer: &mut Packer<'a>,
        spot: &Spot<'_>,
        name: Name,
        depth: usize,
    ) -> Result<Option<Entered>, Failed>;

    /// The directory at hand, which was given up and is not below the root.
    fn find(&mut self) -> Result<Option<Arc<Dir>>, Fault> {
        Ok(None)
    }

    /// All of the directory that was gone into last has been seen.
    fn left(&mut self) {}
}
