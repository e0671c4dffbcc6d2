//! The archive's side: what the walk has seen is packed when it is its turn.

use super::super::ahead::{Ahead, Names, Step};
use super::super::readers::Found;
use super::super::select::Choice;
use super::super::start::Start;
use super::super::walk::{Dir, Listing};
use super::rules::kind_of;
use super::spot::Spot;
use super::{Failed, Packer};
use crate::helper::fault::{Attempt, on};
use crate::helper::look;
use crate::report::{Call, Descriptor, EntryKind, Failure};
use std::os::fd::OwnedFd;

impl Packer<'_> {
    /// Packs all that begins here; so many directories may be open.
    pub(crate) fn whole(&mut self, start: Start, most: usize) -> Result<(), Box<Failure>> {
        let mut ahead = Ahead::new(most.saturating_sub(self.readers.directories()));
        match start {
            Start::Entry { dir, path, listing } => ahead.walk.begin(Dir { fd: dir, seen: None }, &path, listing),
            Start::Directory { dir, path } => {
                self.take(&path, EntryKind::Directory);
                let begun = self.begin_in(&mut ahead, dir, &path);
                self.told(begun)?;
            }
        }
        while let Some(step) = self.next_step(&mut ahead) {
            self.step(step)?;
        }
        Ok(())
    }

    /// A directory that is where packing begins.
    fn begin_in(&mut self, ahead: &mut Ahead, fd: OwnedFd, path: &[u8]) -> Result<(), Failed> {
        match self.select.choose(path) {
            Choice::There => return Ok(()),
            Choice::Packed | Choice::Passed | Choice::Left => {}
        }
        let seen = look::of(&fd).call(Call::Statx, || on(Descriptor::Root).with(look::OPEN))?;
        if !(path.is_empty() && self.rules.options.no_root) {
            self.directory(&fd, &seen, path)?;
        }
        let listing = Listing::read(&fd)?;
        self.readers.saw(listing.len());
        ahead.walk.begin(Dir { fd, seen: Some(seen) }, path, listing);
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), Box<Failure>> {
        match step {
            Step::Names(names) => return self.names_in_turn(names),
            Step::Directory { path, packed, reached } => {
                self.take(&path, EntryKind::Directory);
                let done = self.directory_in_turn(&path, packed, reached);
                self.told(done)?;
            }
            Step::Left { path, dir } => self.leave(&path, dir.as_deref())?,
            Step::Skipped(number) => {
                self.journal.counts.skipped += number;
                self.told(Ok(()))?;
            }
            Step::Unseen { path, name_at, kind, errno } => {
                self.take(&path, kind);
                let done = self.unseen(path.get(name_at..).unwrap_or_default(), errno);
                self.told(done)?;
            }
            Step::Failed { at, fault } => {
                if let Some((path, kind)) = at {
                    self.take(&path, kind);
                }
                return Err(self.failed(fault.into()));
            }
        }
        self.progress();
        Ok(())
    }

    /// Names in a directory, whoever has read what has them.
    fn names_in_turn(&mut self, names: Names) -> Result<(), Box<Failure>> {
        let Names { prefix: mut path, batch, handed_out } = names;
        let mut found = Found::default();
        if handed_out {
            found = self.readers.take_back(&batch).map_err(|cause| self.failed(cause.into()))?;
        }
        let name_at = path.len();
        for name in batch.names.iter() {
            let bytes = batch.names.bytes(name);
            path.truncate(name_at);
            path.extend_from_slice(bytes);
            self.take(&path, kind_of(name.kind));
            let small = found.files.pop_front().flatten();
            let small = small.and_then(|small| Some((found.content.get(small.content.clone())?, small)));
            let done = self.entry(&Spot { dir: &batch.dir, path: &path, name: bytes }, name.kind, small);
            self.told(done)?;
            self.progress();
        }
        self.readers.give_back(found.content);
        Ok(())
    }
}
