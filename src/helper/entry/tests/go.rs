//! Go's own test archives: what `archive/tar` takes and refuses, and where this reader differs.

use super::build::{Outcome, Pieces, read};
use crate::helper::entry::{Entry, Reader, Source, Strictness, Time};
use crate::{Cause, EntryKind, Limit, Limits, Malformed};
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
