//! Rules 12 to 15: attributes, ACLs, capabilities, owners, times.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, lsetxattr, utimensat};
use untar_in_root::{Cause, ErrorKind, EventKind, IdRange, Limit, PackOptions, PackOwner, PackXattrs, UnmappedIds};

use super::{Seen, entries, events, pack, plain, try_pack};
use crate::support::expected::Expected;
use crate::support::privilege::need_root;
use crate::support::scratch::Scratch;

fn set(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap_or_else(|e| panic!("{name} of {}: {e}", path.display()));
}

#[track_caller]
fn entry(archive: &[u8], name: &str) -> Seen {
    entries(archive).into_iter().find(|seen| seen.name == name.as_bytes()).unwrap_or_else(|| panic!("no {name}"))
}

/// `user::rw-,user:ID:r--,group::r--,mask::r--,other::---` as the kernel has it.
fn acl(user: u32) -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] =
        [(1, 6, u32::MAX), (2, 4, user), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)];
    let each = entries
        .iter()
        .flat_map(|(tag, bits, id)| [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat());
    2_u32.to_le_bytes().into_iter().chain(each).collect()
}

#[test]
fn pack_rule_12_attributes_of_every_kind_of_file_with_any_value() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.file("root/f", "f");
    scratch.dir("root/d");
    symlink("f", root.join("l")).expect("link");
    let raw = b"a\0b\n=\xff";
    for name in ["f", "d"] {
        set(&root.join(name), "user.raw", raw);
        set(&root.join(name), "user.empty", b"");
        set(&root.join(name), "user.a=b", b"foobar");
    }
    set(&root.join("l"), "trusted.x", b"of a link");
    set(&root.join("f"), "trusted.x", b"of a file");
    set(&root.join("f"), "user.containers.override_stat", b"0:0:0755");
    let (archive, packed) = pack(&root, plain);
    for name in ["f", "d/"] {
        let seen = entry(&archive, name);
        assert_eq!(seen.record("SCHILY.xattr.user.raw"), Some(&raw[..]), "{name}");
        assert_eq!(seen.record("SCHILY.xattr.user.empty"), Some(&b""[..]), "{name}");
        assert_eq!(seen.record("LIBARCHIVE.xattr.user.a%3Db"), Some(&b"Zm9vYmFy"[..]), "{name}");
        assert_eq!(seen.record("SCHILY.xattr.trusted.x"), None);
    }
    let dropped = EventKind::XattrDropped { name: b"user.containers.override_stat".into() };
    assert_eq!(events(&packed), [dropped]);
    let (archive, packed) = pack(&root, |o| (o.trusted_xattrs, o.recorded_owners) = (true, true));
    assert_eq!(entry(&archive, "l").record("SCHILY.xattr.trusted.x"), Some(&b"of a link"[..]));
    assert_eq!(entry(&archive, "f").record("SCHILY.xattr.trusted.x"), Some(&b"of a file"[..]));
    assert_eq!(entry(&archive, "f").record("SCHILY.xattr.user.containers.override_stat"), Some(&b"0:0:0755"[..]));
    assert_eq!(packed.event_count, 0);
    let (archive, _) = pack(&root, |o| o.xattrs = PackXattrs::None);
    assert_eq!(
        entries(&archive).iter().flat_map(|seen| &seen.records).filter(|(key, _)| key.contains("xattr")).count(),
        0
    );
}

#[test]
fn pack_rule_12_more_than_a_mebibyte_of_attributes_is_an_error() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.file("root/f", "f");
    set(&root.join("f"), "user.large", &[7; 4000]);
    let (error, _) = try_pack(&root, |o| o.limits.extended_header_bytes = 3999).expect_err("a limit");
    Expected::Limit(Limit::ExtendedHeaderBytes).assert_of(&error);
    assert_eq!(
        error.failure().and_then(|failure| failure.entry.as_ref()).map(|entry| &entry.path[..]),
        Some(&b"f"[..])
    );
    pack(&root, |o| o.limits.extended_header_bytes = 5000);
}

