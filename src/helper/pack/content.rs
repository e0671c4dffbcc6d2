//! What is in a regular file: its size is a promise (rule 16), and its holes are asked for (rule 11).

use super::archive::{Archive, Failed};
use super::header;
use crate::helper::fault::{Arguments, Attempt, Result, on};
use crate::helper::look::Seen;
use crate::helper::read::entry::Region;
use crate::options::PackOptions;
use crate::report::{Call, Cause, Descriptor, SourceChange};
use rustix::buffer::spare_capacity;
use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, pread};
use std::os::fd::OwnedFd;

/// Files of so many bytes are read before their header is written.
pub(crate) const SMALL: usize = 128 << 10;
/// What is read at once of others, at most.
const STREAM: u64 = 1 << 20;
/// And of those with holes.
const PIECE: usize = 256 << 10;
/// Extents are widened to this, which no file system undercuts: so the same file is packed the same from any of them.
const GRAIN: u64 = 4096;

/// Room for a piece of content.
#[derive(Default)]
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// These bytes of a file, piece by piece into the archive.
    pub(crate) fn copy(
        &mut self,
        file: &OwnedFd,
        region: Region,
        archive: &mut Archive,
    ) -> Result<Option<SourceChange>, Failed> {
        self.0.resize(PIECE, 0);
        let (mut at, end) = (region.offset, region.offset + region.length);
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(PIECE);
            let n = read(file, &mut self.0[..wanted], at)?;
            if n == 0 {
                archive.zeros(end - at)?;
                return Ok(Some(SourceChange::Shrank { at }));
            }
            archive.body(&self.0[..n])?;
            at += n as u64;
        }
        Ok(None)
    }
}

/// All of a file of this size, piece by piece into the archive.
pub(crate) fn stream(file: &OwnedFd, size: u64, archive: &mut Archive) -> Result<Option<SourceChange>, Failed> {
    let mut at = 0;
    while at < size {
        let n = archive.body_from((size - at).min(STREAM), |to| {
            let room = to.capacity() - to.len();
            again(|| pread(file, spare_capacity(to), at)).call(Call::Pread64, || data(room, at))
        })?;
        if n == 0 {
            archive.zeros(size - at)?;
            return Ok(Some(SourceChange::Shrank { at }));
        }
        at += n as u64;
    }
    Ok(None)
}

/// Appends all of a small file of this size, with zeros where it has become shorter: one call, if nobody writes to it.
pub(crate) fn append(file: &OwnedFd, size: usize, to: &mut Vec<u8>) -> Result<Option<SourceChange>> {
    let start = to.len();
    // One byte more than it should have.
    to.reserve(size + 1);
    let mut there = 0;
    while there <= size {
        let room = to.capacity() - to.len();
        let n =
            again(|| pread(file, spare_capacity(to), there as u64)).call(Call::Pread64, || data(room, there as u64))?;
        there += n;
        // Less than was asked for is all that there is: `read(2)`.
        if n == 0 || there == size {
            break;
        }
    }
    to.resize(start + size, 0);
    Ok(match there {
        there if there > size => Some(SourceChange::Grew { size: size as u64 }),
        there if there < size => Some(SourceChange::Shrank { at: there as u64 }),
        _ => None,
    })
}

fn read(file: &OwnedFd, buffer: &mut [u8], at: u64) -> Result<usize> {
    let room = buffer.len();
    again(|| pread(file, &mut *buffer, at)).call(Call::Pread64, || data(room, at))
}

fn again(mut read: impl FnMut() -> Result<usize, Errno>) -> Result<usize, Errno> {
    loop {
        match read() {
            Err(Errno::INTR) => {}
            read => return read,
        }
    }
}

fn data(room: usize, at: u64) -> Arguments {
    on(Descriptor::File).with(format_args!("<data>, {room}, {at}"))
}

/// It has fewer blocks than its size wants, and holes are packed as such.
pub(crate) fn may_have_holes(seen: &Seen, options: &PackOptions) -> bool {
    !options.dense && seen.size > 0 && seen.blocks.saturating_mul(512) < seen.size
}

/// Whether two files have the same content of this size; `look` is asked now and then whether to go on.
pub(crate) fn same(
    one: &OwnedFd,
    other: &OwnedFd,
    size: u64,
    mut look: impl FnMut() -> std::result::Result<(), Cause>,
) -> Result<bool> {
    let (mut buffers, mut at) = ([vec![0; SMALL], vec![0; SMALL]], 0);
    while at < size {
        let wanted = usize::try_from(size - at).unwrap_or(SMALL).min(SMALL);
        let [a, b] = &mut buffers;
        let n = read(one, &mut a[..wanted], at)?;
        let m = whole(other, &mut b[..n], at)?;
        if n == 0 || a[..n] != b[..m] {
            return Ok(false);
        }
        at += n as u64;
        look()?;
    }
    Ok(true)
}

/// As much as there is, up to so much.
fn whole(file: &OwnedFd, buffer: &mut [u8], at: u64) -> Result<usize> {
    let mut there = 0;
    while there < buffer.len() {
        match read(file, &mut buffer[there..], at + there as u64)? {
            0 => break,
            n => there += n,
        }
    }
    Ok(there)
}

/// Where a file has content.
pub(crate) enum Extents {
    /// Everywhere.
    Dense,
    Sparse(Vec<Region>),
    /// It has holes, but too many for a list.
    TooMany,
}

/// Asks for the holes of a file.
pub(crate) fn extents(file: &OwnedFd, size: u64, most: u32) -> Result<Extents> {
    let mut regions: Vec<Region> = Vec::new();
    let mut at = 0;
    while let Some((start, end)) = next(file, at, size)? {
        let (start, end) = (start - start % GRAIN, end.checked_next_multiple_of(GRAIN).unwrap_or(size).min(size));
        match regions.last_mut() {
            Some(last) if start <= last.offset + last.length => last.length = end - last.offset,
            _ => regions.push(Region { offset: start, length: end - start }),
        }
        if regions.len() > most as usize {
            return Ok(Extents::TooMany);
        }
        at = end;
    }
    Ok(match &regions[..] {
        [Region { offset: 0, length }] if *length == size => Extents::Dense,
        regions if header::map_fits(size, regions) => Extents::Sparse(regions.to_vec()),
        _ => Extents::TooMany,
    })
}

/// The next content at or after `from`; all that there is where the file system has no holes.
fn next(file: &OwnedFd, from: u64, size: u64) -> Result<Option<(u64, u64)>> {
    if from >= size {
        return Ok(None);
    }
    let start = match seek(file, SeekFrom::Data(from)) {
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL) => from,
        start => start.call(Call::Lseek, || on(Descriptor::File).with(format_args!("{from}, SEEK_DATA")))?,
    };
    let end = seek(file, SeekFrom::Hole(start)).unwrap_or(size).min(size);
    Ok((start < end).then_some((start, end)))
}

/// Bytes of content that such a file has in an archive, without the map.
pub(crate) fn stored(regions: &[Region]) -> u64 {
    regions.iter().map(|region| region.length).sum()
}
