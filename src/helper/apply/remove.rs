//! Removes what is there: recursively, never following a link, never crossing a mount, without recursion.
//!
//! Between a look at a name and its removal, and where a directory is opened again by its name, somebody may put
//! another file there. That gains him nothing: what he can move to the name he could have put there before the run, when
//! the archive says that it goes, and no step leads out of directories that were below the name when they were opened.

use super::marks::Marks;
use super::unchangeable;
use super::usable;
use crate::helper::fault::{Attempt, Fault, Result, at, on};
use crate::helper::open;
use crate::helper::read::input::Watch;
use crate::helper::sys::fstat;
use crate::options::Mounts;
use crate::report::{Call, Cause, Descriptor, EventKind};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::cell::Cell;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

/// Names between two looks at the parent.
const LOOK: usize = 1024;
/// How often a directory that somebody else fills is emptied again.
const AGAIN: u32 = 64;

/// Removes trees on behalf of one run.
#[derive(Clone)]
pub(crate) struct Remover {
    pub(crate) watch: Watch,
    pub(crate) mounts: Mounts,
    /// Directories held open on the way down; deeper ones are found again from the top.
    pub(crate) held: usize,
    /// Directories that stay because of a mount below them get their times back.
    pub(crate) puts_times_back: bool,
    /// Overlay mode: the one that was to go hides what the lower layers have in it.
    pub(crate) marks: Option<Marks>,
    /// One of them is another's, whose times are not for us to set; to be told of the entry at hand.
    pub(crate) untimed: Cell<bool>,
    /// Whose directories are made writable for it: the mode keeps him out, since no root was entered.
    pub(crate) own: Option<u32>,
}

/// A directory on the way down.
struct Level {
    name: Vec<u8>,
    handle: Option<OwnedFd>,
    /// Subdirectories still to be removed; files are gone by now.
    directories: Vec<Vec<u8>>,
    /// How often it was found not to be empty after all.
    again: u32,
    /// A mount point in it or below it stays.
    mounted: bool,
    /// When it was changed before all this, if it is to have that time again.
    time: Option<TimeSpec>,
}

impl Remover {
    /// What is mounted is in the way, and is to be left out.
    pub(crate) fn leaves(&self, fault: &Fault) -> bool {
        self.mounts == Mounts::Skip && matches!(fault.cause, Cause::CrossesMount | Cause::MountPoint { .. })
    }

    /// What is told of an entry that was left out.
    pub(crate) fn told(&self) -> impl Iterator<Item = EventKind> {
        let untimed = self.untimed.take().then_some(EventKind::TimesIgnored { errno: Errno::EPERM as i32 });
        [EventKind::MountSkipped].into_iter().chain(untimed)
    }

