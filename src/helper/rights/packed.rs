//! The same table read the other way: which attributes on disk go into an archive, and how. Rules 12 and 13 of
//! `docs/pack-semantics.md`. Pure.

use super::acl::{Acl, AclEntry, Tag, decode};
use super::capability::Capability;
use super::{Class, class};
use crate::options::{PackOptions, PackXattrs};
use crate::report::Cause;

/// What becomes of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Packed,
    /// It is nobody's data, or there is no consent to it.
    Left,
    /// The same, and an event says so.
    Told,
}

/// By its name alone.
pub(crate) fn fate(name: &[u8], options: &PackOptions) -> Fate {
    let by = |consent| if consent { Fate::Packed } else { Fate::Left };
    match (class(name), options.xattrs) {
        (_, PackXattrs::None) => Fate::Left,
        (Class::Capability, _) => Fate::Packed,
        (_, PackXattrs::Capability) => Fate::Left,
        (Class::Acl | Class::User | Class::UserMark, _) => Fate::Packed,
        (Class::Label, _) => by(options.security_xattrs),
        (Class::Trusted | Class::Layout | Class::TrustedMark, _) => by(options.trusted_xattrs),
        (Class::RecordedOwner, _) if options.recorded_owners => Fate::Packed,
        (Class::RecordedOwner, _) => Fate::Told,
        // What file systems invent, and ACLs beside the kernel's checks.
        (Class::System | Class::Foreign | Class::RawAcl, _) => Fate::Left,
    }
}

/// Which ACL a name means, if it means one: `SCHILY.acl.*`.
pub(crate) fn acl_key(name: &[u8]) -> Option<&'static str> {
    match name {
        b"system.posix_acl_access" => Some("SCHILY.acl.access"),
        b"system.posix_acl_default" => Some("SCHILY.acl.default"),
        _ => None,
    }
}

/// Maps the id of a user, or of a group where `true`.
pub(crate) type Map<'a> = &'a mut dyn FnMut(bool, u32) -> Result<u32, Cause>;

/// An ACL in the kernel's form as text; `None` if it is none, or says no more than the mode.
pub(crate) fn acl_text(value: &[u8], access: bool, map: Map<'_>) -> Result<Option<String>, AclError> {
    let acl = decode(value).map_err(|_| AclError::Malformed)?;
    if acl.entries.is_empty() || access && says_the_mode(&acl) {
        return Ok(None);
    }
    let entries = acl.entries.iter().map(|entry| text(entry, map));
    let entries: Vec<String> = entries.collect::<Result<_, _>>().map_err(AclError::Id)?;
    Ok(Some(entries.join(",")))
}

/// Why an ACL cannot be packed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AclError {
    Malformed,
    Id(Cause),
}

fn says_the_mode(acl: &Acl) -> bool {
    acl.entries.iter().all(|entry| matches!(entry.tag, Tag::UserObj | Tag::GroupObj | Tag::Other))
}

fn text(entry: &AclEntry, map: Map<'_>) -> Result<String, Cause> {
    let who = match entry.tag {
        Tag::UserObj => "user:".to_owned(),
        Tag::User(id) => format!("user:{}", map(false, id)?),
        Tag::GroupObj => "group:".to_owned(),
        Tag::Group(id) => format!("group:{}", map(true, id)?),
        Tag::Mask => "mask:".to_owned(),
        Tag::Other => "other:".to_owned(),
    };
    let letter = |bit, letter| if entry.permissions & bit == 0 { '-' } else { letter };
    Ok(format!("{who}:{}{}{}", letter(4, 'r'), letter(2, 'w'), letter(1, 'x')))
}

/// A capability as it is packed, and the root that it is for where that is not the archive's own.
pub(crate) fn capability(value: &[u8], is_root: impl FnOnce(u32) -> bool) -> (Vec<u8>, Option<u32>) {
    match Capability::parse(value).map(|capability| (capability, capability.namespace())) {
        Some((capability, Some(root))) if is_root(root) => (capability.for_the_archive().encode(), None),
        Some((_, Some(root))) => (value.to_vec(), Some(root)),
        _ => (value.to_vec(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::acl::parse;
    use super::super::capability::tests::value;
    use super::*;

    fn shown(text: &str, access: bool) -> Result<Option<String>, AclError> {
        let acl = parse(text.as_bytes()).expect("an ACL").encode();
        acl_text(&acl, access, &mut |group, id| match id {
            1 => Ok(if group { 200 } else { 100 }),
            id => Err(Cause::UnmappedId { group, id }),
        })
    }

    #[test]
    fn pack_rule_13_acls_are_text_in_the_kernels_order() {
        let full = "user::rw-,user:1:r--,group::r-x,group:1:--x,mask::rwx,other::---";
        let want = "user::rw-,user:100:r--,group::r-x,group:200:--x,mask::rwx,other::---";
        assert_eq!(shown(full, true), Ok(Some(want.to_owned())));
        assert_eq!(shown("user::rw-,group::r--,other::---", true), Ok(None));
        assert_eq!(shown("user::rw-,group::r--,other::---", false), Ok(Some("user::rw-,group::r--,other::---".into())));
        let lacking = shown("user::rw-,user:7:r--,group::r--,mask::r--,other::---", true);
        assert_eq!(lacking, Err(AclError::Id(Cause::UnmappedId { group: false, id: 7 })));
        assert_eq!(acl_text(b"x", true, &mut |_, id| Ok(id)), Err(AclError::Malformed));
        assert_eq!(acl_text(b"", true, &mut |_, id| Ok(id)), Ok(None));
    }

    #[test]
    fn pack_rule_13_a_capability_for_the_mapped_root_is_version_2() {
        let (v2, v3) = (value(2, None), value(3, Some(7)));
        assert_eq!(capability(&v3, |root| root == 7), (v2.clone(), None));
        assert_eq!(capability(&v3, |root| root == 0), (v3.clone(), Some(7)));
        assert_eq!(capability(&v2, |_| false), (v2, None));
        assert_eq!(capability(b"junk", |_| true), (b"junk".to_vec(), None));
    }

    #[test]
    fn pack_rule_12_which_attributes_are_packed() {
        let all = PackOptions::default();
        let with = |change: fn(&mut PackOptions)| {
            let mut options = all.clone();
            change(&mut options);
            options
        };
        let allowed = with(|o| (o.trusted_xattrs, o.security_xattrs, o.recorded_owners) = (true, true, true));
        let docker = with(|o| o.xattrs = PackXattrs::Capability);
        let none = with(|o| o.xattrs = PackXattrs::None);
        use Fate::{Left, Packed, Told};
        for (name, want) in [
            ("user.x", [Packed, Packed, Left, Left]),
            ("user.overlay.opaque", [Packed, Packed, Left, Left]),
            ("security.capability", [Packed, Packed, Packed, Left]),
            ("security.selinux", [Left, Packed, Left, Left]),
            ("trusted.x", [Left, Packed, Left, Left]),
            ("trusted.overlay.opaque", [Left, Packed, Left, Left]),
            ("trusted.gfid", [Left, Packed, Left, Left]),
            ("trusted.SGI_ACL_FILE", [Left, Left, Left, Left]),
            ("system.posix_acl_access", [Packed, Packed, Left, Left]),
            ("system.nfs4_acl", [Left, Left, Left, Left]),
            ("btrfs.compression", [Left, Left, Left, Left]),
            ("user.containers.override_stat", [Told, Packed, Left, Left]),
        ] {
            let got = [&all, &allowed, &docker, &none].map(|options| fate(name.as_bytes(), options));
            assert_eq!(got, want, "{name}");
        }
    }
}
