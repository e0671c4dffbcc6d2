//! gzip, fed: the header and the trailer here, the deflate stream by the crate.
//!
//! The crate's own reader takes its input with it, and could not be asked for what it holds while the source stalls.

use super::members::{Codec, Fed};
use flate2::{Crc, Decompress, FlushDecompress, Status};
use std::io;

/// The most of a file name or a comment in a header.
const LONGEST_TEXT: u32 = 65_535;

const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// What is read next.
#[derive(Clone, Copy)]
enum Part {
    Fixed,
    ExtraLength,
    Extra { left: u16 },
    Name { length: u32 },
    Comment { length: u32 },
    HeaderCrc,
    Body,
    Trailer,
    End,
}

pub(super) struct Gzip {
    part: Part,
    flags: u8,
    /// A field of a known length, as far as it has come.
    field: [u8; 10],
    have: usize,
    header: Crc,
    inflate: Decompress,
    content: Crc,
}

impl Gzip {
    pub(super) fn new() -> Gzip {
        Gzip {
            part: Part::Fixed,
            flags: 0,
            field: [0; 10],
            have: 0,
            header: Crc::new(),
            inflate: Decompress::new(false),
            content: Crc::new(),
        }
    }

    /// Takes a field of `length` bytes; true once it is whole.
    fn field(&mut self, rest: &mut &[u8], length: usize) -> bool {
        let taken = rest.len().min(length - self.have);
        self.field[self.have..self.have + taken].copy_from_slice(&rest[..taken]);
        *rest = &rest[taken..];
        self.have += taken;
        let whole = self.have == length;
        if whole {
            self.have = 0;
        }
        whole
    }

    /// Goes on in the header or the trailer; false where more bytes are needed.
    fn advance(&mut self, rest: &mut &[u8]) -> io::Result<bool> {
        let next = match self.part {
            Part::Fixed => self.field(rest, 10).then(|| self.begin()).transpose()?,
            Part::ExtraLength if self.flags & EXTRA == 0 => Some(Part::Name { length: 0 }),
            Part::ExtraLength => self.field(rest, 2).then(|| {
                self.header.update(&self.field[..2]);
                Part::Extra { left: u16::from_le_bytes([self.field[0], self.field[1]]) }
            }),
            Part::Extra { left: 0 } => Some(Part::Name { length: 0 }),
            Part::Extra { left } => self.pass(rest, left),
            Part::Name { .. } if self.flags & NAME == 0 => Some(Part::Comment { length: 0 }),
            Part::Name { length } => {
                self.text(rest, length, |length| Part::Name { length }, Part::Comment { length: 0 })?
            }
            Part::Comment { .. } if self.flags & COMMENT == 0 => Some(Part::HeaderCrc),
            Part::Comment { length } => self.text(rest, length, |length| Part::Comment { length }, Part::HeaderCrc)?,
            Part::HeaderCrc if self.flags & HEADER_CRC == 0 => Some(Part::Body),
            Part::HeaderCrc => self.field(rest, 2).then(|| self.check_header()).transpose()?,
            Part::Trailer => self.field(rest, 8).then(|| self.check_content()).transpose()?,
            Part::Body | Part::End => None,
        };
        self.part = next.unwrap_or(self.part);
        Ok(next.is_some())
    }

    fn begin(&mut self) -> io::Result<Part> {
        self.flags = self.field[3];
        if self.field[..3] != [0x1f, 0x8b, 8] || self.flags & RESERVED != 0 {
            return Err(corrupt());
        }
        self.header.update(&self.field);
        Ok(Part::ExtraLength)
    }

    fn pass(&mut self, rest: &mut &[u8], left: u16) -> Option<Part> {
        let taken = rest.len().min(left.into());
        self.header.update(&rest[..taken]);
        *rest = &rest[taken..];
        // It is at most `left`.
        (taken > 0).then(|| Part::Extra { left: left - taken as u16 })
    }

    /// Up to a NUL, which leads to `after`.
    fn text(
        &mut self,
        rest: &mut &[u8],
        length: u32,
        more: impl Fn(u32) -> Part,
        after: Part,
    ) -> io::Result<Option<Part>> {
        let end = rest.iter().position(|byte| *byte == 0);
        let text = end.unwrap_or(rest.len());
        let length = length.saturating_add(u32::try_from(text).unwrap_or(u32::MAX));
        if length > LONGEST_TEXT {
            return Err(corrupt());
        }
        let taken = end.map_or(text, |end| end + 1);
        self.header.update(&rest[..taken]);
        *rest = &rest[taken..];
        Ok(if end.is_some() { Some(after) } else { (taken > 0).then(|| more(length)) })
    }

    fn check_header(&self) -> io::Result<Part> {
        // The lower half of the check sum.
        let told = u16::from_le_bytes([self.field[0], self.field[1]]);
        if u32::from(told) == self.header.sum() & 0xffff { Ok(Part::Body) } else { Err(corrupt()) }
    }

    fn check_content(&self) -> io::Result<Part> {
        let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| self.field[at + i]));
        let right = (number(0), number(4)) == (self.content.sum(), self.content.amount());
        if right { Ok(Part::End) } else { Err(corrupt()) }
    }

    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Fed {
        let before = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(input, output, FlushDecompress::None);
        // At most as long as the slices.
        let used = (self.inflate.total_in() - before.0) as usize;
        let written = (self.inflate.total_out() - before.1) as usize;
        self.content.update(&output[..written]);
        let ended = status.map(|status| status == Status::StreamEnd).map_err(|_| corrupt());
        if let Ok(true) = ended {
            self.part = Part::Trailer;
        }
        Fed { used, written, ended: ended.map(|_| false) }
    }
}

impl Codec for Gzip {
    fn begins_with(byte: u8) -> bool {
        byte == 0x1f
    }

    fn restart(&mut self) -> io::Result<()> {
        (self.part, self.have) = (Part::Fixed, 0);
        self.header = Crc::new();
        self.content = Crc::new();
        self.inflate.reset(false);
        Ok(())
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Fed {
        let mut rest = input;
        loop {
            match self.part {
                Part::End => return Fed { used: input.len() - rest.len(), written: 0, ended: Ok(true) },
                Part::Body => {
                    let mut step = self.inflate(rest, output);
                    rest = &rest[step.used..];
                    step.used = input.len() - rest.len();
                    if step.written > 0 || step.ended.is_err() || matches!(self.part, Part::Body) {
                        return step;
                    }
                }
                _ => match self.advance(&mut rest) {
                    Ok(true) => {}
                    result => {
                        return Fed { used: input.len() - rest.len(), written: 0, ended: result };
                    }
                },
            }
        }
    }
}

fn corrupt() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
