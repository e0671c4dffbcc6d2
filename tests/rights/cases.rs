//! The rows of the table: what an archive says, in each spelling, and what should come of it.

use untar_in_root::ErrorKind;

use super::settings::{NOBODY, SOMEBODY, Setting};
use crate::support::tarball::Tarball;

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../SECURITY.md"));
const HEAD: &str = "| attribute | archive | mapped | forced | caller |\n|---|---|---|---|---|\n";

/// A row, with the letters of its cells.
pub struct Row {
    pub name: &'static str,
    letters: Vec<&'static str>,
    /// Consent to `trusted.*`.
    pub allowed: bool,
    /// Into an upper directory.
    pub upper: bool,
    pub cases: Vec<Case>,
}

/// One attribute in one spelling, on a file of its own.
pub struct Case {
    /// As the kernel has it.
    pub name: &'static str,
    /// The PAX record.
    pub record: String,
    text: Vec<u8>,
    pub says: Says,
}

/// What it means, to the oracle.
#[derive(Clone)]
pub enum Says {
    /// Version, and root in version 3.
    Capability(u8, u32),
    /// Whom an ACL names, as a user.
    Acl(Option<u32>),
    Nothing(Vec<u8>),
}

/// What should come of it.
#[derive(Debug)]
pub enum Want {
    OnDisk(Vec<u8>),
    /// An ACL that says no more than a mode is one.
    OnlyTheMode,
    Dropped,
    /// Well-formed, but the kernel has no such id.
    Lost,
    Escaped,
    Fails(ErrorKind),
}

const CAPABILITY: &str = "security.capability";
pub const ACCESS: &str = "system.posix_acl_access";
pub const DEFAULT: &str = "system.posix_acl_default";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> Vec<u8> {
    let group = |group: &[u8]| {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(*group.get(at).unwrap_or(&0)));
        (0..=group.len()).map(|at| BASE64[(bits >> (18 - 6 * at) & 63) as usize]).collect::<Vec<_>>()
    };
    bytes.chunks(3).flat_map(group).collect()
}

/// `cap_chown` and, in versions with a second word, `cap_mac_override`, effective.
fn capability(version: u8, root: u32) -> Vec<u8> {
    let words: &[u32] = match version {
        1 => &[1, 0],
        2 => &[1, 0, 1, 0],
        _ => &[1, 0, 1, 0, root],
    };
    [&[1, 0, 0, version], &words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>()[..]].concat()
}

