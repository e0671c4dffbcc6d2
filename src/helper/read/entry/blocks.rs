//! The stream as blocks of 512 bytes and as pieces of any length, with its position.

use super::{Source, malformed};
use crate::helper::fault::Result;
use crate::report::Malformed;
use bytes::Bytes;

/// The size of everything in a tar stream.
pub(super) const BLOCK: usize = 512;

pub(super) type Block = [u8; BLOCK];

pub(super) struct Blocks<S> {
    source: S,
    chunk: Bytes,
    /// How much of `chunk` is consumed.
    used: usize,
    /// The position of the first byte that is not consumed, in the stream.
    position: u64,
    /// A block that lies across the end of a chunk.
    straddle: Block,
}

impl<S: Source> Blocks<S> {
    pub(super) fn new(source: S) -> Blocks<S> {
        Blocks { source, chunk: Bytes::new(), used: 0, position: 0, straddle: [0; BLOCK] }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// The next block, in place unless it straddles two chunks; `None` at the end of the stream.
    pub(super) fn block(&mut self) -> Result<Option<&Block>> {
        if !self.refill()? {
            return Ok(None);
        }
        if self.available() < BLOCK {
            self.fill_straddle()?;
            return Ok(Some(&self.straddle));
        }
        let start = self.used;
        self.consume(BLOCK);
        Ok(self.chunk.get(start..).and_then(|rest| rest.first_chunk()))
    }

    /// The first block, or what there is of it, if nothing behind it has been consumed.
    pub(super) fn only(&self) -> Option<&[u8]> {
        let length = usize::try_from(self.position).ok().filter(|length| *length <= BLOCK)?;
        // In place, or put together in `straddle`.
        let in_place = self.used.checked_sub(BLOCK).and_then(|start| self.chunk.get(start..self.used));
        in_place.or_else(|| self.straddle.get(..length))
    }

    /// The next piece of at most `most` bytes (at least one), shared with the chunk.
    pub(super) fn piece(&mut self, most: u64) -> Result<Bytes> {
        if !self.refill()? {
            return Err(self.truncated());
        }
        let taken = clamp(self.available(), most);
        let piece = self.chunk.slice(self.used..self.used + taken);
        self.consume(taken);
        Ok(piece)
    }

    /// Exactly `length` bytes in one piece; the caller has bounded `length`.
    pub(super) fn gather(&mut self, length: usize) -> Result<Bytes> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let first = self.piece(length as u64)?;
        if first.len() == length {
            return Ok(first);
        }
        // Grows with what has arrived, not with what is promised.
        let mut whole = first.to_vec();
        while let Some(missing) = length.checked_sub(whole.len()).filter(|missing| *missing > 0) {
            whole.extend_from_slice(&self.piece(missing as u64)?);
        }
        Ok(whole.into())
    }

    /// Passes over `count` bytes that must be there.
    pub(super) fn skip(&mut self, count: u64) -> Result<()> {
        match self.pass(count)? {
            0 => Ok(()),
            _ => Err(self.truncated()),
        }
    }

    /// Passes over padding, which the last entry may lack.
    pub(super) fn skip_padding(&mut self, count: u64) -> Result<()> {
        self.pass(count).map(drop)
    }

    /// Reads to the end of the stream: how many bytes, and the first block that is not all zeros, as far as it goes.
    pub(super) fn drain(&mut self) -> Result<(u64, Option<Block>)> {
        let start = self.position;
        let mut first: Option<(Block, usize)> = None;
        while self.refill()? {
            let mut rest = self.chunk.get(self.used..).unwrap_or_default();
            if first.is_none() && !is_zero(rest) {
                let zeros = rest.iter().position(|byte| *byte != 0).unwrap_or(0);
                rest = rest.get(zeros..).unwrap_or_default();
                let before = (self.position - start).wrapping_add(zeros as u64) % BLOCK as u64;
                first = Some(([0; BLOCK], before as usize));
            }
            if let Some((block, filled)) = &mut first {
                let room = block.get_mut(*filled..).unwrap_or_default();
                let length = room.len().min(rest.len());
                room.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                *filled += length;
            }
            self.consume(self.available());
        }
        Ok((self.position - start, first.map(|(block, _)| block)))
    }

    /// The error of a stream that ends here.
    pub(super) fn truncated(&self) -> crate::helper::fault::Fault {
        malformed(Malformed::Truncated, self.position)
    }

    /// Passes over at most `count` bytes; the number of those missing at the end of the stream.
    fn pass(&mut self, mut count: u64) -> Result<u64> {
        while count > 0 && self.refill()? {
            let taken = clamp(self.available(), count);
            self.consume(taken);
            count -= taken as u64;
        }
        Ok(count)
    }

    fn fill_straddle(&mut self) -> Result<()> {
        let mut filled = 0;
        while filled < BLOCK {
            if !self.refill()? {
                return Err(self.truncated());
            }
            let taken = self.available().min(BLOCK - filled);
            self.straddle[filled..filled + taken].copy_from_slice(&self.chunk[self.used..self.used + taken]);
            self.consume(taken);
            filled += taken;
        }
        Ok(())
    }

    /// Whether there is anything left, having fetched the next chunk if need be.
    fn refill(&mut self) -> Result<bool> {
        while self.available() == 0 {
            let Some(chunk) = self.source.next_chunk()? else { return Ok(false) };
            self.chunk = chunk;
            self.used = 0;
        }
        Ok(true)
    }

    fn available(&self) -> usize {
        self.chunk.len() - self.used
    }

    /// `count` is at most what is available.
    fn consume(&mut self, count: usize) {
        self.used += count;
        self.position += count as u64;
    }
}

/// The lesser of the two.
fn clamp(available: usize, most: u64) -> usize {
    usize::try_from(most).map_or(available, |most| most.min(available))
}

/// Looks at the bytes in lots, so that the loop is vectorised and still ends early.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|byte| *byte == 0)
        && bytes.chunks(BLOCK).all(|lot| lot.iter().fold(0, |all, byte| all | byte) == 0)
}

/// The bytes from the end of a body of `size` bytes to the next block.
pub(super) fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}
