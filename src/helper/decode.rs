//! Sniffs and decompresses, member by member, without recursion.

use super::fault::{Fault, Result};
use super::input::{Input, Patience, fault_in};
use super::pool::Buffer;
use crate::{Cause, Compression, Damage};
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use zstd::stream::raw::{DParameter, InBuffer, Operation as _, OutBuffer};

/// Compressed bytes read at once, after the first.
const INPUT: usize = 256 << 10;
/// Compressed bytes read first: all of a small archive.
const FIRST_INPUT: usize = 16 << 10;
/// Uncompressed, this many and more are read to where they are wanted.
const WORTH_A_CALL: usize = 8 << 10;
/// log2 of the largest zstd window: 128 MiB, what `zstd --long` makes and RFC 8878 asks decoders to bound.
const ZSTD_WINDOW_LOG: u32 = 27;
/// The most memory for xz: `xz -9e` needs 65 MiB.
const XZ_MEMORY_KIB: u32 = 160 << 10;

/// The uncompressed stream.
pub(crate) struct Decoder {
    inner: Box<dyn Read + Send>,
    format: Compression,
    count: Arc<AtomicU64>,
    patience: Patience,
    /// Met after some bytes that were still good; told once those are used.
    failed: Option<Fault>,
    ended: bool,
}

impl Decoder {
    /// Looks at the first bytes, or believes the caller.
    pub(crate) fn open(input: Input, wanted: Compression) -> Result<Decoder> {
        let count = input.counter();
        let patience = input.patience();
        let mut buffered = Buffered { input, buffer: Buffer::new(MAGIC), at: 0, end: 0 };
        let first = buffered.first_bytes().map_err(|e| read_fault(&e))?;
        let format = match wanted {
            Compression::Detect => sniff(&first),
            wanted => wanted,
        };
        let offset = count.load(Ordering::Relaxed);
        if !matches!(format, Compression::None) && sniff(&first) != format {
            return Err(Cause::Compressed { format, what: Damage::NotThisFormat, offset: 0 }.into());
        }
        let inner: Box<dyn Read + Send> = match format {
            Compression::Gzip => Box::new(Members::<_, Gzip>::new(buffered)),
            Compression::Bzip2 => Box::new(Members::<_, Bzip2>::new(buffered)),
            Compression::Zstd => Box::new(Zstd::new(buffered).map_err(|e| damage(&e, Compression::Zstd, offset))?),
            Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(buffered, true, XZ_MEMORY_KIB)),
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
    /// the source is stalled. 0 at the end.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if let Some(fault) = self.failed.take() {
            return Err(fault);
        }
        let mut filled = 0;
        while filled < buffer.len() {
            // The xz reader does not take up where an interruption left it.
            self.patience.set(filled == 0 || self.format == Compression::Xz);
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && filled > 0 => break,
                Err(e) => {
                    self.failed = Some(damage(&e, self.format, self.bytes_in()));
                    break;
                }
            }
        }
        match self.failed.take_if(|_| filled == 0) {
            Some(fault) => Err(fault),
            None => Ok(filled),
        }
    }
}

const MAGIC: usize = 6;

fn sniff(first: &[u8]) -> Compression {
    match first {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Bzip2,
        _ => Compression::None,
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
    /// As many bytes as the longest magic has, fewer if the archive is shorter; they are read again afterwards.
    fn first_bytes(&mut self) -> io::Result<[u8; MAGIC]> {
        let mut first = [0; MAGIC];
        while self.end < MAGIC {
            match self.input.read(&mut first[self.end..]) {
                Ok(0) => break,
                Ok(n) => self.end += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.buffer.bytes()[..MAGIC].copy_from_slice(&first);
        Ok(first)
    }
}

impl BufRead for Buffered {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.end {
            // It was full, so there is more.
            if self.end == self.buffer.length() && self.end < INPUT {
                self.buffer = Buffer::new(if self.end == MAGIC { FIRST_INPUT } else { INPUT });
            }
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

#[derive(Debug, Clone, Copy)]
struct Trailing;

#[derive(Debug, Clone, Copy)]
struct TooMuchMemory;

macro_rules! plain_error {
    ($type:ty, $text:literal) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($text)
            }
        }
        impl std::error::Error for $type {}
    };
}
plain_error!(Trailing, "data after the last member");
plain_error!(TooMuchMemory, "more memory than the limit");

/// What follows the end of a member.
enum Next {
    End,
    Member,
}

/// Another member, the end, or padding with zeros to the end.
fn next_member(input: &mut impl BufRead, magic: u8) -> io::Result<Next> {
    match input.fill_buf()?.first() {
        None => Ok(Next::End),
        Some(0) => loop {
            let zeros = input.fill_buf()?;
            let n = zeros.len();
            match zeros.iter().all(|b| *b == 0) {
                _ if n == 0 => return Ok(Next::End),
                true => input.consume(n),
                false => return Err(io::Error::new(io::ErrorKind::InvalidData, Trailing)),
            }
        },
        Some(b) if *b == magic => Ok(Next::Member),
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, Trailing)),
    }
}

