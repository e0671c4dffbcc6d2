//! The archive's bytes to the blob's: compressed, counted and digested in one pass, the same bytes with any number of threads.
//!
//! Who writes here does no more than fill a block. Full blocks are digested in one thread and compressed in others, and what
//! comes of them is written in order by whoever writes next; a plain archive has a thread that writes (`sink.rs`). All
//! threads wait for blocks only, or for room where they write, and none for the writer, so the writer may wait for each of
//! them; all memory is in blocks that are counted.

mod blocks;
mod digest;
mod gzip;
mod output;
mod sink;
#[cfg(test)]
mod tests;
mod zstd;

pub(crate) use self::zstd::NoThread;

use crate::cut;
use crate::report::Digest;
use blocks::{BLOCK, Block, Blocks};
use digest::Digesting;
#[cfg(any(fuzzing, test))]
pub(in crate::helper) use gzip::deflated;

use self::zstd::Zstd;
use gzip::Gzip;
use output::Output;
use sink::Sink;
use std::io::{self, Write};
use std::sync::Arc;

/// How the archive is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Not.
    #[default]
    Plain,
    /// One member; level 1 to 9.
    Gzip { level: u32 },
    /// One frame with a check sum; level 1 to 19.
    Zstd { level: i32 },
}

/// What is known at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Bytes that were written to the encoder.
    pub(crate) size: u64,
    /// Their digest, unless digests were not wanted.
    pub(crate) diff_id: Option<Digest>,
    /// Bytes that the encoder has written.
    pub(crate) blob_size: u64,
    /// Their digest.
    pub(crate) digest: Option<Digest>,
}

/// Takes the archive's bytes. Unless `finish` is called what comes out is never whole: it has no trailer.
pub(crate) struct Encoder<W> {
    output: Sink<W>,
    coder: Coder,
    blocks: Blocks,
    /// It is handed on when more comes: only then is it known that it is not the last.
    block: Option<Block>,
    size: u64,
    digesting: Digesting,
    failed: bool,
}

enum Coder {
    Plain,
    Gzip(Box<Gzip>),
    Zstd(Box<Zstd>),
}

impl<W: Write + Send + 'static> Encoder<W> {
    /// With so many threads besides the caller's at most. Where none can be had gzip and digests are done in the caller's
    /// (`lacking`), and zstd, whose bytes without threads are others, is an error (`NoThread`).
    pub(crate) fn new(out: W, encoding: Encoding, threads: usize) -> io::Result<Encoder<W>> {
        let threads = threads.clamp(1, MOST_THREADS);
        let (coder, blocks) = match encoding {
            Encoding::Plain => (Coder::Plain, 0),
            Encoding::Gzip { level } => (Coder::Gzip(Box::new(Gzip::new(level, threads)?)), gzip::waiting(threads)),
            Encoding::Zstd { level } => (Coder::Zstd(Box::new(Zstd::new(level, threads)?)), 0),
        };
        let plain = matches!(coder, Coder::Plain);
        Ok(Encoder {
            output: Sink::new(Output::new(out, !plain), plain && threads > 1),
            coder,
            blocks: Blocks::new(if plain { PLAIN } else { BLOCK }, blocks + BESIDES),
            block: None,
            size: 0,
            digesting: Digesting::new(threads > 1),
            failed: false,
        })
    }

    /// Before anything is written.
    pub(crate) fn without_digests(mut self) -> Encoder<W> {
        self.digesting = Digesting::Nobody;
        // Nothing has been written.
        let _ = self.output.here().map(Output::skip_digest);
        self
    }

    /// The error number for want of which work is done here that was to be done in a thread.
    pub(crate) fn lacking(&self) -> Option<i32> {
        match &self.coder {
            Coder::Gzip(gzip) => gzip.lacking().or(self.digesting.lacking()),
            Coder::Plain => self.output.lacking().or(self.digesting.lacking()),
            Coder::Zstd(_) => self.digesting.lacking(),
        }
    }

    /// Bytes that came in, and bytes that have gone out so far.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.size, self.output.bytes())
    }

    /// Writes what is left, and the trailer.
    pub(crate) fn finish(mut self) -> io::Result<(W, Sums)> {
        let block = self.block.take().unwrap_or_else(|| self.blocks.take());
        self.hand_on(block, true)?;
        let diff_id = self.digesting.finish();
        let plain = matches!(self.coder, Coder::Plain);
        let (mut out, blob_size, digest) = self.output.into_output()?.into_parts();
        out.flush()?;
        let digest = if plain { diff_id } else { digest };
        Ok((out, Sums { size: self.size, diff_id, blob_size, digest }))
    }

    /// Gives up: of a plain archive all that came is written, and one that is compressed has at least begun, since many
    /// take no bytes at all for an empty archive.
    pub(crate) fn break_off(mut self) {
        let _ = self.flush();
        let begun = self.output.bytes() > 0;
        let first: &[u8] = match &self.coder {
            Coder::Gzip(_) if !begun => &cut::GZIP,
            Coder::Zstd(_) if !begun => &cut::ZSTD,
            _ => return,
        };
        // Who cannot write has nothing to be mistaken.
        let _ = self.output.here().and_then(|output| output.write(first));
    }

    /// Has the next bytes read where they belong, without a copy: `read` appends as many as there is room for, of which so many
    /// are wanted at most. Returns how many came.
    pub(crate) fn fill<E: From<io::Error>>(
        &mut self,
        most: usize,
        read: impl FnOnce(&mut Vec<u8>) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let mut block = self.room()?;
        let taken = block.fill_with(most, read);
        self.size += *taken.as_ref().unwrap_or(&0) as u64;
        self.block = Some(block);
        taken
    }

    /// A block that is not full.
    fn room(&mut self) -> io::Result<Block> {
        match self.block.take() {
            Some(full) if full.is_full() => {
                self.hand_on(full, false)?;
                Ok(self.blocks.take())
            }
            begun => Ok(begun.unwrap_or_else(|| self.blocks.take())),
        }
    }

    fn hand_on(&mut self, block: Block, last: bool) -> io::Result<()> {
        if self.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let block = Arc::new(block);
        self.digesting.update(&block);
        let handed_on = match &mut self.coder {
            Coder::Plain => self.output.put(&block),
            Coder::Gzip(gzip) => self.output.here().and_then(|output| gzip.push(block, last, output)),
            Coder::Zstd(zstd) => self.output.here().and_then(|output| zstd.push(&block, last, output)),
        };
        // What was lost cannot be made up for.
        self.failed = handed_on.is_err();
        handed_on
    }
}

impl<W: Write + Send + 'static> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut block = self.room()?;
        let taken = block.fill(bytes);
        self.size += taken as u64;
        self.block = Some(block);
        Ok(taken)
    }

    /// Writes all that can be without other bytes coming out for it: of a plain archive everything.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.coder {
            Coder::Plain => {
                if let Some(begun) = self.block.take() {
                    self.hand_on(begun, false)?;
                }
            }
            // What came after a block that was lost would be in its place.
            Coder::Gzip(gzip) if !self.failed => {
                let drained = self.output.here().and_then(|output| gzip.drain(output));
                self.failed = drained.is_err();
                drained?;
            }
            Coder::Gzip(_) | Coder::Zstd(_) => {}
        }
        self.output.here()?.flush()
    }
}

/// Bytes in a block that is not compressed: fewer are handed from thread to thread.
const PLAIN: usize = 1 << 20;
/// More would wait for the writer.
const MOST_THREADS: usize = 16;
/// Blocks that are filled or digested.
const BESIDES: usize = 6;
