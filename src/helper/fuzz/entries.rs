//! Entries for the differential target of `fuzz/`; not part of the interface.
#![allow(missing_docs, reason = "the names say it")]

use crate::helper::fuzz::{Pieces, sealed};
use crate::helper::read::entry::{Entry, Reader, Strictness};
use crate::options::Limits;
use crate::report::{Cause, EntryKind};
use bytes::Bytes;

/// An entry as another reader can be asked for it.
#[derive(Debug)]
pub struct Seen {
    pub kind: EntryKind,
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub mode: u32,
    pub ids: (i64, i64),
    /// Whole seconds.
    pub mtime: i64,
    pub size: u64,
    /// Where its body begins, and how much of it is content.
    pub body: (u64, u64),
    pub sparse: Option<Vec<(u64, u64)>>,
}

/// `data` with its check sums made right, its entries, and why reading stopped before the end, if it did.
pub fn fuzz_entries(data: &[u8]) -> (Bytes, Vec<Seen>, Option<Cause>) {
    let bytes = sealed(data);
    let mut reader = Reader::new(Pieces(bytes.clone(), usize::MAX), Limits::default(), Strictness::default());
    let mut seen = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(entry)) => seen.push(Seen::new(entry, reader.position())),
            Ok(None) => return (bytes, seen, None),
            Err(fault) => return (bytes, seen, Some(fault.cause)),
        }
    }
}

impl Seen {
    fn new(entry: Entry, position: u64) -> Seen {
        Seen {
            kind: entry.kind,
            path: entry.path,
            link: entry.link,
            mode: entry.mode,
            ids: (entry.uid, entry.gid),
            mtime: entry.mtime.seconds,
            size: entry.size,
            body: (position, entry.stored),
            sparse: entry.sparse.map(|map| map.iter().map(|region| (region.offset, region.length)).collect()),
        }
    }
}