/// A format whose members follow each other.
trait Format<R>: Sized {
    type Member: Read;
    const MAGIC: u8;
    fn open(input: R) -> Self::Member;
    fn close(member: Self::Member) -> R;
}

struct Gzip;

impl<R: BufRead> Format<R> for Gzip {
    type Member = flate2::bufread::GzDecoder<R>;
    const MAGIC: u8 = 0x1f;
    fn open(input: R) -> Self::Member {
        flate2::bufread::GzDecoder::new(input)
    }
    fn close(member: Self::Member) -> R {
        member.into_inner()
    }
}

struct Bzip2;

impl<R: BufRead> Format<R> for Bzip2 {
    type Member = bzip2::bufread::BzDecoder<R>;
    const MAGIC: u8 = b'B';
    fn open(input: R) -> Self::Member {
        bzip2::bufread::BzDecoder::new(input)
    }
    fn close(member: Self::Member) -> R {
        member.into_inner()
    }
}

/// All members of a stream, one after the other.
struct Members<R, F: Format<R>> {
    member: Option<F::Member>,
}

impl<R: BufRead, F: Format<R>> Members<R, F> {
    fn new(input: R) -> Self {
        Members { member: Some(F::open(input)) }
    }
}

impl<R: BufRead, F: Format<R>> Read for Members<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            match member.read(buffer)? {
                0 if !buffer.is_empty() => {}
                n => return Ok(n),
            }
            let Some(member) = self.member.take() else { break };
            let mut input = F::close(member);
            if let Next::Member = next_member(&mut input, F::MAGIC)? {
                self.member = Some(F::open(input));
            }
        }
        Ok(0)
    }
}

/// zstd, frame by frame, skippable ones too, with one context.
struct Zstd<R> {
    input: R,
    context: zstd::stream::raw::Decoder<'static>,
    /// Inside a frame.
    open: bool,
    done: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(input: R) -> io::Result<Self> {
        let mut context = zstd::stream::raw::Decoder::new()?;
        context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
        Ok(Zstd { input, context, open: false, done: false })
    }

    /// Between frames: whether another one begins.
    fn another(&mut self) -> io::Result<bool> {
        let Some(first) = self.input.fill_buf()?.first().copied() else { return Ok(false) };
        let magic = if (0x50..=0x5f).contains(&first) { first } else { 0x28 };
        Ok(matches!(next_member(&mut self.input, magic)?, Next::Member))
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.done {
            if !self.open {
                self.done = !self.another()?;
                self.open = true;
                continue;
            }
            let bytes = self.input.fill_buf()?;
            let at_end = bytes.is_empty();
            let mut input = InBuffer::around(bytes);
            let mut output = OutBuffer::around(buffer);
            let hint = self.context.run(&mut input, &mut output).map_err(zstd_error)?;
            let (used, written) = (input.pos(), output.pos());
            self.input.consume(used);
            if hint == 0 {
                self.open = false;
            } else if at_end && written == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }
}

/// libzstd says it in words only.
fn zstd_error(error: io::Error) -> io::Error {
    let text = error.to_string();
    if text.contains("memory") || text.contains("indow") {
        return io::Error::new(io::ErrorKind::OutOfMemory, TooMuchMemory);
    }
    error
}
