//! Whatever the bytes and whatever the chunks.

use super::build::*;
use crate::helper::read::entry::Strictness;
use crate::options::Limits;
use crate::report::EntryKind;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::VecDeque;

/// Small, so that random archives reach them.
const SMALL: Limits = {
    let mut limits = limits();
    limits.name_bytes = 64;
    limits.extended_header_bytes = 4096;
    limits.xattrs = 2;
    limits.xattr_bytes = 16;
    limits.sparse_regions = 4;
    limits
};

const fn limits() -> Limits {
    Limits {
        total_bytes: u64::MAX,
        file_bytes: u64::MAX,
        entries: u64::MAX,
        ratio: u64::MAX,
        depth: u32::MAX,
        name_bytes: u32::MAX,
        extended_header_bytes: 1 << 20,
        xattrs: u32::MAX,
        xattr_bytes: u32::MAX,
        sparse_regions: u32::MAX,
        hardlinks: u64::MAX,
        events: u32::MAX,
    }
}

fn strictness() -> impl Strategy<Value = Strictness> {
    any::<(bool, bool, bool)>().prop_map(|(sizes, pax_globals, ignore_zeros)| Strictness {
        sizes,
        pax_globals,
        ignore_zeros,
    })
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0u64..1500).prop_map(|number| number.to_string()),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => "[-+.0-9a, ]{0,6}",
    ]
}

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "path",
        "linkpath",
        "size",
        "uid",
        "gid",
        "mtime",
        "atime",
        "ctime",
        "uname",
        "SCHILY.xattr.user.a",
        "SCHILY.xattr.user.b",
        "LIBARCHIVE.xattr.user.%61",
        "SCHILY.acl.access",
        "GNU.sparse.major",
        "GNU.sparse.minor",
        "GNU.sparse.size",
        "GNU.sparse.realsize",
        "GNU.sparse.numblocks",
        "GNU.sparse.offset",
        "GNU.sparse.numbytes",
        "GNU.sparse.map",
        "GNU.sparse.name",
    ])
}

fn records() -> impl Strategy<Value = Vec<u8>> {
    let record = (key(), prop_oneof![number(), "[01]", "[01],[0-9]", "[a-z/]{0,70}"]);
    vec(record, 0..6).prop_map(|records| records.iter().flat_map(|(key, value)| record_bytes(key, value)).collect())
}

fn record_bytes(key: &str, value: &str) -> Vec<u8> {
    record(key.as_bytes(), value.as_bytes())
}

/// One header with a good check sum and a body, either of which may lie.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let flag = prop::sample::select(b"01234567DSVLKxxxgZ\0".to_vec());
    let body = prop_oneof![vec(any::<u8>(), 0..1200), records(), "([0-9]{1,3}\n){0,9}".prop_map(String::into_bytes)];
    let lie = prop::option::weighted(0.2, (0usize..500, vec(any::<u8>(), 1..12)));
    (flag, "[a-z/]{0,8}", body, any::<bool>(), prop::option::weighted(0.2, 0u64..3000), lie).prop_map(
        |(flag, name, body, gnu, size, lie)| {
            let mut head = head(flag, name.as_bytes()).link(b"t").size(size.unwrap_or(body.len() as u64));
            if gnu {
                head = head.gnu();
            }
            if let Some((at, bytes)) = lie {
                head = head.set(at..at + bytes.len(), &bytes);
            }
            tar().raw(head, &body).0
        },
    )
}

fn archive() -> impl Strategy<Value = Vec<u8>> {
    let tail = prop::sample::select(vec![0usize, 1, 512, 1024, 5000]);
    (vec(piece(), 0..8), tail, prop::option::weighted(0.2, any::<prop::sample::Index>())).prop_map(
        |(pieces, tail, cut)| {
            let mut bytes = pieces.concat();
            bytes.resize(bytes.len() + tail, 0);
            if let Some(cut) = cut.filter(|_| !bytes.is_empty()) {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes
        },
    )
}

fn split(bytes: &[u8], sizes: &[usize]) -> VecDeque<Bytes> {
    let (mut chunks, mut rest) = (VecDeque::new(), Bytes::copy_from_slice(bytes));
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        chunks.push_back(rest.split_to(rest.len().min(*size)));
    }
    chunks
}

