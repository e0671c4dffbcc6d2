//! The bytes of an entry's headers: those of Go's `archive/tar` (`FormatPAX`) for everything that both can say. Pure.
//!
//! `docs/pack-semantics.md`, "Header bytes".

mod block;
mod records;
#[cfg(test)]
mod tests;

use crate::helper::read::entry::{Region, Time};
use crate::report::EntryKind;
use block::{Block, Text};
use records::Records;
use std::borrow::Cow;

/// Two zero blocks, and nothing after them.
pub(crate) const END: [u8; 1024] = [0; 1024];
/// Bytes of records that one entry may have, and of a sparse map: Go refuses to write or read more.
pub(crate) const MOST: usize = 1 << 20;

/// An entry, without its content.
#[derive(Clone, Debug)]
pub(crate) struct Header<'a> {
    /// Relative and without `..`; a directory's ends in `/`.
    pub(crate) name: &'a [u8],
    /// What a link leads to; empty for all else.
    pub(crate) link: &'a [u8],
    pub(crate) kind: EntryKind,
    /// The low 12 bits are written.
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Bytes of content, holes included; 0 is written for all but files.
    pub(crate) size: u64,
    pub(crate) mtime: Time,
    /// Major and minor.
    pub(crate) device: Option<(u32, u32)>,
    /// `SCHILY.*` and `LIBARCHIVE.*`: key and value, in any order.
    pub(crate) records: &'a [(Vec<u8>, Vec<u8>)],
    /// The data of a file with holes, in order, in whole blocks but at the file's end; written as PAX 1.0. Their bytes
    /// follow the header one after the other.
    pub(crate) sparse: Option<&'a [Region]>,
}

/// Why an entry has no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwritable {
    /// A tar has no type for it.
    Kind,
    /// It is empty, has a NUL, or ends in `/` and is no directory's.
    Name,
    /// It has a NUL, or a link has none.
    Link,
    /// A number is too large for every form.
    Number,
    /// A record's key is empty, or has `=` or NUL.
    Key,
    /// So many bytes of records are more than [`MOST`].
    Records(usize),
    /// The data are no file's, out of order, overlap, end behind the file, or within a block before its end.
    Map,
    /// So many bytes of sparse map are more than [`MOST`].
    MapBytes(usize),
}

