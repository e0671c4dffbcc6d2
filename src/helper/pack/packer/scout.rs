//! The walk's side: what has a name is looked at as far as the walk must know it, and packed when it is its turn.

use super::super::ahead::{Ahead, Reached, Step};
use super::super::open::Unopened;
use super::super::select::Choice;
use super::super::walk::{Dir, Listing, Name, Next};
use super::Packer;
use super::rules::kind_of;
use super::spot::Spot;
use crate::helper::fault::{Attempt, Fault, on};
use crate::helper::look::{self, Seen};
use crate::options::Mounts;
use crate::report::{Call, Cause, Descriptor, Limit, SourceChange};
use nix::errno::Errno;
use rustix::fs::FileType;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What becomes of a name.
pub(super) enum Judged {
    /// It is of this kind. `packed`: itself, and not only what is in it.
    Wanted {
        kind: FileType,
        packed: bool,
    },
    Skipped,
    /// It is in the archive already.
    There,
    Unseen(Errno),
}

impl Packer<'_> {
    /// The next step in the order of the archive; the walk goes ahead meanwhile.
    pub(super) fn next_step(&mut self, ahead: &mut Ahead) -> Option<Step> {
        while ahead.wants_more(&self.readers) {
            self.go_on(ahead);
        }
        ahead.next()
    }

    fn go_on(&mut self, ahead: &mut Ahead) {
        match ahead.walk.next(&mut self.opener) {
            Ok(Next::Entry(name)) => self.look_ahead(ahead, name),
            Ok(Next::Left(dir)) => self.leave_ahead(ahead, Some(dir)),
            Ok(Next::Lost) => self.leave_ahead(ahead, None),
            Ok(Next::End) => ahead.end(None, &mut self.readers),
            Err(fault) => ahead.end(Some(Step::Failed { at: None, fault }), &mut self.readers),
        }
    }

    fn leave_ahead(&mut self, ahead: &mut Ahead, dir: Option<Arc<Dir>>) {
        let path = ahead.walk.path().to_vec();
        ahead.push(Step::Left { path, dir }, &mut self.readers);
    }

    fn look_ahead(&mut self, ahead: &mut Ahead, name: Name) {
        let Some(spot) = Spot::of(&ahead.walk) else { return };
        match self.judge(&spot, name.kind, ahead.walk.depth()) {
            Ok(Judged::Wanted { kind: FileType::Directory, packed }) => {
                let (path, reached) = (spot.path.to_vec(), self.reach(&spot));
                let reached = reached.map(|(fd, seen)| self.enter(ahead, fd, seen));
                ahead.push(Step::Directory { path, packed, reached }, &mut self.readers);
            }
            Ok(Judged::Wanted { kind, .. }) => ahead.name(kind, &mut self.readers),
            Ok(Judged::Skipped) => ahead.skip(&mut self.readers),
            Ok(Judged::There) => {}
            Ok(Judged::Unseen(errno)) => {
                let (path, name_at) = (spot.path.to_vec(), ahead.walk.name_at());
                let step = Step::Unseen { path, name_at, kind: kind_of(name.kind), errno };
                ahead.push(step, &mut self.readers);
            }
            Err(fault) => {
                let at = Some((spot.path.to_vec(), kind_of(name.kind)));
                ahead.end(Some(Step::Failed { at, fault }), &mut self.readers);
            }
        }
    }

    /// What becomes of a name, so many directories deep; `kind` is what the directory says of it.
    pub(super) fn judge(&mut self, spot: &Spot<'_>, kind: FileType, depth: usize) -> Result<Judged, Fault> {
        let packed = match self.choose(spot.path, kind, depth)? {
            Ok(packed) => packed,
            Err(judged) => return Ok(judged),
        };
        Ok(match self.kind_there(spot, kind) {
            Err(errno) => Judged::Unseen(errno),
            Ok(kind) if !packed && kind != FileType::Directory => Judged::Skipped,
            Ok(kind) => Judged::Wanted { kind, packed },
        })
    }

    /// Whether a path is packed itself, and not only what is in it; or what becomes of it whatever is there.
    pub(super) fn choose(&mut self, path: &[u8], kind: FileType, depth: usize) -> Result<Result<bool, Judged>, Fault> {
        let most = self.rules.options.limits.depth;
        if depth > most as usize {
            return Err(Cause::Limit { limit: Limit::Depth, value: most.into() }.into());
        }
        Ok(match (self.select.choose(path), kind) {
            (Choice::There, _) => Err(Judged::There),
            (Choice::Packed, _) => Ok(true),
            (Choice::Passed, FileType::Directory | FileType::Unknown) => Ok(false),
            (Choice::Passed | Choice::Left, _) => Err(Judged::Skipped),
        })
    }

    /// A listing says what a mount covers, and not what is mounted; some file systems say nothing.
    fn kind_there(&self, spot: &Spot<'_>, listed: FileType) -> Result<FileType, Errno> {
        if listed != FileType::Unknown && !self.rules.crosses_into_something() {
            return Ok(listed);
        }
        look::at(&spot.dir.fd, spot.name).map(|seen| seen.kind)
    }

    /// Opens the directory at hand.
    pub(super) fn reach(&mut self, spot: &Spot<'_>) -> Result<(OwnedFd, Seen), Unopened> {
        let dir = self.opener.directory(&spot.dir.fd, spot.name)?;
        let seen = look::of(&dir).call(Call::Statx, || on(Descriptor::Directory).with(look::OPEN))?;
        let mounted = seen.is_mounted_on(&spot.dir.seen.unwrap_or(self.rules.top));
        if mounted && self.rules.options.jail.mounts == Mounts::Refuse {
            return Err(Cause::CrossesMount.into());
        }
        if self.rules.began.is_some_and(|began| seen.is_born_after(began)) {
            return Err(Unopened::Source(SourceChange::Appeared));
        }
        Ok((dir, seen))
    }

    /// Lists it, and goes into it if it is not another mount that is to be left alone.
    fn enter(&mut self, ahead: &mut Ahead, fd: OwnedFd, seen: Seen) -> Reached {
        let around = ahead.walk.dir().and_then(|dir| dir.seen).unwrap_or(self.rules.top);
        let dir = Arc::new(Dir { fd, seen: Some(seen) });
        let mut reached = Reached { dir, seen, mounted: seen.is_mounted_on(&around), unlisted: None };
        if reached.mounted && !self.rules.crosses() {
            return reached;
        }
        match Listing::read(&reached.dir.fd) {
            Ok(listing) => {
                self.readers.saw(listing.len());
                ahead.walk.enter(Arc::clone(&reached.dir), listing);
            }
            Err(fault) => reached.unlisted = Some(fault),
        }
        reached
    }
}