#[test]
fn pack_rule_13_acls_and_capabilities() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.dir("root/d");
    for name in ["f", "v2", "v3"] {
        scratch.file(format!("root/{name}"), name);
    }
    set(&root.join("f"), "system.posix_acl_access", &acl(1001));
    set(&root.join("d"), "system.posix_acl_default", &acl(7));
    let words = |magic: u32| [magic, 1, 0, 0, 0].into_iter().flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    let v3 = [words(0x0300_0000), 1000_u32.to_le_bytes().to_vec()].concat();
    set(&root.join("v2"), "security.capability", &words(0x0200_0000));
    set(&root.join("v3"), "security.capability", &v3);
    let (archive, packed) = pack(&root, plain);
    let text = "user::rw-,user:1001:r--,group::r--,mask::r--,other::---";
    assert_eq!(entry(&archive, "f").record("SCHILY.acl.access"), Some(text.as_bytes()));
    assert_eq!(entry(&archive, "f").record("SCHILY.acl.default"), None);
    assert_eq!(entry(&archive, "d/").record("SCHILY.acl.default"), Some(text.replace("1001", "7").as_bytes()));
    assert_eq!(entry(&archive, "v2").record("SCHILY.xattr.security.capability"), Some(&words(0x0200_0000)[..]));
    assert_eq!(entry(&archive, "v3").record("SCHILY.xattr.security.capability"), Some(&v3[..]));
    assert_eq!(events(&packed), [EventKind::ForeignCapability { root: 1000 }]);
    // Where that root is the archive's own, it is a capability for whoever is root there.
    let range = |inside, outside, count| IdRange { inside, outside, count };
    let map = vec![range(0, 1000, 1), range(5, 0, 1), range(9, 1001, 1), range(10, 7, 1)];
    let (archive, packed) = pack(&root, |o| o.owner = PackOwner::Mapped { uids: map.clone(), gids: map });
    assert_eq!(entry(&archive, "v3").record("SCHILY.xattr.security.capability"), Some(&words(0x0200_0000)[..]));
    assert_eq!(entry(&archive, "f").record("SCHILY.acl.access"), Some(text.replace("1001", "9").as_bytes()));
    assert_eq!((entry(&archive, "f").owner, packed.event_count), ((5, 5), 0));
    let (archive, _) = pack(&root, |o| o.xattrs = PackXattrs::Capability);
    assert_eq!(entry(&archive, "f").records.iter().filter(|(key, _)| key != "mtime").count(), 0);
    assert!(entry(&archive, "v2").record("SCHILY.xattr.security.capability").is_some());
}

#[test]
fn pack_rule_14_owners_are_mapped_backwards_and_never_become_root_by_default() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    for (name, uid, gid) in [("a", 100_001, 100_002), ("b", 100_000, 100_000)] {
        scratch.file(format!("root/{name}"), name);
        chown(root.join(name), Some(uid), Some(gid)).expect("owner");
    }
    chown(&root, Some(100_000), Some(100_000)).expect("owner");
    let map = vec![IdRange { inside: 0, outside: 100_000, count: 100 }];
    let mapped = |o: &mut PackOptions| o.owner = PackOwner::Mapped { uids: map.clone(), gids: map.clone() };
    let (archive, packed) = pack(&root, mapped);
    assert_eq!((entry(&archive, "a").owner, entry(&archive, "b").owner), ((1, 2), (0, 0)));
    assert_eq!(packed.event_count, 0);
    scratch.file("root/c", "of the host's root");
    let (error, _) = try_pack(&root, mapped).expect_err("outside the map");
    let cause = error.failure().map(|failure| failure.cause.clone());
    assert_eq!((error.kind(), cause), (ErrorKind::Refused, Some(Cause::UnmappedId { group: false, id: 0 })));
    assert!(error.to_string().contains("\"c\""), "{error}");
    let (archive, packed) = pack(&root, |o| {
        mapped(o);
        o.unmapped_ids = UnmappedIds::Nobody;
    });
    assert_eq!(entry(&archive, "c").owner, (65_534, 65_534));
    assert_eq!(events(&packed), [EventKind::OwnerUnmapped { uid: 0, gid: 0 }]);
    let (archive, _) = pack(&root, |o| o.owner = PackOwner::Forced { uid: 7, gid: 8 });
    assert!(entries(&archive).iter().all(|seen| seen.owner == (7, 8)));
}

