//! The format traps: framing, numbers, check sums, ends.

use super::build::*;
use crate::helper::read::entry::{End, Strictness};
use crate::options::Limits;
use crate::report::{Cause, EntryKind, Malformed};

#[test]
fn trap_pax_size_wins() {
    // The body is an archive: with the header's size of 0 it would be read as entries.
    let inner = tar().file(b"smuggled", b"").0;
    let size = inner.len().to_string();
    let tar = tar().pax(&[("size", &size)]).raw(head(b'0', b"outer"), &inner).file(b"next", b"").end();
    assert_eq!(tar.names(), ["outer", "next"]);
    assert_eq!(tar.read().entries[0].1, inner);
}

#[test]
fn trap_pax_size_smaller_than_the_header_wins_too() {
    let tar = tar().pax(&[("size", "0")]).raw(head(b'0', b"outer").size(512), b"").file(b"next", b"").end();
    assert_eq!(tar.names(), ["outer", "next"]);
}

#[test]
fn trap_pax_size_does_not_excuse_the_header() {
    let pax = || tar().pax(&[("size", "0")]);
    pax().raw(head(b'0', b"n").set(SIZE, &[0xff; 12]), b"").malformed(Malformed::NegativeNumber, 1024);
    pax().raw(head(b'0', b"n").set(SIZE, b"9"), b"").malformed(Malformed::Number, 1024);
    pax().raw(head(b'0', b"n").set(SIZE, &[0xbf; 12]), b"").malformed(Malformed::NumberRange, 1024);
}

#[test]
fn trap_pax_empty_value_keeps_the_header() {
    let empty = [("path", ""), ("size", ""), ("uid", ""), ("gid", ""), ("mtime", ""), ("atime", ""), ("linkpath", "")];
    let entry = tar().pax(&empty).file(b"n", b"body").end().entry();
    assert_eq!((&entry.path[..], entry.size, entry.uid, entry.mtime.seconds), (&b"n"[..], 4, 0o1750, 1));
    // The last of a kind counts.
    assert_eq!(tar().pax(&[("path", "p"), ("path", "")]).file(b"n", b"").end().names(), ["n"]);
}

#[test]
fn trap_pax_numbers() {
    for (key, value, what) in [
        ("size", "-1", Malformed::NegativeNumber),
        ("uid", "-1", Malformed::NegativeNumber),
        ("gid", "-1", Malformed::NegativeNumber),
        ("size", "+1", Malformed::PaxValue),
        ("uid", "+5", Malformed::PaxValue),
        ("gid", "+5", Malformed::PaxValue),
        ("uid", "-0", Malformed::NegativeNumber),
        ("mtime", "+5", Malformed::PaxValue),
        ("atime", "+5.5", Malformed::PaxValue),
        ("ctime", "+5", Malformed::PaxValue),
        ("GNU.sparse.size", "+5", Malformed::PaxValue),
        ("GNU.sparse.major", "+1", Malformed::PaxValue),
        ("GNU.sparse.minor", "+0", Malformed::PaxValue),
        ("GNU.sparse.map", "+0,1", Malformed::PaxValue),
        ("size", "0x10", Malformed::PaxValue),
        ("size", "1 ", Malformed::PaxValue),
        ("size", "9223372036854775808", Malformed::NumberRange),
        ("uid", "99999999999999999999", Malformed::NumberRange),
        ("mtime", "yesterday", Malformed::PaxValue),
        ("atime", "1.x", Malformed::PaxValue),
        ("ctime", "", Malformed::Truncated),
        ("ctime", "x", Malformed::PaxValue),
        ("SCHILY.xattr.", "x", Malformed::PaxRecord),
        ("LIBARCHIVE.xattr.user.a", "!", Malformed::PaxValue),
        ("GNU.sparse.map", "0,x", Malformed::PaxValue),
    ] {
        let tar = tar().pax(&[(key, value)]).raw(head(b'0', b"n").size(1), b"");
        // An empty value is no error: the body is then what is missing.
        let offset = if what == Malformed::Truncated { 1536 } else { 512 };
        tar.malformed(what, offset);
    }
}

#[test]
fn trap_pax_records_that_do_not_add_up() {
    for body in [&b"8 path=x\n"[..], b"11 path=x\n", b"9 path=x\n\0", b"path=x\n", b"9 path x\n", b"\n"] {
        assert!(matches!(
            tar().meta(b'x', body).file(b"n", b"").end().cause(),
            Cause::Malformed { what: Malformed::PaxRecord, .. }
        ));
    }
}

