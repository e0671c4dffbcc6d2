//! Packs entry by entry: what the walk finds goes into the archive with what is known of it.

mod diff;
mod entry;
mod rules;
mod scout;
mod special;
mod spot;
mod turn;

pub(crate) use diff::{Between, Upper};
pub(crate) use rules::Rules;
pub(crate) use spot::{Entered, Entries};

use super::archive::{Archive, Failed};
use super::attributes::{Attributes, Of, Reader};
use super::content::Buffer;
use super::header::Header;
use super::links::Links;
use super::names::Names;
use super::open::Opener;
use super::readers::Readers;
use super::select::{Choice, Select};
use super::start::Start;
use super::walk::{Dir, Listing, Next, Walk};
use crate::helper::fault::{Attempt, Fault, on};
use crate::helper::feed::failure;
use crate::helper::hash::Set;
use crate::helper::journal::Journal;
use crate::helper::look::{self, Seen};
use crate::helper::read::entry::{Region, Time};
use crate::helper::read::input::Watch;
use crate::options::Tolerance;
use crate::report::{Call, Cause, Descriptor, EntryKind, EntryRef, EventKind, Failure, Limit, SourceChange, Stage};
use rules::{kind_of, listed};
use spot::Spot;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Entries between two looks at the parent and the clock where nothing is written.
const LOOK: u64 = 64;

/// Packs one tree.
pub(crate) struct Packer<'a> {
    rules: Rules<'a>,
    archive: Archive,
    journal: Journal<'a>,
    select: Select<'a>,
    names: Names<'a>,
    links: Links,
    attributes: Reader,
    pub(crate) opener: Opener,
    readers: Readers,
    buffer: Buffer,
    /// Room for a small file.
    content: Vec<u8>,
    watch: Watch,
    /// Directories that are in the archive since a path leads through them.
    parents: Set<Vec<u8>>,
    /// The working directory, by which attributes of links are read.
    cwd: Option<Arc<Dir>>,
    at_hand: AtHand,
    /// Entries that have a header.
    index: u64,
    looked: u64,
}

/// The entry at hand, as it is told.
struct AtHand {
    /// Which it is or would be, and where its header begins; `None` of a directory that is left.
    place: Option<(u64, u64)>,
    /// In the root.
    path: Vec<u8>,
    kind: EntryKind,
    /// It has changed meanwhile, and that is told.
    changed: bool,
}

/// Opens the directory of this path.
type Open<'o> = &'o mut dyn FnMut(&mut Opener, &[u8]) -> Result<OwnedFd, Fault>;

/// What goes into an entry's header.
struct Draft<'d> {
    kind: EntryKind,
    /// Nothing of a marker, which is nobody's.
    seen: Option<&'d Seen>,
    name: &'d [u8],
    link: &'d [u8],
    /// Of content, holes included.
    size: u64,
    sparse: Option<&'d [Region]>,
    attributes: &'d Attributes,
}

