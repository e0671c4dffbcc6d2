//! Sniffs and decompresses, member by member, without recursion.
//!
//! A source may stall at any byte. Nothing is lost by it, since no state is taken out while something is read
//! (`members.rs`), and nothing is held back: what a codec has is handed on before anybody waits. xz alone waits where
//! it stands, with at most a chunk that is not yet full.

mod codecs;
mod gzip;
mod members;
#[cfg(test)]
mod tests;

use codecs::{Bzip2, Zstd};
use gzip::Gzip;
use members::{Members, TooMuchMemory, Trailing};

use super::input::{Input, Patience, fault_in};
use super::pool::Buffer;
use crate::helper::fault::{Fault, Result};
use crate::options::Compression;
use crate::report::{Cause, Damage};
use crate::sniff::FIRST;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Compressed bytes read at once, after the first.
const INPUT: usize = 256 << 10;
/// Compressed bytes read first: all of a small archive.
const FIRST_INPUT: usize = 16 << 10;
/// Uncompressed, this many and more are read to where they are wanted.
const WORTH_A_CALL: usize = 8 << 10;
/// The most memory for xz: `xz -9e` needs 65 MiB.
const XZ_MEMORY_KIB: u32 = 160 << 10;

/// The uncompressed stream.
pub(crate) struct Decoder {
    inner: Box<dyn Read + Send>,
    format: Compression,
    count: Arc<AtomicU64>,
    patience: Patience,
    /// Met after some bytes that were still good; told once those are used, and from then on.
    failed: Option<Fault>,
    ended: bool,
}

impl Decoder {
    /// Looks at the first bytes, or believes the caller.
    pub(crate) fn open(input: Input, wanted: Compression) -> Result<Decoder> {
        let count = input.counter();
        let patience = input.patience();
        let mut buffered = Buffered { input, buffer: Buffer::new(FIRST), at: 0, end: 0 };
        // Nothing is known yet, so nothing is held back by waiting.
        let found = Compression::sniff(buffered.first_bytes().map_err(|e| read_fault(&e))?);
        let format = match wanted {
            Compression::Detect => found,
            wanted => wanted,
        };
        let offset = count.load(Ordering::Relaxed);
        if !matches!(format, Compression::None) && found != format {
            return Err(Cause::Compressed { format, what: Damage::NotThisFormat, offset: 0 }.into());
        }
        let inner: Box<dyn Read + Send> = match format {
            Compression::Gzip => Box::new(Members::new(buffered, Gzip::new())),
            Compression::Bzip2 => Box::new(Members::new(buffered, Bzip2::new())),
            Compression::Zstd => {
                let codec = Zstd::new().map_err(|e| damage(&e, Compression::Zstd, offset))?;
                Box::new(Members::new(buffered, codec))
            }
            Compression::Xz => {
                // Its reader does not take up where an interruption left it, so nobody else may set how it waits. The
                // crate's fed decoder keeps a record of every block, which a hostile archive makes too many of.
                buffered.input.always_wait();
                Box::new(lzma_rust2::XzReader::new_mem_limit(buffered, true, XZ_MEMORY_KIB))
            }
            Compression::None | Compression::Detect => Box::new(Plain(buffered)),
        };
        Ok(Decoder { inner, format, count, patience, failed: None, ended: false })
    }

    pub(crate) fn format(&self) -> Compression {
        self.format
    }

    /// Counts the bytes of the archive read, to be looked at from elsewhere.
    pub(crate) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.count)
    }

    /// Bytes of the archive read so far.
    pub(crate) fn bytes_in(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The end has been met: there is nothing more to be filled in.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Fills `buffer` as far as the stream goes, or as it has come: what is there is not held back while
    /// the source is stalled. 0 at the end. Calls `waits` before it waits for the source.
    pub(crate) fn fill(&mut self, buffer: &mut [u8], waits: impl Fn()) -> Result<usize> {
        let mut filled = 0;
        // It says nothing before it waits.
        let mut told = self.format == Compression::Xz;
        if told {
            waits();
        }
        while filled < buffer.len() && self.failed.is_none() {
            self.patience.set(told && filled == 0);
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(n) => {
                    filled += n;
                    // A block of xz ends here: what comes behind it may be long in coming.
                    if self.format == Compression::Xz && filled < buffer.len() {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && filled > 0 => break,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && !told => {
                    waits();
                    told = true;
                }
                Err(e) => self.failed = Some(damage(&e, self.format, self.bytes_in())),
            }
        }
        match &self.failed {
            Some(fault) if filled == 0 => Err(fault.clone()),
            _ => Ok(filled),
        }
    }
}

fn read_fault(error: &io::Error) -> Fault {
    fault_in(error).unwrap_or_else(|| Cause::Os(error.raw_os_error().unwrap_or(0)).into())
}

/// What a decoder's error means: the input's own, or damage.
fn damage(error: &io::Error, format: Compression, offset: u64) -> Fault {
    if let Some(fault) = fault_in(error) {
        return fault;
    }
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => Damage::Truncated,
        io::ErrorKind::OutOfMemory => Damage::Memory,
        _ if error.get_ref().is_some_and(|e| e.is::<Trailing>()) => Damage::TrailingGarbage,
        _ if error.get_ref().is_some_and(|e| e.is::<TooMuchMemory>()) => Damage::Memory,
        _ => Damage::Corrupt,
    };
    Cause::Compressed { format, what, offset }.into()
}

/// The input through a buffer that begins at a page.
struct Buffered {
    input: Input,
    buffer: Buffer,
    /// What of it has been read and not used.
    at: usize,
    end: usize,
}

impl Buffered {
    /// What tells the formats apart, less if the archive is shorter; it is read again afterwards.
    fn first_bytes(&mut self) -> io::Result<&[u8]> {
        while self.end < FIRST {
            match self.input.read(&mut self.buffer.bytes()[self.end..]) {
                Ok(0) => break,
                Ok(n) => self.end += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(&self.buffer.bytes()[..self.end])
    }
}

impl BufRead for Buffered {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.end {
            // It was full, so there is more.
            if self.end == self.buffer.length() && self.end < INPUT {
                self.buffer = Buffer::new(if self.end == FIRST { FIRST_INPUT } else { INPUT });
            }
            // Nothing is there until something has come.
            (self.at, self.end) = (0, 0);
            self.end = self.input.read(self.buffer.bytes())?;
        }
        Ok(&self.buffer.bytes()[self.at..self.end])
    }

    fn consume(&mut self, used: usize) {
        self.at = self.end.min(self.at + used);
    }
}

impl Read for Buffered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.end && buffer.len() >= WORTH_A_CALL {
            return self.input.read(buffer);
        }
        let there = self.fill_buf()?;
        let n = there.len().min(buffer.len());
        buffer[..n].copy_from_slice(&there[..n]);
        self.consume(n);
        Ok(n)
    }
}

/// What is not compressed, read to where it is wanted; only the first bytes were buffered.
struct Plain(Buffered);

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.at == self.0.end { self.0.input.read(buffer) } else { self.0.read(buffer) }
    }
}
