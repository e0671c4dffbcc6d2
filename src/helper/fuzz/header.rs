//! Headers that are written and read again: the same.

use super::{Pieces, Steps};
use crate::helper::pack::header::{Header, Unwritable};
use crate::helper::read::entry::{Reader, Region, Strictness, Time};
use crate::options::Limits;
use crate::report::EntryKind;

const XATTR: &[u8] = b"SCHILY.xattr.";

/// Fields in order, each with its length in front: whatever they are, what is written is read as it was meant.
pub fn fuzz_header(data: &[u8]) {
    let mut steps = Steps(data);
    let kind = kind(steps.byte().unwrap_or_default());
    let mut name = steps.text();
    if kind == EntryKind::Directory {
        name.push(b'/');
    }
    let link = if matches!(kind, EntryKind::Symlink | EntryKind::Hardlink) { steps.text() } else { Vec::new() };
    let [mode, uid, gid, size, seconds, nanoseconds] = [(); 6].map(|()| steps.number());
    let regions: Vec<Region> = (0..steps.byte().unwrap_or_default() % 5)
        .map(|_| Region { offset: blocks(steps.number()), length: blocks(steps.number()) })
        .collect();
    let is_sparse = kind == EntryKind::File && steps.byte().unwrap_or_default().is_multiple_of(3);
    let mut records: Vec<(Vec<u8>, Vec<u8>)> = (0..steps.byte().unwrap_or_default() % 4)
        .map(|_| ([XATTR, b"user.", &plain(steps.text())].concat(), steps.text()))
        .collect();
    records.sort();
    records.dedup_by(|a, b| a.0 == b.0);
    reads_back(&Header {
        name: &name,
        link: &link,
        kind,
        mode: mode as u32,
        uid,
        gid,
        size,
        mtime: Time { seconds: seconds.cast_signed(), nanoseconds: (nanoseconds % 1_000_000_000) as u32 },
        device: None,
        records: &records,
        sparse: is_sparse.then_some(&regions[..]),
    });
}

/// Nearly always whole blocks, so that what is refused is not the rule.
fn blocks(number: u64) -> u64 {
    if number % 16 == 1 { number } else { (number % (1 << 40)) / 512 * 512 }
}

/// A `%` is decoded: a name that has one is not for this record. The kernel has none of more than 255 bytes.
fn plain(mut name: Vec<u8>) -> Vec<u8> {
    name.retain(|byte| *byte != b'%');
    name.truncate(200);
    name
}

fn kind(byte: u8) -> EntryKind {
    match byte % 5 {
        0 | 1 => EntryKind::File,
        2 => EntryKind::Directory,
        3 => EntryKind::Symlink,
        _ => EntryKind::Fifo,
    }
}

/// Panics where the reader does not find what was written. What is refused has appended nothing.
pub(in crate::helper) fn reads_back(header: &Header<'_>) {
    let mut bytes = Vec::new();
    if let Err(why) = header.write(&mut bytes) {
        assert!(bytes.is_empty(), "{why:?}");
        // Data up to the largest number leave no room for the map.
        let no_room = why == Unwritable::Number && header.sparse.is_some();
        assert!(no_room || is_to_be_refused(header), "{why:?}: {header:?}");
        return;
    }
    assert!(bytes.len().is_multiple_of(512));
    let limits = Limits { sparse_regions: u32::MAX, xattr_bytes: u32::MAX, name_bytes: u32::MAX, ..Limits::default() };
    let limits = Limits { file_bytes: u64::MAX, total_bytes: u64::MAX, ..limits };
    let mut reader = Reader::new(Pieces(bytes.into(), usize::MAX), limits, Strictness::default());
    let entry = reader.next().unwrap_or_else(|fault| panic!("{fault:?}: {header:?}")).expect("an entry");
    assert_eq!((&entry.path[..], &entry.link[..], entry.kind), (header.name, header.link, header.kind));
    let number = |number: u64| i64::try_from(number).ok();
    assert_eq!(
        (entry.mode, Some(entry.uid), Some(entry.gid)),
        (header.mode & 0o7777, number(header.uid), number(header.gid))
    );
    assert_eq!(entry.mtime, header.mtime, "{header:?}");
    let (major, minor) = header.device.unwrap_or_default();
    assert_eq!(entry.device, (major.into(), minor.into()));
    assert_eq!(entry.size, if header.kind == EntryKind::File { header.size } else { 0 }, "{header:?}");
    let found: Vec<Region> = entry.sparse.unwrap_or_default();
    let data = header.sparse.unwrap_or_default().iter().filter(|region| region.length > 0);
    // Without holes it is a file as any other.
    let dense = data.clone().map(|region| region.length).sum::<u64>() == header.size;
    assert!(header.sparse.is_none() || dense && found.is_empty() || found.iter().eq(data), "{found:?}: {header:?}");
    let xattrs: Vec<_> =
        header.records.iter().filter_map(|(key, value)| Some((key.strip_prefix(XATTR)?, &value[..]))).collect();
    assert!(entry.xattrs.len() >= xattrs.len(), "{header:?}");
    for (name, value) in xattrs {
        let there = entry.xattrs.iter().any(|(found, content)| found == name && content == value);
        assert!(there, "{:?}: {header:?}", entry.xattrs);
    }
}

/// By the contract, said once more.
fn is_to_be_refused(header: &Header<'_>) -> bool {
    let directory = header.kind == EntryKind::Directory;
    let large = [header.uid, header.gid, header.size].iter().any(|number| *number > i64::MAX.cast_unsigned());
    let links = matches!(header.kind, EntryKind::Symlink | EntryKind::Hardlink);
    let bad_name =
        header.name.is_empty() || header.name.contains(&0) || header.name.ends_with(b"/") && !directory && !links;
    let bad_key = |key: &[u8]| key.is_empty() || key.contains(&b'=') || key.contains(&0);
    let bytes: usize = header.records.iter().map(|(key, value)| key.len() + value.len()).sum();
    let records = header.records.iter().any(|(key, _)| bad_key(key)) || bytes > (1 << 20) - 1000;
    let mut end = 0u64;
    let ordered = header.sparse.unwrap_or_default().iter().all(|region| {
        let follows = region.offset >= end;
        end = region.offset.saturating_add(region.length);
        let whole = region.length % 512 == 0 || end == header.size;
        follows && whole && region.offset.checked_add(region.length).is_some_and(|end| end <= header.size)
    });
    let bad_link = header.link.contains(&0) || links && header.link.is_empty();
    bad_name || bad_link || large || records || !ordered
}
