//! What makes one directory of another, compared as containerd compares (rule 23).

use super::super::super::content;
use super::super::super::overlay::{Leaf, Shown, Tree, opened};
use super::super::super::start::again;
use super::super::super::walk::{Dir, Listing, Name};
use super::super::spot::{Entered, Entries, Spot};
use super::super::{Failed, Packer};
use super::levels::{Levels, Sight};
use super::not_reserved;
use super::same::{may_be_same, same_attributes, same_target};
use crate::helper::fault::{Attempt, Result, on};
use crate::helper::hash::Map;
use crate::helper::look::{self, Inode, Seen};
use crate::helper::open::Way;
use crate::helper::pack::attributes::Of;
use crate::report::{Call, Cause, Descriptor, EntryKind, Limit, Refusal, SourceChange};
use rustix::fs::FileType;
use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

pub(crate) struct Between {
    root: OwnedFd,
    levels: Levels,
    /// The directories that the walk is in.
    parents: Vec<Rc<Parent>>,
    /// Names of files that have not changed, which become links if another name of the file has.
    waiting: Map<Inode, Vec<Waiting>>,
    waits: u64,
}

/// A directory, whose entry comes before that of the first that changed in it.
struct Parent {
    path: Vec<u8>,
    inode: Inode,
    above: Option<Rc<Parent>>,
    written: Cell<bool>,
}

/// A name, and the directory that it is in.
struct Waiting {
    path: Vec<u8>,
    parent: Rc<Parent>,
}

/// What is at a name above.
enum There<'t> {
    File(&'t OwnedFd),
    Special,
}

impl Between {
    /// Of this root and what lies below it; so many directories of that may be open.
    pub(crate) fn new(root: &OwnedFd, lower: &[OwnedFd], most: usize) -> Result<Between> {
        let levels = Levels::new(Tree::new(lower, None)?, most);
        Ok(Between { root: again(root)?, levels, parents: Vec::new(), waiting: Map::default(), waits: 0 })
    }

    fn directory(
        &mut self,
        packer: &mut Packer<'_>,
        spot: &Spot<'_>,
        packed: bool,
        below: Sight,
    ) -> Result<Option<Entered>, Failed> {
        let Some((dir, seen)) = packer.open_directory(spot)? else { return Ok(None) };
        let lower = match &below {
            Ok(Shown::Directory(dirs)) => dirs.dirs().next(),
            _ => None,
        };
        if lower.and_then(|lower| lower.seen).is_some_and(|lower| lower.inode == seen.inode) {
            return Ok(None);
        }
        let same = lower.map_or(Ok(false), |lower| is_same_directory(packer, &dir, &seen, lower))?;
        let above = self.parents.last().map(Rc::clone);
        let parent = Parent { path: spot.path.to_vec(), inode: seen.inode, above, written: Cell::new(!packed) };
        if packed && !same {
            not_reserved(spot.name)?;
            self.write_parents(packer, parent.above.as_ref())?;
            packer.directory(&dir, &seen, spot.path)?;
            parent.written.set(true);
        }
        if !packer.goes_on(spot, &seen) {
            return Ok(None);
        }
        let Some(mut listing) = packer.list(&dir)? else { return Ok(None) };
        let dirs = if let Ok(Shown::Directory(dirs)) = below { dirs } else { Default::default() };
        self.levels.push_shown(spot.name, dirs);
        self.levels.list(&mut listing)?;
        self.parents.push(Rc::new(parent));
        Ok(Some(Entered { dir: Arc::new(Dir { fd: dir, seen: Some(seen) }), listing }))
    }

    fn file(&mut self, packer: &mut Packer<'_>, spot: &Spot<'_>, below: Sight) -> Result<(), Failed> {
        let Some((file, seen)) = packer.open_file(spot)? else { return Ok(()) };
        if self.is_same(packer, spot, &seen, There::File(&file), &below)? {
            return self.unchanged(packer, spot, &seen);
        }
        self.begin(packer, spot)?;
        packer.file_of(spot, &file, &seen, &file)?;
        self.linked(packer, &seen)
    }

