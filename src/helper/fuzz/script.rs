//! A source that gives its bytes in pieces and stalls between them, as it is told: what a pipe does, without a pipe.

use std::io;

/// So many bytes come at once; `stall`: only once somebody waits for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) length: usize,
    pub(crate) stall: bool,
}

/// Bytes and their schedule; what it leaves over comes at once.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    bytes: Vec<u8>,
    at: usize,
    /// The next one last.
    pieces: Vec<Piece>,
    /// What has come and was not read.
    there: usize,
    /// The stall at the end, before the end is known.
    last: bool,
}

impl Script {
    pub(crate) fn new(bytes: &[u8], pieces: &[Piece]) -> Script {
        let pieces = pieces.iter().rev().filter(|piece| piece.length > 0).copied().collect();
        Script { bytes: bytes.to_vec(), at: 0, pieces, there: 0, last: true }
    }

    /// All at once.
    pub(crate) fn whole(bytes: &[u8]) -> Script {
        Script { last: false, ..Script::new(bytes, &[]) }
    }

    pub(crate) fn read(&mut self, patient: bool, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.bytes.len() - self.at;
        if self.there == 0 {
            let piece = self.pieces.last().copied().unwrap_or(Piece { length: left.max(1), stall: self.last });
            if piece.stall && !patient {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            if self.pieces.pop().is_none() {
                self.last = left > 0 && self.last;
            }
            self.there = piece.length;
        }
        let n = self.there.min(buffer.len()).min(left);
        buffer[..n].copy_from_slice(&self.bytes[self.at..self.at + n]);
        self.at += n;
        self.there = if self.at == self.bytes.len() { 0 } else { self.there - n };
        Ok(n)
    }
}
