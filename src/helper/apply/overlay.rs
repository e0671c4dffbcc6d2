//! Overlay mode: the destination is a fresh upper directory. Linux `Documentation/filesystems/overlayfs.rst`.

use super::create::Spot;
use super::dirs::{Child, Missing, NodeId, is_fuse};
use super::lower::{Lower, Lowers};
use super::made::{self, NewDirectory};
use super::marks::Marks;
use super::metadata::Metadata;
use super::remove;
use super::tree::Tree;
use crate::helper::fault::{Attempt, Fault, Result, at};
use crate::options::Options;
use crate::report::{Call, Descriptor, Purpose};
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, mknodat};
use std::cell::OnceCell;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

/// What overlay mode has that the others do not.
pub(super) struct Overlay {
    marks: Marks,
    lowers: Rc<Lowers>,
    no_overwrite_dir_nondir: bool,
    keep_directory_symlink: bool,
    is_fuse: OnceCell<bool>,
    beneath: bool,
}

impl Overlay {
    /// `beneath`: no root was entered, and no device is made.
    pub(super) fn new(options: &Options, marks: Marks, lowers: Rc<Lowers>, beneath: bool) -> Overlay {
        Overlay {
            marks,
            lowers,
            no_overwrite_dir_nondir: options.no_overwrite_dir_nondir,
            keep_directory_symlink: options.keep_directory_symlink,
            is_fuse: OnceCell::new(),
            beneath,
        }
    }

    pub(super) fn marks(&self) -> Marks {
        self.marks
    }

    pub(super) fn lowers(&self) -> Rc<Lowers> {
        Rc::clone(&self.lowers)
    }

    /// What the lower layers have at the root.
    pub(super) fn root_below(&self) -> Result<Option<Metadata>> {
        self.lowers.root()
    }

    pub(super) fn refuses_conflicts(&self) -> bool {
        self.no_overwrite_dir_nondir
    }

    /// What becomes of directories that a path implies.
    pub(super) fn implied(&self) -> Missing {
        if self.no_overwrite_dir_nondir { Missing::Make } else { Missing::Replace }
    }

    /// Makes a directory where this archive has a whiteout.
    pub(super) fn make_over_whiteout(
        &self,
        dir: &OwnedFd,
        name: &[u8],
        make: impl FnOnce() -> Result<NewDirectory>,
    ) -> Result<NewDirectory> {
        remove::remove_one(dir, name)?;
        let made = make()?;
        self.marks.set_opaque(&made.handle)?;
        Ok(made)
    }

    /// A character device 0:0, which needs no capability since Linux 5.8; the attribute form where the file
    /// system or a security module refuses the device.
    fn make_whiteout(&self, dir: &OwnedFd, name: &[u8]) -> Result<()> {
        if !self.takes_devices(dir) {
            return self.marks.set_whiteout(dir, &made::file(dir, name, 0)?);
        }
        match make_device(dir, OsStr::from_bytes(name)) {
            Err(errno) if refuses_devices(errno) => self.marks.set_whiteout(dir, &made::file(dir, name, 0)?),
            result => result
                .call(Call::Mknodat, || at(Descriptor::Directory, name).with(made::node(SFlag::S_IFCHR, 0, 0)))
                .map_err(|fault| self.kept_by_fuse(dir, fault)),
        }
    }

    /// Trusted marks were asked for by name where a whiteout is the file system's own business.
    #[cold]
    fn kept_by_fuse(&self, dir: &OwnedFd, fault: Fault) -> Fault {
        let keeps = fault.errno() == Some(Errno::ENOENT) && *self.is_fuse.get_or_init(|| is_fuse(dir));
        if keeps { fault.meant(Purpose::Mark { trusted: true }) } else { fault }
    }

    /// To fuse-overlayfs the device is a whiteout of its own: the call answers ENOENT, and hides the whole directory. So it is
    /// not tried there, which is told by what it keeps for itself besides: marks in `trusted.`.
    fn takes_devices(&self, dir: &OwnedFd) -> bool {
        !self.beneath && (self.marks.are_trusted() || !*self.is_fuse.get_or_init(|| is_fuse(dir)))
    }

    pub(super) fn whiteout(&self, tree: &mut Tree<'_>, parent: NodeId, name: &[u8]) -> Result<()> {
        match tree.dirs.child(parent, name) {
            Some(Child::Leaf(_) | Child::Whiteout) => return Ok(()),
            Some(Child::Dir(id)) if tree.dirs.node(id).upper => return self.cover(tree, id),
            // Made only to hold a marker, or brought up: it goes with what it stands for.
            Some(Child::Dir(_) | Child::Copied) => tree.remove_lower(parent, name)?,
            None | Some(Child::Link) => {}
        }
        // In a directory that merges nothing, overlayfs lists a whiteout like any other name.
        if self.has_nothing(tree, parent, name)? {
            return Ok(());
        }
        self.write_whiteout(tree, parent, name)
    }

