//! Which files have a name in the archive already: rules 9 and 10.

use crate::helper::fault::Result;
use crate::helper::hash::Map;
use crate::helper::look::{Inode, Seen};
use crate::report::{Cause, Limit};
use rustix::fs::FileType;

/// The first name of each file that has several.
pub(crate) struct Links {
    names: Map<Inode, Box<[u8]>>,
    most: u64,
}

impl Links {
    pub(crate) fn new(most: u64) -> Links {
        Links { names: Map::default(), most }
    }

    /// The name by which it is in the archive, if it is.
    pub(crate) fn first(&self, seen: &Seen) -> Option<&[u8]> {
        if may_have_several(seen) { self.names.get(&seen.inode).map(|name| &**name) } else { None }
    }

    /// It is in the archive now.
    pub(crate) fn note(&mut self, seen: &Seen, name: &[u8]) -> Result<()> {
        if !may_have_several(seen) {
            return Ok(());
        }
        if self.names.len() as u64 >= self.most {
            return Err(Cause::Limit { limit: Limit::Hardlinks, value: self.most }.into());
        }
        self.names.insert(seen.inode, name.into());
        Ok(())
    }
}

fn may_have_several(seen: &Seen) -> bool {
    seen.links > 1 && seen.kind != FileType::Directory
}
