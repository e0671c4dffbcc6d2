//! bzip2 and zstd, fed.

use super::members::{Codec, Fed, TooMuchMemory};
use std::io;
use zstd::stream::raw::{DParameter, InBuffer, Operation as _, OutBuffer};

/// log2 of the largest zstd window: 128 MiB, what `zstd --long` makes and RFC 8878 asks decoders to bound.
const ZSTD_WINDOW_LOG: u32 = 27;
/// What a frame's header takes at least, with its magic.
const ZSTD_START: usize = 5;

pub(super) struct Bzip2(bzip2::Decompress);

impl Bzip2 {
    pub(super) fn new() -> Bzip2 {
        Bzip2(bzip2::Decompress::new(false))
    }
}

impl Codec for Bzip2 {
    fn begins_with(byte: u8) -> bool {
        byte == b'B'
    }

    fn restart(&mut self) -> io::Result<()> {
        *self = Bzip2::new();
        Ok(())
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Fed {
        let before = (self.0.total_in(), self.0.total_out());
        let status = self.0.decompress(input, output);
        // At most as long as the slices.
        let used = (self.0.total_in() - before.0) as usize;
        let written = (self.0.total_out() - before.1) as usize;
        let ended = match status {
            Ok(bzip2::Status::MemNeeded) => Err(io::Error::new(io::ErrorKind::OutOfMemory, TooMuchMemory)),
            Ok(status) => Ok(status == bzip2::Status::StreamEnd),
            Err(_) => Err(io::ErrorKind::InvalidData.into()),
        };
        Fed { used, written, ended }
    }
}

/// Skippable frames too, with one context for all.
pub(super) struct Zstd {
    context: zstd::stream::raw::Decoder<'static>,
    /// How much the library wants next: with just that, one block at a time, it does the same however its input was
    /// cut. Given a whole frame it would take another way, which knows no bound on the window.
    wanted: usize,
}

impl Zstd {
    pub(super) fn new() -> io::Result<Zstd> {
        let mut context = zstd::stream::raw::Decoder::new()?;
        context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
        Ok(Zstd { context, wanted: ZSTD_START })
    }
}

impl Codec for Zstd {
    fn begins_with(byte: u8) -> bool {
        byte == 0x28 || (0x50..=0x5f).contains(&byte)
    }

    /// The context is ready again where a frame has ended.
    fn restart(&mut self) -> io::Result<()> {
        self.wanted = ZSTD_START;
        Ok(())
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Fed {
        let mut source = InBuffer::around(&input[..input.len().min(self.wanted)]);
        let mut target = OutBuffer::around(output);
        let hint = self.context.run(&mut source, &mut target).map_err(zstd_error);
        let (used, written) = (source.pos(), target.pos());
        if let Ok(hint) = hint {
            // Of some of it, only the rest is wanted.
            self.wanted = hint.max(1);
        }
        Fed { used, written, ended: hint.map(|hint| hint == 0) }
    }
}

/// libzstd says it in words only.
fn zstd_error(error: io::Error) -> io::Error {
    let text = error.to_string();
    if text.contains("memory") || text.contains("indow") {
        return io::Error::new(io::ErrorKind::OutOfMemory, TooMuchMemory);
    }
    io::ErrorKind::InvalidData.into()
}
