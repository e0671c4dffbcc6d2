//! The numbered rules of the contract that the reader keeps.

use super::build::*;
use crate::helper::read::entry::{Strictness, Time};
use crate::options::Limits;
use crate::report::{Cause, EntryKind, EventKind, Malformed, Refusal};

const GLOBALS: Strictness = Strictness { sizes: false, pax_globals: true, ignore_zeros: false };

#[test]
fn rule_1_extended_headers_apply_to_the_next_entry_only() {
    let tar = tar().pax(&[("path", "long"), ("uid", "7")]).file(b"a", b"1").file(b"b", b"2").end();
    let entries = tar.entries();
    assert_eq!(tar.names(), ["long", "b"]);
    assert_eq!((entries[0].uid, entries[1].uid), (7, 0o1750));
    assert_eq!((entries[0].index, entries[0].offset), (0, 1024));
    assert_eq!((entries[1].index, entries[1].offset), (1, 2048));
}

#[test]
fn rule_1_second_x_replaces_first() {
    let tar = tar().pax(&[("path", "first"), ("uid", "7")]).pax(&[("gid", "8")]).file(b"a", b"").end();
    let entry = tar.entry();
    assert_eq!((&entry.path[..], entry.uid, entry.gid), (&b"a"[..], 0o1750, 8));
}

#[test]
fn rule_1_an_upper_case_x_is_an_x() {
    let tar = tar().meta(b'X', &pax(&[("path", "long"), ("uid", "7")])).file(b"a", b"1").file(b"b", b"2").end();
    let entries = tar.entries();
    assert_eq!((tar.names(), entries[0].uid, entries[1].uid), (vec!["long".into(), "b".into()], 7, 0o1750));
    super::build::tar().meta(b'X', b"5 path\n").file(b"a", b"").malformed(Malformed::PaxRecord, 512);
}

#[test]
fn rule_1_second_long_name_replaces_first() {
    let tar = tar().meta(b'L', b"first\0").meta(b'L', b"second\0").file(b"a", b"").end();
    assert_eq!(tar.names(), ["second"]);
}

#[test]
fn rule_1_long_name_and_link_stop_at_nul() {
    let tar = tar().meta(b'K', b"target\0x").meta(b'L', b"name\0y").raw(head(b'2', b"n").link(b"t"), b"").end();
    let entry = tar.entry();
    assert_eq!((&entry.path[..], &entry.link[..]), (&b"name"[..], &b"target"[..]));
}

#[test]
fn rule_1_extended_headers_never_apply_to_a_meta_header() {
    // The sizes and names of x would derail L, K, g and the second x, if they applied.
    // Solaris' X is an x.
    let lie = [("size", "5120"), ("path", "x"), ("linkpath", "y")];
    for flag in [b'L', b'K', b'g', b'x', b'X'] {
        let body = if flag == b'L' || flag == b'K' { b"name\0".to_vec() } else { pax(&[("gid", "1")]) };
        let tar = tar().pax(&lie).meta(flag, &body).raw(head(b'0', b"f"), &[0; 5120]).file(b"next", b"").end();
        let names = tar.read().entries.iter().map(|(entry, _)| entry.path.clone()).collect::<Vec<_>>();
        match flag {
            b'L' => assert_eq!(names, [b"name".to_vec(), b"next".to_vec()]),
            // The lie is replaced: 5120 zeros after the entry are the end of the archive.
            b'x' | b'X' => assert_eq!(names, [b"f".to_vec()]),
            _ => assert_eq!(names, [b"x".to_vec(), b"next".to_vec()]),
        }
    }
}

#[test]
fn rule_1_gnu_and_pax_in_either_order() {
    for order in [[b'L', b'x'], [b'x', b'L']] {
        let tar = order.iter().fold(tar(), |tar, flag| match flag {
            b'L' => tar.meta(b'L', b"name\0"),
            _ => tar.pax(&[("uid", "7")]),
        });
        let entry = tar.file(b"a", b"").end().entry();
        assert_eq!((&entry.path[..], entry.uid), (&b"name"[..], 7));
    }
}

#[test]
fn rule_1_long_name_wins_over_path_record_as_in_go() {
    assert_eq!(tar().meta(b'L', b"long\0").pax(&[("path", "pax")]).file(b"a", b"").end().names(), ["long"]);
}

#[test]
fn rule_1_dangling_extended_header() {
    for flag in [b'x', b'L', b'K'] {
        let body = if flag == b'x' { pax(&[("path", "p")]) } else { b"p\0".to_vec() };
        let dangling = tar().file(b"a", b"").meta(flag, &body);
        dangling.malformed(Malformed::DanglingExtendedHeader, 512);
        dangling.clone().end().malformed(Malformed::DanglingExtendedHeader, 512);
        dangling.global(&[]).end().malformed(Malformed::DanglingExtendedHeader, 512);
    }
    tar().pax(&[]).end().malformed(Malformed::DanglingExtendedHeader, 0);
}

#[test]
fn rule_1_dangling_header_is_named_as_far_as_known() {
    let outcome = tar().pax(&[("path", "lost")]).end().read();
    let current = outcome.current.expect("an entry");
    assert_eq!((current.index, &current.path[..]), (Some(0), &b"lost"[..]));
}

