//! Overlay mode: the destination is a fresh upper directory. Linux `Documentation/filesystems/overlayfs.rst`.

use super::create::Spot;
use super::dirs::{Child, NodeId};
use super::files::NewFile;
use super::lower::{self, Lower};
use super::made::{self, Inherit, Special};
use super::metadata::{self, Metadata};
use super::remove;
use super::{Applier, refused};
use crate::helper::fault::{Attempt, Fault, Result, at, on};
use crate::helper::holes;
use crate::helper::sys::fstat;
use crate::inode;
use crate::report::{Call, Descriptor, Purpose, Refusal};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, mknodat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use rustix::fs::{XattrFlags, fsetxattr};
use std::ffi::{CStr, OsStr};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

/// Whiteouts between two looks at the clock and the parent.
const LOOK: u32 = 1024;

/// How whiteouts and opaque directories are written.
pub(super) struct Marks {
    trusted: bool,
    opaque: &'static CStr,
    whiteout: &'static CStr,
}

impl Marks {
    pub(super) fn new(trusted: bool) -> Marks {
        if trusted {
            Marks { trusted, opaque: c"trusted.overlay.opaque", whiteout: c"trusted.overlay.whiteout" }
        } else {
            Marks { trusted, opaque: c"user.overlay.opaque", whiteout: c"user.overlay.whiteout" }
        }
    }

    pub(super) fn set_opaque(&self, dir: &OwnedFd) -> Result<()> {
        self.set(dir, self.opaque, b"y")
    }

    fn set(&self, fd: &OwnedFd, name: &CStr, value: &[u8]) -> Result<()> {
        fsetxattr(fd, name, value, XattrFlags::empty())
            .call(Call::Fsetxattr, || metadata::setting(name, value.len()))
            .map_err(|fault| fault.meant(Purpose::Mark { trusted: self.trusted }))
    }

    /// A character device 0:0, which needs no capability since Linux 5.8; the attribute form where the file
    /// system or a security module refuses the device.
    fn make_whiteout(&self, dir: &OwnedFd, name: &[u8]) -> Result<()> {
        match mknodat(dir, OsStr::from_bytes(name), SFlag::S_IFCHR, Mode::empty(), 0) {
            Err(Errno::EPERM | Errno::EOPNOTSUPP) => {
                let file = made::file(dir, name, 0)?;
                self.set(&file, self.whiteout, b"y")?;
                self.set(dir, self.opaque, b"x")
            }
            result => {
                result.call(Call::Mknodat, || at(Descriptor::Directory, name).with(made::node(SFlag::S_IFCHR, 0, 0)))
            }
        }
    }

    pub(super) fn remove_whiteout(&self, dir: &OwnedFd, name: &[u8]) -> Result<()> {
        match unlinkat(dir, OsStr::from_bytes(name), UnlinkatFlags::NoRemoveDir) {
            Err(Errno::ENOENT) => Ok(()),
            result => result.call(Call::Unlinkat, || at(Descriptor::Directory, name).with("0")),
        }
    }
}