#[test]
fn trap_pax_fault_tells_the_record() {
    tar().pax(&[("uid", "1"), ("gid", "1"), ("size", "x")]).malformed(Malformed::PaxValue, 512 + 8 + 8);
}

#[test]
fn trap_newline_in_a_pax_value_is_no_record() {
    let entry = tar().pax(&[("comment", "x\n12 path=evil")]).file(b"n", b"").end().entry();
    assert_eq!(entry.path, b"n");
}

#[test]
fn trap_size_near_the_limit_does_not_overflow() {
    for size in [i64::MAX as u64, i64::MAX as u64 - 511] {
        let tar = tar().pax(&[("size", &size.to_string())]).raw(head(b'0', b"n"), b"");
        tar.malformed(Malformed::Truncated, 1536);
        let hidden = super::build::tar().pax(&[("size", &size.to_string())]).raw(head(b'V', b"n"), b"");
        hidden.malformed(Malformed::Truncated, 1536);
    }
}

#[test]
fn trap_negative_size() {
    for flag in [b'0', b'2', b'x', b'g', b'L', b'V'] {
        tar().raw(head(flag, b"n").set(SIZE, &[0xff; 12]), b"").malformed(Malformed::NegativeNumber, 0);
    }
}

#[test]
fn trap_checksum() {
    let mut wrong = tar().file(b"a", b"").file(b"b", b"");
    wrong.0[512 + 10] ^= 1;
    wrong.malformed(Malformed::Checksum, 512);
    let outcome = wrong.read();
    assert_eq!(outcome.current, None);
    let before = outcome.before.expect("a place");
    assert_eq!((before.index, before.offset, &before.path[..]), (Some(0), Some(0), &b"a"[..]));
}

#[test]
fn trap_checksum_of_signed_bytes_is_right_too() {
    let mut tar = tar().raw(head(b'0', b"\xff\xfe\x80"), b"");
    let spaces = |(at, byte): (usize, &u8)| if CHECKSUM.contains(&at) { b' ' } else { *byte };
    let sum: i64 = tar.0[..512].iter().enumerate().map(spaces).map(|byte| i64::from(byte as i8)).sum();
    tar.0[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(tar.entry().path, b"\xff\xfe\x80");
    tar.0[CHECKSUM].copy_from_slice(format!("{:06o}\0 ", sum + 256).as_bytes());
    tar.malformed(Malformed::Checksum, 0);
}

#[test]
fn trap_numbers_may_be_padded_with_spaces() {
    let spaces = head(b'0', b"n").set(SIZE, b"         4 \0").set(MODE, b"   644 \0").set(UID, b"        ");
    let entry = tar().raw(spaces, b"body").end().entry();
    assert_eq!((entry.size, entry.mode, entry.uid), (4, 0o644, 0));
}

#[test]
fn trap_numbers_that_are_none() {
    for field in [MODE, UID, GID, SIZE, MTIME, DEV_MAJOR, DEV_MINOR] {
        tar().raw(head(b'0', b"n").set(field, b"12x"), b"").malformed(Malformed::Number, 0);
    }
}

#[test]
fn trap_stray_zero_block() {
    tar().file(b"a", b"").bytes(&[0; 512]).file(b"b", b"").malformed(Malformed::StrayZeroBlock, 512);
}

#[test]
fn trap_truncated_block() {
    let mut tar = tar().file(b"a", b"");
    tar.0.extend([b'x'; 100]);
    tar.malformed(Malformed::Truncated, 612);
    let outcome = tar.read();
    assert_eq!((outcome.current, outcome.before.map(|before| before.path)), (None, Some(b"a".to_vec())));
    let nothing = super::build::tar().bytes(&[b'x'; 100]).read();
    assert_eq!((nothing.current, nothing.before), (None, None));
}

#[test]
fn trap_truncated_after_an_extended_header_names_what_is_known() {
    let tar = tar().file(b"a", b"").pax(&[("path", "long")]);
    let outcome = tar.bytes(&[b'x'; 100]).read();
    assert_eq!(outcome.before, None);
    let current = outcome.current.expect("a name");
    assert_eq!((current.index, &current.path[..], current.kind), (Some(1), &b"long"[..], EntryKind::Unknown));
}

/// The name comes behind what is refused.
#[test]
fn trap_extended_headers_that_are_refused_name_their_entry() {
    let limits = Limits { xattr_bytes: 3, xattrs: 1, ..Limits::default() };
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[("uid", "-1")], "n"),
        (&[("uid", "-1"), ("path", "long"), ("gid", "x")], "long"),
        (&[("path", "long"), ("size", "x")], "long"),
        (&[("path", "a\0b"), ("uid", "1")], "n"),
        (&[("SCHILY.xattr.user.a", "1234")], "n"),
        (&[("SCHILY.xattr.user.a", "1"), ("SCHILY.xattr.user.b", "1")], "n"),
    ];
    for (records, path) in cases {
        let tar = tar().file(b"a", b"").pax(records);
        let named = tar.clone().raw(head(b'2', b"n").link(b"x"), b"").read_with(limits, Strictness::default());
        let current = named.current.as_ref().expect("a name");
        let found = (current.index, current.offset, &current.path[..], current.kind);
        assert_eq!(found, (Some(1), Some(1536), path.as_bytes(), EntryKind::Symlink), "{records:?}");
        // Nothing good comes behind it: what is wrong is the same.
        let dangling = [tar.clone().end(), tar.clone(), tar.clone().bytes(&[b'x'; 512]), tar.meta(b'g', b"rubbish")];
        for tar in dangling {
            assert_eq!(tar.read_with(limits, Strictness::default()).fault, named.fault, "{records:?}");
        }
    }
}

