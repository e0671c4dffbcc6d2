//! The bounds, each at its edge.

use super::build::*;
use crate::helper::read::entry::Strictness;
use crate::options::Limits;
use crate::report::{Cause, Limit};

#[track_caller]
fn check(within: &Tar, beyond: &Tar, limits: Limits, limit: Limit, value: u64) {
    assert_eq!(within.read_with(limits, Strictness::default()).fault, None);
    let fault = beyond.read_with(limits, Strictness::default()).fault.expect("a limit");
    assert_eq!(fault.cause, Cause::Limit { limit, value });
}

#[test]
fn limit_extended_headers_of_one_entry_together() {
    let limits = Limits { extended_header_bytes: 21, ..Limits::default() };
    let eleven = pax(&[("uid", "100")]);
    let fits = tar().meta(b'x', &eleven).meta(b'L', b"123456789\0").file(b"a", b"").meta(b'x', &eleven).file(b"b", b"");
    let more = tar().meta(b'x', &eleven).meta(b'L', b"123456789\0").meta(b'K', b"1").file(b"a", b"");
    check(&fits, &more, limits, Limit::ExtendedHeaderBytes, 21);
    // A header that only promises much is refused before anything is read.
    let bomb = tar().raw(head(b'x', b"").set(SIZE, b"77777777777\0"), b"");
    check(&fits, &bomb, limits, Limit::ExtendedHeaderBytes, 21);
    // Replaced headers count.
    let again = tar().meta(b'x', &eleven).meta(b'x', &eleven).meta(b'x', &eleven).file(b"a", b"");
    check(&fits, &again, limits, Limit::ExtendedHeaderBytes, 21);
}

#[test]
fn limit_global_headers_that_pile_up() {
    let limits = Limits { extended_header_bytes: 40, ..Limits::default() };
    let piled = ["a", "b", "c"]
        .iter()
        .fold(tar(), |tar, name| tar.global(&[(&format!("SCHILY.xattr.user.{name}"), "123456789")]).file(b"f", b""));
    let fault =
        piled.read_with(limits, Strictness { pax_globals: true, ..Strictness::default() }).fault.expect("a limit");
    assert_eq!(fault.cause, Cause::Limit { limit: Limit::ExtendedHeaderBytes, value: 40 });
}

#[test]
fn limit_names() {
    let limits = Limits { name_bytes: 8, ..Limits::default() };
    let good = tar().pax(&[("path", "12345678")]).file(b"12345678", b"").meta(b'L', b"12345678\0").file(b"1", b"");
    for bad in [
        tar().file(b"123456789", b""),
        tar().meta(b'L', b"123456789\0").file(b"a", b""),
        tar().pax(&[("path", "123456789")]).file(b"a", b""),
        tar().raw(head(b'2', b"a").link(b"123456789"), b""),
        tar().raw(head(b'0', b"1234").set(PREFIX, b"1234"), b""),
    ] {
        check(&good, &bad, limits, Limit::NameBytes, 8);
    }
}

#[test]
fn limit_xattrs() {
    let limits = Limits { xattrs: 1, xattr_bytes: 3, ..Limits::default() };
    let good = tar().pax(&[("SCHILY.xattr.user.a", "123"), ("LIBARCHIVE.xattr.user.a", "Zm9v")]).file(b"a", b"");
    let many = tar().pax(&[("SCHILY.xattr.user.a", "1"), ("SCHILY.xattr.user.b", "1")]).file(b"a", b"");
    check(&good, &many, limits, Limit::Xattrs, 1);
    for bad in [("SCHILY.xattr.user.a", "1234"), ("LIBARCHIVE.xattr.user.a", "Zm9vYg")] {
        check(&good, &tar().pax(&[bad]).file(b"a", b""), limits, Limit::XattrBytes, 3);
    }
}

#[test]
fn limit_sparse_regions() {
    let limits = Limits { sparse_regions: 1, ..Limits::default() };
    let sparse = |blocks: &str, map: &str| {
        let records = [("GNU.sparse.size", "9"), ("GNU.sparse.numblocks", blocks), ("GNU.sparse.map", map)];
        tar().pax(&records).file(b"a", b"")
    };
    check(&sparse("1", "9,0"), &sparse("2", "8,0,9,0"), limits, Limit::SparseRegions, 1);
    let lines = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "9")];
    let promised = tar().pax(&lines).file(b"a", &[&b"2\n"[..], &[0; 510]].concat());
    check(&sparse("1", "9,0"), &promised, limits, Limit::SparseRegions, 1);
}

#[test]
fn limit_entries() {
    let limits = Limits { entries: 1, ..Limits::default() };
    let two = tar().file(b"a", b"").file(b"b", b"");
    check(&tar().file(b"a", b""), &two, limits, Limit::Entries, 1);
    let named = two.read_with(limits, Strictness::default()).current;
    assert_eq!(named.map(|entry| entry.path), Some(b"b".to_vec()));
}
