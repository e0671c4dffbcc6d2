//! System calls as `strace(1)` prints them.

use super::{LONGEST, Tame};
use crate::report::{Call, Descriptor, Namespace, Operand, Operation};
use std::fmt::{self, Display, Formatter, Write as _};

/// A string as `strace(1)` prints a path: quoted, with all but printable ASCII escaped, cut where it is long.
pub(crate) struct Strace<'a>(pub(crate) &'a [u8]);

impl Display for Strace<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(LONGEST)];
        f.write_char('"')?;
        escaped(f, shown, b'"')?;
        f.write_str(if self.0.len() >= LONGEST { "\"..." } else { "\"" })
    }
}

fn escaped(f: &mut Formatter<'_>, text: &[u8], end: u8) -> fmt::Result {
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'\t' => f.write_str("\\t")?,
            b'\n' => f.write_str("\\n")?,
            0x0b => f.write_str("\\v")?,
            0x0c => f.write_str("\\f")?,
            b'\r' => f.write_str("\\r")?,
            b'\\' => f.write_str("\\\\")?,
            b'"' if end == b'"' => f.write_str("\\\"")?,
            b' '..=b'~' if *byte != end => f.write_char(char::from(*byte))?,
            // As short as what follows allows.
            _ if text.get(at + 1).is_some_and(u8::is_ascii_digit) => write!(f, "\\{byte:03o}")?,
            _ => write!(f, "\\{byte:o}")?,
        }
    }
    Ok(())
}

impl Display for Call {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Display for Descriptor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = match self {
            Descriptor::Cwd => "AT_FDCWD",
            Descriptor::Archive => "0",
            Descriptor::Directory => "<directory>",
            Descriptor::File => "<file>",
            Descriptor::Lower => "<lower>",
            Descriptor::Root => "<root>",
            Descriptor::Mount => "<mount>",
            Descriptor::Path(path) => {
                f.write_str("</")?;
                escaped(f, &path[..path.len().min(LONGEST)], b'>')?;
                ">"
            }
        };
        f.write_str(name)
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Nothing => Ok(()),
            Operand::Namespace(Namespace::User) => f.write_str("CLONE_NEWUSER"),
            Operand::Namespace(Namespace::Mount) => f.write_str("CLONE_NEWNS"),
            Operand::Descriptor(descriptor) => descriptor.fmt(f),
            Operand::Name { dir, name } => write!(f, "{dir}, {}", Strace(name)),
        }
    }
}

impl Display for Operation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Operation { call, on, rest, .. } = self;
        let rest = Tame(rest);
        match (call, on, rest.0.is_empty()) {
            (_, Operand::Nothing, _) => write!(f, "{call}({rest})"),
            (_, on, true) => write!(f, "{call}({on})"),
            // The only one whose first argument is not where.
            (Call::Symlinkat, on, _) => write!(f, "{call}({rest}, {on})"),
            (_, on, _) => write!(f, "{call}({on}, {rest})"),
        }
    }
}
