//! What an image calls something, as it is shown.

use crate::text::Escaped;
use std::fmt;

/// Text of an image, as an [`Escaped`] name; cut where it is long.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 200;
        let end = self.0.char_indices().nth(LONGEST).map_or(self.0.len(), |(at, _)| at);
        write!(f, "{:?}{}", Escaped(&self.0.as_bytes()[..end]), if end < self.0.len() { "…" } else { "" })
    }
}

/// A list for people: the first twelve.
pub(super) struct List<'a>(pub(super) &'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 12;
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (at, item) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{}", if at > 0 { ", " } else { "" }, Escaped(item.as_bytes()))?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
