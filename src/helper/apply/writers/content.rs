//! The content of a small file on its way to a writer.

use crate::helper::apply::purse::Paid;
use bytes::Bytes;

/// A piece of a body that is shorter than this is copied, unless it is the only one: so a body that comes in crumbs
/// holds no buffer for each of them, and one in larger pieces not more than four.
const WORTH_SHARING: usize = 32 << 10;

/// The content of a small file: slices of the decoder's chunks, or copies of what was too little to share.
#[derive(Default)]
pub(crate) struct Content(Vec<Piece>);

enum Piece {
    Shared(Paid<Bytes>),
    Copied(Paid<Vec<u8>>),
}

impl Content {
    /// Adds what has come, of a body that `left` bytes are missing of then.
    pub(crate) fn push(&mut self, bytes: Paid<Bytes>, left: u64) {
        let all = left == 0 && self.0.is_empty();
        match self.0.last_mut() {
            _ if all || bytes.len() >= WORTH_SHARING => self.0.push(Piece::Shared(bytes)),
            Some(Piece::Copied(copied)) => copied.append(&bytes),
            _ => self.0.push(Piece::Copied(bytes.copied())),
        }
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = Paid<&[u8]>> {
        self.0.iter().map(|piece| match piece {
            Piece::Shared(bytes) => bytes.borrowed(),
            Piece::Copied(bytes) => bytes.borrowed(),
        })
    }

    /// What it holds in memory, what is shared counted once for each.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|piece| size_of::<Piece>() + piece.held()).sum()
    }
}

impl Piece {
    fn held(&self) -> usize {
        match self {
            Piece::Shared(bytes) => bytes.len(),
            Piece::Copied(bytes) => bytes.len(),
        }
    }
}
