//! The way through the tree: depth first, the names of a directory by their bytes, a bounded number of open directories
//! and no recursion (rules 2 and 3).

mod listing;

pub(crate) use listing::{Listing, Name};

use super::open::{Opener, Unopened};
use crate::helper::fault::Fault;
use crate::helper::look::{self, Seen};
use crate::helper::open;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Where the walk is.
pub(crate) struct Walk {
    /// Of the entry at hand, from the root, without a `/` at either end.
    path: Vec<u8>,
    levels: Vec<Level>,
    /// Those from here on are open, and the first.
    open_from: usize,
    most: usize,
    /// Components of the path above the first.
    base: usize,
}

/// An open directory, held by all who have still to do in it.
pub(crate) struct Dir {
    pub(crate) fd: OwnedFd,
    /// As it was before it was listed; `None` if it is only where the walk begins.
    pub(crate) seen: Option<Seen>,
}

struct Level {
    dir: Option<Arc<Dir>>,
    seen: Option<Seen>,
    listing: Listing,
    next: usize,
    /// Bytes of its path and the `/` behind it.
    prefix: usize,
}

/// What comes next.
pub(crate) enum Next {
    /// An entry of the directory at hand, whose path is the walk's.
    Entry(Name),
    /// All of a directory has been seen. The path is its own.
    Left(Arc<Dir>),
    /// A directory cannot be found again, so that the rest of it is not seen. The path is its own.
    Lost,
    End,
}

impl Walk {
    /// Begins nowhere; so many directories may be open.
    pub(crate) fn new(most: usize) -> Walk {
        Walk { path: Vec::new(), levels: Vec::new(), open_from: 1, most: most.max(4), base: 0 }
    }

    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Where in the path of the entry at hand its name begins.
    pub(crate) fn name_at(&self) -> usize {
        self.levels.last().map_or(0, |level| level.prefix)
    }

    /// The name of the entry at hand.
    pub(crate) fn name(&self) -> &[u8] {
        self.path.get(self.name_at()..).unwrap_or_default()
    }

    /// Components of the path of the entry at hand.
    pub(crate) fn depth(&self) -> usize {
        self.base + self.levels.len()
    }

    /// The directory at hand, in which the entry is.
    pub(crate) fn dir(&self) -> Option<&Arc<Dir>> {
        self.levels.last()?.dir.as_ref()
    }

    /// Begins in this directory of the root, with these names in it.
    pub(crate) fn begin(&mut self, dir: Dir, path: &[u8], listing: Listing) {
        self.levels.clear();
        self.open_from = 1;
        self.path = path.to_vec();
        self.base = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).count();
        self.enter(Arc::new(dir), listing);
    }

    /// Goes into the directory at hand.
    pub(crate) fn enter(&mut self, dir: Arc<Dir>, listing: Listing) {
        if self.levels.len() > self.open_from && self.levels.len() - self.open_from >= self.most - 1 {
            if let Some(level) = self.levels.get_mut(self.open_from) {
                level.dir = None;
            }
            self.open_from += 1;
        }
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        let (prefix, seen) = (self.path.len(), dir.seen);
        self.levels.push(Level { dir: Some(dir), seen, listing, next: 0, prefix });
    }

    pub(crate) fn next(&mut self, opener: &mut Opener) -> Result<Next, Fault> {
        let Some(level) = self.levels.last_mut() else { return Ok(Next::End) };
        self.path.truncate(level.prefix);
        if level.dir.is_none() {
            return self.lose(opener);
        }
        if let Some(name) = level.listing.get(level.next) {
            level.next += 1;
            self.path.extend_from_slice(level.listing.bytes(name));
            return Ok(Next::Entry(name));
        }
        self.leave(opener)
    }

    /// Back to where the directory at hand is in, which is opened again if it had to be given up.
    fn leave(&mut self, opener: &mut Opener) -> Result<Next, Fault> {
        self.path.pop();
        let Some(Level { dir: Some(dir), .. }) = self.levels.pop() else { return Ok(Next::End) };
        let above = self.levels.len().wrapping_sub(1);
        if self.levels.last().is_some_and(|level| level.dir.is_none()) {
            self.open_again(above, &dir.fd, opener)?;
        }
        Ok(Next::Left(dir))
    }

    /// The directory at hand was given up, and is not where it was.
    pub(crate) fn is_lost(&self) -> bool {
        self.levels.last().is_some_and(|level| level.dir.is_none())
    }

    /// It has been found elsewhere, if it is the same.
    pub(crate) fn found(&mut self, dir: Arc<Dir>) {
        let at = self.levels.len().wrapping_sub(1);
        if self.is_level(at, &dir.fd) {
            self.open_from = self.open_from.min(at.max(1));
            if let Some(level) = self.levels.last_mut() {
                level.dir = Some(dir);
            }
        }
    }

    fn lose(&mut self, opener: &mut Opener) -> Result<Next, Fault> {
        self.path.pop();
        self.levels.pop();
        let above = self.levels.len().wrapping_sub(1);
        if self.levels.last().is_some_and(|level| level.dir.is_none()) {
            let found = self.look_for(above, opener)?;
            self.put_back(above, found);
        }
        Ok(Next::Lost)
    }

    /// `..` of what was held leads there, unless somebody has moved it; then it is looked for from where the walk began.
    fn open_again(&mut self, at: usize, below: &OwnedFd, opener: &mut Opener) -> Result<(), Fault> {
        let up = open::above(below).filter(|dir| self.is_level(at, dir));
        let found = match up {
            Some(dir) => VecDeque::from([dir]),
            None => self.look_for(at, opener)?,
        };
        self.put_back(at, found);
        Ok(())
    }

    /// The last of these is of that level, and those before it of the levels above.
    fn put_back(&mut self, at: usize, found: VecDeque<OwnedFd>) {
        let first = (at + 1).saturating_sub(found.len()).min(at);
        self.open_from = self.open_from.min(first.max(1));
        for (level, fd) in self.levels.iter_mut().skip(first).zip(found) {
            level.dir = Some(Arc::new(Dir { fd, seen: level.seen }));
        }
    }

    /// Step by step; each must be the one that it was. The last on the way stay open for the way back: where no `..` leads
    /// up, each of them would be looked for from the beginning.
    fn look_for(&self, at: usize, opener: &mut Opener) -> Result<VecDeque<OwnedFd>, Fault> {
        let mut found: VecDeque<OwnedFd> = VecDeque::new();
        for number in 1..=at {
            let Some(name) = self.name_of(number) else { return Ok(VecDeque::new()) };
            let from = found.back().or_else(|| Some(&self.levels.first()?.dir.as_ref()?.fd));
            let Some(from) = from else { return Ok(VecDeque::new()) };
            match opener.directory(from, name) {
                Ok(dir) if self.is_level(number, &dir) => found.push_back(dir),
                Err(Unopened::Failed(fault)) => return Err(fault),
                _ => return Ok(VecDeque::new()),
            }
            if found.len() > self.most / 2 {
                found.pop_front();
            }
        }
        Ok(found)
    }

    fn name_of(&self, level: usize) -> Option<&[u8]> {
        let (above, own) = (self.levels.get(level.checked_sub(1)?)?, self.levels.get(level)?);
        self.path.get(above.prefix..own.prefix.checked_sub(1)?)
    }

    fn is_level(&self, at: usize, dir: &OwnedFd) -> bool {
        let known = self.levels.get(at).and_then(|level| level.seen.as_ref());
        match (known, look::of(dir)) {
            (Some(known), Ok(now)) => (known.inode, known.mount) == (now.inode, now.mount),
            _ => false,
        }
    }
}
