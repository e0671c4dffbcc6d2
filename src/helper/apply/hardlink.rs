//! Hardlinks: rule 12.

use super::create::Spot;
use super::dirs::{Child, NodeId};
use super::made::Inherit;
use super::{Applier, refused, unchangeable};
use crate::helper::fault::{Fault, Result, at, quoted};
use crate::helper::open;
use crate::inode;
use crate::options::Mounts;
use crate::report::{Call, Cause, Descriptor, Refusal};
use nix::errno::Errno;
use nix::sys::stat::FileStat;
use nix::unistd::{LinkatFlags, linkat};

impl Applier<'_> {
    /// Rule 12: a hardlink entry never alters the inode that it links to.
    pub(super) fn hardlink(&mut self, spot: &Spot<'_>, target: &[u8]) -> Result<()> {
        if self.link_plink(spot, target)? {
            return Ok(());
        }
        let (parent, name) = self.link_target(target)?;
        self.link_from(spot, parent, name, target)
    }

    /// Links to what this directory has at this name.
    pub(super) fn link_from(&mut self, spot: &Spot<'_>, parent: NodeId, name: &[u8], target: &[u8]) -> Result<()> {
        let from = Spot { parent, handle: self.tree.open(parent)?, inherit: Inherit::default(), name };
        let missing = || Fault::from(Cause::LinkTargetMissing { target: target.to_vec() });
        if let Some(Child::Leaf(batch)) = self.tree.dirs.child(parent, name) {
            self.tree.writers.wait(batch);
        }
        let stat = self.mode.link_source(&mut self.tree, &from)?.ok_or_else(missing)?;
        // Told by the kernel only after what is at the new name is gone.
        if self.options.jail.mounts == Mounts::Skip && open::is_mount(&from.handle, name) {
            return Err(open::mounted(&from.handle, name).unwrap_or(Cause::CrossesMount).into());
        }
        if inode::is_directory(&stat) {
            return Err(refused(Refusal::HardlinkToDirectory));
        }
        let same = |there: FileStat| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino);
        let failed = |errno| {
            let arguments = at(Descriptor::Directory, from.name);
            let arguments = arguments.with(format_args!("<directory>, {}, 0", quoted(spot.name)));
            unchangeable::told(Fault::os(errno, Call::Linkat, arguments), &from.handle, Some(from.name))
        };
        self.make(spot, || match linkat(&from.handle, from.path(), &spot.handle, spot.path(), LinkatFlags::empty()) {
            // Compared before anything is removed: the name may be the target's own.
            Err(Errno::EEXIST) if spot.stat()?.is_some_and(same) => Ok(()),
            Err(Errno::ENOENT) => Err(missing()),
            Err(errno @ Errno::EXDEV) => {
                Err(open::mounted(&from.handle, from.name).map_or_else(|| failed(errno), Fault::from))
            }
            result => result.map_err(failed),
        })?;
        // It was linked by a name, to which another file may have come since it was looked at.
        let linked = spot.stat()?;
        if !linked.is_some_and(same) && !self.looks_the_same(spot, linked, &stat)? {
            return Err(Fault::exchanged(spot.name));
        }
        self.made_leaf(spot)?;
        self.tree.journal.counts.hardlinks += 1;
        Ok(())
    }

    /// Where a link gives a file another inode number: FUSE, and an overlayfs whose lower layers have it by several names.
    fn looks_the_same(&mut self, spot: &Spot<'_>, linked: Option<FileStat>, source: &FileStat) -> Result<bool> {
        let look = |stat: &FileStat| {
            let owner = (stat.st_uid, stat.st_gid);
            (stat.st_mode, owner, stat.st_size, stat.st_rdev, (stat.st_mtime, stat.st_mtime_nsec))
        };
        Ok(linked.is_some_and(|linked| look(&linked) == look(source)) && self.tree.dirs.renumbers(&spot.handle)?)
    }
}