impl Applier<'_> {
    pub(super) fn overlay_whiteout(&mut self, parent: NodeId, name: &[u8]) -> Result<()> {
        self.counts.whiteouts += 1;
        match self.dirs.child(parent, name) {
            Some(Child::Leaf(_) | Child::Whiteout) => return Ok(()),
            Some(Child::Dir(id)) if self.dirs.node(id).upper => return self.cover(id),
            // Made only to hold a marker, or brought up: it goes with what it stands for.
            Some(Child::Dir(_) | Child::Copied) => self.remove_lower(parent, name)?,
            None | Some(Child::Link) => {}
        }
        // In a directory that merges nothing, overlayfs lists a whiteout like any other name.
        if self.dirs.nothing_below(parent, name)? {
            return Ok(());
        }
        self.write_whiteout(parent, name)
    }

    fn write_whiteout(&mut self, parent: NodeId, name: &[u8]) -> Result<()> {
        let handle = self.open(parent)?;
        match self.marks.make_whiteout(&handle, name) {
            Err(fault) if fault.errno() == Some(Errno::EEXIST) => {
                self.maker.remover.remove(&handle, name)?;
                self.marks.make_whiteout(&handle, name)?;
            }
            result => result?,
        }
        self.dirs.set_leaf(parent, name, Child::Whiteout)?;
        self.dirs.disturb(parent);
        Ok(())
    }

    pub(super) fn overlay_opaque(&mut self, directory: NodeId) -> Result<()> {
        self.counts.whiteouts += 1;
        if directory == NodeId::ROOT { self.cover_root() } else { self.cover(directory) }
    }

    /// Hides what the lower layers have in a directory, once.
    fn cover(&mut self, directory: NodeId) -> Result<()> {
        if self.dirs.covered(directory) {
            return Ok(());
        }
        self.drop_markers(directory)?;
        self.mark_opaque(directory)
    }

    pub(super) fn mark_opaque(&mut self, directory: NodeId) -> Result<()> {
        let handle = self.open(directory)?;
        self.dirs.set_opaque(directory);
        self.marks.set_opaque(&handle)
    }

    /// overlayfs does not look whether the upper root is opaque, so each name is hidden where they are known.
    fn cover_root(&mut self) -> Result<()> {
        let root = NodeId::ROOT;
        if self.dirs.covered(root) {
            return Ok(());
        }
        for lower in self.dirs.roots_below()?.iter() {
            let mut count = 0_u32;
            remove::each(lower, |name, _| {
                count += 1;
                if count.is_multiple_of(LOOK) {
                    self.maker.remover.watch.check()?;
                }
                self.cover_name(root, name)
            })?;
        }
        self.mark_opaque(root)
    }

    fn cover_name(&mut self, root: NodeId, name: &[u8]) -> Result<()> {
        match self.dirs.child(root, name) {
            Some(Child::Leaf(_) | Child::Whiteout) => Ok(()),
            Some(Child::Dir(id)) if self.dirs.node(id).upper => self.cover(id),
            Some(Child::Dir(_) | Child::Copied) => {
                self.remove_lower(root, name)?;
                self.write_whiteout(root, name)
            }
            None | Some(Child::Link) => self.write_whiteout(root, name),
        }
    }

    /// Removes what only marked or held something below a directory that hides it all.
    fn drop_markers(&mut self, directory: NodeId) -> Result<()> {
        let mut stack = vec![directory];
        while let Some(id) = stack.pop() {
            let handle = self.open(id)?;
            for (name, _) in remove::list(&handle)? {
                match self.dirs.child(id, &name) {
                    Some(Child::Leaf(_)) => {}
                    Some(Child::Dir(child)) if self.dirs.node(child).upper => {
                        if !self.dirs.node(child).opaque {
                            stack.push(child);
                        }
                    }
                    _ => self.remove_lower(id, &name)?,
                }
            }
            self.dirs.node_mut(id).opaque |= id != directory;
        }
        Ok(())
    }

    /// `no_overwrite_dir_nondir` looks at the lower layers too.
    pub(super) fn refuse_conflict_below(&self, spot: &Spot<'_>, directory: bool) -> Result<()> {
        if !self.options.no_overwrite_dir_nondir || !self.overlay() || self.dirs.knows(spot.parent, spot.name) {
            return Ok(());
        }
        match (self.dirs.below(spot.parent, spot.name)?, directory) {
            (Lower::Directory(_), false) | (Lower::Link(..) | Lower::Other(..), true) => {
                Err(refused(Refusal::DirectoryConflict))
            }
            _ => Ok(()),
        }
    }

    /// `keep_directory_symlink` looks at the lower layers too.
    pub(super) fn kept_symlink_below(&mut self, spot: &Spot<'_>) -> Result<Option<NodeId>> {
        if !self.options.keep_directory_symlink || !self.overlay() || self.dirs.knows(spot.parent, spot.name) {
            return Ok(None);
        }
        match self.dirs.below(spot.parent, spot.name)? {
            Lower::Link(..) => self.existing(spot.parent, &[spot.name]),
            _ => Ok(None),
        }
    }

    /// Brings a hardlink's target up from the lower layers; `None` if they do not have it either.
    pub(super) fn copy_up(&mut self, spot: &Spot<'_>) -> Result<Option<FileStat>> {
        match self.dirs.below(spot.parent, spot.name)? {
            Lower::Absent => return Ok(None),
            Lower::Directory(_) => return Err(refused(Refusal::HardlinkToDirectory)),
            Lower::Link(target, dir, stat) => self.copy_special(spot, Special::Symlink(&target), &dir, &stat)?,
            Lower::Other(dir, stat) if inode::is_regular(&stat) => self.copy_file(spot, &dir)?,
            Lower::Other(dir, stat) => {
                self.copy_special(spot, Special::Node(inode::kind(&stat), stat.st_rdev), &dir, &stat)?;
            }
        }
        self.dirs.set_leaf(spot.parent, spot.name, Child::Copied)?;
        self.dirs.disturb(spot.parent);
        spot.stat()
    }

    fn copy_file(&mut self, spot: &Spot<'_>, dir: &OwnedFd) -> Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let from = openat(dir, spot.path(), flags, Mode::empty())
            .call(Call::Openat, || at(Descriptor::Lower, spot.name).with("O_RDONLY|O_NONBLOCK|O_NOFOLLOW|O_CLOEXEC"))?;
        let size = fstat(&from).call(Call::Fstat, || on(Descriptor::Lower).with("<stat>"))?.st_size.cast_unsigned();
        self.purse.admit(size)?;
        let meta = lower::read_metadata(&from)?;
        let mut file = NewFile::new(made::file(&spot.handle, spot.name, meta.mode)?, Some(Vec::new()));
        self.copy_content(&from, &mut file, 0..size)?;
        let softened = file.finish(size, &meta, Inherit { group: true, acl: spot.inherit.acl }, &self.maker.setter)?;
        self.softened(softened);
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

    fn copy_special(&mut self, spot: &Spot<'_>, what: Special<'_>, dir: &OwnedFd, stat: &FileStat) -> Result<()> {
        // What attributes say is not read: none can be set, and each is told by its name.
        let names = metadata::xattr_names_at(dir, spot.name)?.into_iter();
        let meta = Metadata { xattrs: names.map(|name| (name, Vec::new())).collect(), ..lower::metadata_of(stat) };
        let (setter, inherit) = (self.maker.setter, Inherit { group: true, acl: spot.inherit.acl });
        let made = setter.make_special(&spot.handle, spot.name, what, &meta, inherit)?;
        let softened = setter.new_special(&made, &meta, inherit)?;
        self.softened(softened);
        Ok(())
    }
}
