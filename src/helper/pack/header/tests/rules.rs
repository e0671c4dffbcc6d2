//! The contract's lines on headers, one by one.

use super::sample::{Sample, any_header, samples};
use crate::helper::fuzz::reads_back;
use crate::helper::pack::header::{Header, MOST, Unwritable, block, extended, map_fits, padding};
use crate::helper::read::entry::{Region, Time};
use crate::report::EntryKind;

fn written(sample: &Sample) -> Vec<u8> {
    sample.written().expect("a header")
}

/// The extended header's records, as text.
fn records(bytes: &[u8]) -> String {
    assert_eq!(bytes[156], b'x');
    let size = usize::from_str_radix(text(&bytes[124..136]).trim(), 8).expect("a size");
    String::from_utf8_lossy(&bytes[512..][..size]).into_owned()
}

fn text(field: &[u8]) -> &str {
    std::str::from_utf8(field.split(|byte| *byte == 0).next().unwrap_or_default()).expect("text")
}

fn region(offset: u64, length: u64) -> Region {
    Region { offset, length }
}

#[test]
fn rule_07_our_own_reader_reads_all_of_it() {
    for sample in samples(11, 4000, any_header()) {
        reads_back(&sample.header());
    }
}

#[test]
fn rule_07_what_fits_is_plain_ustar() {
    let bytes = written(&Sample { mode: 0o104755, uid: (1 << 21) - 1, size: (1 << 33) - 1, ..Sample::file(b"a") });
    assert_eq!(bytes.len(), 512);
    assert_eq!(
        (&bytes[100..108], &bytes[108..116], &bytes[124..136]),
        (&b"0004755\0"[..], &b"7777777\0"[..], &b"77777777777\0"[..])
    );
    assert_eq!(
        (&bytes[257..265], &bytes[265..329], &bytes[329..345]),
        (&b"ustar\x0000"[..], &[0; 64][..], &b"0000000\x000000000\0"[..])
    );
    assert_eq!(bytes[154..156], *b"\0 ");
}

#[test]
fn rule_07_long_names_are_cut_at_a_slash_where_they_can_be() {
    let name = [&b"p".repeat(155)[..], b"/", &b"n".repeat(100)].concat();
    let bytes = written(&Sample::file(&name));
    assert_eq!((bytes.len(), text(&bytes[345..500]).len(), text(&bytes[..100]).len()), (512, 155, 100));
    for name in [
        [&b"p".repeat(156)[..], b"/", b"n"].concat(),
        [&b"p".repeat(9)[..], b"/", &b"n".repeat(101)].concat(),
        b"n".repeat(101),
    ] {
        let bytes = written(&Sample::file(&name));
        assert!(records(&bytes).contains(" path="), "{}", String::from_utf8_lossy(&name));
    }
}

#[test]
fn rule_07_a_cut_name_does_not_end_in_a_slash() {
    let name = [&b"\xc3\xa9"[..], &b"d".repeat(99), b"/", b"n"].concat();
    let bytes = written(&Sample::file(&name));
    let header = &bytes[bytes.len() - 512..];
    assert_eq!(text(&header[..100]), "d".repeat(99));
}

#[test]
fn rule_08_names_are_raw_bytes() {
    let bytes = written(&Sample::file(b"\xffa\n\\"));
    assert!(bytes.windows(10).any(|window| window == b"path=\xffa\n\\\n"), "{bytes:?}");
    let bytes = written(&Sample { kind: EntryKind::Directory, ..Sample::file(b"./") });
    assert_eq!((text(&bytes[..100]), bytes[156]), ("./", b'5'));
}

#[test]
fn rule_15_times_are_decimal_and_exact() {
    for (seconds, nanoseconds, want) in [
        (-2, 750_000_000, Some("-1.25")),
        (-1, 500_000_000, Some("-0.5")),
        (-1, 0, Some("-1")),
        (0, 1, Some("0.000000001")),
        (1, 120_000_000, Some("1.12")),
        (1 << 33, 0, Some("8589934592")),
        ((1 << 33) - 1, 0, None),
        (i64::MIN, 1, Some("-9223372036854775807.999999999")),
    ] {
        let bytes = written(&Sample { mtime: Time { seconds, nanoseconds }, ..Sample::file(b"a") });
        let found = if bytes.len() == 512 { None } else { Some(records(&bytes)) };
        let want = want.map(|want| format!("{} mtime={want}\n", want.len() + 10));
        assert_eq!(
            found.as_deref().map(str::trim_start),
            want.as_deref().map(str::trim_start),
            "{seconds} {nanoseconds}"
        );
    }
}

#[test]
fn rule_09_links_have_no_content() {
    let link = Sample { kind: EntryKind::Hardlink, link: b"a".to_vec(), size: 5, ..Sample::file(b"b") };
    let bytes = written(&link);
    assert_eq!((bytes[156], text(&bytes[124..136]), text(&bytes[157..257])), (b'1', "00000000000", "a"));
}

