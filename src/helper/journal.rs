//! What a run tells of itself: counts, and events with the name of the entry that they are of.

use crate::helper::read::entry::{End, Entry};
use crate::helper::reporter::Reporter;
use crate::report::{DeviceNumber, EntryCounts, EntryKind, EntryRef, EventKind, Listed, Progress};

/// Who tells what happens, whatever does it.
pub(crate) struct Journal<'a> {
    reporter: &'a mut Reporter,
    pub(crate) counts: EntryCounts,
    /// What happened to the entry at hand, to be told with its name.
    noted: Vec<EventKind>,
    /// The entry that a writer failed on, if that is what failed.
    elsewhere: Option<EntryRef>,
    /// What is told once in a run and has been.
    once: Vec<EventKind>,
}

impl<'a> Journal<'a> {
    pub(crate) fn new(reporter: &'a mut Reporter) -> Journal<'a> {
        Journal { reporter, counts: EntryCounts::default(), noted: Vec::new(), elsewhere: None, once: Vec::new() }
    }

    /// Takes note of something about the entry at hand.
    pub(crate) fn event(&mut self, what: EventKind) {
        match what {
            EventKind::CallersOwn | EventKind::LinksUntimed if self.once.contains(&what) => {}
            EventKind::CallersOwn | EventKind::LinksUntimed => {
                self.once.push(what.clone());
                self.reporter.event(None, what);
            }
            what => self.noted.push(what),
        }
    }

    /// Takes note of several things about it.
    pub(crate) fn events(&mut self, what: impl IntoIterator<Item = EventKind>) {
        what.into_iter().for_each(|what| self.event(what));
    }

    /// Tells what was noted about an entry.
    pub(crate) fn tell(&mut self, named: impl Fn() -> EntryRef) {
        for what in std::mem::take(&mut self.noted) {
            self.reporter.event(Some(named()), what);
        }
    }

    /// Tells something at once, of an entry or of none.
    pub(crate) fn tell_of(&mut self, entry: Option<EntryRef>, what: EventKind) {
        self.reporter.event(entry, what);
    }

    /// Events of which only the number is known.
    pub(crate) fn count_events(&mut self, number: u64) {
        self.reporter.count_events(number);
    }

    /// An entry of before, and not the one at hand, is what fails now.
    pub(crate) fn blame(&mut self, entry: EntryRef) {
        self.elsewhere = Some(entry);
    }

    pub(crate) fn blamed(&mut self) -> Option<EntryRef> {
        self.elsewhere.take()
    }

    /// Tells of an entry that is being packed.
    pub(crate) fn packing(&mut self, listed: Listed) {
        self.reporter.listed(listed);
    }

    pub(crate) fn listed(&mut self, entry: &Entry, path: &[u8]) {
        self.reporter.listed(listed(entry, path));
    }

    /// Tells what is held back, before something is waited for.
    pub(crate) fn flush(&mut self) {
        self.reporter.flush();
    }

    /// Tells how far the run has come, if it is time to.
    pub(crate) fn progress(&mut self, (bytes_in, bytes_tar): (u64, u64)) {
        let entries = self.counts.total();
        self.reporter.progress(|| Progress { bytes_in, bytes_tar, entries });
    }

    /// What the end of the archive was like.
    pub(crate) fn end(&mut self, end: End) {
        if !end.marker {
            self.reporter.event(None, EventKind::NoEndMarker);
        }
        if end.archive {
            self.reporter.event(None, EventKind::AnotherArchive { bytes: end.trailing });
        } else if end.trailing_data {
            self.reporter.event(None, EventKind::TrailingData { bytes: end.trailing });
        }
    }

    /// The number of all events, told or not.
    pub(crate) fn number(&self) -> u64 {
        self.reporter.events()
    }
}

fn listed(entry: &Entry, path: &[u8]) -> Listed {
    let number = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    let device = || DeviceNumber { major: number(entry.device.0), minor: number(entry.device.1) };
    Listed {
        index: entry.index,
        offset: entry.offset,
        path: path.to_vec(),
        link: entry.link.clone(),
        kind: entry.kind,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        size: entry.size,
        mtime: entry.mtime.seconds,
        mtime_ns: entry.mtime.nanoseconds,
        device: matches!(entry.kind, EntryKind::CharDevice | EntryKind::BlockDevice).then(device),
        xattrs: entry.xattrs.iter().map(|(name, _)| name.clone()).collect(),
    }
}
