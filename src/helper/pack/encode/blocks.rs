//! Blocks of memory of one size, and so many at most: each comes back with the last that holds it.

use std::ops::Deref;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Bytes of the archive in one block: what gzip compresses by itself.
pub(super) const BLOCK: usize = 256 << 10;

pub(super) struct Blocks {
    size: usize,
    /// How many more may be made.
    left: usize,
    back: Receiver<Vec<u8>>,
    give_back: Sender<Vec<u8>>,
}

/// A block, empty at first.
pub(super) struct Block {
    bytes: Vec<u8>,
    size: usize,
    give_back: Sender<Vec<u8>>,
}

impl Blocks {
    pub(super) fn new(size: usize, most: usize) -> Blocks {
        let (give_back, back) = channel();
        Blocks { size, left: most, back, give_back }
    }

    /// Where all are out it waits for one: whoever asks must not hold them all.
    pub(super) fn take(&mut self) -> Block {
        let bytes = match self.back.try_recv() {
            Ok(bytes) => bytes,
            Err(_) if self.left > 0 => {
                self.left -= 1;
                Vec::with_capacity(self.size)
            }
            // It does not fail: this end is open too.
            Err(_) => self.back.recv().unwrap_or_default(),
        };
        Block { bytes, size: self.size, give_back: self.give_back.clone() }
    }
}

impl Block {
    /// Takes as much as there is room for.
    pub(super) fn fill(&mut self, from: &[u8]) -> usize {
        let taken = from.len().min(self.size - self.bytes.len());
        self.bytes.extend_from_slice(&from[..taken]);
        taken
    }

    /// Has `read` append as much as there is room for, of which so much is wanted.
    pub(super) fn fill_with<E>(
        &mut self,
        most: usize,
        read: impl FnOnce(&mut Vec<u8>) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let start = self.bytes.len();
        let done = read(&mut self.bytes);
        self.bytes.truncate((start + most).min(self.size));
        done.map(|_| self.bytes.len() - start)
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() == self.size
    }

    /// To be filled up to the capacity that it has.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.bytes.clear();
        // Nobody wants it any more.
        let _ = self.give_back.send(std::mem::take(&mut self.bytes));
    }
}
