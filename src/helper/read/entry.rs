//! Tar blocks to checked entries: framing, extended headers, sparse maps, limits.

mod blocks;
mod draft;
mod foreign;
mod header;
mod number;
mod pax;
mod pending;
mod reader;
mod record;
mod sparse;
#[cfg(test)]
mod tests;
mod xattr;

pub(crate) use reader::Reader;

use crate::helper::fault::{Fault, Result};
use crate::options::Options;
use crate::report::{Cause, EntryKind, EventKind, Limit, Malformed};
use bytes::Bytes;

/// Where the uncompressed stream comes from.
pub(crate) trait Source {
    /// The next piece, never empty, of any length; `None` at the end of the stream.
    fn next_chunk(&mut self) -> Result<Option<Bytes>>;
}

/// A point in time: seconds since 1970 and nanoseconds within the second (0..1e9, also before 1970).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

/// One data region of a sparse file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// A checked entry. Its body is read with [`Reader::body`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Counted from 0, extended headers not counted.
    pub(crate) index: u64,
    /// Where its own header block begins in the uncompressed stream.
    pub(crate) offset: u64,
    /// Raw name: not empty, no NUL.
    pub(crate) path: Vec<u8>,
    /// Raw link target of links: not empty, no NUL.
    pub(crate) link: Vec<u8>,
    pub(crate) kind: EntryKind,
    /// Permission and special bits.
    pub(crate) mode: u32,
    /// The user id as the archive has it; it may be out of range, which the applier refuses.
    pub(crate) uid: i64,
    pub(crate) gid: i64,
    pub(crate) mtime: Time,
    pub(crate) atime: Option<Time>,
    /// Major and minor, as the archive has them.
    pub(crate) device: (i64, i64),
    /// Bytes of content, holes included; 0 for all but files.
    pub(crate) size: u64,
    /// Bytes of body in the stream that are content (sparse: the sum of the regions).
    pub(crate) stored: u64,
    /// Where the stored bytes go, if the file has holes: ascending, not overlapping, not empty.
    pub(crate) sparse: Option<Vec<Region>>,
    /// Extended attributes in order of name, as the kernel names them (no `SCHILY.xattr.`).
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// `SCHILY.acl.access` and `SCHILY.acl.default`, as text.
    pub(crate) acl_access: Option<Vec<u8>>,
    pub(crate) acl_default: Option<Vec<u8>>,
    /// Softened while reading the header.
    pub(crate) events: Vec<EventKind>,
}

/// How an archive ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// There was an end-of-archive marker (two blocks of zeros).
    pub(crate) marker: bool,
    /// Bytes after the marker.
    pub(crate) trailing: u64,
    /// The bytes are not all zero.
    pub(crate) trailing_data: bool,
    /// The first that are not are the header of another archive.
    pub(crate) archive: bool,
}

/// How strictly headers are read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Strictness {
    pub(crate) sizes: bool,
    pub(crate) pax_globals: bool,
    pub(crate) ignore_zeros: bool,
}

impl Strictness {
    pub(crate) fn of(options: &Options) -> Strictness {
        Strictness {
            sizes: options.strict_sizes,
            pax_globals: options.pax_globals,
            // Where to stop there is nothing behind.
            ignore_zeros: options.ignore_zeros && !options.stop_at_end,
        }
    }
}

/// The archive is malformed, at this byte of the uncompressed stream.
fn malformed(what: Malformed, offset: u64) -> Fault {
    Cause::Malformed { what, offset }.into()
}

/// A limit was reached.
fn limit(limit: Limit, value: u64) -> Fault {
    Cause::Limit { limit, value }.into()
}
