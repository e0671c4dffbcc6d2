//! Symlinks, devices, FIFOs and sockets, none of which is ever opened.

use super::super::attributes::{Attributes, Of};
use super::super::open::must_be;
use super::spot::Spot;
use super::{Failed, Packer};
use crate::helper::fault::{Attempt, Fault, at, on};
use crate::helper::look::{self, Seen};
use crate::options::PackXattrs;
use crate::report::{Call, Descriptor, EntryKind, EventKind, SourceChange};
use nix::errno::Errno;
use rustix::fs::FileType;
use std::sync::Arc;

impl Packer<'_> {
    /// What the directory says is neither a directory nor a regular file.
    pub(super) fn special(&mut self, spot: &Spot<'_>, kind: FileType) -> Result<(), Failed> {
        match self.look_at_special(spot, kind)? {
            Some(seen) => self.special_of(spot, &seen),
            None => Ok(()),
        }
    }

    /// What has the name at hand, which the directory says is of this kind; nothing if it is another, which is noted.
    pub(super) fn look_at_special(&mut self, spot: &Spot<'_>, kind: FileType) -> Result<Option<Seen>, Failed> {
        let Some(seen) = self.look_at(spot)? else { return Ok(None) };
        match must_be(&seen, kind) {
            Ok(()) => Ok(Some(seen)),
            Err(change) => self.gone(change).map(|()| None),
        }
    }

    /// The entry of what was seen to be neither.
    pub(super) fn special_of(&mut self, spot: &Spot<'_>, seen: &Seen) -> Result<(), Failed> {
        if self.is_left_out_as_mount(spot, seen)? {
            return Ok(());
        }
        let kind = match seen.kind {
            FileType::Symlink => EntryKind::Symlink,
            FileType::Fifo => EntryKind::Fifo,
            FileType::CharacterDevice => EntryKind::CharDevice,
            FileType::BlockDevice => EntryKind::BlockDevice,
            _ => {
                self.leave_out(EventKind::SocketSkipped);
                return Ok(());
            }
        };
        if self.hardlink(spot.path, seen)? {
            return Ok(());
        }
        let Some(target) = self.target(spot, seen)? else { return Ok(()) };
        let attributes = self.attributes_by_name(spot, seen)?;
        self.write(kind, seen, spot.path, &target, &attributes)?;
        self.links.note(seen, &self.names.of(spot.path))?;
        let counts = &mut self.journal.counts;
        *match kind {
            EntryKind::Symlink => &mut counts.symlinks,
            EntryKind::Fifo => &mut counts.fifos,
            _ => &mut counts.devices,
        } += 1;
        Ok(())
    }

    /// Where a link leads; nothing if it is gone, which is noted. It must be as long as the link was seen to be.
    fn target(&mut self, spot: &Spot<'_>, seen: &Seen) -> Result<Option<Vec<u8>>, Failed> {
        if seen.kind != FileType::Symlink {
            return Ok(Some(Vec::new()));
        }
        let read = || self.opener.link(&spot.dir.fd, spot.name);
        // Some file systems do not know a length.
        let fits = |target: &Vec<u8>| seen.size == 0 || target.len() as u64 == seen.size;
        let mut target = read();
        if target.as_ref().is_ok_and(|target| !fits(target)) {
            target = read();
            if target.as_ref().is_ok_and(|target| !fits(target)) {
                self.change(SourceChange::Changed)?;
            }
        }
        match target {
            Ok(target) => Ok(Some(target)),
            Err(Errno::ENOENT) => self.gone(SourceChange::Vanished).map(|()| None),
            Err(Errno::EINVAL) => self.gone(SourceChange::Changed).map(|()| None),
            Err(errno) => {
                let arguments = at(Descriptor::Directory, spot.name).with("<path>, 4096");
                Err(Fault::os(errno, Call::Readlinkat, arguments).into())
            }
        }
    }

    /// By its name in the working directory, which may be another file's by now: then they are not believed.
    fn attributes_by_name(&mut self, spot: &Spot<'_>, seen: &Seen) -> Result<Attributes, Failed> {
        if !self.rules.by_name {
            // Links have none but those that only root may set.
            if seen.kind != FileType::Symlink && self.rules.options.xattrs == PackXattrs::All {
                self.journal.event(EventKind::AttributesUnread);
            }
            return Ok(Attributes::default());
        }
        self.go_to(spot)?;
        let attributes = match self.attributes(Of::Named(spot.name)) {
            Err(Failed::Walking(fault)) if fault.errno() == Some(Errno::ENOENT) => Attributes::default(),
            attributes => attributes?,
        };
        if attributes.records.is_empty() {
            return Ok(attributes);
        }
        let same = look::at(&spot.dir.fd, spot.name).ok();
        if same.is_some_and(|now| now.inode == seen.inode) {
            return Ok(attributes);
        }
        self.change(SourceChange::Changed)?;
        Ok(Attributes::default())
    }

    /// Makes the directory at hand the working directory.
    pub(super) fn go_to(&mut self, spot: &Spot<'_>) -> Result<(), Failed> {
        if !self.cwd.as_ref().is_some_and(|cwd| Arc::ptr_eq(cwd, spot.dir)) {
            nix::unistd::fchdir(&spot.dir.fd).call(Call::Fchdir, || on(Descriptor::Directory))?;
            self.cwd = Some(Arc::clone(spot.dir));
        }
        Ok(())
    }
}