    fn special(
        &mut self,
        packer: &mut Packer<'_>,
        spot: &Spot<'_>,
        kind: FileType,
        below: Sight,
    ) -> Result<(), Failed> {
        let Some(seen) = packer.look_at_special(spot, kind)? else { return Ok(()) };
        if self.is_same(packer, spot, &seen, There::Special, &below)? {
            return self.unchanged(packer, spot, &seen);
        }
        match (kind, below) {
            // It would be a whiteout.
            (FileType::CharacterDevice, _) if seen.device == (0, 0) => {
                return Err(Cause::Refused(Refusal::ForgedWhiteout).into());
            }
            (FileType::Socket, Ok(Shown::Absent)) => return packer.special_of(spot, &seen),
            // It is in no archive, and what was there is gone.
            (FileType::Socket, _) => {
                self.begin(packer, spot)?;
                packer.whiteout(spot.path)?;
                return packer.special_of(spot, &seen);
            }
            _ => {}
        }
        self.begin(packer, spot)?;
        packer.special_of(spot, &seen)?;
        self.linked(packer, &seen)
    }

    fn is_same(
        &self,
        packer: &mut Packer<'_>,
        spot: &Spot<'_>,
        seen: &Seen,
        there: There<'_>,
        below: &Sight,
    ) -> Result<bool, Failed> {
        let Ok(Shown::File(files)) = below else { return Ok(false) };
        let Some(lower) = files.first() else { return Ok(false) };
        if lower.seen.inode == seen.inode {
            return Ok(true);
        }
        if !may_be_same(seen, &lower.seen) {
            return Ok(false);
        }
        // Times in whole seconds say nothing.
        let reads = (seen.mtime.nanoseconds, lower.seen.mtime.nanoseconds) == (0, 0);
        match there {
            There::File(file) => is_same_file(packer, file, seen, lower, reads),
            There::Special => is_same_special(packer, spot, seen, lower, reads),
        }
    }

    /// Something in the directory at hand is written: those that it is in come before.
    fn begin(&self, packer: &mut Packer<'_>, spot: &Spot<'_>) -> Result<(), Failed> {
        not_reserved(spot.name)?;
        self.write_parents(packer, self.parents.last())
    }

    /// A name of a file that has not changed goes along with one that has.
    fn unchanged(&mut self, packer: &mut Packer<'_>, spot: &Spot<'_>, seen: &Seen) -> Result<(), Failed> {
        if seen.links < 2 || seen.kind == FileType::Socket {
            return Ok(());
        }
        if packer.links.first(seen).is_some() {
            self.begin(packer, spot)?;
            return packer.hardlink(spot.path, seen).map(drop);
        }
        let most = packer.rules.options.limits.hardlinks;
        if self.waits >= most {
            return Err(Cause::Limit { limit: Limit::Hardlinks, value: most }.into());
        }
        if let Some(parent) = self.parents.last() {
            self.waits += 1;
            let waiting = Waiting { path: spot.path.to_vec(), parent: Rc::clone(parent) };
            self.waiting.entry(seen.inode).or_default().push(waiting);
        }
        Ok(())
    }

    /// A file is in the archive now, and its names that waited follow.
    fn linked(&mut self, packer: &mut Packer<'_>, seen: &Seen) -> Result<(), Failed> {
        for Waiting { path, parent } in self.waiting.remove(&seen.inode).unwrap_or_default() {
            self.waits -= 1;
            not_reserved(path.rsplit(|byte| *byte == b'/').next().unwrap_or_default())?;
            self.write_parents(packer, Some(&parent))?;
            packer.between(&path, EntryKind::Hardlink, |packer| packer.hardlink(&path, seen))?;
        }
        Ok(())
    }

    /// The entries of a directory and of those that it is in, as far as they are not written.
    fn write_parents(&self, packer: &mut Packer<'_>, parent: Option<&Rc<Parent>>) -> Result<(), Failed> {
        let mut missing = Vec::new();
        let mut at = parent;
        while let Some(parent) = at.filter(|parent| !parent.written.get()) {
            missing.push(parent);
            at = parent.above.as_ref();
        }
        for parent in missing.into_iter().rev() {
            packer.between(&parent.path, EntryKind::Directory, |packer| self.write_parent(packer, parent))?;
            parent.written.set(true);
        }
        Ok(())
    }

