//! Sparse files in their four formats.

use super::build::*;
use crate::helper::read::entry::{Entry, Region, Strictness};
use crate::report::{Cause, Malformed};

fn region((offset, length): &(u64, u64)) -> Region {
    Region { offset: *offset, length: *length }
}

/// An old GNU header with up to four regions.
fn old(size: &str, regions: &[(u64, u64)], extended: bool) -> Head {
    let start = head(b'S', b"s").gnu().set(483..495, size.as_bytes()).set(482..483, &[extended.into()]);
    regions.iter().enumerate().fold(start, |head, (at, (offset, length))| {
        let at = 386 + 24 * at;
        head.set(at..at + 12, format!("{offset:011o}").as_bytes())
            .set(at + 12..at + 24, format!("{length:011o}").as_bytes())
    })
}

fn extension(regions: &[(u64, u64)], extended: bool) -> Vec<u8> {
    let mut block: Vec<u8> =
        regions.iter().flat_map(|(offset, length)| format!("{offset:011o}\0{length:011o}\0").into_bytes()).collect();
    block.resize(512, 0);
    block[504] = extended.into();
    block
}

fn version_1(size: &str, body: &[u8]) -> Tar {
    let records =
        [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "s"), ("GNU.sparse.realsize", size)];
    tar().pax(&records).file(b"GNUSparseFile.1/s", body)
}

fn lines(text: &str, data: &[u8]) -> Vec<u8> {
    let mut body = text.as_bytes().to_vec();
    body.resize(text.len().next_multiple_of(512), 0);
    [&body, data].concat()
}

#[track_caller]
fn check(tar: Tar, size: u64, regions: &[(u64, u64)], body: &[u8]) {
    let outcome = tar.file(b"next", b"").end().read();
    assert_eq!(outcome.fault, None);
    let (entry, content): &(Entry, Vec<u8>) = &outcome.entries[0];
    assert_eq!((&entry.path[..], entry.size, entry.stored), (&b"s"[..], size, body.len() as u64));
    assert_eq!(entry.sparse, Some(regions.iter().map(region).collect()));
    assert_eq!(content, body);
    assert_eq!(outcome.entries[1].0.path, b"next");
}

#[track_caller]
fn refused(tar: &Tar) {
    let cause = tar.clone().file(b"next", b"").end().cause();
    assert!(matches!(cause, Cause::Malformed { what: Malformed::SparseMap, .. }), "{cause:?}");
}

#[test]
fn rule_11_old_gnu_sparse() {
    let regions = [(0, 3), (10, 2)];
    check(tar().sized(old("24", &regions, false), b"abcde"), 20, &regions, b"abcde");
}

#[test]
fn rule_11_old_gnu_sparse_with_extension_blocks() {
    let regions: Vec<(u64, u64)> = (0..40).map(|at| (at * 10, 1)).collect();
    let tar = tar()
        .raw(old("1000", &regions[..4], true).size(40), b"")
        .bytes(&extension(&regions[4..25], true))
        .bytes(&extension(&regions[25..], false))
        .bytes(&[7; 40]);
    check(tar, 0o1000, &regions, &[7; 40]);
}

#[test]
fn rule_11_pax_sparse_0_0() {
    let records = [
        ("GNU.sparse.size", "20"),
        ("GNU.sparse.numblocks", "2"),
        ("GNU.sparse.offset", "0"),
        ("GNU.sparse.numbytes", "3"),
        ("GNU.sparse.offset", "10"),
        ("GNU.sparse.numbytes", "2"),
    ];
    check(tar().pax(&records).file(b"s", b"abcde"), 20, &[(0, 3), (10, 2)], b"abcde");
}

#[test]
fn rule_11_pax_sparse_0_1() {
    let records = [
        ("GNU.sparse.major", "0"),
        ("GNU.sparse.minor", "1"),
        ("GNU.sparse.size", "20"),
        ("GNU.sparse.numblocks", "2"),
        ("GNU.sparse.map", "0,3,10,2"),
        ("GNU.sparse.name", "s"),
    ];
    check(tar().pax(&records).file(b"other", b"abcde"), 20, &[(0, 3), (10, 2)], b"abcde");
    // Without the version, which old GNU tar left out.
    check(tar().pax(&records[2..]).file(b"other", b"abcde"), 20, &[(0, 3), (10, 2)], b"abcde");
}

#[test]
fn rule_11_pax_sparse_1_0() {
    check(version_1("20", &lines("2\n0\n3\n10\n2\n", b"abcde")), 20, &[(0, 3), (10, 2)], b"abcde");
    check(version_1("20", &lines("0\n", b"")), 20, &[], b"");
}

