//! What entries are made in and with, whatever the mode: known directories, content that is paid for, who tells of it.

use super::dirs::{Dirs, Due, Leaving, NodeId, Parting, Unlisted};
use super::files::{Maker, NewFile};
use super::made::NewDirectory;
use super::metadata::Setter;
use super::purse::Purse;
use super::unchangeable;
use super::writers::Writers;
use crate::helper::fault::{Fault, Result, on};
use crate::helper::holes;
use crate::helper::journal::Journal;
use crate::helper::open;
use crate::report::{Call, Descriptor, EntryRef, EventKind};
use nix::errno::Errno;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

pub(super) struct Tree<'a> {
    pub(super) root: Arc<OwnedFd>,
    pub(super) dirs: Dirs,
    pub(super) maker: Maker,
    pub(super) writers: Rc<Writers>,
    /// What is written is paid from here.
    pub(super) purse: Purse,
    pub(super) journal: Journal<'a>,
}

impl Tree<'_> {
    /// A known directory, open. One that was not used lately may be left for it.
    pub(super) fn open(&mut self, id: NodeId) -> Result<Arc<OwnedFd>> {
        self.dirs.handle(id, &mut self.journal.leaver(self.maker.setter))
    }

    /// Takes note of a directory that was there, open.
    pub(super) fn add(&mut self, parent: NodeId, name: &[u8], opened: OwnedFd) -> Result<NodeId> {
        self.dirs.add(parent, name, opened, &mut self.journal.leaver(self.maker.setter))
    }

    /// Takes note of a directory that was just made.
    pub(super) fn add_made(&mut self, parent: NodeId, name: &[u8], made: NewDirectory) -> Result<NodeId> {
        self.dirs.add_made(parent, name, made, &mut self.journal.leaver(self.maker.setter))
    }

    /// Leaves directories, if too much waits for them.
    pub(super) fn relieve(&mut self) -> Result<()> {
        self.dirs.relieve(&mut self.journal.leaver(self.maker.setter))
    }

    /// Waits until all files handed over are written; fails if one could not be.
    pub(super) fn settle(&mut self) -> Result<()> {
        let settled = self.writers.drain();
        self.journal.counts.files += settled.files;
        self.journal.counts.skipped += settled.skipped;
        for (entry, what) in settled.softened {
            self.journal.tell_of(Some(entry), what);
        }
        self.journal.count_events(settled.excess);
        match settled.failure {
            Some((entry, fault)) => {
                self.journal.blame(entry);
                Err(fault)
            }
            None => Ok(()),
        }
    }

    /// Removes what a name of the lower layers is, whatever it is.
    pub(super) fn remove_lower(&mut self, parent: NodeId, name: &[u8]) -> Result<()> {
        let handle = self.open(parent)?;
        let removed = self.maker.remover.remove(&handle, name);
        let removed = self.removed(parent, name, removed);
        // After an error, too, much may be gone.
        if !matches!(removed, Ok(false)) {
            self.dirs.disturb(parent);
        }
        removed.map(drop)
    }

    /// Forgets a name that has been removed, and what of it stays for a mount that is left out. After an error that ends
    /// the run it is still known: what waits is set then.
    pub(super) fn removed<T>(&mut self, parent: NodeId, name: &[u8], removed: Result<T>) -> Result<T> {
        match &removed {
            Ok(_) => self.dirs.forget(parent, name),
            Err(fault) if self.maker.remover.leaves(fault) => self.stays(parent, name)?,
            Err(_) => {}
        }
        removed
    }

    /// What waited for directories that are still there is set. What this archive had in them is gone.
    fn stays(&mut self, parent: NodeId, name: &[u8]) -> Result<()> {
        self.dirs.leave_below(parent, name, &mut self.journal.leaver(self.maker.setter))?;
        self.dirs.forget(parent, name);
        let Some(marks) = self.maker.remover.marks else { return Ok(()) };
        let above = self.open(parent)?;
        // What is mounted itself is not opened.
        if let Ok(opened) = open::directory(&above, name, false) {
            marks.set_opaque(&opened)?;
            let id = self.add(parent, name, opened)?;
            self.dirs.set_opaque(id);
        }
        Ok(())
    }

    /// What is left out is told when the rest is done; what ends the run ends it at once.
    pub(super) fn go_on(&self, outcome: &mut Result<()>, one: Result<()>) -> Result<()> {
        match one {
            Err(fault) if self.maker.remover.leaves(&fault) => *outcome = Err(fault),
            one => one?,
        }
        Ok(())
    }

    /// A part of a file becomes the whole of another. Holes stay holes.
    pub(super) fn copy_content(&mut self, from: &OwnedFd, file: &mut NewFile, part: Range<u64>) -> Result<()> {
        let mut buffer = vec![0; 256 << 10];
        let mut at = part.start;
        while let Some(content) = holes::next_content(from, at, part.end)? {
            at = content.start;
            while at < content.end {
                let want = buffer.len().min(usize::try_from(content.end - at).unwrap_or(usize::MAX));
                match nix::unistd::read(from, &mut buffer[..want]) {
                    // Somebody has made it shorter.
                    Ok(0) => return Ok(()),
                    Ok(n) => {
                        file.write_at(&self.purse.pay(&buffer[..n])?, at - part.start)?;
                        at += n as u64;
                    }
                    Err(Errno::EINTR) => {}
                    Err(errno) => {
                        let arguments = on(Descriptor::Lower).with(format_args!("<data>, {want}"));
                        return Err(Fault::os(errno, Call::Read, arguments));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Journal<'_> {
    /// Sets a directory's metadata as it is left, and tells what was softened with the directory's own name.
    pub(super) fn leaver(&mut self, setter: Setter) -> impl FnMut(Leaving<'_>) -> Result<()> {
        move |left| {
            let Some(handle) = left.handle else {
                self.tell_of(Some(EntryRef::left(&left.path())), EventKind::DirectoryGone);
                return Ok(());
            };
            let softened = match left.parting {
                Parting::Due(Due::Metadata(metadata)) => setter.leave_directory(handle, metadata),
                Parting::Due(Due::Time(time, unlisted)) => {
                    setter.date_directory(handle, *time, *unlisted != Unlisted::There)
                }
                Parting::Narrow(owners) => setter.narrow_directory(handle, owners),
            };
            let softened = softened.map_err(|fault| unchangeable::told(fault, handle, None))?;
            for what in softened {
                self.tell_of(Some(EntryRef::left(&left.path())), what);
            }
            Ok(())
        }
    }
}
