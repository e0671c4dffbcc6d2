//! Tells of the entries of an archive and applies none.

use crate::helper::fault::Result;
use crate::helper::feed::{Failed, Sink};
use crate::helper::journal::Journal;
use crate::helper::read::entry::{Entry, Reader};
use crate::helper::read::stream::Stream;
use crate::helper::reporter::Reporter;
use crate::helper::selection::Selection;
use crate::options::Options;

/// Lists one archive.
pub(crate) struct Lister<'a> {
    selection: Selection<'a>,
    journal: Journal<'a>,
}

impl<'a> Lister<'a> {
    pub(crate) fn new(options: &'a Options, reporter: &'a mut Reporter) -> Result<Lister<'a>> {
        Ok(Lister { selection: Selection::new(options)?, journal: Journal::new(reporter) })
    }
}

impl<'a> Sink<'a> for Lister<'a> {
    fn take(&mut self, entry: Entry, path: &mut Vec<u8>, _: &mut Reader<Stream>) -> Result<(), Failed> {
        self.journal.counts.skipped += 1;
        if self.selection.takes_raw(path)? {
            self.journal.listed(&entry, path);
        }
        Ok(())
    }

    fn tell_unmatched(&mut self) {
        self.selection.tell_unmatched(&mut self.journal);
    }

    fn journal(&mut self) -> &mut Journal<'a> {
        &mut self.journal
    }
}
