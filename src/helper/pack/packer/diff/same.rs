//! Whether two files are the same, by what an archive has of them.

use super::super::super::attributes::Of;
use super::super::super::owners::Owners;
use super::super::spot::Spot;
use super::super::{Failed, Packer};
use crate::helper::fault::{Attempt, at};
use crate::helper::look::Seen;
use crate::options::{PackOwner, UnmappedIds};
use crate::report::{Call, Descriptor, SourceChange};
use nix::fcntl::readlinkat;
use rustix::fs::FileType;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Keys and values as an archive has them.
type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// Nothing that a look shows differs. Where both times have whole seconds the content says more.
pub(super) fn may_be_same(a: &Seen, b: &Seen) -> bool {
    let known = |seen: &Seen| (seen.kind, seen.mode, seen.uid, seen.gid, seen.size, seen.mtime);
    let is_device = matches!(a.kind, FileType::CharacterDevice | FileType::BlockDevice);
    known(a) == known(b) && (!is_device || a.device == b.device)
}

pub(super) fn same_attributes(packer: &mut Packer<'_>, a: Of<'_>, b: Of<'_>) -> Result<bool, Failed> {
    let a = packer.records(a)?;
    Ok(a == packer.records(b)?)
}

pub(super) fn same_target(a: &Spot<'_>, b: &Spot<'_>) -> Result<bool, Failed> {
    let target = |spot: &Spot<'_>| {
        let read = readlinkat(&spot.dir.fd, OsStr::from_bytes(spot.name));
        read.call(Call::Readlinkat, || at(Descriptor::Directory, spot.name).with("<path>, 4096"))
    };
    Ok(target(a)? == target(b)?)
}

impl Packer<'_> {
    /// Whose the ids in them are on disk does not matter.
    fn records(&mut self, of: Of<'_>) -> Result<Records, Failed> {
        let owners = Owners::new(&PackOwner::Kept, UnmappedIds::Nobody, None);
        let mut found = self.attributes.read(of, self.rules.options, &owners)?;
        if found.changed {
            self.change(SourceChange::Changed)?;
        }
        // File systems list them in any order.
        found.records.sort();
        Ok(found.records)
    }

    /// Of what is never opened.
    pub(super) fn records_of(&mut self, spot: &Spot<'_>) -> Result<Records, Failed> {
        self.go_to(spot)?;
        self.records(Of::Named(spot.name))
    }
}
