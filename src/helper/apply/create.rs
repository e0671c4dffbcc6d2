//! One function per kind of entry, and the rules for what is already there.

use super::dirs::{Child, NodeId};
use super::files::{self, NewFile};
use super::made::{self, Inherit, Made, NewDirectory, Special};
use super::metadata::{self, Metadata, Softened};
use super::unchangeable;
use super::writers::{Content, FileJob, NO_BATCH};
use super::{Applier, refused};
use crate::helper::fault::{Fault, Result, at};
use crate::helper::feed::Failed;
use crate::helper::open;
use crate::helper::read::entry::{Entry, Reader};
use crate::helper::read::stream::Stream;
use crate::options::{Devices, Mounts};
use crate::report::{Call, Descriptor, EntryKind, EntryRef, EventKind, Refusal};
use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag, makedev};
use std::ffi::OsStr;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// The longest content that is handed over to a writer; longer files are written as they come.
const SMALL: u64 = 128 << 10;
/// Entries before the first file that a writer gets: fewer are done before a thread is there.
const WRITERS_FROM: u64 = 64;

/// Where something is made.
pub(super) struct Spot<'n> {
    pub(super) parent: NodeId,
    pub(super) handle: Arc<OwnedFd>,
    pub(super) inherit: Inherit,
    pub(super) name: &'n [u8],
}

impl Spot<'_> {
    pub(super) fn path(&self) -> &OsStr {
        OsStr::from_bytes(self.name)
    }

    pub(super) fn stat(&self) -> Result<Option<FileStat>> {
        files::stat(&self.handle, self.name)
    }
}