    fn write_whiteout(&self, tree: &mut Tree<'_>, parent: NodeId, name: &[u8]) -> Result<()> {
        let handle = tree.open(parent)?;
        match self.make_whiteout(&handle, name) {
            Err(fault) if fault.errno() == Some(Errno::EEXIST) => {
                tree.remove_lower(parent, name)?;
                self.make_whiteout(&handle, name)?;
            }
            result => result?,
        }
        tree.dirs.set_leaf(parent, name, Child::Whiteout)?;
        tree.dirs.disturb(parent);
        Ok(())
    }

    pub(super) fn opaque(&self, tree: &mut Tree<'_>, directory: NodeId) -> Result<()> {
        if directory == NodeId::ROOT { self.cover_root(tree) } else { self.cover(tree, directory) }
    }

    /// Hides what the lower layers have in a directory, once.
    fn cover(&self, tree: &mut Tree<'_>, directory: NodeId) -> Result<()> {
        if tree.dirs.covered(directory) {
            return Ok(());
        }
        let (mut outcome, dropped) = (Ok(()), self.drop_markers(tree, directory));
        tree.go_on(&mut outcome, dropped)?;
        self.mark_opaque(tree, directory)?;
        outcome
    }

    pub(super) fn mark_opaque(&self, tree: &mut Tree<'_>, directory: NodeId) -> Result<()> {
        let handle = tree.open(directory)?;
        tree.dirs.set_opaque(directory);
        self.marks.set_opaque(&handle)
    }

    /// overlayfs does not look whether the upper root is opaque, so each name is hidden where they are known.
    fn cover_root(&self, tree: &mut Tree<'_>) -> Result<()> {
        let root = NodeId::ROOT;
        if tree.dirs.covered(root) {
            return Ok(());
        }
        let mut outcome = Ok(());
        for lower in self.lowers.roots()?.iter() {
            let mut count = 0;
            remove::each(lower, |name, _| {
                tree.maker.remover.look(count)?;
                count += 1;
                let covered = self.cover_name(tree, root, name);
                tree.go_on(&mut outcome, covered)
            })?;
        }
        self.mark_opaque(tree, root)?;
        outcome
    }

    fn cover_name(&self, tree: &mut Tree<'_>, root: NodeId, name: &[u8]) -> Result<()> {
        match tree.dirs.child(root, name) {
            Some(Child::Leaf(_) | Child::Whiteout) => Ok(()),
            Some(Child::Dir(id)) if tree.dirs.node(id).upper => self.cover(tree, id),
            Some(Child::Dir(_) | Child::Copied) => {
                tree.remove_lower(root, name)?;
                self.write_whiteout(tree, root, name)
            }
            None | Some(Child::Link) => self.write_whiteout(tree, root, name),
        }
    }

    /// Removes what only marked or held something below a directory that hides it all.
    fn drop_markers(&self, tree: &mut Tree<'_>, directory: NodeId) -> Result<()> {
        let (mut stack, mut outcome) = (vec![directory], Ok(()));
        while let Some(id) = stack.pop() {
            let handle = tree.open(id)?;
            for (count, (name, _)) in remove::list(&handle)?.into_iter().enumerate() {
                tree.maker.remover.look(count)?;
                match tree.dirs.child(id, &name) {
                    Some(Child::Leaf(_)) => {}
                    Some(Child::Dir(child)) if tree.dirs.node(child).upper => {
                        if !tree.dirs.node(child).opaque {
                            stack.push(child);
                        }
                    }
                    _ => {
                        let removed = tree.remove_lower(id, &name);
                        tree.go_on(&mut outcome, removed)?;
                    }
                }
            }
            tree.dirs.node_mut(id).opaque |= id != directory;
        }
        outcome
    }

    /// The lower layers have nothing at a name that shows through, for certain.
    fn has_nothing(&self, tree: &Tree<'_>, at: NodeId, name: &[u8]) -> Result<bool> {
        if tree.dirs.covered(at) {
            return Ok(true);
        }
        Ok(self.lowers.known() && !self.lowers.have(&tree.dirs.names(at), name)?)
    }

    /// `no_overwrite_dir_nondir` looks at the lower layers too.
    pub(super) fn refuse_conflict(&self, tree: &Tree<'_>, spot: &Spot<'_>, directory: bool) -> Result<()> {
        if !self.no_overwrite_dir_nondir || tree.dirs.knows(spot.parent, spot.name) {
            return Ok(());
        }
        match (tree.dirs.below(spot.parent, spot.name)?, directory) {
            (Lower::Directory(_), false) | (Lower::Link(..) | Lower::Other(..), true) => {
                Err(tree.maker.conflict(&spot.handle, spot.name))
            }
            _ => Ok(()),
        }
    }

    /// `keep_directory_symlink` looks at the lower layers too.
    pub(super) fn keeps_link(&self, tree: &Tree<'_>, spot: &Spot<'_>) -> Result<bool> {
        if !self.keep_directory_symlink || tree.dirs.knows(spot.parent, spot.name) {
            return Ok(false);
        }
        Ok(matches!(tree.dirs.below(spot.parent, spot.name)?, Lower::Link(..)))
    }
}

fn make_device(dir: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    mknodat(dir, name, SFlag::S_IFCHR, Mode::empty(), 0)
}

fn refuses_devices(errno: Errno) -> bool {
    matches!(errno, Errno::EPERM | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL | Errno::ENXIO)
}
