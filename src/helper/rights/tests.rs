//! The table in SECURITY.md is the table in force, cell by cell.

use super::capability::tests::value as capability;
use super::*;
use crate::options::{Overlay, Owner};

const PAGE: &str = include_str!("../../../SECURITY.md");
const HEAD: &str = "| attribute | archive | mapped | forced | caller |\n|---|---|---|---|---|\n";
const NAMESPACES: [Namespace; 3] = [Namespace::Callers, Namespace::OneId, Namespace::Ranges];

/// What is tried for a row of the page: attributes, consent to them, overlay mode.
fn samples(row: &str) -> (Vec<Attribute>, bool, bool) {
    let named = |names: &[&str]| names.iter().map(|name| Attribute::new(name.as_bytes().into(), b"x".into())).collect();
    let capabilities = |values: &[Vec<u8>]| {
        values.iter().map(|value| Attribute::new(b"security.capability".into(), value.clone())).collect()
    };
    let (name, allowed) = row.strip_suffix(", allowed").map_or((row, false), |name| (name, true));
    let (name, upper) = name.strip_suffix(" into an upper directory").map_or((name, false), |name| (name, true));
    let attributes = match name {
        "`security.capability`, version 1 or 2" => capabilities(&[capability(1, None), capability(2, None)]),
        "`security.capability`, version 3, root 0" => capabilities(&[capability(3, Some(0))]),
        "`security.capability`, version 3, another root" => {
            capabilities(&[capability(3, Some(1)), capability(3, Some(65_535))])
        }
        "`security.capability`, version 3, a root that the map lacks" => capabilities(&[capability(3, Some(65_536))]),
        "`security.capability` that no kernel takes" => capabilities(&[
            vec![],
            b"x".into(),
            capability(4, None),
            capability(3, None),
            capability(3, Some(u32::MAX)),
        ]),
        "an ACL for owner, group and others" => acls("user::rw-,group::r--,other::---", true),
        "an ACL that names users or groups" => {
            let groups = "user::rw-,group::r--,group:65535:r--,mask::r--,other::---";
            [acls("user::rw-,user:1:rw-,group::---,mask::rw-,other::---", true), acls(groups, true)]
                .into_iter()
                .flatten()
                .collect()
        }
        "an ACL that names one that the map lacks" => {
            acls("user::rw-,group::---,group:65536:rw-,mask::rw-,other::---", true)
        }
        "an ACL as text without numbers" => acls("user::rw-,user:lisa:rw-,group::---,mask::rw-,other::---", false),
        "an ACL that no kernel takes" => {
            let binary = Attribute::new(b"system.posix_acl_access".into(), b"\x02\0\0\0x".into());
            acls("user::rw-,user::rw-,group::r--,other::---", false).into_iter().chain([binary]).collect()
        }
        "other `system.*`" => named(&["system.nfs4_acl", "system.richacl", "system.posix_acl", "system.x", "system."]),
        "other `security.*`" => named(&["security.selinux", "security.ima", "security.evm", "security.capability2"]),
        "`trusted.*`" => named(&["trusted.x", "trusted.overlay", "trusted."]),
        "`trusted.SGI_ACL_FILE`, `trusted.SGI_ACL_DEFAULT`" => {
            named(&["trusted.SGI_ACL_FILE", "trusted.SGI_ACL_DEFAULT"])
        }
        "a file system's layout in `trusted.*`" => {
            named(&["trusted.lov", "trusted.gfid", "trusted.gfid2path.1", "trusted.glusterfs.dht", "trusted.afr.v-0"])
        }
        "`user.overlay.*`, `trusted.overlay.*`" => named(&["user.overlay.opaque", "trusted.overlay.overlay.x"]),
        "`user.overlay.*`" => named(&["user.overlay.opaque", "user.overlay.overlay.x"]),
        "`trusted.overlay.*`" => named(&["trusted.overlay.opaque"]),
        "recorded owners" => named(&[
            "user.containers.override_stat",
            "user.fuseoverlayfs.override_stat",
            "user.rootlesscontainers",
            "user.virtfs.uid",
        ]),
        "other `user.*`" => named(&["user.x", "user.overlay", "user.overlayfs", "user.containers.x"]),
        "any other name" => {
            named(&["foo", "users.x", "User.x", "com.apple.quarantine", "btrfs.compression", "user", "lustre.lov"])
        }
        row => panic!("no samples for the row {row}"),
    };
    (attributes, allowed, upper)
}

/// As text, and in binary form where that can say the same.
fn acls(text: &str, binary: bool) -> Vec<Attribute> {
    let encoded = acl::parse(text.as_bytes()).expect("an ACL").encode();
    let forms = |access, name: &str| {
        let text = Attribute::acl_text(text.as_bytes(), access, 0o600);
        binary.then(|| Attribute::new(name.into(), encoded.clone())).into_iter().chain([text])
    };
    forms(true, "system.posix_acl_access").chain(forms(false, "system.posix_acl_default")).collect()
}

