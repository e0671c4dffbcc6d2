//! Where an entry goes: selection, folding, whiteout names, the parent directory.

use super::aufs::plnk;
use super::dirs::{Missing, NodeId};
use super::path::{fold, split_plain};
use super::whiteout::{Marker, classify};
use super::{Applier, Failed, refused};
use crate::helper::fault::{Fault, Result};
use crate::helper::read::entry::Entry;
use crate::options::{EscapingNames, Options};
use crate::report::{BadPattern, Cause, EntryKind, EntryRef, EventKind, Refusal};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use nix::errno::Errno;
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;

/// Where an entry goes.
pub(super) enum Place {
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

/// The last parent, so that a run of files in one directory resolves it once.
#[derive(Default)]
pub(super) struct Memo {
    prefix: Vec<u8>,
    node: Option<NodeId>,
    generation: u64,
}

impl Applier<'_> {
    pub(super) fn place(&mut self, path: &[u8], entry: &Entry) -> Result<Place, Failed> {
        if let Some(place) = self.remembered(path) {
            return Ok(place);
        }
        let name = fold(path, self.options.escaping_names, &self.options.limits).map_err(Fault::from)?;
        if name.clamped {
            self.event(EventKind::Clamped);
        }
        let strip = self.options.strip_components as usize;
        let mut parts = name.parts;
        if strip > 0 {
            if parts.len() <= strip {
                return Ok(Place::Skip);
            }
            parts.drain(..strip);
        }
        if !self.selection.takes(&parts) {
            return Ok(Place::Skip);
        }
        let marker = if self.literal() { Marker::None } else { classify(&parts).map_err(refused)? };
        let Some((last, parents)) = parts.split_last() else {
            return if entry.kind == EntryKind::Directory {
                Ok(Place::Root)
            } else {
                let clamped = name.clamped;
                Err(refused(if clamped { Refusal::ClampedToRoot } else { Refusal::RootNotDirectory }).into())
            };
        };
        Ok(match marker {
            Marker::Aufs => {
                self.event(EventKind::SkippedAufs);
                match plnk(&parts) {
                    Some(name) if entry.kind == EntryKind::File => Place::Plink { name: range_in(path, name) },
                    _ => Place::Skip,
                }
            }
            Marker::Whiteout(hidden) => match self.existing(self.destination, parents)? {
                Some(parent) => Place::Whiteout { parent, name: range_in(path, hidden) },
                None => Place::NothingToHide,
            },
            Marker::Opaque => match self.marked(parents)? {
                Some(directory) => Place::Opaque { directory },
                None => Place::NothingToHide,
            },
            Marker::None => {
                let parent = self.resolve(self.destination, parents, self.implied())?;
                let parent = parent.unwrap_or(self.destination);
                self.remember(path, parent);
                Place::At { parent, name: range_in(path, last) }
            }
        })
    }

    /// What becomes of directories that a path implies.
    fn implied(&self) -> Missing {
        if self.literal() || self.options.no_overwrite_dir_nondir { Missing::Make } else { Missing::Replace }
    }

    /// The directory that a marker makes opaque. One that is missing is made where the caller wants it, and what is in its
    /// way stays.
    fn marked(&mut self, parts: &[&[u8]]) -> Result<Option<NodeId>> {
        if self.options.opaque_makes_directory {
            return self.unless_blocked(self.destination, parts, Missing::Make);
        }
        self.existing(self.destination, parts)
    }

    /// A directory that is there; `None` if nothing or something else is.
    pub(super) fn existing(&mut self, start: NodeId, parts: &[&[u8]]) -> Result<Option<NodeId>> {
        self.unless_blocked(start, parts, if self.overlay() { Missing::Hold } else { Missing::Nothing })
    }

    fn unless_blocked(&mut self, start: NodeId, parts: &[&[u8]], missing: Missing) -> Result<Option<NodeId>> {
        match self.resolve(start, parts, missing) {
            Err(fault) if matches!(fault.errno(), Some(Errno::ELOOP | Errno::ENOTDIR | Errno::ENOENT)) => Ok(None),
            result => result,
        }
    }

