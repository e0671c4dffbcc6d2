//! Whose the archive's ids become on disk: the caller's policy, for owners and for ids in attributes. Pure.

use super::acl::{Acl, Tag};
use crate::options::{IdRange, Owner};
use crate::report::Refusal;

/// The caller's policy, and who the helper is.
#[derive(Clone, Debug)]
pub(crate) struct Owners {
    policy: Owner,
    own: u32,
}

impl Owners {
    pub(crate) fn new(policy: &Owner, own: u32) -> Owners {
        Owners { policy: policy.clone(), own }
    }

    /// The ids are the archive's, not one id for everything.
    pub(super) fn are_many(&self) -> bool {
        matches!(self.policy, Owner::Archive | Owner::Mapped { .. })
    }

    pub(super) fn are_mapped(&self) -> bool {
        !matches!(self.policy, Owner::Archive)
    }

    /// An entry's owner; `None`: whoever the helper runs as.
    pub(crate) fn ids(&self, uid: i64, gid: i64) -> Result<Option<(u32, u32)>, Refusal> {
        match &self.policy {
            Owner::Caller => Ok(None),
            Owner::Forced { uid, gid } => Ok(Some((*uid, *gid))),
            _ => match (self.user(uid), self.group(gid)) {
                (None, _) => Err(Refusal::Uid),
                (_, None) => Err(Refusal::Gid),
                (Some(uid), Some(gid)) => Ok(Some((uid, gid))),
            },
        }
    }

    /// The root of a capability's namespace. One id for everything is the archive's root and nobody else: who is root
    /// in a namespace of another would else be it in one of that id, or on the host.
    pub(super) fn namespace_root(&self, root: u32) -> Option<u32> {
        match &self.policy {
            Owner::Forced { uid, .. } => (root == 0).then_some(*uid),
            Owner::Caller => (root == 0).then_some(self.own),
            _ => self.user(root.into()),
        }
    }

    /// The ids that an ACL names, where they are many. Who is several of them on disk has what each of them has.
    pub(super) fn acl(&self, acl: &Acl) -> Result<Acl, Refusal> {
        let mut acl = acl.clone();
        for entry in &mut acl.entries {
            entry.tag = match entry.tag {
                Tag::User(id) => Tag::User(self.user(id.into()).ok_or(Refusal::Uid)?),
                Tag::Group(id) => Tag::Group(self.group(id.into()).ok_or(Refusal::Gid)?),
                tag => tag,
            };
        }
        if self.are_mapped() {
            acl.join();
        }
        Ok(acl)
    }

    fn user(&self, uid: i64) -> Option<u32> {
        match &self.policy {
            Owner::Mapped { uids, .. } => map(uids, id(uid)?),
            _ => id(uid),
        }
    }

    fn group(&self, gid: i64) -> Option<u32> {
        match &self.policy {
            Owner::Mapped { gids, .. } => map(gids, id(gid)?),
            _ => id(gid),
        }
    }
}

/// The kernel's ids: `u32::MAX` means "no change" and is none.
fn id(id: i64) -> Option<u32> {
    u32::try_from(id).ok().filter(|id| *id != u32::MAX)
}

fn map(ranges: &[IdRange], id: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let at = id.checked_sub(range.inside).filter(|at| *at < range.count)?;
        range.outside.checked_add(at).filter(|id| *id != u32::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_12_ids_never_wrap() {
        for (value, want) in
            [(0, Some(0)), (4_294_967_294, Some(u32::MAX - 1)), (4_294_967_295, None), (-1, None), (1 << 32, None)]
        {
            assert_eq!(id(value), want, "{value}");
        }
    }

    #[test]
    fn ids_are_mapped_by_ranges() {
        let ranges =
            [IdRange { inside: 0, outside: 1000, count: 1 }, IdRange { inside: 1, outside: 100_000, count: 9 }];
        for (value, want) in [(0, Some(1000)), (1, Some(100_000)), (9, Some(100_008)), (10, None)] {
            assert_eq!(map(&ranges, value), want, "{value}");
        }
    }
}