/// What the interface promises of every entry.
fn check_entry(entry: &crate::helper::read::entry::Entry) -> Result<(), TestCaseError> {
    prop_assert!(!entry.path.is_empty() && !entry.path.contains(&0));
    let is_link = matches!(entry.kind, EntryKind::Hardlink | EntryKind::Symlink);
    prop_assert!(is_link != entry.link.is_empty() && !entry.link.contains(&0));
    prop_assert!(entry.mtime.nanoseconds < 1_000_000_000);
    prop_assert!(entry.kind == EntryKind::File || (entry.size == 0 && entry.stored == 0));
    prop_assert!(entry.xattrs.is_sorted_by(|a, b| a.0 < b.0));
    let Some(regions) = &entry.sparse else {
        prop_assert_eq!(entry.size, entry.stored);
        return Ok(());
    };
    prop_assert!(regions.is_sorted_by(|a, b| a.offset + a.length <= b.offset));
    prop_assert!(regions.iter().all(|region| region.length > 0 && region.offset + region.length <= entry.size));
    prop_assert_eq!(regions.iter().map(|region| region.length).sum::<u64>(), entry.stored);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..3000), strictness in strictness()) {
        read(&bytes, 1 << 20, SMALL, strictness);
    }

    #[test]
    fn random_chunks_give_the_same(
        bytes in archive(), sizes in vec(1usize..1500, 1..5), strictness in strictness(), small in any::<bool>()
    ) {
        let limits = if small { SMALL } else { limits() };
        let whole = read(&bytes, usize::MAX, limits, strictness);
        for (entry, _) in &whole.entries {
            check_entry(entry)?;
        }
        prop_assert!(whole.position <= bytes.len() as u64);
        prop_assert_eq!(whole, read_chunks(split(&bytes, &sizes), limits, strictness));
    }

    #[test]
    fn random_archives_read_back(
        files in vec(("[a-z]{1,90}", vec(any::<u8>(), 0..2000), 0u32..0o10000, 0i64..1 << 32), 0..8)
    ) {
        let written = files.iter().fold(tar(), |tar, (name, body, mode, mtime)| {
            let head = head(b'0', name.as_bytes())
                .set(MODE, format!("{mode:07o}").as_bytes())
                .set(MTIME, format!("{mtime:011o}").as_bytes());
            tar.sized(head, body)
        });
        let outcome = written.end().read();
        prop_assert_eq!(outcome.fault, None);
        prop_assert_eq!(outcome.entries.len(), files.len());
        for ((entry, content), (name, body, mode, mtime)) in outcome.entries.iter().zip(&files) {
            prop_assert_eq!(&entry.path, name.as_bytes());
            prop_assert_eq!((entry.mode, entry.mtime.seconds, entry.size), (*mode, *mtime, body.len() as u64));
            prop_assert_eq!(content, body);
        }
    }

    #[test]
    fn random_records_read_back(path in "[^\0]{1,300}", uid in 0..i64::MAX, value in vec(any::<u8>(), 0..300)) {
        let body = [
            record(b"path", path.as_bytes()),
            record(b"SCHILY.xattr.user.a", &value),
            record(b"uid", uid.to_string().as_bytes()),
        ].concat();
        let entry = tar().meta(b'x', &body).file(b"n", b"").end().entry();
        prop_assert_eq!((&entry.path[..], entry.uid), (path.as_bytes(), uid));
        prop_assert_eq!(entry.xattrs, [(b"user.a".to_vec(), value)]);
    }
}
