//! Rule 11: holes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use untar_in_root::EventKind;

use super::{entries, events, pack, plain, unpacked};
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, assert_same};

/// A file of this size with these pieces of content.
fn sparse(path: &Path, size: u64, pieces: &[(u64, &[u8])]) {
    let file = File::create(path).expect("file");
    file.set_len(size).expect("size");
    pieces.iter().for_each(|(at, bytes)| file.write_all_at(bytes, *at).expect("content"));
}

#[test]
fn pack_rule_11_holes_are_pax_1_0_and_come_back() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    sparse(&root.join("begin"), 1 << 20, &[((1 << 20) - 4096, &[1; 4096])]);
    sparse(&root.join("both"), (1 << 30) + 5, &[(1 << 20, b"x"), ((1 << 20) + 8192, &[2; 10_000]), (1 << 29, b"y")]);
    sparse(&root.join("end"), 1 << 20, &[(0, &[3; 5000])]);
    sparse(&root.join("nothing"), 1 << 30, &[]);
    scratch.file("root/dense", [4; 300_000]);
    let (archive, packed) = pack(&root, plain);
    assert!(archive.len() < 400_000, "{}", archive.len());
    assert_eq!((packed.entries.files, packed.event_count), (5, 0));
    let nothing = entries(&archive).into_iter().find(|seen| seen.record("GNU.sparse.name") == Some(b"nothing"));
    let nothing = nothing.expect("PAX 1.0");
    assert_eq!(nothing.record("GNU.sparse.realsize"), Some(&b"1073741824"[..]));
    assert_eq!(
        (nothing.record("GNU.sparse.major"), nothing.record("GNU.sparse.minor")),
        (Some(&b"1"[..]), Some(&b"0"[..]))
    );
    assert!(nothing.body.starts_with(b"1\n1073741824\n0\n"), "{}", nothing.body.escape_ascii());
    let there = unpacked(&archive, &scratch, "there");
    assert_same("holes", &Tree::read(&there), &Tree::read(&root), &[]);
}

#[test]
fn pack_rule_11_without_holes_the_bytes_are_those_of_a_dense_file() {
    let scratch = Scratch::new();
    let (one, two) = (scratch.dir("one"), scratch.dir("two"));
    sparse(&one.join("f"), 500_000, &[(200_000, &[5; 100])]);
    let content = std::fs::read(one.join("f")).expect("content");
    std::fs::write(two.join("f"), content).expect("file");
    let dense = |o: &mut untar_in_root::PackOptions| (o.dense, o.clamp_mtime) = (true, Some(0));
    assert_eq!(pack(&one, dense).0, pack(&two, dense).0);
}

#[test]
fn pack_rule_11_too_many_holes_are_packed_as_zeros_and_told() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    let pieces: Vec<(u64, &[u8])> = (0..20).map(|number| (number * 65_536, &b"x"[..])).collect();
    sparse(&root.join("f"), 21 * 65_536, &pieces);
    let (archive, packed) = pack(&root, |o| o.limits.sparse_regions = 19);
    assert_eq!(events(&packed), [EventKind::HolesFilled]);
    assert_eq!(entries(&archive)[1].size, 21 * 65_536);
    assert_eq!(pack(&root, |o| o.limits.sparse_regions = 20).1.event_count, 0);
}
