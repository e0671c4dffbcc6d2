//! What differs between literal, layer and overlay mode. Who applies an entry asks here and never which mode it is.

use super::create::Spot;
use super::dirs::{Child, Implied, Missing, NodeId};
use super::lower::Lowers;
use super::made::NewDirectory;
use super::marks::Marks;
use super::metadata::Metadata;
use super::overlay::Overlay;
use super::tree::Tree;
use super::whiteout::{Marker, classify};
use crate::helper::fault::Result;
use crate::helper::path::Name;
use crate::options::{self, Options};
use crate::report::Refusal;
use nix::sys::stat::FileStat;
use std::rc::Rc;

/// One of the three. What only overlay mode does is called on its own value.
pub(super) enum Mode {
    Literal,
    Layer { keeps_nondirs: bool },
    Overlay(Overlay),
}

impl Mode {
    /// `lowers`: opens the lower layers, if they are looked at. `beneath`: no root was entered.
    pub(super) fn new(
        options: &Options,
        marks: Marks,
        beneath: bool,
        lowers: impl FnOnce() -> Result<Lowers>,
    ) -> Result<Mode> {
        Ok(match options.mode {
            options::Mode::Overlay(_) => Mode::Overlay(Overlay::new(options, marks, Rc::new(lowers()?), beneath)),
            options::Mode::Layer => Mode::Layer { keeps_nondirs: options.no_overwrite_dir_nondir },
            options::Mode::Literal => Mode::Literal,
        })
    }

    fn overlay(&self) -> Option<&Overlay> {
        if let Self::Overlay(overlay) = self { Some(overlay) } else { None }
    }

    /// How what stays in an upper directory is made to hide the lower layers.
    pub(super) fn marks(&self) -> Option<Marks> {
        self.overlay().map(Overlay::marks)
    }

    pub(super) fn lowers(&self) -> Option<Rc<Lowers>> {
        self.overlay().map(Overlay::lowers)
    }

    /// What the lower layers have at the root, which every path implies.
    pub(super) fn root_below(&self) -> Result<Option<Metadata>> {
        self.overlay().map_or(Ok(None), Overlay::root_below)
    }

    /// Directories that were there and that no entry lists get their times back.
    pub(super) fn puts_times_back(&self) -> bool {
        !matches!(self, Self::Literal)
    }

    /// The marker that a name is.
    pub(super) fn marker(&self, name: &Name<'_>) -> Result<Marker, Refusal> {
        if let Self::Literal = self { Ok(Marker::None) } else { classify(name) }
    }

    /// Whether the last component alone may make a name a marker.
    pub(super) fn suspects(&self, last: &[u8]) -> bool {
        !matches!(self, Self::Literal) && last.starts_with(b".wh.")
    }

    /// What becomes of directories that a path implies.
    pub(super) fn implied(&self) -> Missing {
        match self {
            Self::Literal | Self::Layer { keeps_nondirs: true } => Missing::Make,
            Self::Layer { keeps_nondirs: false } => Missing::Replace,
            Self::Overlay(overlay) => overlay.implied(),
        }
    }

    /// What becomes of directories that a marker, or the target of a hardlink, needs.
    pub(super) fn passed(&self) -> Missing {
        if self.overlay().is_some() { Missing::Hold } else { Missing::Nothing }
    }

    /// Hides a name of the lower layers. Literal mode has no markers.
    pub(super) fn whiteout(&self, tree: &mut Tree<'_>, parent: NodeId, name: &[u8]) -> Result<()> {
        match self.overlay() {
            Some(overlay) => overlay.whiteout(tree, parent, name),
            None => tree.whiteout(parent, name),
        }
    }

    /// Hides everything that the lower layers have in a directory.
    pub(super) fn opaque(&self, tree: &mut Tree<'_>, directory: NodeId) -> Result<()> {
        match self.overlay() {
            Some(overlay) => overlay.opaque(tree, directory),
            None => tree.prune(directory),
        }
    }

    /// Makes an implied directory.
    pub(super) fn make_implied(
        &self,
        at: &Implied<'_>,
        make: impl FnOnce() -> Result<NewDirectory>,
    ) -> Result<NewDirectory> {
        match self.overlay() {
            Some(overlay) if at.over_whiteout => overlay.make_over_whiteout(at.dir, at.name, make),
            _ => make(),
        }
    }

    /// A directory was made where this was; what this layer has put there hid a directory of the lower layers, if they
    /// have one.
    pub(super) fn made_over(&self, tree: &mut Tree<'_>, directory: NodeId, child: Option<Child>) -> Result<()> {
        match (self.overlay(), child) {
            (Some(overlay), Some(Child::Whiteout | Child::Leaf(_))) => overlay.mark_opaque(tree, directory),
            _ => Ok(()),
        }
    }

    /// Whether a file can be made without a look at the lower layers.
    pub(super) fn may_hand_over(&self) -> bool {
        self.overlay().is_none_or(|overlay| !overlay.refuses_conflicts())
    }

    /// A conflict that `no_overwrite_dir_nondir` forbids, of what is made with what only the lower layers have.
    pub(super) fn refuse_conflict(&self, tree: &Tree<'_>, spot: &Spot<'_>, directory: bool) -> Result<()> {
        self.overlay().map_or(Ok(()), |overlay| overlay.refuse_conflict(tree, spot, directory))
    }

    /// Whether only the lower layers have a link there that `keep_directory_symlink` keeps.
    pub(super) fn keeps_link(&self, tree: &Tree<'_>, spot: &Spot<'_>) -> Result<bool> {
        self.overlay().map_or(Ok(false), |overlay| overlay.keeps_link(tree, spot))
    }

    /// What a hardlink is to, if it is there; brought up where only the lower layers have it.
    pub(super) fn link_source(&self, tree: &mut Tree<'_>, spot: &Spot<'_>) -> Result<Option<FileStat>> {
        match self.overlay() {
            Some(overlay) => overlay.link_source(tree, spot),
            None => spot.stat(),
        }
    }

    /// A character device that would be read as a whiteout.
    pub(super) fn is_forged(&self, device: (i64, i64)) -> bool {
        self.overlay().is_some() && device == (0, 0)
    }
}
