//! Symlinks, devices, FIFOs and sockets, none of which is ever opened.

use super::super::attributes::{Attributes, Of};
use super::super::open::must_be;
use super::super::walk::Walk;
use super::{Failed, Packer};
use crate::helper::fault::{Attempt, Fault, at, on};
use crate::helper::look::{self, Seen};
use crate::report::{Call, Descriptor, EntryKind, EventKind, SourceChange};
use nix::errno::Errno;
use nix::fcntl::readlinkat;
use rustix::fs::FileType;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

impl Packer<'_> {
    /// What the directory says is neither a directory nor a regular file.
    pub(super) fn special(&mut self, walk: &mut Walk, kind: FileType) -> Result<(), Failed> {
        let Some(seen) = self.look_at(walk)? else { return Ok(()) };
        if let Err(change) = must_be(&seen, kind) {
            return self.gone(change);
        }
        if self.is_left_out_as_mount(walk, &seen)? {
            return Ok(());
        }
        let kind = match kind {
            FileType::Symlink => EntryKind::Symlink,
            FileType::Fifo => EntryKind::Fifo,
            FileType::CharacterDevice => EntryKind::CharDevice,
            FileType::BlockDevice => EntryKind::BlockDevice,
            _ => {
                self.leave_out(EventKind::SocketSkipped);
                return Ok(());
            }
        };
        if self.hardlink(walk.path(), &seen)? {
            return Ok(());
        }
        let Some(target) = self.target(walk, &seen)? else { return Ok(()) };
        let attributes = self.attributes_by_name(walk, &seen)?;
        self.write(kind, &seen, walk.path(), &target, &attributes)?;
        self.links.note(&seen, &self.names.of(walk.path()))?;
        let counts = &mut self.journal.counts;
        *match kind {
            EntryKind::Symlink => &mut counts.symlinks,
            EntryKind::Fifo => &mut counts.fifos,
            _ => &mut counts.devices,
        } += 1;
        Ok(())
    }

    /// Where a link leads; nothing if it is gone, which is noted. It must be as long as the link was seen to be.
    fn target(&mut self, walk: &Walk, seen: &Seen) -> Result<Option<Vec<u8>>, Failed> {
        let Some((dir, _)) = walk.dir().filter(|_| seen.kind == FileType::Symlink) else { return Ok(Some(Vec::new())) };
        let read = || readlinkat(dir, OsStr::from_bytes(walk.name())).map(OsString::into_vec);
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
                let arguments = at(Descriptor::Directory, walk.name()).with("<path>, 4096");
                Err(Fault::os(errno, Call::Readlinkat, arguments).into())
            }
        }
    }

    /// By its name in the working directory, which may be another file's by now: then they are not believed.
    fn attributes_by_name(&mut self, walk: &mut Walk, seen: &Seen) -> Result<Attributes, Failed> {
        walk.go_there().call(Call::Fchdir, || on(Descriptor::Directory))?;
        let attributes = match self.attributes(Of::Named(walk.name())) {
            Err(Failed::Walking(fault)) if fault.errno() == Some(Errno::ENOENT) => Attributes::default(),
            attributes => attributes?,
        };
        if attributes.records.is_empty() {
            return Ok(attributes);
        }
        let same = walk.dir().and_then(|(dir, _)| look::at(dir, walk.name()).ok());
        if same.is_some_and(|now| now.inode == seen.inode) {
            return Ok(attributes);
        }
        self.change(SourceChange::Changed)?;
        Ok(Attributes::default())
    }
}
