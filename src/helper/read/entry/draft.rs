//! An entry from its header block and its extended headers, before its body.

use super::blocks::Block;
use super::header::{self, Fields};
use super::pax::{MapPlace, Pax};
use super::pending::Extended;
use super::sparse::{Map, Old};
use super::{Entry, Time, limit, malformed};
use crate::helper::fault::Result;
use crate::options::Limits;
use crate::report::{Cause, EntryKind, EventKind, Limit, Malformed, Refusal};

/// What follows the header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// It has no body, whatever the size says.
    Nothing,
    /// A body that is nobody's content.
    Hidden,
    Content,
}

/// Where the map of a sparse file is.
pub(super) enum Holes {
    None,
    /// Begun in the header, perhaps to be continued in the blocks after it.
    Old(Box<Old>),
    /// The map is in the extended header, with the size of the file.
    Records(Map, u64),
    /// The map is at the beginning of the body; here is the size of the file.
    Body(u64),
}

pub(super) struct Draft {
    pub(super) path: Vec<u8>,
    pub(super) kind: EntryKind,
    fields: Fields,
    link: Vec<u8>,
    pax: Option<Box<Pax>>,
    /// The size of the body in the stream.
    size: u64,
}

impl Draft {
    pub(super) fn new(block: &Block, fields: Fields, extended: Extended) -> Draft {
        let Extended { name, link, pax } = extended;
        let path = name.unwrap_or_else(|| fields.name(block));
        let kind = kind(fields.flag, &path);
        let link = if is_link(kind) { link.unwrap_or_else(|| header::link(block)) } else { Vec::new() };
        let size = pax.as_ref().and_then(|pax| pax.size.flatten()).unwrap_or(fields.size);
        Draft { path, kind, fields, link, pax, size }
    }

    /// Names first, so that an error can tell the name.
    pub(super) fn check(&self, offset: u64, limits: &Limits) -> Result<()> {
        let empty = match (self.path.is_empty(), is_link(self.kind) && self.link.is_empty()) {
            (true, _) => Some(Malformed::EmptyName),
            (_, true) => Some(Malformed::EmptyLink),
            _ => None,
        };
        if let Some(what) = empty {
            return Err(malformed(what, offset));
        }
        let most = u64::from(limits.name_bytes);
        if self.path.len().max(self.link.len()) as u64 > most {
            return Err(limit(Limit::NameBytes, most));
        }
        // Those of global headers are among them.
        self.pax.as_ref().map_or(Ok(()), |pax| pax.xattrs.check_count(limits))
    }

    /// The size to read the stream by. A link, device, FIFO or directory with one has no body, as in Go.
    pub(super) fn body(&self, strict: bool) -> Result<(u64, Framing, Vec<EventKind>)> {
        let framing = framing(self.fields.flag, self.kind);
        // GNU `D` has a body by right: the names that the directory had.
        let by_right = framing == Framing::Content || !is_header_only(self.kind) || self.fields.flag == b'D';
        if by_right || self.size == 0 {
            return Ok((self.size, framing, Vec::new()));
        }
        if strict {
            return Err(Cause::Refused(Refusal::HeaderOnlySize).into());
        }
        Ok((self.size, framing, vec![EventKind::HeaderOnlySize(self.size)]))
    }

    pub(super) fn holes(&mut self, block: &Block, offset: u64, limits: &Limits) -> Result<Holes> {
        if self.fields.flag == b'S' {
            // star has an `S` too, laid out otherwise.
            let gnu = header::gnu(block).ok_or_else(|| malformed(Malformed::SparseMap, offset))?;
            let old = Old::parse(gnu, limits.sparse_regions).map_err(|why| why.at(offset))?;
            return Ok(Holes::Old(Box::new(old)));
        }
        let Some(pax) = &mut self.pax else { return Ok(Holes::None) };
        let place = pax.sparse.place();
        if self.kind != EntryKind::File && place != MapPlace::None {
            return Err(malformed(Malformed::SparseMap, offset));
        }
        let size = pax.sparse.size().unwrap_or(self.size);
        match place {
            MapPlace::None => Ok(Holes::None),
            MapPlace::Body => Ok(Holes::Body(size)),
            MapPlace::Records => {
                let map = std::mem::take(&mut pax.sparse).map(limits).map_err(|why| why.at(offset))?;
                Ok(Holes::Records(map, size))
            }
        }
    }

    /// The entry without its body.
    pub(super) fn finish(self, index: u64, offset: u64, events: Vec<EventKind>) -> Entry {
        let Draft { path, kind, fields, link, pax, .. } = self;
        let mut entry = Entry {
            index,
            offset,
            path,
            link,
            kind,
            mode: fields.mode,
            uid: fields.uid,
            gid: fields.gid,
            mtime: second(fields.mtime),
            atime: fields.atime.map(second),
            device: fields.device,
            size: 0,
            stored: 0,
            sparse: None,
            xattrs: Vec::new(),
            acl_access: None,
            acl_default: None,
            events,
        };
        if let Some(pax) = pax {
            override_fields(&mut entry, *pax);
        }
        entry
    }
}

fn override_fields(entry: &mut Entry, pax: Pax) {
    entry.uid = pax.uid.flatten().unwrap_or(entry.uid);
    entry.gid = pax.gid.flatten().unwrap_or(entry.gid);
    entry.mtime = pax.mtime.flatten().unwrap_or(entry.mtime);
    entry.atime = pax.atime.flatten().or(entry.atime);
    entry.xattrs = pax.xattrs.into_pairs();
    entry.acl_access = pax.acl_access.flatten();
    entry.acl_default = pax.acl_default.flatten();
}

fn second(seconds: i64) -> Time {
    Time { seconds, nanoseconds: 0 }
}

/// The kind by the flag and, for old archives' directories, by the final name.
pub(super) fn kind(flag: u8, path: &[u8]) -> EntryKind {
    match flag {
        b'0' | 0 if path.ends_with(b"/") => EntryKind::Directory,
        b'0' | 0 | b'7' | b'S' => EntryKind::File,
        b'5' | b'D' => EntryKind::Directory,
        b'1' => EntryKind::Hardlink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharDevice,
        b'4' => EntryKind::BlockDevice,
        b'6' => EntryKind::Fifo,
        flag => EntryKind::Other(flag),
    }
}

/// Go goes by the flag, but takes a NUL flag and a trailing slash for `5`; so a `0` with a trailing
/// slash has its body, as it has for GNU tar, bsdtar and Python.
fn framing(flag: u8, kind: EntryKind) -> Framing {
    match (flag, kind) {
        (b'1'..=b'6', _) | (0, EntryKind::Directory) => Framing::Nothing,
        (_, EntryKind::File) => Framing::Content,
        _ => Framing::Hidden,
    }
}

fn is_link(kind: EntryKind) -> bool {
    matches!(kind, EntryKind::Hardlink | EntryKind::Symlink)
}

fn is_header_only(kind: EntryKind) -> bool {
    !matches!(kind, EntryKind::File | EntryKind::Other(_))
}
