//! From what the archive says of an entry to what the file is to be: ids, times, attributes. Pure.

use super::acl;
use super::entry::{Entry, Time};
use super::fault::Result;
use super::metadata::{ACL_ACCESS, ACL_DEFAULT, Metadata};
use crate::{Cause, EventKind, IdRange, Malformed, Mode, Options, Owner, Refusal, Xattrs};
use std::ffi::CString;

/// The caller's policies on metadata, for the whole run.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    owner: Owner,
    clamp_mtime: Option<i64>,
    xattrs: Xattrs,
    trusted: bool,
    overlay: bool,
    /// The id that a file capability's root becomes: `capabilities(7)`, version 3.
    capability_root: Option<u32>,
}

const CAPABILITY: &[u8] = b"security.capability";

impl Policy {
    pub(crate) fn new(options: &Options) -> Policy {
        // Inside a user namespace the kernel converts by itself; with a map of ours nobody else does.
        let capability_root = match &options.owner {
            Owner::Mapped { uids, .. } => map(uids, 0).filter(|root| *root != 0),
            _ => None,
        };
        Policy {
            owner: options.owner.clone(),
            clamp_mtime: options.clamp_mtime,
            xattrs: options.xattrs,
            trusted: options.trusted_xattrs,
            overlay: matches!(options.mode, Mode::Overlay(_)),
            capability_root,
        }
    }

    /// What the entry is to be, and what had to be left out.
    pub(crate) fn metadata(&self, entry: &mut Entry) -> Result<(Metadata, Vec<EventKind>)> {
        let mut events = Vec::new();
        let mtime = self.clamp(entry.mtime);
        let metadata = Metadata {
            owner: self.ids(entry.uid, entry.gid)?,
            mode: entry.mode,
            mode_now: None,
            mtime,
            atime: entry.atime.map_or(mtime, |atime| self.clamp(atime)),
            xattrs: self.attributes(entry, &mut events)?,
        };
        Ok((metadata, events))
    }

    /// A directory that the archive implies.
    pub(crate) fn implied(&self) -> Result<Metadata> {
        Ok(Metadata { owner: self.ids(0, 0)?, mode: 0o755, ..Metadata::default() })
    }

    fn clamp(&self, time: Time) -> Time {
        match self.clamp_mtime {
            Some(seconds) if (time.seconds, time.nanoseconds) > (seconds, 0) => Time { seconds, nanoseconds: 0 },
            _ => time,
        }
    }

    fn ids(&self, uid: i64, gid: i64) -> Result<Option<(u32, u32)>> {
        let ids = match &self.owner {
            Owner::Caller => return Ok(None),
            Owner::Forced { uid, gid } => return Ok(Some((*uid, *gid))),
            Owner::Archive => (id(uid), id(gid)),
            Owner::Mapped { uids, gids } => {
                (id(uid).and_then(|id| map(uids, id)), id(gid).and_then(|id| map(gids, id)))
            }
        };
        match ids {
            (None, _) => Err(Cause::Refused(Refusal::Uid).into()),
            (_, None) => Err(Cause::Refused(Refusal::Gid).into()),
            (Some(uid), Some(gid)) => Ok(Some((uid, gid))),
        }
    }

    fn attributes(&self, entry: &mut Entry, events: &mut Vec<EventKind>) -> Result<Vec<(CString, Vec<u8>)>> {
        if self.xattrs == Xattrs::None
            || (entry.xattrs.is_empty() && entry.acl_access.is_none() && entry.acl_default.is_none())
        {
            return Ok(Vec::new());
        }
        let mut attributes = Vec::new();
        for (text, name) in [(entry.acl_access.take(), ACL_ACCESS), (entry.acl_default.take(), ACL_DEFAULT)] {
            let Some(text) = text else { continue };
            match self.acl(&text, name == ACL_DEFAULT, entry.mode)? {
                Some(value) => attributes.push((name.to_owned(), value)),
                None => events.push(EventKind::XattrDropped { name: name.to_bytes().into() }),
            }
        }
        for (name, value) in entry.xattrs.drain(..) {
            let Some(name) = self.attribute_name(name, events) else { continue };
            let value = if name.as_bytes() == CAPABILITY { self.capability(value) } else { value };
            attributes.push((name, value));
        }
        attributes.sort_by_key(|(name, _)| name.as_bytes() == CAPABILITY);
        Ok(attributes)
    }