impl Applier<'_> {
    pub(super) fn create(
        &mut self,
        entry: Entry,
        parent: NodeId,
        path: &mut Vec<u8>,
        name: Range<usize>,
        reader: &mut Reader<Stream>,
    ) -> Result<(), Failed> {
        let handle = self.tree.open(parent)?;
        let spot = Spot { parent, handle, inherit: self.tree.dirs.node(parent).inherit, name: &path[name.clone()] };
        if let Some(Child::Leaf(batch)) = self.tree.dirs.child(parent, spot.name) {
            self.tree.writers.wait(batch);
        }
        if self.goes_to_writer(&entry, &spot, reader) {
            let Spot { handle, inherit, .. } = spot;
            return self.hand_over(entry, parent, handle, inherit, path, name, reader);
        }
        self.create_here(entry, &spot, reader).map_err(|failed| match failed {
            Failed::Applying(fault) => unchangeable::told(fault, &spot.handle, Some(spot.name)).into(),
            failed => failed,
        })?;
        self.tree.dirs.touch(parent);
        Ok(())
    }

    fn create_here(&mut self, mut entry: Entry, spot: &Spot<'_>, reader: &mut Reader<Stream>) -> Result<(), Failed> {
        if entry.kind == EntryKind::Hardlink {
            self.hardlink(spot, &entry.link)?;
        } else {
            let (meta, events) = self.policy.metadata(&mut entry)?;
            self.tree.journal.events(events);
            match entry.kind {
                EntryKind::Directory => self.directory(spot, meta)?,
                EntryKind::Symlink => self.symlink(spot, &entry.link, &meta)?,
                EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo => {
                    self.special(spot, &entry, &meta)?;
                }
                _ => self.file(spot, entry, &meta, reader)?,
            }
        }
        Ok(())
    }

    /// Rule 3: the destination is changed, never replaced.
    pub(super) fn root_entry(&mut self, mut entry: Entry) -> Result<()> {
        self.tree.journal.counts.directories += 1;
        let (meta, events) = self.policy.metadata(&mut entry)?;
        if self.options.ignore_root_metadata {
            return Ok(());
        }
        self.root_listed = true;
        self.tree.journal.events(events);
        self.merge(self.destination, meta)
    }

    /// Makes something that is not a directory, making room for it first where something is in the way.
    pub(super) fn make<T>(&mut self, spot: &Spot<'_>, make: impl FnMut() -> Result<T>) -> Result<T> {
        if let Some(Child::Dir(id)) = self.tree.dirs.child(spot.parent, spot.name) {
            self.make_room(spot, id)?;
        }
        self.mode.refuse_conflict(&self.tree, spot, false)?;
        self.tree.maker.make(&spot.handle, spot.name, make)
    }

    /// A known directory goes once nobody writes below it any more.
    fn make_room(&mut self, spot: &Spot<'_>, there: NodeId) -> Result<()> {
        if self.tree.dirs.is_pinned(there) {
            return Err(refused(Refusal::RootNotDirectory));
        }
        self.tree.settle()?;
        let made = self.tree.maker.make_room(&spot.handle, spot.name);
        self.tree.removed(spot.parent, spot.name, made)
    }

    pub(super) fn made_leaf(&mut self, spot: &Spot<'_>) -> Result<()> {
        self.tree.dirs.set_leaf(spot.parent, spot.name, Child::Leaf(NO_BATCH))
    }

    /// A small file of an archive that is not small, where nothing that is known is in the way.
    fn goes_to_writer(&mut self, entry: &Entry, spot: &Spot<'_>, reader: &mut Reader<Stream>) -> bool {
        entry.kind == EntryKind::File
            && entry.stored <= SMALL
            && self.documents.is_none()
            && self.tree.writers.available()
            && matches!(self.tree.dirs.child(spot.parent, spot.name), None | Some(Child::Leaf(_)))
            && self.mode.may_hand_over()
            && (entry.index >= WRITERS_FROM || reader.source_mut().is_large())
            // A writer that leaves it out says so too late for what this archive has made to be known.
            && (self.options.jail.mounts != Mounts::Skip || spot.stat().is_ok_and(|there| there.is_none()))
    }

    #[expect(clippy::too_many_arguments, reason = "a file and its place, taken apart so that the name can move")]
    fn hand_over(
        &mut self,
        mut entry: Entry,
        parent: NodeId,
        dir: Arc<OwnedFd>,
        inherit: Inherit,
        path: &mut Vec<u8>,
        name: Range<usize>,
        reader: &mut Reader<Stream>,
    ) -> Result<(), Failed> {
        let (meta, events) = self.policy.metadata(&mut entry)?;
        self.tree.journal.events(events);
        // While the name is here.
        self.tree.journal.tell(|| EntryRef::new(entry.index, entry.offset, path, entry.kind));
        let (mut body, mut left) = (Content::default(), entry.stored);
        while let Some(bytes) = reader.body().map_err(Failed::Reading)? {
            left = left.saturating_sub(bytes.len() as u64);
            body.push(self.tree.purse.pay(bytes)?, left);
        }
        let Entry { index, offset, size, sparse: regions, .. } = entry;
        self.tree.dirs.touch(parent);
        // The batch is not known before the job is made, nor the name after.
        let batch = self.tree.writers.batch();
        self.tree.dirs.set_leaf(parent, &path[name.clone()], Child::Leaf(batch))?;
        // Not before: whatever fails above is told with the name.
        let path = std::mem::take(path);
        self.tree.writers.push(FileJob { dir, inherit, index, offset, path, name, meta, regions, size, body });
        Ok(())
    }

    fn file(
        &mut self,
        spot: &Spot<'_>,
        entry: Entry,
        meta: &Metadata,
        reader: &mut Reader<Stream>,
    ) -> Result<(), Failed> {
        let fd = self.make(spot, || made::file(&spot.handle, spot.name, meta.mode))?;
        self.made_leaf(spot)?;
        let mut file = NewFile::new(fd, entry.sparse);
        let mut unread = true;
        while let Some(bytes) = reader.body().map_err(Failed::Reading)? {
            if std::mem::take(&mut unread) && self.is_hollow(entry.size, &bytes) {
                file.empty();
                break;
            }
            file.write(&self.tree.purse.pay(bytes)?)?;
            self.tree.journal.progress(reader.source_mut().progress());
        }
        let softened = file.finish(entry.size, meta, spot.inherit, &self.tree.maker.setter)?;
        self.tree.journal.events(softened);
        self.tree.journal.counts.files += 1;
        Ok(())
    }

    /// Whether a file that begins so is no document, where only those are wanted: an object, a list, or `null`.
    fn is_hollow(&self, size: u64, begins: &[u8]) -> bool {
        let first = begins.iter().find(|byte| !byte.is_ascii_whitespace());
        self.documents.is_some_and(|most| size > most || first.is_some_and(|byte| !matches!(byte, b'{' | b'[' | b'n')))
    }

    fn symlink(&mut self, spot: &Spot<'_>, target: &[u8], meta: &Metadata) -> Result<()> {
        let made = self.make_special(spot, Special::Symlink(target), meta, spot.inherit)?;
        self.made_leaf(spot)?;
        let softened = self.tree.maker.setter.new_special(&made, meta, spot.inherit)?;
        self.tree.journal.events(softened);
        self.tree.journal.counts.symlinks += 1;
        Ok(())
    }

    fn make_special(&mut self, spot: &Spot<'_>, what: Special<'_>, meta: &Metadata, inherit: Inherit) -> Result<Made> {
        let setter = self.tree.maker.setter;
        self.make(spot, || setter.make_special(&spot.handle, spot.name, what, meta, inherit))
    }

    fn special(&mut self, spot: &Spot<'_>, entry: &Entry, meta: &Metadata) -> Result<()> {
        let (kind, device) = match entry.kind {
            EntryKind::Fifo => (SFlag::S_IFIFO, 0),
            EntryKind::CharDevice if self.mode.is_forged(entry.device) => {
                return Err(refused(Refusal::ForgedWhiteout));
            }
            EntryKind::CharDevice => (SFlag::S_IFCHR, device_number(entry.device)?),
            _ => (SFlag::S_IFBLK, device_number(entry.device)?),
        };
        let made = match self.make_special(spot, Special::Node(kind, device), meta, spot.inherit) {
            Err(fault) if fault.errno() == Some(Errno::EPERM) && kind != SFlag::S_IFIFO => {
                return self.lacking_device(spot, meta, fault);
            }
            made => made?,
        };
        self.made_leaf(spot)?;
        let softened = self.tree.maker.setter.new_special(&made, meta, spot.inherit)?;
        self.tree.journal.events(softened);
        match kind {
            SFlag::S_IFIFO => self.tree.journal.counts.fifos += 1,
            _ => self.tree.journal.counts.devices += 1,
        }
        Ok(())
    }

    /// A device that the kernel does not let us make.
    fn lacking_device(&mut self, spot: &Spot<'_>, meta: &Metadata, fault: Fault) -> Result<()> {
        let errno = Errno::EPERM as i32;
        match self.options.devices {
            Devices::Error => Err(fault),
            Devices::Skip => {
                self.tree.journal.event(EventKind::DeviceSkipped { errno });
                self.tree.journal.counts.skipped += 1;
                Ok(())
            }
            Devices::Placeholder => {
                let fd = self.make(spot, || made::file(&spot.handle, spot.name, meta.mode))?;
                self.made_leaf(spot)?;
                let softened = NewFile::new(fd, None).finish(0, meta, spot.inherit, &self.tree.maker.setter)?;
                self.tree.journal.events(softened);
                self.tree.journal.event(EventKind::DevicePlaceholder { errno });
                self.tree.journal.counts.devices += 1;
                Ok(())
            }
        }
    }

    fn directory(&mut self, spot: &Spot<'_>, meta: Metadata) -> Result<()> {
        self.tree.journal.counts.directories += 1;
        if let Some(Child::Dir(id)) = self.tree.dirs.child(spot.parent, spot.name) {
            self.tree.dirs.touch(id);
            return self.merge(id, meta);
        }
        let child = self.tree.dirs.child(spot.parent, spot.name);
        if self.mode.keeps_link(&self.tree, spot)?
            && let Some(id) = self.existing(spot.parent, &[spot.name])?
        {
            return self.merge_listed(id, meta);
        }
        self.mode.refuse_conflict(&self.tree, spot, true)?;
        for _ in 0..files::TRIES {
            let mut softened = Softened::new();
            match self.tree.maker.setter.new_directory(&spot.handle, spot.name, &meta, spot.inherit, &mut softened) {
                Ok((made, owned)) => {
                    self.tree.journal.events(softened);
                    let id = self.made_directory(spot, made, owned, meta)?;
                    return self.mode.made_over(&mut self.tree, id, child);
                }
                Err(fault) if fault.errno() == Some(Errno::EEXIST) => {}
                Err(fault) => return Err(fault),
            }
            if let Some(id) = self.directory_there(spot)? {
                return self.merge_listed(id, meta);
            }
            if self.options.no_overwrite_dir_nondir && child != Some(Child::Whiteout) {
                return Err(self.tree.maker.conflict(&spot.handle, spot.name));
            }
            let removed = self.tree.maker.remover.remove(&spot.handle, spot.name);
            self.tree.removed(spot.parent, spot.name, removed)?;
        }
        // Again and again.
        let mode = format!("0{:o}", metadata::usable(meta.mode));
        Err(Fault::os(Errno::EEXIST, Call::Mkdirat, at(Descriptor::Directory, spot.name).with(mode)))
    }

    fn made_directory(
        &mut self,
        spot: &Spot<'_>,
        made: NewDirectory,
        owned: bool,
        mut meta: Metadata,
    ) -> Result<NodeId> {
        self.tree.dirs.forget(spot.parent, spot.name);
        let id = self.tree.add_made(spot.parent, spot.name, made)?;
        self.tree.dirs.touch(id);
        meta.mode_now = owned.then_some(metadata::usable(meta.mode));
        self.tree.dirs.defer(id, meta);
        Ok(id)
    }

    /// The directory that is there already, or that a symlink there leads to if links are to be kept.
    fn directory_there(&mut self, spot: &Spot<'_>) -> Result<Option<NodeId>> {
        match open::directory(&spot.handle, spot.name, self.options.jail.mounts == Mounts::Cross) {
            Ok(opened) => {
                self.tree.dirs.forget(spot.parent, spot.name);
                return self.tree.add(spot.parent, spot.name, opened).map(Some);
            }
            Err(fault) => match fault.errno() {
                Some(Errno::ENOTDIR | Errno::ELOOP | Errno::ENOENT) => {}
                _ => return Err(fault),
            },
        }
        if !self.options.keep_directory_symlink || open::link_target(&spot.handle, spot.name)?.is_none() {
            return Ok(None);
        }
        self.existing(spot.parent, &[spot.name])
    }

    /// A directory that an entry names. A kept symlink may lead to the root, which then has its own entry.
    fn merge_listed(&mut self, id: NodeId, meta: Metadata) -> Result<()> {
        self.tree.dirs.touch(id);
        if id == self.destination && self.options.ignore_root_metadata {
            return Ok(());
        }
        self.root_listed |= id == NodeId::ROOT;
        self.merge(id, meta)
    }

    /// Rule 9: a directory over a directory replaces owner, mode and time, and clears other attributes.
    pub(super) fn merge(&mut self, id: NodeId, meta: Metadata) -> Result<()> {
        let handle = self.tree.open(id)?;
        let mut softened = Softened::new();
        let owned = self.tree.maker.setter.own_directory(&handle, &meta, &mut softened);
        self.tree.journal.events(softened);
        let cleared = owned.and_then(|()| metadata::clear_xattrs(&handle, &meta.xattrs));
        cleared.map_err(|fault| unchangeable::told(fault, &handle, None))?;
        self.tree.dirs.node_mut(id).inherit.acl = meta.has_default_acl();
        self.tree.dirs.defer(id, meta);
        Ok(())
    }
}

/// Linux has 12 bits of major and 20 of minor: `makedev(3)`.
fn device_number((major, minor): (i64, i64)) -> Result<u64> {
    match (u64::try_from(major), u64::try_from(minor)) {
        (Ok(major), Ok(minor)) if major < 1 << 12 && minor < 1 << 20 => Ok(makedev(major, minor)),
        _ => Err(refused(Refusal::DeviceNumber)),
    }
}
