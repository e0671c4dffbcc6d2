//! Go's own test archives: what `archive/tar` takes and refuses, and where this reader differs.

use super::build::{Outcome, Pieces, read};
use crate::helper::read::entry::{Entry, Reader, Source, Strictness, Time};
use crate::options::Limits;
use crate::report::{Cause, EntryKind, Limit, Malformed};
use std::path::PathBuf;

/// What becomes of one archive.
enum Expect {
    /// As in Go: these names.
    Names(&'static [&'static str]),
    /// Refused, as in Go.
    Malformed(Malformed),
}

use Expect::{Malformed as Bad, Names};

const LONG: &str =
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/foo";

const TABLE: &[(&str, Expect)] = &[
    ("file-and-dir.tar", Names(&["small.txt", "dir/"])),
    ("gnu.tar", Names(&["small.txt", "small2.txt"])),
    ("sparse-formats.tar", Names(&["sparse-gnu", "sparse-posix-0.0", "sparse-posix-0.1", "sparse-posix-1.0", "end"])),
    ("star.tar", Names(&["small.txt", "small2.txt"])),
    ("v7.tar", Names(&["small.txt", "small2.txt"])),
    ("pax-bad-hdr-file.tar", Bad(Malformed::PaxRecord)),
    ("pax-bad-mtime-file.tar", Bad(Malformed::PaxValue)),
    ("pax-pos-size-file.tar", Names(&["foo"])),
    ("pax-records.tar", Names(&["file"])),
    // Go lists the global headers as entries; here they are none.
    ("pax-global-records.tar", Names(&["file1", "file2", "file3", "file4"])),
    ("nil-uid.tar", Names(&["P1050238.JPG.log"])),
    ("xattrs.tar", Names(&["small.txt", "small2.txt"])),
    ("gnu-multi-hdrs.tar", Names(&["GNU2/GNU2/long-path-name"])),
    ("gnu-incremental.tar", Names(&["test2/", "test2/foo", "test2/sparse"])),
    ("pax-multi-hdrs.tar", Names(&["bar"])),
    ("gnu-long-nul.tar", Names(&["0123456789"])),
    ("pax-nul-xattrs.tar", Bad(Malformed::PaxRecord)),
    ("pax-nul-path.tar", Bad(Malformed::NulInName)),
    // Negative by far more than 64 bits.
    ("neg-size.tar", Bad(Malformed::NumberRange)),
    ("issue10968.tar", Bad(Malformed::Checksum)),
    ("issue11169.tar", Bad(Malformed::PaxRecord)),
    ("issue12435.tar", Bad(Malformed::NumberRange)),
    ("invalid-go17.tar", Names(&[LONG])),
    ("ustar-file-devs.tar", Names(&["file"])),
    ("gnu-nil-sparse-data.tar", Names(&["sparse.db"])),
    ("gnu-nil-sparse-hole.tar", Names(&["sparse.db"])),
    ("pax-nil-sparse-data.tar", Names(&["sparse.db"])),
    ("pax-nil-sparse-hole.tar", Names(&["sparse.db"])),
    ("hardlink.tar", Names(&["file.txt", "hard.txt"])),
    ("writer.tar", Names(&["small.txt", "small2.txt", "link.txt"])),
    ("ustar-file-reg.tar", Names(&["foo"])),
];