    fn write_parent(&self, packer: &mut Packer<'_>, parent: &Parent) -> Result<(), Failed> {
        let mut dir = again(&self.root)?;
        for name in parent.path.split(|byte| *byte == b'/') {
            not_reserved(name)?;
            let opened = packer.opener.directory(&dir, name);
            let Some(next) = packer.opened(opened)? else { return Ok(()) };
            dir = next;
        }
        let seen = look::of(&dir).call(Call::Statx, || on(Descriptor::Directory).with(look::OPEN))?;
        if seen.inode != parent.inode {
            return packer.gone(SourceChange::Changed);
        }
        packer.directory(&dir, &seen, &parent.path)
    }
}

/// Times do not count.
fn is_same_directory(packer: &mut Packer<'_>, dir: &OwnedFd, seen: &Seen, lower: &Dir) -> Result<bool, Failed> {
    let same = |lower: Seen| (lower.mode, lower.uid, lower.gid) == (seen.mode, seen.uid, seen.gid);
    Ok(lower.seen.is_some_and(same) && same_attributes(packer, Of::Open(dir), Of::Open(&lower.fd))?)
}

fn is_same_file(
    packer: &mut Packer<'_>,
    file: &OwnedFd,
    seen: &Seen,
    lower: &Leaf,
    reads: bool,
) -> Result<bool, Failed> {
    let below = opened(&lower.dir.fd, &lower.name, Way::Lower)?;
    if !same_attributes(packer, Of::Open(file), Of::Open(&below))? {
        return Ok(false);
    }
    if !reads {
        return Ok(true);
    }
    let same = content::same(file, &below, seen.size, || packer.watch.goes_on())?;
    let now = look::of(file).call(Call::Statx, || on(Descriptor::File).with(look::OPEN))?;
    if !seen.is_unchanged(&now) {
        packer.change(SourceChange::Changed)?;
    }
    Ok(same)
}

fn is_same_special(
    packer: &mut Packer<'_>,
    spot: &Spot<'_>,
    seen: &Seen,
    lower: &Leaf,
    reads: bool,
) -> Result<bool, Failed> {
    let below = Spot { dir: &lower.dir, path: spot.path, name: &lower.name };
    if reads && seen.kind == FileType::Symlink && !same_target(spot, &below)? {
        return Ok(false);
    }
    let above = packer.records_of(spot)?;
    Ok(above == packer.records_of(&below)?)
}

impl<'a> Entries<'a> for Between {
    fn top(&mut self, packer: &mut Packer<'a>, dir: &OwnedFd, seen: &Seen, path: &[u8]) -> Result<Listing, Failed> {
        let parent = Parent { path: path.to_vec(), inode: seen.inode, above: None, written: Cell::new(true) };
        self.parents.push(Rc::new(parent));
        let lower = self.levels.here();
        if lower.as_ref().and_then(|lower| lower.seen).is_some_and(|lower| lower.inode == seen.inode) {
            return Ok(Listing::default());
        }
        let same = lower.map_or(Ok(false), |lower| is_same_directory(packer, dir, seen, &lower))?;
        if !same && !packer.rules.options.no_root {
            packer.directory(dir, seen, path)?;
        }
        let mut listing = Listing::read(dir)?;
        self.levels.list(&mut listing)?;
        Ok(listing)
    }

    fn entry(
        &mut self,
        packer: &mut Packer<'a>,
        spot: &Spot<'_>,
        name: Name,
        depth: usize,
    ) -> Result<Option<Entered>, Failed> {
        if name.below {
            if packer.chosen(spot.path, FileType::Unknown, depth)? == Some(true) {
                self.begin(packer, spot)?;
                packer.whiteout(spot.path)?;
            }
            return Ok(None);
        }
        let Some((kind, packed)) = packer.wanted(spot, name.kind, depth)? else { return Ok(None) };
        let below = self.levels.shows(spot.name)?;
        match kind {
            FileType::Directory => self.directory(packer, spot, packed, below),
            FileType::RegularFile => self.file(packer, spot, below).map(|()| None),
            kind => self.special(packer, spot, kind, below).map(|()| None),
        }
    }

    fn left(&mut self) {
        self.levels.pop();
        self.parents.pop();
    }
}
