//! Where something failed, on what, in which call.

use super::{Escaped, LONGEST};
use crate::report::{Advice, Cause, EntryKind, EntryRef, Failure, Stage};
use std::fmt::{self, Display, Formatter};

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Request => "reading the request",
            Stage::Enter => "entering the root",
            Stage::Confine => "giving up rights",
            Stage::Read => "reading the archive",
            Stage::Decode => "decompressing",
            Stage::Parse => "reading tar headers",
            Stage::Apply => "applying",
            Stage::Finish => "finishing",
            Stage::Walk => "reading the tree",
            Stage::Write => "writing the archive",
        })
    }
}

impl Display for EntryKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            EntryKind::File => f.write_str("file"),
            EntryKind::Directory => f.write_str("directory"),
            EntryKind::Symlink => f.write_str("symlink"),
            EntryKind::Hardlink => f.write_str("hardlink"),
            EntryKind::CharDevice => f.write_str("character device"),
            EntryKind::BlockDevice => f.write_str("block device"),
            EntryKind::Fifo => f.write_str("FIFO"),
            EntryKind::Socket => f.write_str("socket"),
            EntryKind::Unknown => f.write_str("entry"),
            EntryKind::Other(flag) => write!(f, "type '{}'", flag.escape_ascii()),
        }
    }
}

/// `file "etc/passwd" (entry 12, at byte 6144)`; the byte is of the uncompressed stream. Without them for a
/// directory that was left.
impl Display for EntryRef {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let cut = if self.path.len() >= EntryRef::MAX_PATH { "…" } else { "" };
        let EntryRef { index, offset, path, kind } = self;
        write!(f, "{kind} {:?}{cut}", Escaped(&path[..path.len().min(LONGEST)]))?;
        match (index, offset) {
            (Some(index), Some(offset)) => write!(f, " (entry {index}, at byte {offset})"),
            _ => Ok(()),
        }
    }
}

/// `applying: file "a" (entry 1, at byte 512): openat(dir, "a", …) = -1 ENOSPC (No space left on device): …`
impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        with(f, self, self.advice())
    }
}

/// A failure, and what may help.
pub(super) fn with(f: &mut Formatter<'_>, failure: &Failure, advice: Option<Advice>) -> fmt::Result {
    write!(f, "{}: ", failure.stage)?;
    match (&failure.entry, &failure.after) {
        (Some(entry), _) => write!(f, "{entry}: ")?,
        (None, Some(before)) => write!(f, "where a header was due, after {before}: ")?,
        (None, None) => {}
    }
    match (&failure.operation, &failure.cause) {
        (Some(operation), Cause::Os(_)) => write!(f, "{operation} = -1 {}", failure.cause)?,
        (Some(operation), cause) => write!(f, "{operation}: {cause}")?,
        (None, cause) => write!(f, "{cause}")?,
    }
    match advice {
        Some(advice) => write!(f, ": {advice}"),
        None => Ok(()),
    }
}
