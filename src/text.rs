//! Text for people: every `Display` of the vocabulary.

mod cause;
mod confinement;
mod errno;
#[cfg(target_os = "linux")]
mod error;
mod event;
mod failure;
#[cfg(target_os = "linux")]
mod hint;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use crate::Digest;
use std::fmt;

#[cfg(target_os = "linux")]
pub(crate) use error::error;

/// Advice is about Linux.
#[cfg(not(target_os = "linux"))]
mod hint {
    pub(super) fn of(_: &crate::Failure) -> Option<&'static str> {
        None
    }
}

/// Bytes from an archive, shown so that no terminal obeys them: printable UTF-8 stays, control bytes,
/// backslashes and invalid UTF-8 become `\n`, `\t`, `\\`, `\ooo`.
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\n' => f.write_str("\\n")?,
                    '\t' => f.write_str("\\t")?,
                    '\r' => f.write_str("\\r")?,
                    '\\' => f.write_str("\\\\")?,
                    c if hides(c) => octal(f, c.encode_utf8(&mut [0; 4]).as_bytes())?,
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
/// obey is taken out.
struct Tame<'a>(&'a str);

impl fmt::Display for Tame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\n' => f.write_str("\\n"),
            c if hides(c) => octal(f, c.encode_utf8(&mut [0; 4]).as_bytes()),
            c => write!(f, "{c}"),
        })
    }
}

/// Control characters, and those that reorder or hide text.
fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
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
