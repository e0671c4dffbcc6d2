//! An entry of a directory: a directory or a regular file, which are opened, or what is not (`special.rs`).

use super::super::ahead::Reached;
use super::super::attributes::{Attributes, Of};
use super::super::content::{Extents, SMALL, append, extents, may_have_holes, stored, stream};
use super::super::open::{Unopened, must_be};
use super::super::readers::Small;
use super::super::walk::Listing;
use super::rules::kind_of;
use super::scout::Judged;
use super::spot::Spot;
use super::{Draft, Failed, Packer};
use crate::helper::fault::{Attempt, Fault, at, on};
use crate::helper::look::{self, Seen};
use crate::helper::read::entry::Region;
use crate::options::{Mounts, Tolerance};
use crate::report::{Call, Cause, Descriptor, EntryKind, EventKind, SourceChange};
use nix::errno::Errno;
use rustix::fs::FileType;
use std::os::fd::OwnedFd;

/// Bytes of holes that are packed as zeros without a word.
const MANY_ZEROS: u64 = 1 << 30;

impl Packer<'_> {
    /// What is there, if it is wanted, and whether it is packed itself, and not only what is in it.
    pub(super) fn wanted(
        &mut self,
        spot: &Spot<'_>,
        kind: FileType,
        depth: usize,
    ) -> Result<Option<(FileType, bool)>, Failed> {
        match self.judge(spot, kind, depth)? {
            Judged::Wanted { kind, packed } => {
                self.at_hand.kind = kind_of(kind);
                Ok(Some((kind, packed)))
            }
            Judged::Skipped => {
                self.journal.counts.skipped += 1;
                Ok(None)
            }
            Judged::There => Ok(None),
            Judged::Unseen(errno) => self.unseen(spot.name, errno).map(|()| None),
        }
    }

    /// Whether a path is wanted, and if it is, whether it is packed itself.
    pub(super) fn chosen(&mut self, path: &[u8], kind: FileType, depth: usize) -> Result<Option<bool>, Failed> {
        match self.choose(path, kind, depth)? {
            Ok(packed) => return Ok(Some(packed)),
            Err(Judged::Skipped) => self.journal.counts.skipped += 1,
            Err(_) => {}
        }
        Ok(None)
    }

    /// A name that is no directory's; `small`: its content and what else a reader has seen of it.
    pub(super) fn entry(
        &mut self,
        spot: &Spot<'_>,
        kind: FileType,
        small: Option<(&[u8], Small)>,
    ) -> Result<(), Failed> {
        match (kind, small) {
            (FileType::RegularFile, Some((content, small))) => self.read_before(spot, small, content),
            (FileType::RegularFile, None) => self.file(spot),
            _ => self.special(spot, kind),
        }
    }

    /// What has the name at hand; nothing if it is gone, which is noted.
    pub(super) fn look_at(&mut self, spot: &Spot<'_>) -> Result<Option<Seen>, Failed> {
        match look::at(&spot.dir.fd, spot.name) {
            Ok(seen) => Ok(Some(seen)),
            Err(errno) => self.unseen(spot.name, errno).map(|()| None),
        }
    }

    /// What has this name could not be looked at.
    pub(super) fn unseen(&mut self, name: &[u8], errno: Errno) -> Result<(), Failed> {
        if errno == Errno::ENOENT {
            return self.gone(SourceChange::Vanished);
        }
        let fault = Fault::os(errno, Call::Statx, at(Descriptor::Directory, name).with(look::NAMED));
        self.unreadable(errno, fault)
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
    pub(super) fn opened<T>(&mut self, opened: Result<T, Unopened>) -> Result<Option<T>, Failed> {
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(Unopened::Source(change)) => self.gone(change).map(|()| None),
            Err(Unopened::Unreadable(fault)) => {
                let errno = fault.errno().unwrap_or(Errno::EACCES);
                self.unreadable(errno, fault).map(|()| None)
            }
            Err(Unopened::Failed(fault)) => Err(fault.into()),
        }
    }

    /// A directory that the walk has come to.
    pub(super) fn directory_in_turn(
        &mut self,
        path: &[u8],
        packed: bool,
        reached: Result<Reached, Unopened>,
    ) -> Result<(), Failed> {
        let Some(Reached { dir, seen, mounted, unlisted }) = self.opened(reached)? else { return Ok(()) };
        if packed && !self.parents.contains(path) {
            self.directory(&dir.fd, &seen, path)?;
        }
        if mounted {
            let crosses = self.rules.crosses();
            self.journal.event(if crosses { EventKind::MountCrossed } else { EventKind::MountNotEntered });
        }
        unlisted.map_or(Ok(()), |fault| self.unlisted(fault))
    }

    /// Whether what is in a directory is packed too: where it is a mount point that is skipped, it is not.
    pub(super) fn goes_on(&mut self, spot: &Spot<'_>, seen: &Seen) -> bool {
        let (mounted, crosses) = (seen.is_mounted_on(&spot.dir.seen.unwrap_or(self.rules.top)), self.rules.crosses());
        if mounted {
            self.journal.event(if crosses { EventKind::MountCrossed } else { EventKind::MountNotEntered });
        }
        !mounted || crosses
    }

    /// Opens the directory at hand; nothing if it cannot be, which is noted.
    pub(super) fn open_directory(&mut self, spot: &Spot<'_>) -> Result<Option<(OwnedFd, Seen)>, Failed> {
        let opened = self.reach(spot);
        self.opened(opened)
    }

    /// What is in a directory; nothing if that cannot be had, which is noted.
    pub(super) fn list(&mut self, dir: &OwnedFd) -> Result<Option<Listing>, Failed> {
        match Listing::read(dir) {
            Ok(listing) => Ok(Some(listing)),
            Err(fault) => self.unlisted(fault).map(|()| None),
        }
    }

    fn unlisted(&mut self, fault: Fault) -> Result<(), Failed> {
        match fault.errno() {
            // Removed since it was opened.
            Some(Errno::ENOENT) => self.change(SourceChange::Changed),
            errno => self.unreadable(errno.unwrap_or(Errno::EIO), fault),
        }
    }

    /// A file that is the archive, or that a mount hides.
    fn is_left_out(&mut self, spot: &Spot<'_>, seen: &Seen) -> Result<bool, Failed> {
        if self.rules.archive != Some(seen.inode) {
            return self.is_left_out_as_mount(spot, seen);
        }
        self.leave_out(EventKind::ArchiveItself);
        Ok(true)
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
        let seen = look::of(&file).call(Call::Statx, || on(Descriptor::File).with(look::OPEN))?;
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
        if self.is_left_out(spot, seen)? || self.hardlink(spot.path, seen)? {
            return Ok(());
        }
        let name = self.names.of(spot.path);
        self.contents(file, seen, &name, data)?;
        self.links.note(seen, &name)?;
        let now = look::of(file).call(Call::Statx, || on(Descriptor::File).with(look::OPEN))?;
        self.packed(seen, &now)
    }

    /// A file that a reader has read, as if it were read now.
    fn read_before(&mut self, spot: &Spot<'_>, small: Small, content: &[u8]) -> Result<(), Failed> {
        let Small { seen, attributes, change, now, .. } = small;
        if self.is_left_out(spot, &seen)? {
            return Ok(());
        }
        let attributes = self.told_attributes(attributes)?;
        let name = self.names.of(spot.path);
        self.small(&file_of(&seen, &name, &attributes), content, change)?;
        self.packed(&seen, &now)
    }

    /// A file is in the archive, and was this before and that after.
    fn packed(&mut self, seen: &Seen, now: &Seen) -> Result<(), Failed> {
        self.journal.counts.files += 1;
        match now.size > seen.size {
            true => self.change(SourceChange::Grew { size: seen.size }),
            false if seen.is_unchanged(now) => Ok(()),
            false => self.change(SourceChange::Changed),
        }
    }

    fn contents(&mut self, file: &OwnedFd, seen: &Seen, name: &[u8], data: &OwnedFd) -> Result<(), Failed> {
        let attributes = self.attributes(Of::Open(file))?;
        let draft = file_of(seen, name, &attributes);
        match self.holes(data, seen)? {
            Some(regions) => self.sparse(data, &regions, draft),
            None if seen.size <= SMALL as u64 => {
                let mut content = std::mem::take(&mut self.content);
                content.clear();
                let change = append(data, usize::try_from(seen.size).unwrap_or(SMALL), &mut content);
                let done = change.map_err(Failed::from).and_then(|change| self.small(&draft, &content, change));
                self.content = content;
                done
            }
            None => self.large(data, &draft),
        }
    }

    /// Where the file has content, if it has holes that are packed as such.
    fn holes(&mut self, file: &OwnedFd, seen: &Seen) -> Result<Option<Vec<Region>>, Failed> {
        if !may_have_holes(seen, self.rules.options) {
            if self.rules.options.dense && seen.size.saturating_sub(seen.blocks.saturating_mul(512)) > MANY_ZEROS {
                self.journal.event(EventKind::HolesFilled);
            }
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

    /// Between header and content nothing can fail but the archive.
    fn small(&mut self, draft: &Draft<'_>, content: &[u8], change: Option<SourceChange>) -> Result<(), Failed> {
        self.begin(draft, draft.size)?;
        self.archive.body(content)?;
        change.map_or(Ok(()), |change| self.change(change))
    }

    fn large(&mut self, file: &OwnedFd, draft: &Draft<'_>) -> Result<(), Failed> {
        self.begin(draft, draft.size)?;
        let change = stream(file, draft.size, &mut self.archive)?;
        change.map_or(Ok(()), |change| self.change(change))
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

fn file_of<'d>(seen: &'d Seen, name: &'d [u8], attributes: &'d Attributes) -> Draft<'d> {
    Draft { kind: EntryKind::File, seen: Some(seen), name, link: b"", size: seen.size, sparse: None, attributes }
}