impl<'a> Packer<'a> {
    pub(crate) fn new(
        rules: Rules<'a>,
        archive: Archive,
        journal: Journal<'a>,
        select: Select<'a>,
        opener: Opener,
        readers: Readers,
        watch: Watch,
    ) -> Packer<'a> {
        let options = rules.options;
        Packer {
            archive,
            journal,
            select,
            names: Names::new(rules.rebase, rules.strict),
            links: Links::new(options.limits.hardlinks),
            attributes: Reader::new(rules.marks),
            opener,
            readers,
            buffer: Buffer::default(),
            content: Vec::new(),
            watch,
            parents: Set::default(),
            cwd: None,
            at_hand: AtHand { place: None, path: Vec::new(), kind: EntryKind::Unknown, changed: false },
            index: 0,
            looked: 0,
            rules,
        }
    }

    /// Packs what begins here, as its source has it; so many directories may be open.
    pub(crate) fn tree(&mut self, start: Start, most: usize, source: &mut dyn Entries<'a>) -> Result<(), Box<Failure>> {
        let mut walk = Walk::new(most);
        match start {
            Start::Entry { dir, path, listing } => walk.begin(Dir { fd: dir, seen: None }, &path, listing),
            Start::Directory { dir, path } => {
                self.take(&path, EntryKind::Directory);
                let begun = self.top(dir, &path, source);
                if let Some((dir, listing)) = self.told(begun)? {
                    walk.begin(dir, &path, listing);
                }
            }
        }
        loop {
            if walk.is_lost() {
                let found = source.find();
                self.told(found.map_err(Failed::from))?.into_iter().for_each(|dir| walk.found(dir));
            }
            let next = walk.next(&mut self.opener).map_err(|fault| self.failed(fault.into()))?;
            match next {
                Next::End => return Ok(()),
                Next::Entry(name) => {
                    self.take(walk.path(), kind_of(name.kind));
                    let Some(spot) = Spot::of(&walk) else { continue };
                    let done = source.entry(self, &spot, name, walk.depth());
                    if let Some(Entered { dir, listing }) = self.told(done)? {
                        walk.enter(dir, listing);
                    }
                }
                Next::Left(dir) => {
                    source.left();
                    self.leave(walk.path(), Some(&dir))?;
                }
                Next::Lost => {
                    source.left();
                    self.leave(walk.path(), None)?;
                }
            }
            self.progress();
        }
    }

    /// All of a directory has been seen; or it cannot be found again.
    fn leave(&mut self, path: &[u8], dir: Option<&Dir>) -> Result<(), Box<Failure>> {
        self.take(path, EntryKind::Directory);
        self.at_hand.place = None;
        let same = match dir {
            Some(dir) => self.compare(dir),
            None => self.change(SourceChange::Changed),
        };
        self.told(same)
    }

    fn progress(&mut self) {
        let (size, out) = self.archive.progress();
        self.journal.progress((out, size));
    }

    /// A directory that is where packing begins.
    fn top(
        &mut self,
        dir: OwnedFd,
        path: &[u8],
        source: &mut dyn Entries<'a>,
    ) -> Result<Option<(Dir, Listing)>, Failed> {
        match self.select.choose(path) {
            Choice::There => return Ok(None),
            Choice::Packed | Choice::Passed | Choice::Left => {}
        }
        let seen = look::of(&dir).call(Call::Statx, || on(Descriptor::Root).with(look::OPEN))?;
        let listing = source.top(self, &dir, &seen, path)?;
        Ok(Some((Dir { fd: dir, seen: Some(seen) }, listing)))
    }

    /// The directories above a path, each once. `open` opens one of them.
    pub(crate) fn parents_of(&mut self, path: &[u8], open: Open<'_>) -> Result<(), Box<Failure>> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let above = (!path.is_empty() && !self.rules.options.no_root).then_some(0);
        for end in above.into_iter().chain(ends) {
            let dir = &path[..end];
            self.take(dir, EntryKind::Directory);
            let packed = self.parent(dir, open);
            self.told(packed)?;
        }
        Ok(())
    }

    fn parent(&mut self, path: &[u8], open: Open<'_>) -> Result<(), Failed> {
        if self.parents.contains(path) || self.select.is_there(path) {
            return Ok(());
        }
        let dir = open(&mut self.opener, path)?;
        let seen = look::of(&dir).call(Call::Statx, || on(Descriptor::Directory).with(look::OPEN))?;
        self.directory(&dir, &seen, path)?;
        self.parents.insert(path.to_vec());
        Ok(())
    }

    /// Takes the next in hand.
    fn take(&mut self, path: &[u8], kind: EntryKind) {
        self.at_hand.path.clear();
        self.at_hand.path.extend_from_slice(path);
        self.at_hand.kind = kind;
        self.at_hand.changed = false;
        self.at_hand.place = Some((self.index, self.archive.position()));
    }

    /// Tells what was noted of the entry at hand, and ends the run if it failed.
    fn told<T>(&mut self, done: Result<T, Failed>) -> Result<T, Box<Failure>> {
        let at_hand = &self.at_hand;
        self.journal.tell(|| at_hand.named());
        let looked = if done.is_ok() { self.look() } else { Ok(()) };
        done.and_then(|done| looked.map(|()| done)).map_err(|failed| self.failed(failed))
    }

    /// Now and then: nobody has cancelled it, and the time is not over.
    fn look(&mut self) -> Result<(), Failed> {
        self.looked += 1;
        if self.looked.is_multiple_of(LOOK) { self.watch.goes_on().map_err(Failed::from) } else { Ok(()) }
    }

    fn failed(&self, failed: Failed) -> Box<Failure> {
        let entry = self.at_hand.named();
        match failed {
            Failed::Walking(fault) => failure(Stage::Walk, fault, Some(entry)),
            Failed::Writing(fault) => failure(Stage::Write, fault, Some(entry)),
        }
    }

    /// Something of the entry at hand has changed; the first that is seen is told.
    fn change(&mut self, change: SourceChange) -> Result<(), Failed> {
        if self.rules.options.changes == Tolerance::Fail {
            return Err(Cause::Source(change).into());
        }
        if !std::mem::replace(&mut self.at_hand.changed, true) {
            self.journal.event(EventKind::Source(change));
        }
        Ok(())
    }

    /// It is not in the archive, for this reason.
    fn leave_out(&mut self, why: EventKind) {
        self.journal.counts.skipped += 1;
        self.journal.event(why);
    }

    /// A directory that has changed since it was looked at.
    fn compare(&mut self, dir: &Dir) -> Result<(), Failed> {
        let Some(before) = dir.seen else { return Ok(()) };
        let now = look::of(&dir.fd).call(Call::Statx, || on(Descriptor::Directory).with(look::OPEN))?;
        if (before.mtime, before.ctime) == (now.mtime, now.ctime) { Ok(()) } else { self.change(SourceChange::Changed) }
    }

    /// A directory's own entry.
    fn directory(&mut self, dir: &OwnedFd, seen: &Seen, path: &[u8]) -> Result<(), Failed> {
        let covered = self.rules.covered(seen);
        let attributes = self.attributes(covered.map_or(Of::Open(dir), |covered| Of::Covered(&covered.attributes)))?;
        let seen = covered.map_or(seen, |covered| &covered.seen);
        self.write(EntryKind::Directory, seen, path, b"", &attributes)?;
        self.journal.counts.directories += 1;
        Ok(())
    }

    fn attributes(&mut self, of: Of<'_>) -> Result<Attributes, Failed> {
        let found = self.attributes.read(of, self.rules.options, &self.rules.owners)?;
        self.told_attributes(found)
    }

    /// Takes note of what is to be told of them.
    fn told_attributes(&mut self, mut found: Attributes) -> Result<Attributes, Failed> {
        self.journal.events(found.events.drain(..));
        if found.changed {
            self.change(SourceChange::Changed)?;
        }
        Ok(found)
    }

    /// An entry without content.
    fn write(
        &mut self,
        kind: EntryKind,
        seen: &Seen,
        path: &[u8],
        link: &[u8],
        attributes: &Attributes,
    ) -> Result<(), Failed> {
        let name = self.names.of(path);
        self.begin(&Draft { kind, seen: Some(seen), name: &name, link, size: 0, sparse: None, attributes }, 0)
    }

    /// Writes the headers of an entry that has so many bytes of content.
    fn begin(&mut self, draft: &Draft<'_>, body: u64) -> Result<(), Failed> {
        let options = self.rules.options;
        let limit = |limit, value: u64| Failed::from(Cause::Limit { limit, value });
        if self.index >= options.limits.entries {
            return Err(limit(Limit::Entries, options.limits.entries));
        }
        if draft.size > options.limits.file_bytes {
            return Err(limit(Limit::FileBytes, options.limits.file_bytes));
        }
        let name = Names::written(draft.name, draft.kind == EntryKind::Directory);
        if name.len().max(draft.link.len()) > options.limits.name_bytes as usize {
            return Err(limit(Limit::NameBytes, options.limits.name_bytes.into()));
        }
        self.names.take(draft.name, draft.kind == EntryKind::Directory)?;
        let (uid, gid) = draft.seen.map_or(Ok((0, 0)), |seen| self.owner(seen))?;
        let is_device = matches!(draft.kind, EntryKind::CharDevice | EntryKind::BlockDevice);
        let device = draft.seen.filter(|_| is_device).map(|seen| seen.device);
        let mtime = draft.seen.map_or(Time { seconds: 0, nanoseconds: 0 }, |seen| self.rules.time(seen.mtime));
        let header = Header {
            name: &name,
            link: draft.link,
            kind: draft.kind,
            mode: draft.seen.map_or(0, |seen| seen.mode),
            uid: uid.into(),
            gid: gid.into(),
            size: draft.size,
            mtime,
            device,
            records: &draft.attributes.records,
            sparse: draft.sparse,
        };
        if options.verbose {
            self.journal.packing(listed(&header, self.index, self.archive.position()));
        }
        let offset = self.archive.begin(&header, body)?;
        self.at_hand.place = Some((self.index, offset));
        self.at_hand.kind = draft.kind;
        self.index += 1;
        Ok(())
    }

    fn owner(&mut self, seen: &Seen) -> Result<(u32, u32), Failed> {
        let (uid, gid) = self.rules.owners.of(seen.uid, seen.gid)?;
        if uid.replaced || gid.replaced {
            self.journal.event(EventKind::OwnerUnmapped { uid: seen.uid, gid: seen.gid });
        }
        Ok((uid.id, gid.id))
    }

    /// Behind the last entry; last, why there were fewer readers than were wanted.
    pub(crate) fn finish(self) -> (Archive, Journal<'a>, Opener, Select<'a>, Option<i32>) {
        (self.archive, self.journal, self.opener, self.select, self.readers.lacking())
    }
}

impl AtHand {
    fn named(&self) -> EntryRef {
        let path = if self.path.is_empty() { b"./" } else { &self.path[..] };
        match self.place {
            Some((index, offset)) => EntryRef::new(index, offset, path, self.kind),
            None => EntryRef::left(path),
        }
    }
}
