//! What `?` stands for: a character, or a byte that belongs to none.

/// A character, or one byte of what is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Letter(u32);

pub(super) const SLASH: Letter = Letter::ascii(b'/');
/// The first number that no character has.
const BYTES: u32 = 0x11_0000;

impl Letter {
    pub(super) const fn ascii(byte: u8) -> Letter {
        Letter(byte as u32)
    }

    pub(super) fn is_blank(self) -> bool {
        char::from_u32(self.0).is_some_and(char::is_whitespace)
    }
}

pub(super) fn decode(bytes: &[u8]) -> Vec<Letter> {
    let mut letters = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        letters.extend(chunk.valid().chars().map(|character| Letter(character.into())));
        letters.extend(chunk.invalid().iter().map(|byte| Letter(BYTES + u32::from(*byte))));
    }
    letters
}