/// The archives, or `None` with a word about it where Go is not installed.
fn testdata() -> Option<PathBuf> {
    let installed = std::fs::read_dir("/usr/share").into_iter().flatten().flatten();
    let found = installed
        .filter(|dir| dir.file_name().to_string_lossy().starts_with("go-"))
        .map(|dir| dir.path().join("src/archive/tar/testdata"))
        .find(|path| path.is_dir());
    if found.is_none() {
        let required = std::env::var_os("UNTAR_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!required, "Go's test archives are not installed");
        skipped("Go's test archives are not in /usr/share/go-*/src/archive/tar/testdata");
    }
    found
}

#[allow(clippy::print_stdout)]
fn skipped(why: &str) {
    println!("SKIPPED {}: {why}", std::thread::current().name().unwrap_or("go"));
}

fn load(name: &str) -> Option<Outcome> {
    let bytes = std::fs::read(testdata()?.join(name)).expect(name);
    Some(read(&bytes, 1 << 18, Limits::default(), Strictness::default()))
}

fn entries(name: &str) -> Option<Vec<(Entry, Vec<u8>)>> {
    let outcome = load(name)?;
    assert_eq!(outcome.fault, None, "{name}");
    Some(outcome.entries)
}

#[test]
fn go_takes_and_refuses_the_same() {
    for (name, expect) in TABLE {
        let Some(outcome) = load(name) else { return };
        match expect {
            Names(names) => {
                assert_eq!(outcome.fault, None, "{name}");
                let found: Vec<_> =
                    outcome.entries.iter().map(|(entry, _)| String::from_utf8_lossy(&entry.path)).collect();
                assert_eq!(found, *names, "{name}");
            }
            Bad(what) => {
                let cause = outcome.fault.expect(name).cause;
                assert!(matches!(cause, Cause::Malformed { what: found, .. } if found == *what), "{name}: {cause:?}");
            }
        }
    }
}

/// In no table above, each with a test of its own below or the reason why it has none.
const ELSEWHERE: &[(&str, &str)] = &[
    ("pax.tar", "go_headers"),
    ("gnu-utf8.tar", "go_headers"),
    ("trailing-slash.tar", "go_headers"),
    ("gnu-not-utf8.tar", "go_names_that_are_not_utf8"),
    ("ustar.tar", "go_ustar_prefix"),
    ("hdr-only.tar", "go_header_only_types"),
    ("pax-path-hdr.tar", "go_dangling_header"),
    ("gnu-sparse-big.tar", "go_big_sparse_files"),
    ("pax-sparse-big.tar", "go_big_sparse_files"),
    ("writer-big.tar", "go_big_files_are_cut_short"),
    ("writer-big-long.tar", "go_big_files_are_cut_short"),
    ("pax-bad-hdr-large.tar.bz2", "go_large_pax_header"),
    ("small.txt", "no archive: what the archives were made of"),
    ("small2.txt", "no archive: what the archives were made of"),
];

#[test]
fn go_every_archive_is_accounted_for() {
    let Some(dir) = testdata() else { return };
    let known = |name: &str| TABLE.iter().any(|(n, _)| *n == name) || ELSEWHERE.iter().any(|(n, _)| *n == name);
    let names = std::fs::read_dir(dir).expect("a directory").flatten();
    let names: Vec<_> = names.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    assert!(names.len() >= 45, "{names:?}");
    let unknown: Vec<_> = names.iter().filter(|name| !known(name)).collect();
    assert!(unknown.is_empty(), "without an expectation: {unknown:?}");
}

#[test]
fn go_names_that_are_not_utf8() {
    let Some(entries) = entries("gnu-not-utf8.tar") else { return };
    assert_eq!(entries[0].0.path, b"hi\x80\x81\x82\x83bye");
}

#[test]
fn go_ustar_prefix() {
    let Some(entries) = entries("ustar.tar") else { return };
    assert_eq!(entries[0].0.path, format!("{}file.txt", "longname/".repeat(15)).into_bytes());
    assert_eq!(entries[0].1, b"hello\n");
}

/// Sizes on entries that have none: no body follows, whatever the size says.
#[test]
fn go_header_only_types() {
    let Some(entries) = entries("hdr-only.tar") else { return };
    use EntryKind::{BlockDevice, CharDevice, Directory, Fifo, File, Hardlink, Symlink};
    let kinds: Vec<_> = entries.iter().map(|(entry, _)| entry.kind).collect();
    let once = [Directory, Fifo, File, Hardlink, CharDevice, BlockDevice, Symlink];
    assert_eq!(kinds[..7], once);
    assert!(entries.iter().all(|(entry, body)| body.is_empty() || entry.kind == File));
}

/// One extended header and nothing after it: Go takes that for the end, this page for malformed (rule 1).
#[test]
fn go_dangling_header() {
    let Some(outcome) = load("pax-path-hdr.tar") else { return };
    let cause = outcome.fault.expect("a fault").cause;
    assert!(matches!(cause, Cause::Malformed { what: Malformed::DanglingExtendedHeader, .. }), "{cause:?}");
}

/// 60 GB, nearly all of it holes.
#[test]
fn go_big_sparse_files() {
    for name in ["gnu-sparse-big.tar", "pax-sparse-big.tar"] {
        let Some(entries) = entries(name) else { return };
        let (entry, _) = &entries[0];
        assert_eq!((entry.size, entry.sparse.as_ref().map(Vec::len)), (60_000_000_000, Some(6)), "{name}");
    }
}

/// Every archive there is comes to one end or the other, the same in any chunks.
#[test]
fn go_archives_in_any_chunks() {
    let Some(dir) = testdata() else { return };
    for file in std::fs::read_dir(dir).expect("a directory").flatten() {
        let bytes = std::fs::read(file.path()).expect("a file");
        let whole = read(&bytes, usize::MAX, Limits::default(), Strictness::default());
        for size in [1, 511, 513, 4096] {
            let parts = read(&bytes, size, Limits::default(), Strictness::default());
            assert_eq!(whole, parts, "{:?} in chunks of {size}", file.path());
        }
    }
}

#[test]
fn go_sparse_formats_hold_the_same_file() {
    let Some(entries) = entries("sparse-formats.tar") else { return };
    let [gnu, rest @ .., end] = &entries[..] else { panic!("five entries") };
    assert_eq!((gnu.0.size, gnu.0.stored, gnu.0.sparse.as_ref().map(Vec::len)), (200, 95, Some(95)));
    for other in rest {
        assert_eq!((other.0.size, &other.0.sparse, &other.1), (200, &gnu.0.sparse, &gnu.1));
    }
    assert_eq!(end.1, b"end\n");
}

#[test]
fn go_nil_sparse_files() {
    for (name, stored, regions) in [
        ("gnu-nil-sparse-data.tar", 1000, None),
        ("pax-nil-sparse-data.tar", 1000, None),
        ("gnu-nil-sparse-hole.tar", 0, Some(0)),
        ("pax-nil-sparse-hole.tar", 0, Some(0)),
    ] {
        let Some(entries) = entries(name) else { return };
        let entry = &entries[0].0;
        assert_eq!((entry.size, entry.stored, entry.sparse.as_ref().map(Vec::len)), (1000, stored, regions), "{name}");
    }
}

#[test]
fn go_headers() {
    let Some(pax) = entries("pax.tar") else { return };
    assert_eq!(pax[0].0.mtime, Time { seconds: 1350244992, nanoseconds: 23960108 });
    assert_eq!((pax[0].0.path.len(), pax[0].1.len(), pax[1].0.link.len()), (194, 7, 192));
    let Some(star) = entries("star.tar") else { return };
    assert_eq!(star[0].0.atime, Some(Time { seconds: 1244592783, nanoseconds: 0 }));
    let Some(incremental) = entries("gnu-incremental.tar") else { return };
    assert_eq!((incremental[0].0.kind, incremental[0].0.size), (EntryKind::Directory, 0));
    assert_eq!(incremental[0].0.atime, Some(Time { seconds: 1441974501, nanoseconds: 0 }));
    assert_eq!((incremental[2].0.size, incremental[2].0.stored), (536870912, 0));
    let Some(old_go) = entries("invalid-go17.tar") else { return };
    assert_eq!(old_go[0].0.uid, 0o10000000);
    let Some(slash) = entries("trailing-slash.tar") else { return };
    assert_eq!((slash[0].0.kind, slash[0].0.path.len()), (EntryKind::Directory, 300));
    let Some(global) = entries("pax-global-records.tar") else { return };
    assert_eq!(global[3].0.mtime.seconds, 1400000000);
    let Some(utf8) = entries("gnu-utf8.tar") else { return };
    assert!(utf8[0].0.path.starts_with("☺☻☹".as_bytes()));
}

#[test]
fn go_xattrs() {
    let Some(entries) = entries("xattrs.tar") else { return };
    let names: Vec<_> = entries[0].0.xattrs.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names, [&b"security.selinux"[..], b"user.key", b"user.key2"]);
    assert_eq!(entries[0].0.xattrs[0].1, b"unconfined_u:object_r:default_t:s0\0");
}

