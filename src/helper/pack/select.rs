//! What of the tree is wanted: patterns, a `.dockerignore`, and paths that were named (rule 19).

use super::dockerignore::Ignore;
use crate::helper::fault::Result;
use crate::helper::hash::Map;
use crate::helper::journal::Journal;
use crate::helper::selection::Selection;
use crate::options::Options;

/// What becomes of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Packed,
    /// Not itself, but if it is a directory something below it may be.
    Passed,
    Left,
    /// It is in the archive already.
    There,
}

pub(crate) struct Select<'a> {
    patterns: Selection<'a>,
    ignore: Option<Ignore>,
    /// The paths that were named, where there are several, and whether they are in the archive.
    named: Map<Vec<u8>, bool>,
}

impl<'a> Select<'a> {
    /// Of `patterns` it takes the globs.
    pub(crate) fn new(patterns: &'a Options, ignore: Option<Ignore>) -> Result<Select<'a>> {
        Ok(Select { patterns: Selection::new(patterns)?, ignore, named: Map::default() })
    }

    /// Whatever the patterns say it is packed, once.
    pub(crate) fn name(&mut self, path: Vec<u8>) {
        self.named.insert(path, false);
    }

    /// A path that was named is in the archive.
    pub(crate) fn is_there(&self, path: &[u8]) -> bool {
        self.named.get(path).copied().unwrap_or(false)
    }

    pub(crate) fn choose(&mut self, path: &[u8]) -> Choice {
        if let Some(there) = self.named.get_mut(path) {
            return if std::mem::replace(there, true) { Choice::There } else { Choice::Packed };
        }
        if self.patterns.takes_all() && self.ignore.is_none() || path.is_empty() {
            return Choice::Packed;
        }
        let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let above = self.above(path);
        let ignored = self.ignore.as_ref().is_some_and(|ignore| ignore.excluded(path, above));
        let excepted = || self.ignore.as_ref().is_some_and(|ignore| ignore.may_hold_exception(path, above));
        let reaches = |patterns: &mut Selection<'_>| patterns.reaches_below(&parts, above);
        match (ignored, self.patterns.takes_below(&parts, above)) {
            (false, true) => Choice::Packed,
            (ignored, taken) if (!ignored || excepted()) && (taken || reaches(&mut self.patterns)) => Choice::Passed,
            _ => Choice::Left,
        }
    }

    /// Bytes of the longest path above this one that was named: what leaves that out is not asked of what is below it.
    fn above(&self, path: &[u8]) -> usize {
        let ends = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        ends.into_iter().find(|end| self.named.contains_key(&path[..*end])).unwrap_or(0)
    }

    pub(crate) fn tell_unmatched(&self, journal: &mut Journal<'_>) {
        self.patterns.tell_unmatched(journal);
    }
}
