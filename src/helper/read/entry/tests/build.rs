//! Archives that may lie, and ways to read them.

use crate::helper::fault::{Fault, Result};
use crate::helper::read::entry::{End, Entry, Reader, Source, Strictness};
use crate::options::Limits;
use crate::report::{Cause, EntryRef, Malformed};
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;

pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const MTIME: Range<usize> = 136..148;
pub(super) const CHECKSUM: Range<usize> = 148..156;
pub(super) const FLAG: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
pub(super) const MAGIC: Range<usize> = 257..265;
pub(super) const DEV_MAJOR: Range<usize> = 329..337;
pub(super) const DEV_MINOR: Range<usize> = 337..345;
pub(super) const PREFIX: Range<usize> = 345..500;

pub(super) const USTAR: &[u8] = b"ustar\x0000";
pub(super) const GNU: &[u8] = b"ustar  \0";

/// One header block.
#[derive(Clone)]
pub(super) struct Head([u8; 512]);

pub(super) fn head(flag: u8, name: &[u8]) -> Head {
    let mut head = Head([0; 512]);
    head.0[FLAG] = flag;
    head.set(0..100, name)
        .set(MODE, b"0000644\0")
        .set(UID, b"0001750\0")
        .set(GID, b"0001750\0")
        .set(MTIME, b"00000000001\0")
        .set(MAGIC, USTAR)
        .size(0)
}

impl Head {
    pub(super) fn set(mut self, field: Range<usize>, bytes: &[u8]) -> Head {
        self.0[field.clone()].fill(0);
        self.0[field][..bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(super) fn size(self, size: u64) -> Head {
        self.set(SIZE, format!("{size:011o}").as_bytes())
    }

    pub(super) fn link(self, target: &[u8]) -> Head {
        self.set(LINK, target)
    }

    pub(super) fn gnu(self) -> Head {
        self.set(MAGIC, GNU)
    }

    pub(super) fn block(mut self) -> [u8; 512] {
        self.0[CHECKSUM].fill(b' ');
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.set(CHECKSUM, format!("{sum:06o}\0 ").as_bytes()).0
    }
}

/// A stream of blocks.
#[derive(Clone, Default)]
pub(super) struct Tar(pub(super) Vec<u8>);

pub(super) fn tar() -> Tar {
    Tar::default()
}

impl Tar {
    /// A header as it is, and a body with its padding.
    pub(super) fn raw(mut self, head: Head, body: &[u8]) -> Tar {
        self.0.extend(head.block());
        self.bytes(body)
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Tar {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn sized(self, head: Head, body: &[u8]) -> Tar {
        self.raw(head.size(body.len() as u64), body)
    }

    pub(super) fn file(self, name: &[u8], body: &[u8]) -> Tar {
        self.sized(head(b'0', name), body)
    }

    pub(super) fn meta(self, flag: u8, body: &[u8]) -> Tar {
        self.sized(head(flag, b"meta"), body)
    }

    pub(super) fn pax(self, records: &[(&str, &str)]) -> Tar {
        self.meta(b'x', &pax(records))
    }

    pub(super) fn global(self, records: &[(&str, &str)]) -> Tar {
        self.meta(b'g', &pax(records))
    }

    pub(super) fn end(self) -> Tar {
        self.bytes(&[0; 1024])
    }

    pub(super) fn read(&self) -> Outcome {
        self.read_with(Limits::default(), Strictness::default())
    }

    pub(super) fn read_with(&self, limits: Limits, strictness: Strictness) -> Outcome {
        read(&self.0, 1 << 20, limits, strictness)
    }

    /// All entries, having come to a good end.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let outcome = self.read();
        assert_eq!(outcome.fault, None);
        outcome.entries.into_iter().map(|(entry, _)| entry).collect()
    }

    /// The only entry.
    pub(super) fn entry(&self) -> Entry {
        let [entry] = <[Entry; 1]>::try_from(self.entries()).expect("one entry");
        entry
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.entries().iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect()
    }

    pub(super) fn cause(&self) -> Cause {
        self.read().fault.expect("a fault").cause
    }

    #[track_caller]
    pub(super) fn malformed(&self, what: Malformed, offset: u64) {
        assert_eq!(self.cause(), Cause::Malformed { what, offset });
    }
}

pub(super) fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    records.iter().flat_map(|(key, value)| record(key.as_bytes(), value.as_bytes())).collect()
}

pub(super) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let text = [b" ", key, b"=", value, b"\n"].concat();
    let mut length = text.len();
    while length != text.len() + length.to_string().len() {
        length = text.len() + length.to_string().len();
    }
    [length.to_string().as_bytes(), &text].concat()
}

/// What came out, up to the fault if there was one.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) entries: Vec<(Entry, Vec<u8>)>,
    pub(super) fault: Option<Fault>,
    pub(super) current: Option<EntryRef>,
    pub(super) before: Option<EntryRef>,
    pub(super) end: Option<End>,
    pub(super) position: u64,
}

pub(super) struct Pieces(pub(super) VecDeque<Bytes>);

impl Source for Pieces {
    fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        Ok(self.0.pop_front())
    }
}

/// Reads in chunks of `size`.
pub(super) fn read(bytes: &[u8], size: usize, limits: Limits, strictness: Strictness) -> Outcome {
    read_chunks(bytes.chunks(size).map(Bytes::copy_from_slice).collect(), limits, strictness)
}

pub(super) fn read_chunks(chunks: VecDeque<Bytes>, limits: Limits, strictness: Strictness) -> Outcome {
    let mut reader = Reader::new(Pieces(chunks), limits, strictness);
    let mut entries = Vec::new();
    let result = read_all(&mut reader, &mut entries);
    let (fault, end) = match result {
        Ok(end) => (None, Some(end)),
        Err(fault) => (Some(fault), None),
    };
    let (current, before) = (reader.current(), reader.before());
    Outcome { entries, fault, current, before, end, position: reader.position() }
}

fn read_all(reader: &mut Reader<Pieces>, entries: &mut Vec<(Entry, Vec<u8>)>) -> Result<End> {
    while let Some(entry) = reader.next()? {
        let mut body = Vec::new();
        while let Some(piece) = reader.body()? {
            assert!(!piece.is_empty());
            body.extend_from_slice(&piece);
        }
        assert_eq!(body.len() as u64, entry.stored);
        entries.push((entry, body));
    }
    assert_eq!(reader.next(), Ok(None));
    reader.finish()
}
