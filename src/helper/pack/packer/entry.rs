//! An entry of a directory: a directory or a regular file, which are opened, or what is not (`special.rs`).

use super::super::attributes::{Attributes, Of};
use super::super::content::{Extents, SMALL, extents, stored};
use super::super::open::{Unopened, must_be};
use super::super::select::Choice;
use super::super::walk::Listing;
use super::rules::kind_of;
use super::spot::{Entered, Spot};
use super::{Draft, Failed, Packer};
use crate::helper::fault::{Attempt, Fault, at, on};
use crate::helper::look::{self, Seen};
use crate::helper::read::entry::Region;
use crate::options::{Mounts, Tolerance};
use crate::report::{Call, Cause, Descriptor, EntryKind, EventKind, Limit, SourceChange};
use nix::errno::Errno;
use rustix::fs::FileType;
use std::os::fd::OwnedFd;

impl Packer<'_> {
    /// The entry at hand, so many directories deep; `kind` is what the directory says of it.
    pub(super) fn entry(&mut self, spot: &Spot<'_>, kind: FileType, depth: usize) -> Result<Option<Entered>, Failed> {
        let Some((kind, packed)) = self.wanted(spot, kind, depth)? else { return Ok(None) };
        match kind {
            FileType::Directory => self.go_into(spot, packed),
            FileType::RegularFile => self.file(spot).map(|()| None),
            kind => self.special(spot, kind).map(|()| None),
        }
    }

    /// What is there, if it is wanted, and whether it is packed itself, and not only what is in it.
    pub(super) fn wanted(
        &mut self,
        spot: &Spot<'_>,
        kind: FileType,
        depth: usize,
    ) -> Result<Option<(FileType, bool)>, Failed> {
        let most = self.rules.options.limits.depth;
        if depth > most as usize {
            return Err(Cause::Limit { limit: Limit::Depth, value: most.into() }.into());
        }
        let choice = self.select.choose(spot.path);
        match (choice, kind) {
            (Choice::There, _) => return Ok(None),
            (Choice::Packed, _) | (Choice::Passed, FileType::Directory | FileType::Unknown) => {}
            (Choice::Passed | Choice::Left, _) => {
                self.journal.counts.skipped += 1;
                return Ok(None);
            }
        }
        // A listing says what a mount covers, and not what is mounted.
        let asks = kind == FileType::Unknown || self.rules.crosses();
        let kind = if asks { self.look_at(spot)?.map(|seen| seen.kind) } else { Some(kind) };
        let Some(kind) = kind else { return Ok(None) };
        self.at_hand.kind = kind_of(kind);
        if choice == Choice::Passed && kind != FileType::Directory {
            self.journal.counts.skipped += 1;
            return Ok(None);
        }
        Ok(Some((kind, choice == Choice::Packed)))
    }

    /// What has the name at hand; nothing if it is gone, which is noted.
    pub(super) fn look_at(&mut self, spot: &Spot<'_>) -> Result<Option<Seen>, Failed> {
        match look::at(&spot.dir.fd, spot.name) {
            Ok(seen) => Ok(Some(seen)),
            Err(Errno::ENOENT) => self.gone(SourceChange::Vanished).map(|()| None),
            Err(errno) => {
                let fault =
                    Fault::os(errno, Call::Statx, at(Descriptor::Directory, spot.name).with("AT_SYMLINK_NOFOLLOW"));
                self.unreadable(errno, fault).map(|()| None)
            }
        }
    }

    /// It is left out, since it is no longer what was listed.
    pub(super) fn gone(&mut self, change: SourceChange) -> Result<(), Failed> {
        self.journal.counts.skipped += 1;
        self.change(change)
    }

    fn unreadable(&mut self, errno: Errno, fault: Fault) -> Result<(), Failed> {
        let may_be = matches!(errno, Errno::EACCES | Errno::EPERM);
        if !may_be || self.rules.options.unreadable == Tolerance::Fail {
            return Err(fault.into());
        }
        self.leave_out(EventKind::Unreadable { errno: errno as i32 });
        Ok(())
    }

    /// What was opened, unless it could not be, which is noted.
    fn opened(&mut self, opened: Result<OwnedFd, Unopened>) -> Result<Option<OwnedFd>, Failed> {
        match opened {
            Ok(fd) => Ok(Some(fd)),
            Err(Unopened::Source(change)) => self.gone(change).map(|()| None),
            Err(Unopened::Unreadable(fault)) => {
                let errno = fault.errno().unwrap_or(Errno::EACCES);
                self.unreadable(errno, fault).map(|()| None)
            }
            Err(Unopened::Failed(fault)) => Err(fault.into()),
        }
    }

    fn go_into(&mut self, spot: &Spot<'_>, packed: bool) -> Result<Option<Entered>, Failed> {
        let Some((dir, seen)) = self.open_directory(spot)? else { return Ok(None) };
        if packed && !self.parents.contains(spot.path) {
            self.directory(&dir, &seen, spot.path)?;
        }
        if seen.is_mounted_on(&spot.dir.seen.unwrap_or(self.rules.top)) {
            if !self.rules.crosses() {
                self.journal.event(EventKind::MountSkipped);
                return Ok(None);
            }
            self.journal.event(EventKind::MountCrossed);
        }
        Ok(self.list(&dir)?.map(|listing| Entered { dir, seen, listing }))
    }

    /// Opens the directory at hand; nothing if it cannot be, which is noted.
    pub(super) fn open_directory(&mut self, spot: &Spot<'_>) -> Result<Option<(OwnedFd, Seen)>, Failed> {
        let opened = self.opener.directory(&spot.dir.fd, spot.name);
        let Some(dir) = self.opened(opened)? else { return Ok(None) };
        let seen = look::of(&dir).call(Call::Statx, || on(Descriptor::Directory).with("\"\", AT_EMPTY_PATH"))?;
        let mounted = seen.is_mounted_on(&spot.dir.seen.unwrap_or(self.rules.top));
        if mounted && self.rules.options.jail.mounts == Mounts::Refuse {
            return Err(Cause::CrossesMount.into());
        }
        Ok(Some((dir, seen)))
    }

    /// What is in a directory; nothing if that cannot be had, which is noted.
    pub(super) fn list(&mut self, dir: &OwnedFd) -> Result<Option<Listing>, Failed> {
        match Listing::read(dir) {
            Ok(listing) => return Ok(Some(listing)),
            // Removed since it was opened.
            Err(fault) if fault.errno() == Some(Errno::ENOENT) => self.change(SourceChange::Changed)?,
            Err(fault) => self.unreadable(fault.errno().unwrap_or(Errno::EIO), fault)?,
        }
        Ok(None)
    }

    /// Something is mounted on what is no directory: it is left out, or may be packed.
    pub(super) fn is_left_out_as_mount(&mut self, spot: &Spot<'_>, seen: &Seen) -> Result<bool, Failed> {
        let around = spot.dir.seen.unwrap_or(self.rules.top);
        match self.rules.options.jail.mounts {
            _ if !seen.is_mounted_on(&around) => Ok(false),
            Mounts::Refuse => Err(Cause::MountPoint { directory: false }.into()),
            Mounts::Skip => {
                self.leave_out(EventKind::MountSkipped);
                Ok(true)
            }
            Mounts::Cross => {
                self.journal.event(EventKind::MountCrossed);
                Ok(false)
            }
        }
    }

    /// A further name of a file that is in the archive.
    pub(super) fn hardlink(&mut self, path: &[u8], seen: &Seen) -> Result<bool, Failed> {
        let Some(first) = self.links.first(seen).map(<[u8]>::to_vec) else { return Ok(false) };
        self.write(EntryKind::Hardlink, seen, path, &first, &Attributes::default())?;
        self.journal.counts.hardlinks += 1;
        Ok(true)
    }

    fn file(&mut self, spot: &Spot<'_>) -> Result<(), Failed> {
        match self.open_file(spot)? {
            Some((file, seen)) => self.file_of(spot, &file, &seen, &file),
            None => Ok(()),
        }
    }

    /// Opens the regular file at hand; nothing if it cannot be, which is noted.
    pub(super) fn open_file(&mut self, spot: &Spot<'_>) -> Result<Option<(OwnedFd, Seen)>, Failed> {
        let opened = self.opener.file(&spot.dir.fd, spot.name);
        let Some(file) = self.opened(opened)? else { return Ok(None) };
        let seen = look::of(&file).call(Call::Statx, || on(Descriptor::File).with("\"\", AT_EMPTY_PATH"))?;
        match must_be(&seen, FileType::RegularFile) {
            Ok(()) => Ok(Some((file, seen))),
            Err(change) => self.gone(change).map(|()| None),
        }
    }

    /// The entry of an open file, whose content is in `data`.
    pub(super) fn file_of(
        &mut self,
        spot: &Spot<'_>,
        file: &OwnedFd,
        seen: &Seen,
        data: &OwnedFd,
    ) -> Result<(), Failed> {
        if self.is_left_out_as_mount(spot, seen)? || self.hardlink(spot.path, seen)? {
            return Ok(());
        }
        let name = self.names.of(spot.path);
        self.contents(file, seen, &name, data)?;
        self.links.note(seen, &name)?;
        self.journal.counts.files += 1;
        let now = look::of(file).call(Call::Statx, || on(Descriptor::File).with("\"\", AT_EMPTY_PATH"))?;
        match now.size > seen.size {
            true => self.change(SourceChange::Grew { size: seen.size }),
            false if seen.is_unchanged(&now) => Ok(()),
            false => self.change(SourceChange::Changed),
        }
    }

    fn contents(&mut self, file: &OwnedFd, seen: &Seen, name: &[u8], data: &OwnedFd) -> Result<(), Failed> {
        let attributes = self.attributes(Of::Open(file))?;
        let draft = Draft {
            kind: EntryKind::File,
            seen: Some(seen),
            name,
            link: b"",
            size: seen.size,
            sparse: None,
            attributes: &attributes,
        };
        match self.holes(data, seen)? {
            Some(regions) => self.sparse(data, &regions, draft),
            None if seen.size <= SMALL as u64 => self.small(data, &draft),
            None => self.large(data, &draft),
        }
    }

    /// Where the file has content, if it has holes that are packed as such.
    fn holes(&mut self, file: &OwnedFd, seen: &Seen) -> Result<Option<Vec<Region>>, Failed> {
        if self.rules.options.dense || seen.size == 0 || seen.blocks.saturating_mul(512) >= seen.size {
            return Ok(None);
        }
        match extents(file, seen.size, self.rules.options.limits.sparse_regions)? {
            Extents::Dense => Ok(None),
            Extents::Sparse(regions) => Ok(Some(regions)),
            Extents::TooMany => {
                self.journal.event(EventKind::HolesFilled);
                Ok(None)
            }
        }
    }

    fn small(&mut self, file: &OwnedFd, draft: &Draft<'_>) -> Result<(), Failed> {
        // Between header and content nothing can fail but the archive.
        let size = usize::try_from(draft.size).unwrap_or(SMALL);
        let change = self.buffer.small(file, size)?;
        self.begin(draft, draft.size)?;
        self.archive.body(self.buffer.first(size))?;
        change.map_or(Ok(()), |change| self.change(change))
    }

    fn large(&mut self, file: &OwnedFd, draft: &Draft<'_>) -> Result<(), Failed> {
        self.begin(draft, draft.size)?;
        self.copy(file, &[Region { offset: 0, length: draft.size }])
    }

    fn sparse(&mut self, file: &OwnedFd, regions: &[Region], draft: Draft<'_>) -> Result<(), Failed> {
        self.begin(&Draft { sparse: Some(regions), ..draft }, stored(regions))?;
        self.copy(file, regions)
    }

    fn copy(&mut self, file: &OwnedFd, regions: &[Region]) -> Result<(), Failed> {
        for region in regions {
            if let Some(change) = self.buffer.copy(file, *region, &mut self.archive)? {
                self.change(change)?;
            }
        }
        Ok(())
    }
}