    /// Removes `name` in `dir`, whatever it is. False if it was not there. If mounts are left out, an error for one below
    /// comes when all the rest is removed.
    pub(crate) fn remove(&self, dir: &OwnedFd, name: &[u8]) -> Result<bool> {
        match unlink(dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => return Ok(true),
            Err(Errno::ENOENT) => return Ok(false),
            Err(Errno::EISDIR | Errno::EPERM) => {}
            Err(errno) => return Err(fault(errno, dir, name, UnlinkatFlags::NoRemoveDir)),
        }
        match unlink(dir, name, UnlinkatFlags::RemoveDir) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => self.remove_tree(dir, name).map(|()| true),
            Err(errno) => Err(fault(errno, dir, name, UnlinkatFlags::RemoveDir)),
        }
    }

    /// Among many names, of which this one is the next.
    pub(super) fn look(&self, count: usize) -> Result<(), Cause> {
        if count % LOOK == LOOK - 1 { self.watch.goes_on() } else { Ok(()) }
    }

    fn remove_tree(&self, dir: &OwnedFd, name: &[u8]) -> Result<()> {
        let mut levels = vec![self.enter(dir, name)?];
        let mut count = 0;
        while let Some(top) = levels.last_mut() {
            self.look(count)?;
            count += 1;
            match top.directories.pop() {
                Some(next) => self.down(dir, &mut levels, next)?,
                None => self.up(dir, &mut levels)?,
            }
        }
        Ok(())
    }

    /// Removes a subdirectory of the last level, or goes into it.
    fn down(&self, dir: &OwnedFd, levels: &mut Vec<Level>, next: Vec<u8>) -> Result<()> {
        match self.descend(self.handle(dir, levels)?, next) {
            Ok(Some(level)) => {
                levels.push(level);
                let held = levels.len().saturating_sub(self.held);
                levels[..held].last_mut().map(|level| level.handle.take());
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(fault) => self.leave(fault, levels),
        }
    }

    /// Removes the last level, in which nothing is left but what is mounted.
    fn up(&self, dir: &OwnedFd, levels: &mut Vec<Level>) -> Result<()> {
        if levels.last().is_some_and(|level| level.mounted) {
            self.stay(dir, levels)?;
            levels.pop();
            return self.leave(Cause::CrossesMount.into(), levels);
        }
        let Some(done) = levels.pop() else { return Ok(()) };
        let above = if levels.is_empty() { dir } else { self.handle(dir, levels)? };
        match unlink(above, &done.name, UnlinkatFlags::RemoveDir) {
            // Somebody else is putting things there: once more, from what is there now.
            Err(Errno::ENOTEMPTY | Errno::EEXIST) if done.again < AGAIN => {
                let level = Level { again: done.again + 1, time: done.time, ..self.enter(above, &done.name)? };
                levels.push(level);
                Ok(())
            }
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => {
                let fault = fault(errno, above, &done.name, UnlinkatFlags::RemoveDir);
                self.leave(fault, levels)
            }
        }
    }

    /// A mount point that is left out stays, and the last level with it.
    fn leave(&self, fault: Fault, levels: &mut [Level]) -> Result<()> {
        match levels.last_mut() {
            Some(level) if self.leaves(&fault) => level.mounted = true,
            _ => return Err(fault),
        }
        Ok(())
    }

    /// The last level leads to a mount that is left out.
    fn stay(&self, dir: &OwnedFd, levels: &mut [Level]) -> Result<()> {
        let (top, time) = (levels.len() == 1, levels.last().and_then(|level| level.time));
        let handle = self.handle(dir, levels)?;
        if let Some(marks) = self.marks.filter(|_| top) {
            marks.set_opaque(handle)?;
        }
        match time.map_or(Ok(()), |time| futimens(handle, &TimeSpec::UTIME_OMIT, &time)) {
            Err(Errno::EPERM) => {
                self.untimed.set(true);
                Ok(())
            }
            set => set.call(Call::Utimensat, || on(Descriptor::Directory).with("NULL, <times>, 0")),
        }
    }

    /// A subdirectory to be emptied, or `None` if it could be removed at once.
    fn descend(&self, handle: &OwnedFd, name: Vec<u8>) -> Result<Option<Level>> {
        match unlink(handle, &name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(None),
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => self.enter(handle, &name).map(Some),
            Err(Errno::ENOTDIR) => {
                let flags = UnlinkatFlags::NoRemoveDir;
                unlink(handle, &name, flags).map_err(|errno| fault(errno, handle, &name, flags))?;
                Ok(None)
            }
            Err(errno) => Err(fault(errno, handle, &name, UnlinkatFlags::RemoveDir)),
        }
    }

    /// Opens a directory and removes all in it but directories.
    fn enter(&self, dir: &OwnedFd, name: &[u8]) -> Result<Level> {
        let handle = open::directory(dir, name, self.mounts == Mounts::Cross)?;
        usable::make(&handle, self.own)?;
        let time = self.time_of(&handle)?;
        let (mut directories, mut mounted) = (Vec::new(), false);
        for (count, (child, kind)) in list(&handle)?.into_iter().enumerate() {
            self.look(count)?;
            if kind == Some(Type::Directory) {
                directories.push(child);
                continue;
            }
            match unlink(&handle, &child, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(Errno::EISDIR) => directories.push(child),
                Err(Errno::EBUSY) if self.mounts == Mounts::Skip => mounted = true,
                Err(errno) => return Err(fault(errno, &handle, &child, UnlinkatFlags::NoRemoveDir)),
            }
        }
        Ok(Level { name: name.to_vec(), handle: Some(handle), directories, again: 0, mounted, time })
    }

    /// Asked only where it may be needed.
    fn time_of(&self, handle: &OwnedFd) -> Result<Option<TimeSpec>> {
        if self.mounts != Mounts::Skip || !self.puts_times_back {
            return Ok(None);
        }
        let stat = fstat(handle).call(Call::Fstat, || on(Descriptor::Directory).with("<stat>"))?;
        Ok(Some(TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec)))
    }

    /// The last level's handle, found again from the top if it was given up.
    fn handle<'a>(&self, dir: &OwnedFd, levels: &'a mut [Level]) -> Result<&'a OwnedFd> {
        let held = levels.iter().rposition(|level| level.handle.is_some());
        let from = held.map_or(0, |at| at + 1);
        for at in from..levels.len() {
            if at % LOOK == 0 {
                self.watch.goes_on()?;
            }
            let above = if at == 0 { dir } else { held_handle(&levels[at - 1])? };
            let opened = open::directory(above, &levels[at].name, self.mounts == Mounts::Cross)?;
            levels[at].handle = Some(opened);
            // Only the last ones are kept.
            if let Some(give_up) = at.checked_sub(self.held) {
                levels[give_up].handle = None;
            }
        }
        levels.last().map_or(Err(Cause::Os(Errno::ENOENT as i32).into()), held_handle)
    }
}