#[test]
fn trap_a_number_that_is_none_names_its_entry() {
    let long = head(b'5', b"name").set(PREFIX, b"prefix").set(UID, b"12x");
    let outcome = tar().file(b"a", b"").raw(long.clone(), b"").read();
    let current = outcome.current.expect("a name");
    let found = (current.index, current.offset, &current.path[..], current.kind);
    assert_eq!(found, (Some(1), Some(512), &b"prefix/name"[..], EntryKind::Directory));
    // An extended header has a name that is nobody's; a wrong checksum makes all of it doubtful.
    let extended = tar().file(b"a", b"").raw(head(b'x', b"name").set(UID, b"12x"), b"");
    let mut doubtful = tar().file(b"a", b"").raw(long, b"");
    doubtful.0[512] ^= 1;
    for tar in [extended, doubtful] {
        let outcome = tar.read();
        assert_eq!((outcome.current, outcome.before.map(|before| before.path)), (None, Some(b"a".to_vec())));
    }
}

#[test]
fn trap_truncated_body_names_its_entry() {
    let tar = tar().raw(head(b'0', b"a").size(1000), &[1; 512]);
    tar.malformed(Malformed::Truncated, 1024);
    assert_eq!(tar.read().current.map(|current| current.path), Some(b"a".to_vec()));
}

#[test]
fn trap_truncated_extended_header() {
    tar().raw(head(b'x', b"a").size(1000), &[b'1'; 512]).malformed(Malformed::Truncated, 1024);
}

#[test]
fn trap_missing_last_padding_is_fine() {
    let mut tar = tar().file(b"a", b"body");
    tar.0.truncate(512 + 4);
    assert_eq!(tar.entry().size, 4);
    assert_eq!(tar.read().end, Some(End::default()));
}

#[test]
fn trap_ends() {
    let marked = End { marker: true, ..End::default() };
    assert_eq!(tar().read().end, Some(End::default()));
    assert_eq!(tar().file(b"a", b"").read().end, Some(End::default()));
    assert_eq!(tar().file(b"a", b"").bytes(&[0; 512]).read().end, Some(End::default()));
    assert_eq!(tar().end().read().end, Some(marked));
    let zeros = End { trailing: 10240, ..marked };
    assert_eq!(tar().end().bytes(&[0; 10240]).read().end, Some(zeros));
    let data = End { trailing: 1024, trailing_data: true, archive: true, ..marked };
    assert_eq!(tar().end().file(b"a", b"").bytes(&[0; 512]).read().end, Some(data));
}

#[test]
fn trap_nothing_after_the_end_is_an_entry() {
    assert_eq!(tar().file(b"a", b"").end().file(b"b", b"").names(), ["a"]);
    assert_eq!(tar().file(b"a", b"").end().read().current, None);
}