    /// The attribute's name on disk, if the archive may set it.
    fn attribute_name(&self, name: Vec<u8>, events: &mut Vec<EventKind>) -> Option<CString> {
        let overlay = [&b"trusted."[..], b"user."]
            .into_iter()
            .find(|namespace| name.strip_prefix(*namespace).is_some_and(|rest| rest.starts_with(b"overlay.")));
        let renamed = match overlay {
            Some(namespace) if self.overlay => {
                events.push(EventKind::XattrEscaped { name: name.clone() });
                [namespace, b"overlay.", &name[namespace.len()..]].concat()
            }
            _ => name.clone(),
        };
        let forbidden = (overlay.is_some() && !self.overlay)
            || (name.starts_with(b"security.") && name != CAPABILITY)
            || (name.starts_with(b"trusted.") && !self.trusted);
        match CString::new(renamed) {
            Ok(name) if !forbidden => Some(name),
            _ => {
                events.push(EventKind::XattrDropped { name });
                None
            }
        }
    }

    /// `None` where it names users or groups by name only: names are never looked up.
    fn acl(&self, text: &[u8], default: bool, mode: u32) -> Result<Option<Vec<u8>>> {
        let Some(mut acl) =
            acl::parse(text).map_err(|acl::Invalid| Cause::Malformed { what: Malformed::Acl, offset: 0 })?
        else {
            return Ok(None);
        };
        if !default {
            acl.complete(mode);
        }
        for entry in &mut acl.entries {
            let ids = match entry.tag {
                acl::Tag::User(id) => self.ids(id.into(), 0).map(|ids| (ids, id, true)),
                acl::Tag::Group(id) => self.ids(0, id.into()).map(|ids| (ids, id, false)),
                _ => continue,
            };
            let (ids, id, user) = ids?;
            // A forced owner does not speak of the others that an ACL names.
            let mapped = matches!(self.owner, Owner::Mapped { .. });
            entry.tag = match (ids.filter(|_| mapped), user) {
                (Some((uid, _)), true) => acl::Tag::User(uid),
                (Some((_, gid)), false) => acl::Tag::Group(gid),
                (None, true) => acl::Tag::User(id),
                (None, false) => acl::Tag::Group(id),
            };
        }
        Ok(Some(acl.encode()))
    }

    /// `struct vfs_ns_cap_data`: version 3 names the root id of the namespace that it is for.
    fn capability(&self, mut value: Vec<u8>) -> Vec<u8> {
        const VERSION_2: u32 = 0x0200_0000;
        const VERSION_3: u32 = 0x0300_0000;
        let (Some(root), Some(word)) = (self.capability_root, value.first_chunk().copied().map(u32::from_le_bytes))
        else {
            return value;
        };
        if word & 0xff00_0000 == VERSION_2 && value.len() == 20 {
            value[..4].copy_from_slice(&(VERSION_3 | word & 0x00ff_ffff).to_le_bytes());
            value.extend_from_slice(&root.to_le_bytes());
        }
        value
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

    #[test]
    fn rule_13_capabilities_become_version_3_under_a_map() {
        let uids = vec![IdRange { inside: 0, outside: 5, count: 1 }];
        let owner = Owner::Mapped { gids: uids.clone(), uids };
        let policy = Policy::new(&Options { owner, ..Options::default() });
        let mut v2 = 0x0200_0001_u32.to_le_bytes().to_vec();
        v2.extend([7; 16]);
        let v3 = policy.capability(v2.clone());
        assert_eq!(v3[..4], 0x0300_0001_u32.to_le_bytes());
        assert_eq!(v3[20..], 5_u32.to_le_bytes());
        assert_eq!(policy.capability(v3.clone()), v3);
    }
}
