//! What is made of members: frames, streams, one after the other, and zeros behind the last.
//!
//! A codec is fed and never reads, so a source that stalls interrupts no codec: the input has one owner from the first
//! byte to the last, and where the reading stands is said by `Reading` alone. What it says is left only once what leads out
//! of it has been read.

use std::fmt;
use std::io::{self, BufRead, Read};

/// A format, fed with bytes as they come.
pub(super) trait Codec {
    /// Whether a member can begin with this byte.
    fn begins_with(byte: u8) -> bool;
    /// Ready for another member.
    fn restart(&mut self) -> io::Result<()>;
    /// Decodes what it can, also what it holds of earlier input: `input` may be empty.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Fed;
}

/// What a codec did: also where it fails it may have used and written something.
pub(super) struct Fed {
    pub(super) used: usize,
    pub(super) written: usize,
    /// Whether the member has ended.
    pub(super) ended: io::Result<bool>,
}

enum Reading {
    /// `full`: the codec had no room for all that it has.
    Inside {
        full: bool,
    },
    /// `padded`: zeros were met, and nothing but zeros may follow.
    Between {
        padded: bool,
    },
    Failed(io::Error),
    End,
}

/// All members of a stream.
pub(super) struct Members<R, C> {
    input: R,
    codec: C,
    place: Reading,
}

impl<R: BufRead, C: Codec> Members<R, C> {
    pub(super) fn new(input: R, codec: C) -> Self {
        Members { input, codec, place: Reading::Between { padded: false } }
    }

    /// Another member, the end, or zeros up to the end.
    fn next_member(&mut self, padded: bool) -> io::Result<Reading> {
        let bytes = self.input.fill_buf()?;
        let Some(first) = bytes.first().copied() else { return Ok(Reading::End) };
        let zeros = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        if zeros > 0 {
            self.input.consume(zeros);
            return Ok(Reading::Between { padded: true });
        }
        if padded || !C::begins_with(first) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, Trailing));
        }
        self.codec.restart()?;
        Ok(Reading::Inside { full: false })
    }

    /// Some more of a member: the bytes written, and where that leads.
    fn decode(&mut self, full: bool, buffer: &mut [u8]) -> io::Result<(usize, Reading)> {
        // What the codec still has comes out before anything is waited for.
        let input = if full { &[][..] } else { self.input.fill_buf()? };
        let (there, at_end) = (input.len(), !full && input.is_empty());
        let Fed { used, written, ended } = self.codec.step(input, buffer);
        self.input.consume(used);
        let place = match ended {
            Err(error) => Reading::Failed(error),
            Ok(true) => Reading::Between { padded: false },
            Ok(false) if at_end && written == 0 => Reading::Failed(io::ErrorKind::UnexpectedEof.into()),
            // It would be asked for ever.
            Ok(false) if there > 0 && used == 0 && written == 0 => Reading::Failed(io::ErrorKind::InvalidData.into()),
            Ok(false) => Reading::Inside { full: written == buffer.len() },
        };
        Ok((written, place))
    }
}

impl<R: BufRead, C: Codec> Read for Members<R, C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let (written, place) = match &self.place {
                Reading::End => return Ok(0),
                // It stays failed: what failed has no end.
                Reading::Failed(error) => return Err(again(error)),
                Reading::Between { padded } => (0, self.next_member(*padded).or_else(stays)?),
                Reading::Inside { full } => self.decode(*full, buffer)?,
            };
            self.place = place;
            if written > 0 {
                return Ok(written);
            }
        }
    }
}

/// What is wrong with the stream is for good; what is wrong with the source leaves the place as it is.
fn stays(error: io::Error) -> io::Result<Reading> {
    let ours = error.get_ref().is_some_and(|inner| inner.is::<Trailing>() || inner.is::<TooMuchMemory>());
    if ours { Ok(Reading::Failed(error)) } else { Err(error) }
}

/// Makes the same error once more.
fn again(error: &io::Error) -> io::Error {
    match error.get_ref() {
        Some(inner) if inner.is::<Trailing>() => io::Error::new(error.kind(), Trailing),
        Some(inner) if inner.is::<TooMuchMemory>() => io::Error::new(error.kind(), TooMuchMemory),
        _ => error.kind().into(),
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Trailing;

#[derive(Debug, Clone, Copy)]
pub(super) struct TooMuchMemory;

macro_rules! plain_error {
    ($type:ty, $text:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($text)
            }
        }
        impl std::error::Error for $type {}
    };
}
plain_error!(Trailing, "data after the last member");
plain_error!(TooMuchMemory, "more memory than the limit");