fn held_handle(level: &Level) -> Result<&OwnedFd> {
    level.handle.as_ref().ok_or_else(|| Cause::Os(Errno::EBADF as i32).into())
}

/// Names and kinds in a directory, without `.` and `..`.
pub(crate) fn list(handle: &OwnedFd) -> Result<Vec<(Vec<u8>, Option<Type>)>> {
    let mut names = Vec::new();
    each(handle, |name, kind| {
        names.push((name.to_vec(), kind));
        Ok(())
    })?;
    Ok(names)
}

/// Reads names one after the other, from a directory in which nothing is removed meanwhile.
pub(crate) fn each(handle: &OwnedFd, mut tell: impl FnMut(&[u8], Option<Type>) -> Result<()>) -> Result<()> {
    let fresh = open::directory(handle, b".", true)?;
    // Which of its calls fdopendir(3) failed in, it does not say.
    let mut dir = Dir::from_fd(fresh).map_err(Fault::as_if)?;
    for entry in dir.iter() {
        let entry = entry.call(Call::Getdents64, || on(Descriptor::Directory).with("<entries>, 32768"))?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            tell(name, entry.file_type())?;
        }
    }
    Ok(())
}

/// Removes what is no directory; nothing where nothing is.
pub(crate) fn remove_one(dir: &OwnedFd, name: &[u8]) -> Result<()> {
    match unlink(dir, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(fault(errno, dir, name, UnlinkatFlags::NoRemoveDir)),
    }
}

fn unlink(dir: &OwnedFd, name: &[u8], flags: UnlinkatFlags) -> Result<(), Errno> {
    unlinkat(dir, OsStr::from_bytes(name), flags)
}

/// The last argument of `unlinkat(2)`.
pub(super) fn unlinking(flags: UnlinkatFlags) -> &'static str {
    match flags {
        UnlinkatFlags::RemoveDir => "AT_REMOVEDIR",
        UnlinkatFlags::NoRemoveDir => "0",
    }
}

/// A mount point cannot be removed.
fn fault(errno: Errno, dir: &OwnedFd, name: &[u8], flags: UnlinkatFlags) -> Fault {
    match open::mounted(dir, name).filter(|_| errno == Errno::EBUSY) {
        Some(mounted) => mounted.into(),
        None => {
            let fault = Fault::os(errno, Call::Unlinkat, at(Descriptor::Directory, name).with(unlinking(flags)));
            unchangeable::told(fault, dir, Some(name))
        }
    }
}