#[test]
fn rule_1_global_headers_are_ignored() {
    let tar = tar().global(&[("path", "g"), ("uid", "7"), ("size", "512")]).file(b"a", b"1").global(&[]).end();
    let entry = tar.entry();
    assert_eq!((&entry.path[..], entry.uid, entry.size, entry.index), (&b"a"[..], 0o1750, 1, 0));
}

#[test]
fn rule_1_global_headers_are_merged_when_asked() {
    let tar = tar()
        .global(&[("uid", "7"), ("gid", "8"), ("SCHILY.xattr.user.a", "1"), ("SCHILY.xattr.user.c", "1")])
        .file(b"a", b"")
        .global(&[("uid", "9")])
        .pax(&[("gid", ""), ("SCHILY.xattr.user.b", "2"), ("SCHILY.xattr.user.c", "3")])
        .file(b"b", b"")
        .end();
    let outcome = tar.read_with(Limits::default(), GLOBALS);
    assert_eq!(outcome.fault, None);
    let [(a, _), (b, _)] = &outcome.entries[..] else { panic!("two entries") };
    assert_eq!((a.uid, a.gid, a.xattrs.len()), (7, 8, 2));
    assert_eq!((b.uid, b.gid), (9, 0o1750));
    let names: Vec<_> = b.xattrs.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    assert_eq!(names, [(&b"user.a"[..], &b"1"[..]), (b"user.b", b"2"), (b"user.c", b"3")]);
}

#[test]
fn rule_1_malformed_global_header_is_malformed_even_when_ignored() {
    tar().meta(b'g', b"5 path\n").file(b"a", b"").malformed(Malformed::PaxRecord, 512);
}

#[test]
fn rule_2_names_are_raw_bytes() {
    assert_eq!(tar().file(b"hi\x80\xff\n\x1b[0m", b"").end().entry().path, b"hi\x80\xff\n\x1b[0m");
}

#[test]
fn rule_2_empty_name() {
    tar().file(b"a", b"").file(b"", b"").malformed(Malformed::EmptyName, 512);
    assert_eq!(tar().pax(&[("path", "p")]).file(b"", b"").end().names(), ["p"]);
}

#[test]
fn rule_2_nul_in_a_name() {
    for key in ["path", "linkpath", "GNU.sparse.name"] {
        tar().pax(&[("uid", "1"), (key, "a\0b")]).file(b"a", b"").malformed(Malformed::NulInName, 512 + 8);
    }
    tar().pax(&[("uname", "a\0b")]).file(b"a", b"").malformed(Malformed::PaxValue, 512);
    tar().pax(&[("a\0b", "c")]).file(b"a", b"").malformed(Malformed::PaxRecord, 512);
}

#[test]
fn rule_2_ustar_prefix() {
    let long = head(b'0', b"name").set(PREFIX, b"some/prefix");
    assert_eq!(tar().raw(long.clone(), b"").end().names(), ["some/prefix/name"]);
    // GNU has times there.
    assert_eq!(tar().raw(head(b'0', b"name").gnu(), b"").end().names(), ["name"]);
    // V7 has nothing there.
    assert_eq!(tar().raw(long.set(MAGIC, b""), b"").end().names(), ["name"]);
    let full = head(b'0', &[b'n'; 100]).set(PREFIX, &[b'p'; 155]);
    assert_eq!(tar().raw(full, b"").end().entry().path.len(), 256);
}

#[test]
fn rule_11_types() {
    for (flag, kind) in [
        (b'0', EntryKind::File),
        (0, EntryKind::File),
        (b'7', EntryKind::File),
        (b'1', EntryKind::Hardlink),
        (b'2', EntryKind::Symlink),
        (b'3', EntryKind::CharDevice),
        (b'4', EntryKind::BlockDevice),
        (b'5', EntryKind::Directory),
        (b'6', EntryKind::Fifo),
        (b'D', EntryKind::Directory),
        (b'V', EntryKind::Other(b'V')),
        (b'Z', EntryKind::Other(b'Z')),
        (0xff, EntryKind::Other(0xff)),
    ] {
        let entry = tar().raw(head(flag, b"n").link(b"t"), b"").end().entry();
        assert_eq!(entry.kind, kind);
        assert_eq!(entry.link.is_empty(), !matches!(flag, b'1' | b'2'));
    }
}

#[test]
fn rule_11_trailing_slash_is_a_directory() {
    for flag in [b'0', 0] {
        assert_eq!(tar().raw(head(flag, b"d/"), b"").end().entry().kind, EntryKind::Directory);
        // It is the final name that counts.
        let renamed = tar().pax(&[("path", "f")]).raw(head(flag, b"d/"), b"").end().entry();
        assert_eq!(renamed.kind, EntryKind::File);
        let renamed = tar().pax(&[("path", "d/")]).raw(head(flag, b"f"), b"").end().entry();
        assert_eq!(renamed.kind, EntryKind::Directory);
    }
}