#[test]
fn rule_11_pax_sparse_1_0_map_of_several_blocks() {
    let regions: Vec<(u64, u64)> = (0..300).map(|at| (at * 10, 1)).collect();
    let text: String = regions.iter().map(|(offset, length)| format!("{offset}\n{length}\n")).collect();
    check(version_1("3000", &lines(&format!("300\n{text}"), &[7; 300])), 3000, &regions, &[7; 300]);
}

#[test]
fn rule_11_empty_regions_are_dropped() {
    check(version_1("20", &lines("3\n0\n3\n5\n0\n20\n0\n", b"abc")), 20, &[(0, 3)], b"abc");
}

#[test]
fn rule_11_a_map_without_holes_is_an_ordinary_file() {
    let entries = version_1("5", &lines("2\n0\n3\n3\n2\n", b"abcde")).end().entries();
    assert_eq!((entries[0].size, entries[0].stored, &entries[0].sparse), (5, 5, &None));
}

#[test]
fn rule_11_unknown_sparse_version_is_an_ordinary_file_as_in_go() {
    let entry = tar().pax(&[("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0")]).file(b"f", b"1").end().entry();
    assert_eq!((entry.size, entry.sparse), (1, None));
}

#[test]
fn trap_sparse_maps_that_lie() {
    for (size, text) in [
        ("20", "2\n10\n2\n0\n3\n"),             // backwards
        ("20", "2\n0\n3\n2\n2\n"),              // overlapping
        ("4", "1\n0\n5\n"),                     // beyond the end
        ("20", "1\n0\n4\n"),                    // less than stored
        ("20", "1\n0\n6\n"),                    // more than stored
        ("20", "1\n9223372036854775807\n5\n"),  // beyond any end
        ("20", "1\n18446744073709551615\n5\n"), // beyond any number
        ("20", "1\n99999999999999999999\n5\n"), // the same
        ("20", "1\n0\n\n"),                     // nothing
        ("20", "1\n-1\n5\n"),                   // negative
        ("20", "x\n"),                          // no number
        ("20", "1\n0 5\n"),                     // no line
        ("20", "\n"),                           // no count
        ("20", "1\n0\n5"),                      // no end
    ] {
        refused(&version_1(size, &lines(text, b"abcde")));
    }
}

#[test]
fn trap_old_sparse_maps_that_lie() {
    refused(&tar().sized(old("24", &[(10, 2), (0, 3)], false), b"abcde"));
    refused(&tar().sized(old("4", &[(0, 5)], false), b"abcde"));
    refused(&tar().sized(old("24", &[(0, 4)], false), b"abcde"));
    refused(&tar().sized(old("24", &[(0, 5)], false).set(MAGIC, USTAR), b"abcde"));
    let negative = old("24", &[(0, 5)], false).set(398..410, &[0xff; 12]);
    tar().sized(negative, b"abcde").malformed(Malformed::NegativeNumber, 0);
    tar().raw(old("24", &[], true), b"").malformed(Malformed::Truncated, 512);
}

#[test]
fn trap_sparse_records_that_do_not_pair() {
    for records in [
        &[("GNU.sparse.numblocks", "1"), ("GNU.sparse.offset", "0")][..],
        &[("GNU.sparse.numbytes", "1")],
        &[("GNU.sparse.offset", "1"), ("GNU.sparse.offset", "1")],
        &[("GNU.sparse.numblocks", "1"), ("GNU.sparse.map", "0")],
        &[("GNU.sparse.numblocks", "2"), ("GNU.sparse.map", "0,1")],
        &[("GNU.sparse.map", "0,1")],
    ] {
        refused(&tar().pax(records).file(b"s", b"1"));
    }
}

#[test]
fn trap_sparse_map_on_what_is_no_file() {
    let records = [("GNU.sparse.size", "1"), ("GNU.sparse.numblocks", "1"), ("GNU.sparse.map", "0,1")];
    for flag in [b'5', b'2', b'D', b'V'] {
        refused(&tar().pax(&records).raw(head(flag, b"s").link(b"t"), b""));
    }
}

#[test]
fn trap_sparse_map_longer_than_the_body() {
    refused(
        &tar()
            .pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")])
            .raw(head(b'0', b"s").size(511), &[b'1'; 511]),
    );
}

#[test]
fn rule_1_sparse_records_are_never_global() {
    let records = [("GNU.sparse.size", "9"), ("GNU.sparse.numblocks", "0"), ("GNU.sparse.name", "g")];
    let tar = tar().global(&records).file(b"f", b"1").end();
    let strictness = Strictness { pax_globals: true, ..Strictness::default() };
    let outcome = tar.read_with(crate::options::Limits::default(), strictness);
    assert_eq!((outcome.fault, &outcome.entries[0].0.path[..]), (None, &b"f"[..]));
}