impl Header<'_> {
    /// Appends the headers, with the sparse map if there is one. On an error nothing is appended.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        let flag = flag(self.kind).ok_or(Unwritable::Kind)?;
        self.check()?;
        let map = self.sparse.map(|data| map(self.size, data)).transpose()?;
        let stored = self.stored(map.as_ref().map_or(0, Vec::len))?;
        let mut records = self.own_records(stored);
        let split = split(self.name);
        let fits = records.is_empty() || records.is_path_alone() && split.is_some();
        if fits && self.records.is_empty() && self.sparse.is_none() {
            self.plain(out, flag, stored, split).end();
            return Ok(());
        }
        records.extend(self.records);
        if self.sparse.is_some() {
            records.sparse(self.name, self.size);
        }
        let length = records.length()?;
        extended(out, self.name, length);
        records.append(out);
        out.resize(out.len() + padding(length as u64), 0);
        self.cut(out, flag, stored).end();
        out.extend(map.unwrap_or_default());
        Ok(())
    }

    fn check(&self) -> Result<(), Unwritable> {
        let slash = self.name.ends_with(b"/");
        let is_link = matches!(self.kind, EntryKind::Symlink | EntryKind::Hardlink);
        if self.name.is_empty() || self.name.contains(&0) || slash && !is_link && self.kind != EntryKind::Directory {
            return Err(Unwritable::Name);
        }
        if self.link.contains(&0) || is_link && self.link.is_empty() {
            return Err(Unwritable::Link);
        }
        if self.sparse.is_some() && self.kind != EntryKind::File {
            return Err(Unwritable::Map);
        }
        let (major, minor) = self.device.unwrap_or_default();
        let fit = block::fits(8, major.into()) && block::fits(8, minor.into());
        let natural = [self.uid, self.gid, self.size].iter().all(|number| i64::try_from(*number).is_ok());
        if fit && natural { Ok(()) } else { Err(Unwritable::Number) }
    }

    /// What follows the header, the map of so many bytes included.
    fn stored(&self, map: usize) -> Result<u64, Unwritable> {
        match (self.kind, self.sparse) {
            // Their sum is at most the size, since they do not overlap.
            (EntryKind::File, Some(data)) => {
                let stored = data.iter().map(|region| region.length).sum::<u64>() + map as u64;
                if i64::try_from(stored).is_ok() { Ok(stored) } else { Err(Unwritable::Number) }
            }
            (EntryKind::File, None) => Ok(self.size),
            _ => Ok(0),
        }
    }

    /// What does not fit into the header.
    fn own_records(&self, stored: u64) -> Records<'_> {
        let mut records = Records::default();
        if !(self.name.is_ascii() && self.name.len() <= block::NAME.len()) {
            records.path(self.name);
        }
        if !(self.link.is_ascii() && self.link.len() <= block::LINK.len()) {
            records.link(self.link);
        }
        for (key, value, field) in
            [(&b"uid"[..], self.uid, block::UID), (b"gid", self.gid, block::GID), (b"size", stored, block::SIZE)]
        {
            if !block::fits(field.len(), value) {
                records.number(key, value);
            }
        }
        if self.mtime.nanoseconds != 0 || !u64::try_from(self.mtime.seconds).is_ok_and(|s| block::fits(12, s)) {
            records.mtime(self.mtime);
        }
        records
    }

    /// All of it fits.
    fn plain<'o>(&self, out: &'o mut Vec<u8>, flag: u8, stored: u64, split: Option<(&[u8], &[u8])>) -> Block<'o> {
        let (prefix, name) = split.unwrap_or((b"", self.name));
        self.block(out, flag, stored, name, self.link).text(block::PREFIX, prefix)
    }

    /// Its records say what does not fit.
    fn cut<'o>(&self, out: &'o mut Vec<u8>, flag: u8, stored: u64) -> Block<'o> {
        let link = ascii(self.link);
        if self.sparse.is_some() {
            let name: Vec<u8> = beside(self.name, b"GNUSparseFile.0").collect();
            return self.block(out, flag, stored, &name, &link);
        }
        self.block(out, flag, stored, &ascii(self.name), &link)
    }

    fn block<'o>(&self, out: &'o mut Vec<u8>, flag: u8, stored: u64, name: Text<'_>, link: Text<'_>) -> Block<'o> {
        let (major, minor) = self.device.unwrap_or_default();
        Block::begin(out, flag)
            .text(block::NAME, name)
            .text(block::LINK, link)
            .octal(block::MODE, (self.mode & 0o7777).into())
            .octal(block::UID, self.uid)
            .octal(block::GID, self.gid)
            .octal(block::SIZE, stored)
            .octal(block::MTIME, u64::try_from(self.mtime.seconds).unwrap_or(0))
            .octal(block::MAJOR, major.into())
            .octal(block::MINOR, minor.into())
    }
}

/// Zeros after a body of so many bytes, up to a whole block.
pub(crate) fn padding(body: u64) -> usize {
    // Less than a block.
    (body.wrapping_neg() % block::BYTES as u64) as usize
}

/// Whether a sparse map is short enough to be written.
pub(crate) fn map_fits(size: u64, data: &[Region]) -> bool {
    map(size, data).is_ok()
}