#[test]
fn rule_11_sparse_files_are_pax_1_0() {
    let sample = Sample { size: 1 << 34, mtime: Time { seconds: 1, nanoseconds: 5 }, ..Sample::file(b"d/s") };
    let mut bytes = Vec::new();
    let data = [region(0, 4096), region(1 << 33, 8192)];
    Header { sparse: Some(&data), ..sample.header() }.write(&mut bytes).expect("a header");
    let want = "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n23 GNU.sparse.name=d/s\n35 GNU.sparse.realsize=17179869184\n\
                21 mtime=1.000000005\n";
    assert_eq!(records(&bytes), want);
    let (header, map) = bytes[1024..].split_at(512);
    assert_eq!((text(&header[..100]), text(&header[124..136])), ("d/GNUSparseFile.0/s", "00000031000"));
    // It ends in a hole, so that its size is told by an empty region.
    assert_eq!(text(map), "3\n0\n4096\n8589934592\n8192\n17179869184\n0\n");
    assert_eq!(map.len(), 512);
    reads_back(&Header { sparse: Some(&data), ..sample.header() });
}

#[test]
fn rule_11_maps_that_are_none_are_refused() {
    let file = Sample { size: 100, ..Sample::file(b"s") };
    for data in [
        &[region(10, 5), region(14, 1)][..],
        &[region(90, 11)],
        &[region(5, 1), region(0, 1)],
        &[region(u64::MAX, 2)],
        &[region(0, 50)],
    ] {
        let mut out = Vec::new();
        assert_eq!(Header { sparse: Some(data), ..file.header() }.write(&mut out), Err(Unwritable::Map), "{data:?}");
        assert!(out.is_empty());
    }
    let fifo = Sample { kind: EntryKind::Fifo, ..file };
    assert_eq!(Header { sparse: Some(&[]), ..fifo.header() }.write(&mut Vec::new()), Err(Unwritable::Map));
}

/// A map that needs more than 1 MiB is not written: the file is packed dense.
#[test]
fn rule_11_a_map_has_an_end() {
    let regions = |count: u64| (0..count).map(|n| region(n * 8192, 4096)).collect::<Vec<_>>();
    let size = 8192 * 100_000;
    let most = (1..100_000).rev().step_by(500).find(|count| map_fits(size, &regions(*count))).expect("one that fits");
    assert!((50_000..90_000).contains(&most), "{most}");
    let sample = Sample { size, ..Sample::file(b"s") };
    let mut out = Vec::new();
    let written = Header { sparse: Some(&regions(90_000)), ..sample.header() }.write(&mut out);
    assert!(matches!(written, Err(Unwritable::MapBytes(bytes)) if bytes > MOST), "{written:?}");
    assert!(out.is_empty());
}

#[test]
fn rule_12_more_than_a_mebibyte_of_records_is_refused() {
    let key = b"SCHILY.xattr.user.a".to_vec();
    let with = |length| Sample { records: vec![(key.clone(), vec![b'v'; length])], ..Sample::file(b"a") };
    let room = MOST - "1048576 SCHILY.xattr.user.a=\n".len();
    assert!(with(room).written().is_ok());
    assert_eq!(with(room + 1).written(), Err(Unwritable::Records(MOST + 1)));
}

#[test]
fn rule_12_values_are_raw() {
    let key = b"SCHILY.xattr.user.a".to_vec();
    for value in [&b""[..], b"\0", b"\n=\n", b"a b"] {
        let sample = Sample { records: vec![(key.clone(), value.to_vec())], ..Sample::file(b"a") };
        reads_back(&sample.header());
    }
}

/// Two zero blocks are an end; this header is none, and what it announces never comes.
#[test]
fn rule_25_a_broken_end_is_an_extended_header_without_its_body() {
    let mut bytes = Vec::new();
    extended(&mut bytes, b"", block::BYTES);
    assert_eq!(bytes, crate::cut::TAR);
    assert_eq!((bytes[156], text(&bytes[124..136])), (b'x', "00000001000"));
}

#[test]
fn a_body_is_padded_to_a_block() {
    for (body, want) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511), (u64::MAX, 1)] {
        assert_eq!(padding(body), want, "{body}");
    }
}

#[test]
fn names_that_no_walk_comes_to_are_refused() {
    for (name, kind) in [(&b""[..], EntryKind::File), (b"a\0b", EntryKind::File), (b"a/", EntryKind::Fifo)] {
        assert_eq!(Sample { kind, ..Sample::file(name) }.written(), Err(Unwritable::Name), "{name:?}");
    }
    let kind = EntryKind::Other(b'Z');
    assert_eq!(Sample { kind, ..Sample::file(b"a") }.written(), Err(Unwritable::Kind));
    let sample = Sample { device: Some((1 << 21, 0)), ..Sample::file(b"a") };
    assert_eq!(sample.written(), Err(Unwritable::Number));
    assert_eq!(Sample { size: u64::MAX, ..Sample::file(b"a") }.written(), Err(Unwritable::Number));
    for key in [&b""[..], b"a=b", b"a\0"] {
        let sample = Sample { records: vec![(key.to_vec(), Vec::new())], ..Sample::file(b"a") };
        assert_eq!(sample.written(), Err(Unwritable::Key), "{key:?}");
    }
}
