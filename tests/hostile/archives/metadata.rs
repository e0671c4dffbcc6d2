//! Owners, modes, times, attributes and ACLs that want to be more than they are.

use rustix::io::Errno;
use untar_in_root::{Call, Limit, Malformed, Options, Owner, Refusal, Xattrs};

use super::super::case::{Case, Outcome, case};
use super::tar;
use crate::support::expected::Expected;

const FILE_CAPS: &[u8] = &[1, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 1, 0, 0, 0, 0, 0, 0];

fn strict(o: &mut Options) {
    o.xattrs = Xattrs::Strict;
}

fn as_caller(o: &mut Options) {
    o.owner = Owner::Caller;
}

fn forgiving(o: &mut Options) {
    o.ignore_chown_errors = true;
}

pub fn cases() -> Vec<Case> {
    let mut all = owners();
    all.extend(attributes());
    all
}

fn owners() -> Vec<Case> {
    let owned = |uid, gid| tar().file("f", "1").with(|e| _ = e.uid(uid).gid(gid));
    vec![
        // CVE-2024-40635, CVE-2026-46680: ids that become 0.
        case("a uid of 2^32 (CVE-2024-40635)", owned(1 << 32, 0)).refused_owner(Refusal::Uid),
        case("a uid of 2^32 + 1000", owned((1 << 32) + 1_000, 0)).refused_owner(Refusal::Uid),
        case("a uid of 2^32 - 1, which means no change", owned(u32::MAX.into(), 0)).refused_owner(Refusal::Uid),
        case("a uid of -1", owned(-1, 0)).refused_owner(Refusal::Uid),
        case("a uid of -2^31", owned(-(1 << 31), 0)).refused_owner(Refusal::Uid),
        case("a gid of 2^32", owned(0, 1 << 32)).refused_owner(Refusal::Gid),
        case("a gid of 2^32 - 1", owned(0, u32::MAX.into())).refused_owner(Refusal::Gid),
        case("a gid of -1", owned(0, -1)).refused_owner(Refusal::Gid),
        case("a uid of 2^32 on a directory", tar().dir("d").with(|e| _ = e.uid(1 << 32))).refused_owner(Refusal::Uid),
        case("a uid of 2^32 on a symlink", tar().symlink("l", "x").with(|e| _ = e.uid(1 << 32)))
            .refused_owner(Refusal::Uid),
        case("a uid of -1 in a PAX record", tar().file("f", "").with(|e| _ = e.pax("uid", "-1")))
            .malformed(Malformed::NegativeNumber),
        case("a uid of 2^64 in a PAX record", tar().file("f", "").with(|e| _ = e.pax("uid", "18446744073709551616")))
            .malformed(Malformed::NumberRange),
        case("a uid in hexadecimal", tar().file("f", "").with(|e| _ = e.pax("uid", "0x0")))
            .malformed(Malformed::PaxValue),
        case("a uid with a sign and blanks", tar().file("f", "").with(|e| _ = e.pax("gid", " +0")))
            .malformed(Malformed::PaxValue),
        case("the largest ids", owned(4_294_967_294, 4_294_967_294))
            .fact("f", "uid", "4294967294")
            .without_owners()
            .tree("f=1"),
        case(
            "another's set-uid file is never root's",
            tar().file("f", "x").with(|e| _ = e.uid(1_000).gid(1_000).mode(0o6755)),
        )
        .fact("f", "mode", "6755")
        .fact("f", "uid", "1000")
        .without_other_owners()
        .tree("f=x"),
        case(
            "a set-uid file whose owner cannot be set",
            tar().file("f", "x").with(|e| _ = e.uid(4_294_967_294).mode(0o4755)),
        )
        .with(forgiving)
        .applied(),
        case("set-uid for the caller", tar().file("f", "x").with(|e| _ = e.uid(1_000).mode(0o4755)))
            .with(as_caller)
            .applied(),
        case("mode bits beyond 07777", tar().file("f", "").with(|e| _ = e.mode(0o177_777)))
            .fact("f", "mode", "7777")
            .applied(),
        case("a directory of mode 0000 with files in it", tar().dir("d").with(|e| _ = e.mode(0)).file("d/f", "1"))
            .fact("d", "mode", "0000")
            .applied(),
        case("a sticky, set-gid directory", tar().dir("d").with(|e| _ = e.mode(0o3777).gid(7)).file("d/f", ""))
            .fact("d/f", "gid", "0")
            .without_other_owners()
            .applied(),
        case("a file of mode 0000, written", tar().file("f", "1".repeat(100_000)).with(|e| _ = e.mode(0))).applied(),
        case("times before and beyond", {
            tar()
                .file("a", "")
                .with(|e| _ = e.mtime(-1))
                .file("b", "")
                .with(|e| _ = e.mtime(i64::MAX))
                .file("c", "")
                .with(|e| _ = e.mtime(i64::MIN))
        })
        .tree("a= b= c="),
        case("a PAX time that is none", tar().file("f", "").with(|e| _ = e.pax("mtime", "1e9")))
            .malformed(Malformed::PaxValue),
        case("a PAX time of a million digits", tar().file("f", "").with(|e| _ = e.pax("mtime", "9".repeat(1_000_000))))
            .malformed(Malformed::NumberRange),
    ]
}