#[test]
fn rule_11_bodies_of_others_are_passed_over() {
    for flag in [b'V', b'M', b'N', b'A', b'D', b'Z'] {
        let tar = tar().sized(head(flag, b"n"), &[1; 700]).file(b"next", b"x").end();
        let entries = tar.entries();
        assert_eq!((entries[0].size, entries[0].stored, entries[0].events.len()), (0, 0, 0));
        assert_eq!(tar.names(), ["n", "next"]);
    }
}

#[test]
fn rule_11_devices() {
    let device = head(b'3', b"d").set(DEV_MAJOR, b"0000010\0").set(DEV_MINOR, b"\x80\0\0\0\0\x01\0\0");
    assert_eq!(tar().raw(device, b"").end().entry().device, (8, 65536));
}

#[test]
fn rule_11_empty_link_target() {
    for flag in [b'1', b'2'] {
        tar().raw(head(flag, b"n"), b"").malformed(Malformed::EmptyLink, 0);
    }
}

#[test]
fn rule_12_ids_are_not_wrapped() {
    let negative = head(b'0', b"n").set(UID, &[0xff; 8]).set(GID, b"\x80\0\0\x01\0\0\0\0");
    let entry = tar().raw(negative, b"").end().entry();
    assert_eq!((entry.uid, entry.gid), (-1, 1 << 32));
    let entry = tar().pax(&[("uid", "4294967296")]).file(b"n", b"").end().entry();
    assert_eq!(entry.uid, 1 << 32);
}

#[test]
fn rule_12_modes_are_permission_and_special_bits() {
    assert_eq!(tar().raw(head(b'0', b"n").set(MODE, b"0104755\0"), b"").end().entry().mode, 0o4755);
}

#[test]
fn rule_12_times() {
    let early = head(b'0', b"n").set(MTIME, &[0xff; 12]);
    assert_eq!(tar().raw(early, b"").end().entry().mtime, Time { seconds: -1, nanoseconds: 0 });
    let entry = tar().pax(&[("mtime", "-0.25"), ("atime", "5.5")]).file(b"n", b"").end().entry();
    assert_eq!(entry.mtime, Time { seconds: -1, nanoseconds: 750_000_000 });
    assert_eq!(entry.atime, Some(Time { seconds: 5, nanoseconds: 500_000_000 }));
    let gnu = head(b'0', b"n").gnu().set(345..357, b"00000000005\0");
    assert_eq!(tar().raw(gnu, b"").end().entry().atime, Some(Time { seconds: 5, nanoseconds: 0 }));
}

#[test]
fn rule_13_xattrs_and_acls() {
    let records = [
        ("SCHILY.xattr.user.z", "raw\0=\n"),
        ("LIBARCHIVE.xattr.user.%61", "Zm9v"),
        ("SCHILY.xattr.user.empty", ""),
        ("SCHILY.acl.access", "user::rwx"),
        ("SCHILY.acl.default", "user::r-x"),
    ];
    let entry = tar().pax(&records).file(b"n", b"").end().entry();
    let xattrs: Vec<_> = entry.xattrs.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    assert_eq!(xattrs, [(&b"user.a"[..], &b"foo"[..]), (b"user.empty", b""), (b"user.z", b"raw\0=\n")]);
    assert_eq!(entry.acl_access.as_deref(), Some(&b"user::rwx"[..]));
    assert_eq!(entry.acl_default.as_deref(), Some(&b"user::r-x"[..]));
}

#[test]
fn trap_header_only_types_have_no_body() {
    for flag in [b'1', b'2', b'3', b'4', b'5', b'6'] {
        let tar = tar().raw(head(flag, b"n").link(b"t").size(700), b"").file(b"next", b"x").end();
        let entries = tar.entries();
        assert_eq!((entries[0].size, entries[0].stored), (0, 0));
        assert_eq!(entries[0].events, [EventKind::HeaderOnlySize(700)]);
        assert_eq!(tar.names(), ["n", "next"]);
        let strict = tar.read_with(Limits::default(), Strictness { sizes: true, ..Strictness::default() });
        assert_eq!(strict.fault.map(|fault| fault.cause), Some(Cause::Refused(Refusal::HeaderOnlySize)));
        assert_eq!(strict.current.map(|current| current.path), Some(b"n".to_vec()));
    }
}

#[test]
fn trap_pax_size_on_a_header_only_type_is_no_body_either() {
    let tar = tar().pax(&[("size", "512")]).raw(head(b'2', b"n").link(b"t"), b"").file(b"next", b"").end();
    assert_eq!(tar.entries()[0].events, [EventKind::HeaderOnlySize(512)]);
    assert_eq!(tar.names(), ["n", "next"]);
}

#[test]
fn trap_size_of_a_directory_by_slash_is_framed_as_in_go() {
    let nul = tar().raw(head(0, b"d/").size(512), b"").file(b"next", b"").end();
    let zero = tar().sized(head(b'0', b"d/"), &[1; 512]).file(b"next", b"").end();
    for tar in [nul, zero] {
        assert_eq!(tar.names(), ["d/", "next"]);
        assert_eq!(tar.entries()[0].events, [EventKind::HeaderOnlySize(512)]);
    }
}
