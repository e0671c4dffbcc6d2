//! Overlay mode: what a hardlink is to is brought up from the lower layers, since a link cannot lead there.

use super::create::Spot;
use super::dirs::Child;
use super::files::NewFile;
use super::lower::{self, Lower};
use super::made::{self, Inherit, Special};
use super::metadata::{self, Metadata};
use super::overlay::Overlay;
use super::refused;
use super::tree::Tree;
use crate::helper::fault::{Attempt, Result, on};
use crate::helper::open::{self, Way};
use crate::helper::sys::fstat;
use crate::inode;
use crate::report::{Call, Descriptor, Refusal};
use nix::sys::stat::FileStat;
use std::os::fd::OwnedFd;

impl Overlay {
    /// What a hardlink is to; a whiteout is nothing.
    pub(super) fn link_source(&self, tree: &mut Tree<'_>, spot: &Spot<'_>) -> Result<Option<FileStat>> {
        // One of ours may be a file with an attribute.
        if tree.dirs.child(spot.parent, spot.name) == Some(Child::Whiteout) {
            return Ok(None);
        }
        match spot.stat()? {
            Some(stat) if inode::is_whiteout(&stat) => Ok(None),
            Some(stat) => Ok(Some(stat)),
            None => copy_up(tree, spot),
        }
    }
}

/// Brings a hardlink's target up from the lower layers; `None` if they do not have it either.
fn copy_up(tree: &mut Tree<'_>, spot: &Spot<'_>) -> Result<Option<FileStat>> {
    match tree.dirs.below(spot.parent, spot.name)? {
        Lower::Absent => return Ok(None),
        Lower::Directory(_) => return Err(refused(Refusal::HardlinkToDirectory)),
        Lower::Link(target, dir, stat) => copy_special(tree, spot, Special::Symlink(&target), &dir, &stat)?,
        Lower::Other(dir, stat) if inode::is_regular(&stat) => copy_file(tree, spot, &dir)?,
        Lower::Other(dir, stat) => {
            copy_special(tree, spot, Special::Node(inode::kind(&stat), stat.st_rdev), &dir, &stat)?;
        }
    }
    tree.dirs.set_leaf(spot.parent, spot.name, Child::Copied)?;
    tree.dirs.disturb(spot.parent);
    spot.stat()
}

fn copy_file(tree: &mut Tree<'_>, spot: &Spot<'_>, dir: &OwnedFd) -> Result<()> {
    let from = open::by(dir, spot.name, Way::Lower)
        .map_err(|errno| open::failed(errno, Way::Lower, Descriptor::Lower, spot.name))?;
    let size = fstat(&from).call(Call::Fstat, || on(Descriptor::Lower).with("<stat>"))?.st_size.cast_unsigned();
    tree.purse.admit(size)?;
    let meta = lower::read_metadata(&from)?;
    let mut file = NewFile::new(made::file(&spot.handle, spot.name, meta.mode)?, Some(Vec::new()));
    tree.copy_content(&from, &mut file, 0..size)?;
    let softened = file.finish(size, &meta, Inherit { group: true, acl: spot.inherit.acl }, &tree.maker.setter)?;
    tree.journal.events(softened);
    Ok(())
}

fn copy_special(tree: &mut Tree<'_>, spot: &Spot<'_>, what: Special<'_>, dir: &OwnedFd, stat: &FileStat) -> Result<()> {
    // What attributes say is not read: none can be set, and each is told by its name.
    let names = metadata::xattr_names_at(dir, spot.name)?.into_iter();
    let meta = Metadata { xattrs: names.map(|name| (name, Vec::new())).collect(), ..lower::metadata_of(stat) };
    let (setter, inherit) = (tree.maker.setter, Inherit { group: true, acl: spot.inherit.acl });
    let made = setter.make_special(&spot.handle, spot.name, what, &meta, inherit)?;
    let softened = setter.new_special(&made, &meta, inherit)?;
    tree.journal.events(softened);
    Ok(())
}
