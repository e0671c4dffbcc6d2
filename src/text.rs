//! Text for people: every `Display` of the vocabulary.

mod advice;
mod cause;
mod confinement;
mod errno;
mod error;
mod event;
mod failure;
mod hidden;
mod looks_like;
mod operation;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use crate::report::Digest;
use std::fmt;

#[cfg(target_os = "linux")]
pub(crate) use operation::Strace;

/// Bytes from an archive, shown so that no terminal obeys them: printable UTF-8 stays; control bytes, backslashes,
/// invalid UTF-8 and what [hides](Escaped::hides) become `\n`, `\t`, `\\`, `\ooo`.
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl Escaped<'_> {
    /// Whether a character is escaped because a terminal obeys it, or because it reorders or hides text: control
    /// and format characters, line and paragraph separators, private and unassigned code points, and what is shown
    /// as nothing. Joiners and variation selectors are among them, although names in Persian and emoji use them.
    #[must_use]
    pub fn hides(c: char) -> bool {
        hidden::hides(c)
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\n' => f.write_str("\\n")?,
                    '\t' => f.write_str("\\t")?,
                    '\r' => f.write_str("\\r")?,
                    '\\' => f.write_str("\\\\")?,
                    c if hidden::hides(c) => octal(f, c.encode_utf8(&mut [0; 4]).as_bytes())?,
                    c => write!(f, "{c}")?,
                }
            }
            octal(f, chunk.invalid())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Text of the helper's, which has escaped what it should, or was made not to: only what a terminal would
/// obey is taken out. Cut where it is long.
pub(crate) struct Tame<'a>(pub(crate) &'a str);

impl fmt::Display for Tame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = cut_at(self.0, LONGEST);
        self.0[..end].chars().try_for_each(|c| match c {
            '\n' => f.write_str("\\n"),
            c if hidden::hides(c) => octal(f, c.encode_utf8(&mut [0; 4]).as_bytes()),
            c => write!(f, "{c}"),
        })?;
        f.write_str(if end < self.0.len() { "…" } else { "" })
    }
}

/// The most bytes of one name or text in a line for people.
const LONGEST: usize = 4096;
/// The most bytes of a line for people, whatever is in it; three of the longest names fit, every byte escaped.
const LINE: usize = 60 << 10;

/// A name in quotes, cut where it is long.
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(LONGEST)];
        write!(f, "{:?}{}", Escaped(shown), if shown.len() < self.0.len() { "…" } else { "" })
    }
}

/// Writes what `show` does as far as one line goes: the one bound of every text that has others' words in it.
fn line(f: &mut fmt::Formatter<'_>, show: impl FnOnce(&mut dyn fmt::Write) -> fmt::Result) -> fmt::Result {
    let mut line = Line { f, left: LINE };
    show(&mut line)
}

struct Line<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    left: usize,
}

impl fmt::Write for Line<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = cut_at(text, self.left);
        if self.left == 0 {
            return Ok(());
        }
        self.left -= end;
        self.f.write_str(&text[..end])?;
        if end < text.len() {
            self.left = 0;
            self.f.write_str("…")?;
        }
        Ok(())
    }
}

/// Where a text that may have so many bytes ends.
pub(crate) fn cut_at(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn octal(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "\\{b:03o}"))
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