/// An extended header of 1 GiB: Go refuses it above 1 MiB too.
#[test]
fn go_large_pax_header() {
    let Some(dir) = testdata() else { return };
    let packed = std::fs::File::open(dir.join("pax-bad-hdr-large.tar.bz2")).expect("the archive");
    let mut bytes = Vec::new();
    let mut head = std::io::Read::take(bzip2::read::BzDecoder::new(packed), 1 << 20);
    std::io::Read::read_to_end(&mut head, &mut bytes).expect("bzip2");
    let outcome = read(&bytes, 1 << 18, Limits::default(), Strictness::default());
    let limit = Cause::Limit { limit: Limit::ExtendedHeaderBytes, value: 1 << 20 };
    assert_eq!(outcome.fault.map(|fault| fault.cause), Some(limit));
}

/// The two of 16 GiB and 60 GB: only their headers are there, so the body is passed over here.
#[test]
fn go_big_files_are_cut_short() {
    for (name, path_end, size) in [("writer-big.tar", "/", 16 << 30), ("writer-big-long.tar", "/16gig.txt", 16 << 30)] {
        let Some(dir) = testdata() else { return };
        let bytes = std::fs::read(dir.join(name)).expect(name);
        let mut reader = Reader::new(Pieces([bytes.into()].into()), Limits::default(), Strictness::default());
        let entry = reader.next().expect(name).expect("an entry");
        assert!(entry.path.ends_with(path_end.as_bytes()) || entry.size == size, "{name}");
        assert_eq!(entry.size, size, "{name}");
        assert_eq!(reader.source_mut().next_chunk(), Ok(None));
    }
}