fn attributes() -> Vec<Case> {
    let with = |name: &str, value: &[u8]| tar().file("f", "1").with(|e| _ = e.xattr(name, value));
    vec![
        case("file capabilities", with("security.capability", FILE_CAPS)).applied(),
        case("file capabilities cut short", with("security.capability", &FILE_CAPS[..7])).tree("f=1"),
        case("SELinux labels", with("security.selinux", b"system_u:object_r:shadow_t:s0"))
            .fact("f", "xattr.security.selinux", "")
            .applied(),
        case("IMA signatures", with("security.ima", b"\x03evil")).fact("f", "xattr.security.ima", "").applied(),
        case("trusted attributes", with("trusted.evil", b"1")).fact("f", "xattr.trusted.evil", "").applied(),
        case("overlay attributes (CVE-2023-0386)", with("trusted.overlay.opaque", b"y"))
            .fact("f", "xattr.trusted.overlay.opaque", "")
            .applied(),
        case("overlay attributes for users", with("user.overlay.redirect", b"/etc"))
            .fact("f", "xattr.user.overlay.redirect", "")
            .applied(),
        case("an attribute of no namespace", with("evil", b"1")).tree("f=1"),
        case("a system attribute", with("system.posix_acl_access", b"\x02\0\0\0evil")).malformed(Malformed::Acl),
        case("an attribute without a name", with("", b"1")).malformed(Malformed::PaxRecord),
        case("an attribute with NUL in its name", with("user.a\0b", b"1")).malformed(Malformed::PaxRecord),
        case("an attribute name over 255 bytes", with(&format!("user.{}", "n".repeat(300)), b"1"))
            .limited(Limit::XattrName),
        case("an attribute name of nearly a megabyte", with(&format!("trusted.{}", "n".repeat(1_000_000)), b"1"))
            .limited(Limit::XattrName),
        case("an attribute over the limit", with("user.big", &[b'x'; 70_000])).limited(Limit::XattrBytes),
        case("three hundred attributes", {
            tar().file("f", "").with(|e| (0..300).for_each(|i| _ = e.xattr(&format!("user.a{i}"), "")))
        })
        .limited(Limit::Xattrs),
        case("the same attribute ten thousand times", {
            tar().file("f", "").with(|e| (0..10_000).for_each(|i| _ = e.xattr("user.a", format!("{i}"))))
        })
        .tree("f="),
        case("bad base64 of LIBARCHIVE", tar().file("f", "").with(|e| _ = e.pax("LIBARCHIVE.xattr.user.a", "====")))
            .malformed(Malformed::PaxValue),
        case(
            "a name in percents of LIBARCHIVE",
            tar().file("f", "").with(|e| _ = e.pax("LIBARCHIVE.xattr.trusted%2eevil", "MQ")),
        )
        .fact("f", "xattr.trusted.evil", "")
        .tree("f="),
        case("attributes on a symlink are not its target's", {
            tar()
                .symlink("l", "../victim")
                .with(|e| _ = e.xattr("user.evil", "1").xattr("security.capability", FILE_CAPS))
        })
        .tree("l->../victim"),
        case(
            "attributes on a symlink, strictly",
            tar().symlink("l", "../victim").with(|e| _ = e.xattr("user.evil", "1")),
        )
        .with(strict)
        .fails(Expected::Attribute(Errno::PERM)),
        case(
            "an ACL that does not parse",
            tar().file("f", "").with(|e| _ = e.pax("SCHILY.acl.access", "user::rwx,evil")),
        )
        .malformed(Malformed::Acl),
        case(
            "an ACL that names users",
            tar().file("f", "").with(|e| _ = e.pax("SCHILY.acl.access", "user:root:rwx,evil")),
        )
        .malformed(Malformed::Acl),
        case(
            "an ACL with ids that wrap",
            tar().file("f", "").with(|e| _ = e.pax("SCHILY.acl.access", "user:4294967296:rwx")),
        )
        .tree("f="),
        case("an ACL of a hundred thousand entries", {
            let text: String = (0..60_000).map(|i| format!("user:{i}:rwx,")).collect();
            tar().file("f", "").with(|e| _ = e.pax("SCHILY.acl.access", text))
        })
        // There it is the caller's file, and names nobody.
        .beneath(Outcome::Tree("f=".into()))
        .fails((Call::Fsetxattr, Errno::TOOBIG)),
        case(
            "a default ACL on a file",
            tar().file("f", "").with(|e| _ = e.pax("SCHILY.acl.default", "user::rwx,group::rwx,other::rwx")),
        )
        .fails((Call::Fsetxattr, Errno::ACCESS)),
        case("ACLs on a symlink (libarchive CVE-2021-23177)", {
            tar().symlink("l", "../victim").with(|e| _ = e.pax("SCHILY.acl.access", "user::rwx,group::rwx,other::rwx"))
        })
        .tree("l->../victim"),
    ]
}
