//! Where an entry goes: its name folded, a marker or not, the parent directory.

use super::aufs::plnk;
use super::dirs::{Missing, NodeId};
use super::whiteout::Marker;
use super::{Applier, refused};
use crate::helper::fault::{Fault, Result};
use crate::helper::path::{Name, fold, split_plain};
use crate::helper::read::entry::Entry;
use crate::report::{Cause, EntryKind, EventKind, Refusal};
use nix::errno::Errno;
use std::ops::Range;

/// Where an entry goes.
pub(super) enum Placement {
    /// Left out.
    Skip,
    /// A pseudo-link of aufs, kept out of sight for hardlinks to it.
    Plink {
        name: Range<usize>,
    },
    /// The destination itself.
    Root,
    At {
        parent: NodeId,
        name: Range<usize>,
    },
    Whiteout {
        parent: NodeId,
        name: Range<usize>,
    },
    Opaque {
        directory: NodeId,
    },
    /// A marker in a directory that is not there.
    NothingToHide,
}

/// A name, and the components that were taken off before it.
type Stripped<'n> = (Name<'n>, Vec<&'n [u8]>);

/// The last parent, so that a run of files in one directory resolves it once.
#[derive(Default)]
pub(super) struct Memo {
    prefix: Vec<u8>,
    node: Option<NodeId>,
    generation: u64,
}

impl Applier<'_> {
    pub(super) fn place(&mut self, path: &[u8], entry: &Entry) -> Result<Placement> {
        if let Some(place) = self.remembered(path) {
            return Ok(place);
        }
        let Some((name, above)) = self.stripped(path)? else { return Ok(Placement::Skip) };
        let marker = self.mode.marker(&name);
        if !self.selection.takes_all() && !self.selects(path, &above, &name, &marker) {
            return Ok(Placement::Skip);
        }
        let marker = marker.map_err(refused)?;
        let Some((_, parents)) = name.parts.split_last() else { return root_place(entry.kind, name.clamped) };
        Ok(match marker {
            Marker::Aufs => {
                self.tree.journal.event(EventKind::SkippedAufs);
                match plnk(&name.parts) {
                    Some(_) if entry.kind == EntryKind::File => Placement::Plink { name: name.last },
                    _ => Placement::Skip,
                }
            }
            Marker::Whiteout(hidden) => match self.existing(self.destination, parents)? {
                Some(parent) => Placement::Whiteout { parent, name: hidden },
                None => Placement::NothingToHide,
            },
            Marker::Opaque => match self.marked(parents)? {
                Some(directory) => Placement::Opaque { directory },
                None => Placement::NothingToHide,
            },
            Marker::None => {
                let parent = self.resolve(self.destination, parents, self.mode.implied())?;
                let parent = parent.unwrap_or(self.destination);
                self.remember(path, parent);
                Placement::At { parent, name: name.last }
            }
        })
    }

    /// A marker is wanted where what it hides is, or what may be below that.
    fn selects(
        &mut self,
        path: &[u8],
        above: &[&[u8]],
        name: &Name<'_>,
        marker: &std::result::Result<Marker, Refusal>,
    ) -> bool {
        match (marker, name.parts.split_last()) {
            (Ok(Marker::Whiteout(hidden)), Some((_, parents))) => {
                self.selection.reaches(&[above, parents, &[&path[hidden.clone()]]].concat())
            }
            (Ok(Marker::Opaque), Some((_, parents))) => self.selection.reaches(&[above, parents].concat()),
            _ => self.selection.takes(&[above, &name.parts].concat()),
        }
    }

    /// The name folded and stripped, if anything is left of it.
    fn stripped<'n>(&mut self, path: &'n [u8]) -> Result<Option<Stripped<'n>>> {
        let mut name = fold(path, self.options.escaping_names, &self.options.limits)?;
        if name.clamped {
            self.tree.journal.event(EventKind::Clamped);
        }
        let strip = self.options.strip_components as usize;
        if strip > 0 && name.parts.len() <= strip {
            return Ok(None);
        }
        let above = name.parts.drain(..strip).collect();
        Ok(Some((name, above)))
    }

    /// The directory that a marker makes opaque. One that is missing is made where the caller wants it, and what is in its
    /// way stays.
    fn marked(&mut self, parts: &[&[u8]]) -> Result<Option<NodeId>> {
        let missing = if self.options.opaque_makes_directory { Missing::Make } else { self.mode.passed() };
        self.unless_blocked(self.destination, parts, missing)
    }

    /// A directory that is there; `None` if nothing or something else is.
    pub(super) fn existing(&mut self, start: NodeId, parts: &[&[u8]]) -> Result<Option<NodeId>> {
        self.unless_blocked(start, parts, self.mode.passed())
    }

    fn unless_blocked(&mut self, start: NodeId, parts: &[&[u8]], missing: Missing) -> Result<Option<NodeId>> {
        match self.resolve(start, parts, missing) {
            Err(fault) if matches!(fault.errno(), Some(Errno::ELOOP | Errno::ENOTDIR | Errno::ENOENT)) => Ok(None),
            result => result,
        }
    }

    /// The parent of the entry before, if this one's is written the same and nothing that could lead it
    /// elsewhere has happened in between.
    fn remembered(&self, path: &[u8]) -> Option<Placement> {
        let plain = path.strip_suffix(b"/").unwrap_or(path);
        let (dir, name) = split_plain(plain)?;
        let parent = self.memo.node.filter(|_| self.memo.generation == self.tree.dirs.generation())?;
        let marker = self.mode.suspects(&path[name.clone()]);
        let fits = path.len() <= self.options.limits.name_bytes as usize;
        (dir == self.memo.prefix && !marker && fits).then_some(Placement::At { parent, name })
    }

    fn remember(&mut self, path: &[u8], parent: NodeId) {
        let plain = path.strip_suffix(b"/").unwrap_or(path);
        match split_plain(plain) {
            Some((dir, _)) if self.selection.takes_all() && self.options.strip_components == 0 => {
                self.memo.prefix.clear();
                self.memo.prefix.extend_from_slice(dir);
                self.memo.node = Some(parent);
                self.memo.generation = self.tree.dirs.generation();
            }
            _ => self.memo.node = None,
        }
    }

    /// The parent and name of a hardlink's target in the merged view.
    pub(super) fn link_target<'n>(&mut self, target: &'n [u8]) -> Result<(NodeId, &'n [u8])> {
        let missing = || Fault::from(Cause::LinkTargetMissing { target: target.to_vec() });
        let name = fold(target, self.options.escaping_names, &self.options.limits).map_err(|cause| match cause {
            Cause::PathEscapes => Cause::LinkEscapes,
            cause => cause,
        })?;
        let strip = self.options.strip_components as usize;
        let parts = name.parts.get(strip..).unwrap_or_default();
        let Some((last, parents)) = parts.split_last() else {
            return Err(if strip > 0 { missing() } else { refused(Refusal::HardlinkToDirectory) });
        };
        match self.existing(self.destination, parents)? {
            Some(parent) => Ok((parent, last)),
            None => Err(missing()),
        }
    }
}

/// Rule 3: what is at the root is a directory.
fn root_place(kind: EntryKind, clamped: bool) -> Result<Placement> {
    match kind {
        EntryKind::Directory => Ok(Placement::Root),
        _ if clamped => Err(refused(Refusal::ClampedToRoot)),
        _ => Err(refused(Refusal::RootNotDirectory)),
    }
}