#[test]
fn pack_rule_14_each_id_of_an_acl_that_the_map_lacks_is_told() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.file("root/f", "f");
    let entry = |tag: u16, id: u32| [&tag.to_le_bytes()[..], &4_u16.to_le_bytes(), &id.to_le_bytes()].concat();
    let none = u32::MAX;
    let entries_of_acl = [(1, none), (2, 7), (2, 1001), (4, none), (8, 9), (16, none), (32, none)];
    let acl = [2_u32.to_le_bytes().to_vec(), entries_of_acl.map(|(tag, id)| entry(tag, id)).concat()].concat();
    set(&root.join("f"), "system.posix_acl_access", &acl);
    let map = vec![IdRange { inside: 0, outside: 0, count: 1 }];
    let mapped = |o: &mut PackOptions| o.owner = PackOwner::Mapped { uids: map.clone(), gids: map.clone() };
    let (error, _) = try_pack(&root, mapped).expect_err("outside the map");
    let cause = error.failure().map(|failure| failure.cause.clone());
    assert_eq!(cause, Some(Cause::UnmappedId { group: false, id: 7 }), "{error}");
    let (archive, packed) = pack(&root, |o| {
        mapped(o);
        o.unmapped_ids = UnmappedIds::Nobody;
    });
    let told = [(false, 7), (false, 1001), (true, 9)].map(|(group, id)| EventKind::AclUnmapped { group, id });
    assert_eq!(events(&packed), told);
    let text = "user::r--,user:65534:r--,user:65534:r--,group::r--,group:65534:r--,mask::r--,other::r--";
    assert_eq!(self::entry(&archive, "f").record("SCHILY.acl.access"), Some(text.as_bytes()));
}

#[test]
fn pack_rule_14_large_ids_go_into_records() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.file("root/f", "f");
    chown(root.join("f"), Some(u32::MAX - 1), Some(1 << 21)).expect("owner");
    let (archive, _) = pack(&root, plain);
    let seen = entry(&archive, "f");
    assert_eq!(seen.record("uid"), Some(&b"4294967294"[..]));
    assert_eq!(seen.record("gid"), Some(&b"2097152"[..]));
}

#[test]
fn pack_rule_15_times_have_nanoseconds_unless_they_are_rounded_down_or_clamped() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    for (name, seconds, nanoseconds) in [("new", 2_000_000_000, 5), ("old", -2, 750_000_000), ("round", 77, 0)] {
        scratch.file(format!("root/{name}"), name);
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, root.join(name), &times, AtFlags::empty()).expect("time");
    }
    let mtime = |archive: &[u8], name| {
        entry(archive, name).record("mtime").map(|text| String::from_utf8_lossy(text).into_owned())
    };
    let (archive, _) = pack(&root, plain);
    assert_eq!(mtime(&archive, "new").as_deref(), Some("2000000000.000000005"));
    assert_eq!(mtime(&archive, "old").as_deref(), Some("-1.25"));
    assert_eq!(mtime(&archive, "round"), None);
    let (archive, _) = pack(&root, |o| o.whole_seconds = true);
    assert_eq!((mtime(&archive, "new"), mtime(&archive, "old").as_deref()), (None, Some("-2")));
    let (archive, _) = pack(&root, |o| o.clamp_mtime = Some(100));
    assert_eq!((mtime(&archive, "new"), mtime(&archive, "old").as_deref()), (None, Some("-1.25")));
    let mut clamped = tar::Archive::new(&archive[..]);
    let clamped = clamped.entries().expect("entries").filter_map(Result::ok);
    let latest = clamped.map(|entry| entry.header().mtime().expect("time")).max();
    assert_eq!(latest, Some(100));
    let _ = fs::metadata(&root);
}
