//! How archives begin that are none, and what comes behind the end of those that are.

use super::build::*;
use crate::helper::read::entry::{End, Strictness};
use crate::options::Limits;
use crate::report::{Cause, LooksLike, Malformed};

const ON: Strictness = Strictness { sizes: false, pax_globals: true, ignore_zeros: true };

fn names(tar: &Tar, size: usize) -> (Vec<String>, Option<Cause>, Option<End>) {
    let outcome = read(&tar.0, size, Limits::default(), ON);
    let names = outcome.entries.iter().map(|(entry, _)| String::from_utf8_lossy(&entry.path).into_owned());
    (names.collect(), outcome.fault.map(|fault| fault.cause), outcome.end)
}

/// Whole, and in chunks that no block fits in.
#[track_caller]
fn all(tar: &Tar, want: &[&str], marker: bool) {
    for size in [1 << 20, 512, 100] {
        let (names, fault, end) = names(tar, size);
        assert_eq!((&names[..], fault), (&want.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()[..], None));
        assert_eq!(end, Some(End { marker, ..End::default() }));
    }
}

#[test]
fn trap_what_is_no_tar_is_named() {
    for (bytes, looks_like, begins) in [
        (&b"{\"errors\":[]}"[..], LooksLike::Json, &b"{\"errors\":[]}"[..]),
        (b"!<arch>\ndebian-binary   ", LooksLike::Deb, b""),
        (&[&b"<html>"[..], &[b'x'; 2000]].concat(), LooksLike::Html, &[&b"<html>"[..], &[b'x'; 58]].concat()),
        (&[&b"PK\x03\x04"[..], &[0x91; 2000]].concat(), LooksLike::Zip, b""),
        (&[&b"07070100"[..], &[b'0'; 504]].concat(), LooksLike::Cpio, b""),
    ] {
        // In one piece, and with the first block put together of many.
        for size in [1 << 20, 100, 7] {
            let outcome = read(bytes, size, Limits::default(), Strictness::default());
            let cause = outcome.fault.expect("a fault").cause;
            assert_eq!(cause, Cause::NotTar { looks_like, begins: begins.to_vec() });
            assert_eq!((outcome.current, outcome.before), (None, None));
        }
    }
}

/// Names of files may begin as anything does.
#[test]
fn a_tar_is_a_tar_whatever_its_first_name() {
    for name in [&b"PK\x03\x04"[..], b"<html>", b"#!/bin/sh", b"{\"a\":1}", b"!<arch>\n", b"\x1f\x9d", b"hsqs"] {
        assert_eq!(tar().file(name, b"1").end().entry().path, name);
    }
}

#[test]
fn what_is_damaged_later_is_an_archive_that_is_damaged() {
    let text = tar().file(b"a", b"").bytes(b"<html> not found");
    text.malformed(Malformed::Checksum, 512);
    tar().bytes(&[0x91; 600]).malformed(Malformed::Checksum, 0);
    tar().bytes(&[0; 512]).bytes(b"<html>").malformed(Malformed::StrayZeroBlock, 0);
}

#[test]
fn joined_archives_are_one_where_that_is_asked_for() {
    let joined = || tar().file(b"a", b"1").end().file(b"b", b"2");
    all(&joined().end(), &["a", "b"], true);
    all(&joined(), &["a", "b"], false);
    all(&joined().bytes(&[0; 512]), &["a", "b"], false);
    all(
        &tar().file(b"a", b"1").end().bytes(&[0; 9216]).file(b"b", b"2").end().end().file(b"c", b"").end(),
        &["a", "b", "c"],
        true,
    );
    // As GNU tar, one block of zeros is passed over too.
    all(&tar().file(b"a", b"1").bytes(&[0; 512]).file(b"b", b"2").end(), &["a", "b"], true);
    all(&tar().end(), &[], true);
    all(&tar(), &[], false);
}

#[test]
fn headers_belong_to_the_archive_that_they_are_in() {
    let globals = tar().global(&[("uid", "7")]).file(b"a", b"").end().file(b"b", b"").end();
    let outcome = globals.read_with(Limits::default(), ON);
    assert_eq!(outcome.entries.iter().map(|(entry, _)| entry.uid).collect::<Vec<_>>(), [7, 0o1750]);
    let dangling = tar().pax(&[("path", "lost")]).end().file(b"b", b"").end();
    let cause = names(&dangling, 1 << 20).1;
    assert_eq!(cause, Some(Cause::Malformed { what: Malformed::DanglingExtendedHeader, offset: 0 }));
}

#[test]
fn what_is_no_header_behind_the_end_is_malformed_where_one_goes_on() {
    let signed = tar().file(b"a", b"").end().bytes(b"signature");
    assert_eq!(names(&signed, 512).1, Some(Cause::Malformed { what: Malformed::Checksum, offset: 1536 }));
}

#[test]
fn trap_another_archive_behind_the_end_is_told_from_other_data() {
    let end = |tar: &Tar, size| read(&tar.0, size, Limits::default(), Strictness::default()).end.expect("an end");
    for size in [1 << 20, 512, 100, 7] {
        let (another, data) =
            (tar().end().bytes(&[0; 512]).file(b"b", b"2").end(), tar().end().bytes(&[0; 1024]).bytes(b"data"));
        let (another, data) = (end(&another, size), end(&data, size));
        assert_eq!((another.trailing_data, another.archive, another.trailing), (true, true, 512 + 2048), "{size}");
        assert_eq!((data.trailing_data, data.archive, data.trailing), (true, false, 1536), "{size}");
    }
    let mut short = tar().end();
    short.0.extend(b"x");
    let (data, archive) = (end(&short, 7).trailing_data, end(&short, 7).archive);
    assert_eq!((data, archive), (true, false));
}