/// Consent is to both kinds: a row tries attributes of one.
fn setting(owner: &Owner, namespace: Namespace, consent: bool, overlay: bool) -> Setting {
    let mode = if overlay { Mode::Overlay(Overlay::default()) } else { Mode::Layer };
    let options =
        Options { trusted_xattrs: consent, security_xattrs: consent, owner: owner.clone(), mode, ..Options::default() };
    Setting::new(&options, 0, namespace, false)
}

fn letter(outcome: Ruling) -> char {
    match outcome {
        Ruling::Kept => 'K',
        Ruling::Mapped => 'M',
        Ruling::Dropped => 'D',
        Ruling::Escaped => 'E',
        Ruling::Refused => 'R',
    }
}

fn owners() -> [Owner; 4] {
    let ids = vec![IdRange { inside: 0, outside: 100_000, count: 65_536 }];
    let mapped = Owner::Mapped { uids: ids.clone(), gids: ids };
    [Owner::Archive, mapped, Owner::Forced { uid: 1234, gid: 1235 }, Owner::Caller]
}

#[test]
fn rule_13_the_table_of_rights_is_the_one_that_is_documented() {
    let table = PAGE.split_once(HEAD).expect("the table").1.split_once("\n\n").expect("its end").0;
    let (mut cells, mut wrong) = (0, Vec::new());
    for line in table.lines() {
        let fields: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let (attributes, consent, overlay) = samples(fields[0]);
        assert!(!attributes.is_empty() && fields.len() == 5, "{line}");
        for (owner, letters) in owners().iter().zip(&fields[1..]) {
            for (namespace, want) in NAMESPACES.into_iter().zip(letters.chars()) {
                cells += 1;
                let setting = setting(owner, namespace, consent, overlay);
                let differs = |attribute: &&Attribute| letter(decide(attribute, &setting)) != want;
                if let Some(attribute) = attributes.iter().find(differs) {
                    wrong.push(format!("{}, {owner:?}, {namespace:?}: not {want}: {attribute:?}", fields[0]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(cells, 25 * 12, "all cells were looked at");
}

#[test]
fn rule_13_a_capability_goes_where_the_owner_goes() {
    let value = |owner: &Owner, own, given| {
        let options = Options { owner: owner.clone(), ..Options::default() };
        let attribute = Attribute::new(b"security.capability".into(), given);
        attribute.value(&Setting::new(&options, own, Namespace::Callers, false)).expect("a value")
    };
    let [archive, mapped, forced, caller] = owners();
    for (owner, own, given, want) in [
        (&archive, 0, capability(2, None), capability(2, None)),
        (&archive, 0, capability(3, Some(7)), capability(3, Some(7))),
        (&mapped, 0, capability(2, None), capability(3, Some(100_000))),
        (&mapped, 0, capability(3, Some(0)), capability(3, Some(100_000))),
        (&mapped, 0, capability(3, Some(7)), capability(3, Some(100_007))),
        (&forced, 0, capability(2, None), capability(3, Some(1234))),
        (&forced, 0, capability(3, Some(0)), capability(3, Some(1234))),
        (&caller, 5, capability(2, None), capability(3, Some(5))),
        (&caller, 0, capability(2, None), capability(2, None)),
    ] {
        assert_eq!(value(owner, own, given), want, "{owner:?}");
    }
}

#[test]
fn rule_13_escaped_names_are_data_to_overlayfs() {
    assert_eq!(escape(b"user.overlay.x"), b"user.overlay.overlay.x");
    assert_eq!(escape(b"trusted.overlay.overlay.x"), b"trusted.overlay.overlay.overlay.x");
}

#[test]
fn rule_09_what_is_never_cleared() {
    for name in [
        "security.selinux",
        "system.nfs4_acl",
        "trusted.overlay.opaque",
        "user.overlay.opaque",
        "trusted.SGI_ACL_FILE",
        "btrfs.compression",
        "bcachefs.compression",
        "lustre.lov",
        "ceph.dir.layout",
        "gpfs.dmapi",
        "glusterfs.pathinfo",
        "trusted.lov",
        "trusted.link",
        "trusted.gfid",
        "trusted.gfid2path.0123456789abcdef",
        "trusted.glusterfs.dht",
        "trusted.glusterfs.quota.size",
        "trusted.afr.volume-client-0",
        "trusted.ec.version",
    ] {
        assert!(is_masked(name.as_bytes()), "{name} would be cleared");
    }
    for name in [
        "security.capability",
        "system.posix_acl_access",
        "trusted.x",
        "trusted.lover",
        "trusted.gfid2",
        "trusted.glusterfs",
        "user.overlay.overlay.x",
        "user.btrfs.compression",
        "user.containers.override_stat",
    ] {
        assert!(!is_masked(name.as_bytes()), "{name} would stay");
    }
}
