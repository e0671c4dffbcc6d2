//! Whose files are in the archive: the caller's policy, read backwards (rule 14). Pure.

use crate::options::{IdRange, PackOwner, UnmappedIds};
use crate::report::{Cause, UserNamespaceReport};

/// What the kernel shows for an id that a user namespace lacks, and what unmapped ids become if that is allowed.
const NOBODY: u32 = 65_534;

/// No id at all.
const NO_ID: u32 = u32::MAX;

pub(crate) struct Owners<'a> {
    owner: &'a PackOwner,
    unmapped: UnmappedIds,
    namespace: Option<&'a UserNamespaceReport>,
}

/// An id in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapped {
    pub(crate) id: u32,
    /// It stands for one that the map lacks.
    pub(crate) replaced: bool,
}

impl<'a> Owners<'a> {
    pub(crate) fn new(
        owner: &'a PackOwner,
        unmapped: UnmappedIds,
        namespace: Option<&'a UserNamespaceReport>,
    ) -> Owners<'a> {
        Owners { owner, unmapped, namespace }
    }

    /// An entry's owner.
    pub(crate) fn of(&self, uid: u32, gid: u32) -> Result<(Mapped, Mapped), Cause> {
        match self.owner {
            PackOwner::Forced { uid, gid } => {
                let given = |id: &u32| Mapped { id: *id, replaced: false };
                Ok((given(uid), given(gid)))
            }
            _ => Ok((self.user(uid)?, self.group(gid)?)),
        }
    }

    /// A user, in an owner or in an ACL.
    pub(crate) fn user(&self, id: u32) -> Result<Mapped, Cause> {
        let map = self.namespace.map(|report| &report.uids[..]);
        match self.owner {
            PackOwner::Mapped { uids, .. } => self.found(back(uids, id), false, id),
            _ => self.found(known(map, id), false, id),
        }
    }

    pub(crate) fn group(&self, id: u32) -> Result<Mapped, Cause> {
        let map = self.namespace.map(|report| &report.gids[..]);
        match self.owner {
            PackOwner::Mapped { gids, .. } => self.found(back(gids, id), true, id),
            _ => self.found(known(map, id), true, id),
        }
    }

    /// The root of a capability's user namespace is the archive's own root.
    pub(crate) fn is_root(&self, id: u32) -> bool {
        match self.owner {
            PackOwner::Mapped { uids, .. } => back(uids, id) == Some(0),
            _ => id == 0,
        }
    }

    fn found(&self, mapped: Option<u32>, group: bool, id: u32) -> Result<Mapped, Cause> {
        // What stands in an ACL, in a user namespace, for what that lacks.
        let mapped = mapped.filter(|_| id != NO_ID);
        match (mapped, self.unmapped) {
            (Some(id), _) => Ok(Mapped { id, replaced: false }),
            (None, UnmappedIds::Nobody) => Ok(Mapped { id: NOBODY, replaced: true }),
            (None, UnmappedIds::Fail) => Err(Cause::UnmappedId { group, id }),
        }
    }
}

/// In a user namespace that lacks the number it stands for any other.
fn known(namespace: Option<&[IdRange]>, id: u32) -> Option<u32> {
    let lacks = |ranges: &[IdRange]| !ranges.iter().any(|range| id.wrapping_sub(range.inside) < range.count);
    if id == NOBODY && namespace.is_some_and(lacks) { None } else { Some(id) }
}

fn back(ranges: &[IdRange], id: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let at = id.checked_sub(range.outside).filter(|at| *at < range.count)?;
        range.inside.checked_add(at).filter(|id| *id != u32::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(inside: u32, outside: u32, count: u32) -> IdRange {
        IdRange { inside, outside, count }
    }

    #[test]
    fn pack_rule_14_maps_are_read_backwards_and_nothing_becomes_root_by_default() {
        let ranges = vec![range(0, 100_000, 10), range(1000, 7, 1)];
        let owner = PackOwner::Mapped { uids: ranges.clone(), gids: ranges };
        let strict = Owners::new(&owner, UnmappedIds::Fail, None);
        let kept = |id| Ok(Mapped { id, replaced: false });
        assert_eq!((strict.user(100_009), strict.group(7)), (kept(9), kept(1000)));
        for id in [0, 99_999, 100_010, u32::MAX - 1] {
            assert_eq!(strict.user(id), Err(Cause::UnmappedId { group: false, id }));
            assert_eq!(strict.group(id), Err(Cause::UnmappedId { group: true, id }));
        }
        let soft = Owners::new(&owner, UnmappedIds::Nobody, None);
        assert_eq!(soft.of(0, 100_000), Ok((Mapped { id: 65_534, replaced: true }, Mapped { id: 0, replaced: false })));
        assert!(strict.is_root(100_000) && !strict.is_root(0) && !strict.is_root(7));
    }

    #[test]
    fn pack_rule_14_what_a_namespace_lacks_is_no_id() {
        let report = |ranges| UserNamespaceReport { uids: vec![ranges], gids: vec![ranges] };
        let (one, all) = (report(range(0, 1000, 1)), report(range(0, 0, u32::MAX)));
        let with = |report| Owners::new(&PackOwner::Kept, UnmappedIds::Fail, Some(report)).user(65_534).is_ok();
        assert!(!with(&one) && with(&all));
        let acl = |unmapped| Owners::new(&PackOwner::Kept, unmapped, Some(&one)).group(NO_ID);
        assert_eq!(acl(UnmappedIds::Fail), Err(Cause::UnmappedId { group: true, id: NO_ID }));
        assert_eq!(acl(UnmappedIds::Nobody), Ok(Mapped { id: NOBODY, replaced: true }));
    }
}