/// PAX 1.0: numbers in decimal, a line each: how many, then offset and length. The end of the file is told by an empty
/// region if nothing else tells it.
fn map(size: u64, data: &[Region]) -> Result<Vec<u8>, Unwritable> {
    let mut end = 0;
    for region in data {
        if region.offset < end {
            return Err(Unwritable::Map);
        }
        end = region.offset.checked_add(region.length).filter(|end| *end <= size).ok_or(Unwritable::Map)?;
        // GNU tar looks for the next region in the next block.
        if region.length % block::BYTES as u64 != 0 && end != size {
            return Err(Unwritable::Map);
        }
    }
    let last = (end < size || data.is_empty()).then_some(Region { offset: size, length: 0 });
    let mut text = format!("{}\n", data.len() + usize::from(last.is_some())).into_bytes();
    for region in data.iter().chain(&last) {
        text.extend(format!("{}\n{}\n", region.offset, region.length).into_bytes());
        if text.len() > MOST {
            return Err(Unwritable::MapBytes(text.len()));
        }
    }
    text.resize(text.len().next_multiple_of(block::BYTES), 0);
    Ok(text)
}

/// The name as prefix and name, where it does not fit by itself and can be cut at a `/`.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let (short, longest) = (block::NAME.len(), block::PREFIX.len());
    if name.len() <= short || !name.is_ascii() {
        return None;
    }
    let searched = match name.len() {
        // A directory's own `/` is no place to cut.
        length if length <= longest + 1 => length - usize::from(name.ends_with(b"/")),
        _ => longest + 1,
    };
    let cut = name.get(..searched)?.iter().rposition(|byte| *byte == b'/')?;
    let (prefix, rest) = name.split_at_checked(cut)?;
    let rest = rest.get(1..)?;
    (cut > 0 && cut <= longest && !rest.is_empty() && rest.len() <= short).then_some((prefix, rest))
}

/// The header of an extended header with so many bytes of records.
fn extended(out: &mut Vec<u8>, name: &[u8], length: usize) {
    let (mut text, mut end) = ([0; block::NAME.end - block::NAME.start], 0);
    text.iter_mut().zip(beside(name, b"PaxHeaders.0")).for_each(|(to, byte)| (*to, end) = (byte, end + 1));
    let mut name = text.get(..end).unwrap_or_default();
    while let Some(shorter) = name.strip_suffix(b"/") {
        name = shorter;
    }
    let block = Block::begin(out, b'x').text(block::NAME, name).octal(block::SIZE, length as u64);
    [block::MODE, block::UID, block::GID, block::MTIME]
        .into_iter()
        .fold(block, |block, field| block.octal(field, 0))
        .end();
}

/// `DIR/FOLDER/BASE`, without what is empty or `.` on the way, and without the bytes that a field must not have.
fn beside<'n>(name: &'n [u8], folder: &'n [u8]) -> impl Iterator<Item = u8> + use<'n> {
    let cut = name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (dir, base) = name.split_at(cut);
    let on_the_way = dir.split(|byte| *byte == b'/').filter(|part| !matches!(part, [] | [b'.']));
    let above = on_the_way.flat_map(|part| part.iter().chain(b"/"));
    let base = (!base.is_empty()).then(|| b"/".iter().chain(base)).into_iter().flatten();
    above.chain(folder).chain(base).copied().filter(|byte| is_text(*byte))
}

/// Without the bytes that a field must not have.
fn ascii(text: &[u8]) -> Cow<'_, [u8]> {
    if text.iter().all(|byte| is_text(*byte)) {
        return text.into();
    }
    text.iter().copied().filter(|byte| is_text(*byte)).collect()
}

fn is_text(byte: u8) -> bool {
    byte.is_ascii() && byte != 0
}

fn flag(kind: EntryKind) -> Option<u8> {
    Some(match kind {
        EntryKind::File => b'0',
        EntryKind::Hardlink => b'1',
        EntryKind::Symlink => b'2',
        EntryKind::CharDevice => b'3',
        EntryKind::BlockDevice => b'4',
        EntryKind::Directory => b'5',
        EntryKind::Fifo => b'6',
        _ => return None,
    })
}
