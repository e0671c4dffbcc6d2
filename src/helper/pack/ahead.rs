//! What the walk has seen and the archive does not have yet, in the order of the archive.
//!
//! The walk goes ahead of what is written by a bounded number of steps, and meanwhile other threads read small files in
//! them (`readers.rs`). What a step tells, counts or fails with waits for its turn: neither archive nor report shows who
//! has read. Without readers the walk does not go ahead.

use super::open::Unopened;
use super::readers::{Batch, Readers};
use super::walk::{Dir, Listing, Walk};
use crate::helper::fault::Fault;
use crate::helper::look::Seen;
use crate::report::EntryKind;
use nix::errno::Errno;
use rustix::fs::FileType;
use std::collections::VecDeque;
use std::sync::Arc;

/// So many names that are left out are a step.
const SKIPPED: u64 = 64;

/// What the walk has seen at one place.
pub(crate) enum Step {
    Names(Names),
    /// `packed`: it has an entry of its own.
    Directory {
        path: Vec<u8>,
        packed: bool,
        reached: Result<Reached, Unopened>,
    },
    /// A directory is left.
    Left {
        path: Vec<u8>,
        /// Nothing if it has not been found again.
        dir: Option<Arc<Dir>>,
    },
    /// So many names are not wanted.
    Skipped(u64),
    /// What has this name could not be looked at.
    Unseen {
        path: Vec<u8>,
        name_at: usize,
        kind: EntryKind,
        errno: Errno,
    },
    /// The walk ends here, at an entry or where none is at hand.
    Failed {
        at: Option<(Vec<u8>, EntryKind)>,
        fault: Fault,
    },
}

/// Names in one directory, one after the other, that are no directories.
pub(crate) struct Names {
    /// The directory's path and the `/` behind it; empty for the root.
    pub(crate) prefix: Vec<u8>,
    pub(crate) batch: Arc<Batch>,
    /// A reader may have it.
    pub(crate) handed_out: bool,
}

/// A directory that was opened.
pub(crate) struct Reached {
    pub(crate) dir: Arc<Dir>,
    pub(crate) seen: Seen,
    pub(crate) mounted: bool,
    /// Why it is not known what it holds.
    pub(crate) unlisted: Option<Fault>,
}

/// The walk, and what it has seen.
pub(crate) struct Ahead {
    pub(crate) walk: Walk,
    steps: VecDeque<Step>,
    /// Names behind the last step: of which directory, its prefix, and they.
    gathered: Option<(Arc<Dir>, Vec<u8>, Listing)>,
    ended: bool,
}

impl Ahead {
    /// Begins nowhere; so many directories may be open, besides those of steps.
    pub(crate) fn new(most: usize) -> Ahead {
        Ahead { walk: Walk::new(most), steps: VecDeque::new(), gathered: None, ended: false }
    }

    /// Whether the walk is to go on before the next step is taken.
    pub(crate) fn wants_more(&self, readers: &Readers) -> bool {
        !self.ended && self.steps.len() < readers.window()
    }

    pub(crate) fn next(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    pub(crate) fn push(&mut self, step: Step, readers: &mut Readers) {
        self.close(readers);
        self.steps.push_back(step);
    }

    /// The name at hand, which is no directory's but of this kind.
    pub(crate) fn name(&mut self, kind: FileType, readers: &mut Readers) {
        let Some(dir) = self.walk.dir() else { return };
        if self.gathered.as_ref().is_some_and(|(gathered, ..)| !Arc::ptr_eq(gathered, dir)) {
            self.close(readers);
        }
        let Some(dir) = self.walk.dir() else { return };
        let begin = || (Arc::clone(dir), self.walk.path()[..self.walk.name_at()].to_vec(), Listing::default());
        let (.., names) = self.gathered.get_or_insert_with(begin);
        names.add(self.walk.name(), kind);
        if names.len() >= readers.batch() {
            self.close(readers);
        }
    }

    /// The entry at hand is not wanted.
    pub(crate) fn skip(&mut self, readers: &mut Readers) {
        match self.steps.back_mut() {
            Some(Step::Skipped(number)) if self.gathered.is_none() && *number < SKIPPED => *number += 1,
            _ => self.push(Step::Skipped(1), readers),
        }
    }

    /// The walk is over.
    pub(crate) fn end(&mut self, failed: Option<Step>, readers: &mut Readers) {
        self.close(readers);
        self.steps.extend(failed);
        self.ended = true;
    }

    fn close(&mut self, readers: &mut Readers) {
        let Some((dir, prefix, names)) = self.gathered.take() else { return };
        let batch = Arc::new(Batch::new(dir, names));
        let handed_out = readers.hand_out(&batch);
        self.steps.push_back(Step::Names(Names { prefix, batch, handed_out }));
    }
}