    /// The parent of the entry before, if this one's is written the same and nothing that could lead it
    /// elsewhere has happened in between.
    fn remembered(&self, path: &[u8]) -> Option<Place> {
        let plain = path.strip_suffix(b"/").unwrap_or(path);
        let (dir, name) = split_plain(plain)?;
        let parent = self.memo.node.filter(|_| self.memo.generation == self.dirs.generation())?;
        let marker = !self.literal() && name.starts_with(b".wh.");
        let fits = path.len() <= self.options.limits.name_bytes as usize;
        (dir == self.memo.prefix && !marker && fits).then(|| Place::At { parent, name: range_in(path, name) })
    }

    fn remember(&mut self, path: &[u8], parent: NodeId) {
        let plain = path.strip_suffix(b"/").unwrap_or(path);
        match split_plain(plain) {
            Some((dir, _)) if self.selection.takes_all() && self.options.strip_components == 0 => {
                self.memo.prefix.clear();
                self.memo.prefix.extend_from_slice(dir);
                self.memo.node = Some(parent);
                self.memo.generation = self.dirs.generation();
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

/// Where a part of a path, itself a slice of it, stands in it.
fn range_in(path: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(path.as_ptr().addr());
    start..start + part.len()
}

/// Which names are taken.
pub(super) struct Selection {
    include: Option<GlobSet>,
    exclude: Option<GlobSet>,
}

impl Selection {
    pub(super) fn new(options: &Options) -> Result<Selection> {
        Ok(Selection { include: globs(&options.include)?, exclude: globs(&options.exclude)? })
    }

    fn takes_all(&self) -> bool {
        self.include.is_none() && self.exclude.is_none()
    }

    /// A pattern that matches a directory matches what is below it.
    fn takes(&self, parts: &[&[u8]]) -> bool {
        if self.takes_all() || parts.is_empty() {
            return true;
        }
        let path = parts.join(&b'/');
        let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at).chain([path.len()]);
        let prefixes: Vec<&[u8]> = ends.map(|end| &path[..end]).collect();
        let hit = |set: &GlobSet| prefixes.iter().any(|prefix| set.is_match(OsStr::from_bytes(prefix)));
        self.include.as_ref().is_none_or(hit) && !self.exclude.as_ref().is_some_and(hit)
    }

    /// Whether a raw name is taken, in a listing.
    pub(super) fn takes_raw(&self, path: &[u8], options: &Options) -> Result<bool> {
        if self.takes_all() && options.strip_components == 0 {
            return Ok(true);
        }
        let name = fold(path, EscapingNames::Clamp, &options.limits)?;
        let strip = options.strip_components as usize;
        Ok((strip == 0 || name.parts.len() > strip) && self.takes(name.parts.get(strip..).unwrap_or_default()))
    }
}

fn globs(patterns: &[String]) -> Result<Option<GlobSet>> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let plain = pattern.trim_start_matches("./").trim_matches('/');
        let glob = GlobBuilder::new(plain).literal_separator(false).backslash_escape(true).build();
        set.add(glob.map_err(|error| bad_glob(pattern, &error))?);
    }
    set.build().map(Some).map_err(|error| bad_glob(error.glob().unwrap_or_default(), &error))
}

fn bad_glob(pattern: &str, error: &globset::Error) -> Fault {
    let what = match error.kind() {
        globset::ErrorKind::UnclosedClass => BadPattern::UnclosedClass,
        globset::ErrorKind::InvalidRange(..) => BadPattern::Range,
        globset::ErrorKind::UnopenedAlternates => BadPattern::UnopenedAlternates,
        globset::ErrorKind::UnclosedAlternates => BadPattern::UnclosedAlternates,
        globset::ErrorKind::DanglingEscape => BadPattern::DanglingEscape,
        // What is left can only be the size of what a pattern is compiled to.
        _ => BadPattern::TooLarge,
    };
    Cause::Pattern { pattern: pattern[..crate::text::cut_at(pattern, EntryRef::MAX_PATH)].to_owned(), what }.into()
}