/// For the owner, perhaps for one more, and for nobody in the group.
fn acl(named: Option<u32>) -> Vec<u8> {
    let user = named.map(|id| (2_u16, 6_u16, id));
    let mask = named.map(|_| (16, 6, u32::MAX));
    let entries = [Some((1, 6, u32::MAX)), user, Some((4, 0, u32::MAX)), mask, Some((32, 0, u32::MAX))];
    let bytes =
        |(tag, bits, id): (u16, u16, u32)| [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat();
    [vec![2, 0, 0, 0], entries.into_iter().flatten().flat_map(bytes).collect()].concat()
}

/// In the kernel's form, by both spellings, plain and in percents.
fn spelled(name: &'static str, value: &[u8], says: &Says) -> Vec<Case> {
    let percents = name.replacen('e', "%65", 1).replacen('.', "%2e", 1);
    let case = |record, text| Case { name, record, text, says: says.clone() };
    let schily = [name, &percents].map(|name| case(format!("SCHILY.xattr.{name}"), value.to_vec()));
    let libarchive = [name, &percents].map(|name| case(format!("LIBARCHIVE.xattr.{name}"), base64(value)));
    schily.into_iter().chain(libarchive).collect()
}

fn capabilities(of: &[(u8, u32)]) -> Vec<Case> {
    of.iter().flat_map(|(v, r)| spelled(CAPABILITY, &capability(*v, *r), &Says::Capability(*v, *r))).collect()
}

fn acl_text(text: &str, says: &Says) -> Vec<Case> {
    let names = [(ACCESS, "access"), (DEFAULT, "default")];
    let case =
        |(name, record)| Case { name, record: format!("SCHILY.acl.{record}"), text: text.into(), says: says.clone() };
    names.map(case).into()
}

fn acls(named: Option<u32>) -> Vec<Case> {
    let says = Says::Acl(named);
    let user = named.map(|id| format!("user:{id}:rw-,mask::rw-,")).unwrap_or_default();
    let mut cases = acl_text(&format!("{user}user::rw-,group::---,other::---"), &says);
    cases.extend([ACCESS, DEFAULT].into_iter().flat_map(|name| spelled(name, &acl(named), &says)));
    cases
}

fn plain(names: &[&'static str]) -> Vec<Case> {
    names.iter().flat_map(|name| spelled(name, b"y", &Says::Nothing(b"y".into()))).collect()
}

/// A record that is a spelling of its own.
fn record(record: &str, name: &'static str) -> Case {
    Case { name, record: record.into(), text: b"y".into(), says: Says::Nothing(b"y".into()) }
}

fn no_capabilities() -> Vec<Case> {
    let v3 = capability(3, 0);
    let bad: [&[u8]; 5] = [b"", b"x", &v3[..20], &[&v3[..], b"x"].concat(), &[&[3, 0, 0, 2][..], &[1; 16]].concat()];
    bad.into_iter().flat_map(|value| spelled(CAPABILITY, value, &Says::Nothing(value.into()))).collect()
}

fn no_acls() -> Vec<Case> {
    let good = acl(Some(SOMEBODY));
    let bad: [&[u8]; 4] = [b"\x02", &good[..good.len() - 1], &good[..20], &[&[1], &good[1..]].concat()];
    let says = Says::Acl(None);
    // In one spelling or the other.
    let binary = |name| bad.iter().zip([0, 2, 0, 2]).map(move |(value, way)| (name, *value, way));
    let binary = binary(ACCESS).chain(binary(DEFAULT));
    let twice = acl_text("user::rw-,user::rwx,group::---,other::---", &says);
    twice.into_iter().chain(binary.map(|(name, value, way)| spelled(name, value, &says).swap_remove(way))).collect()
}

fn cases(row: &str, allowed: bool) -> Vec<Case> {
    match row {
        "`security.capability`, version 1 or 2" => capabilities(&[(1, 0), (2, 0)]),
        "`security.capability`, version 3, root 0" => capabilities(&[(3, 0)]),
        "`security.capability`, version 3, another root" => capabilities(&[(3, SOMEBODY)]),
        "`security.capability`, version 3, a root that the map lacks" => capabilities(&[(3, NOBODY)]),
        "`security.capability` that no kernel takes" => no_capabilities(),
        "an ACL for owner, group and others" => acls(None),
        "an ACL that names users or groups" => acls(Some(SOMEBODY)),
        "an ACL that names one that the map lacks" => acls(Some(NOBODY)),
        "an ACL as text without numbers" => {
            acl_text("user::rw-,user:daemon:rw-,group::---,mask::rw-,other::---", &Says::Acl(None))
        }
        "an ACL that no kernel takes" => no_acls(),
        "other `system.*`" => {
            let names = ["system.nfs4_acl", "system.richacl", "system.ntfs_security", "system.x"];
            plain(&names).into_iter().chain([record("SCHILY.acl.ace", "system.nfs4_acl")]).collect()
        }
        // Names that no security module of the machine takes for its own.
        "other `security.*`" if allowed => plain(&["security.x", "security.capability2"]),
        "other `security.*`" => {
            let names = ["security.selinux", "security.ima", "security.evm", "security.apparmor", "security.SMACK64"];
            plain(&names).into_iter().chain([record("RHT.security.selinux", "security.selinux")]).collect()
        }
        "`trusted.*`" => plain(&["trusted.x", "trusted.overlay"]),
        "`trusted.SGI_ACL_FILE`, `trusted.SGI_ACL_DEFAULT`" => {
            plain(&["trusted.SGI_ACL_FILE", "trusted.SGI_ACL_DEFAULT"])
        }
        "a file system's layout in `trusted.*`" => plain(&["trusted.lov", "trusted.gfid", "trusted.glusterfs.dht"]),
        "`user.overlay.*`, `trusted.overlay.*`" => plain(&["user.overlay.redirect", "trusted.overlay.opaque"]),
        "`user.overlay.*`" => plain(&["user.overlay.opaque", "user.overlay.overlay.x"]),
        "`trusted.overlay.*`" => plain(&["trusted.overlay.opaque", "trusted.overlay.redirect"]),
        "recorded owners" => plain(&[
            "user.containers.override_stat",
            "user.fuseoverlayfs.override_stat",
            "user.rootlesscontainers",
            "user.virtfs.uid",
        ]),
        "other `user.*`" => plain(&["user.x", "user.overlayfs", "user.containers.x"]),
        "any other name" => plain(&["foo", "users.x", "com.apple.quarantine"]),
        row => panic!("no cases for the row {row}"),
    }
}

/// The table as it is documented.
pub fn rows() -> Vec<Row> {
    let table = PAGE.split_once(HEAD).expect("the table").1.split_once("\n\n").expect("its end").0;
    table.lines().map(row).collect()
}

fn row(line: &'static str) -> Row {
    let mut fields = line.trim_matches('|').split('|').map(str::trim);
    let name = fields.next().expect("a name");
    let (rest, allowed) = name.strip_suffix(", allowed").map_or((name, false), |rest| (rest, true));
    let (rest, upper) = rest.strip_suffix(" into an upper directory").map_or((rest, false), |rest| (rest, true));
    Row { name, letters: fields.collect(), allowed, upper, cases: cases(rest, allowed) }
}

impl Case {
    pub fn is_default_acl(&self) -> bool {
        self.name == DEFAULT
    }

    /// What the cell promises.
    pub fn want(&self, row: &Row, setting: &Setting) -> Want {
        let mapped = match &row.letters[setting.column - 1][setting.place()..=setting.place()] {
            "D" => return Want::Dropped,
            "E" => return Want::Escaped,
            "R" => return Want::Fails(self.refused_as(setting)),
            "K" => false,
            _ => true,
        };
        let on_host = |id| if mapped { setting.by_policy(id) } else { Some(id) }.and_then(|id| setting.on_host(id));
        match &self.says {
            Says::Nothing(value) => Want::OnDisk(value.clone()),
            Says::Acl(None) if self.is_default_acl() => Want::OnDisk(acl(None)),
            Says::Acl(None) => Want::OnlyTheMode,
            Says::Acl(Some(id)) => match on_host(*id) {
                Some(id) => Want::OnDisk(acl(Some(id))),
                None => Want::Fails(ErrorKind::Entry),
            },
            Says::Capability(version, root) => match on_host(*root) {
                // The kernel shows the first root's as version 2; version 1 has one word less.
                Some(0) if *version == 1 => Want::OnDisk([&[1, 0, 0, 2, 1][..], &[0; 15]].concat()),
                Some(0) => Want::OnDisk(capability(2, 0)),
                Some(root) => Want::OnDisk(self.version_3(*version, root)),
                None => Want::Lost,
            },
        }
    }

    fn version_3(&self, version: u8, root: u32) -> Vec<u8> {
        let mut value = capability(3, root);
        if version == 1 {
            value[12] = 0;
        }
        value
    }

    fn refused_as(&self, setting: &Setting) -> ErrorKind {
        match &self.says {
            Says::Acl(None) => ErrorKind::Archive,
            Says::Acl(Some(_)) if setting.column == 2 => ErrorKind::Refused,
            _ => ErrorKind::Entry,
        }
    }
}

pub fn file_name(at: usize) -> String {
    format!("f{at}")
}

/// Each case on a file of its own: a program where it is a capability, a directory where it is a default ACL.
pub fn tarball(cases: &[&Case]) -> Vec<u8> {
    let cat = std::fs::read("/bin/cat").expect("cat");
    let add = |tar: Tarball, (at, case): (usize, &&Case)| {
        let (name, record, text) = (file_name(at), &case.record, &case.text);
        let tar = match case.name {
            DEFAULT => tar.dir(name),
            CAPABILITY => tar.file(name, &cat).with(|e| _ = e.mode(0o755)),
            ACCESS => tar.file(name, "secret\n").with(|e| _ = e.mode(0o660)),
            _ => tar.file(name, "secret\n").with(|e| _ = e.mode(0o600)),
        };
        tar.with(|e| _ = e.pax(record, text))
    };
    cases.iter().enumerate().fold(Tarball::new(), add).build()
}
