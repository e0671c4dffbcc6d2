//! An overlayfs upper directory as a layer: its marks become markers, and what it has of lower layers is read there.

use super::super::super::overlay;
use super::super::super::overlay::{Leaf, Marks, NoData, Shape, Shown, Stands, Tree, opened, shape, value};
use super::super::super::walk::{Dir, Listing, Name};
use super::super::spot::{Entered, Entries, Spot};
use super::super::{Failed, Packer};
use super::levels::Levels;
use super::not_reserved;
use crate::helper::fault::{Fault, Result};
use crate::helper::look::Seen;
use crate::helper::open::Way;
use crate::report::{Cause, MarkProblem};
use rustix::fs::FileType;
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub(crate) struct Upper {
    marks: Marks,
    below: Below,
}

/// What is known of the lower layers.
enum Below {
    All(Levels),
    /// Nothing; for each directory that the walk is in, whether what lies below it is out of sight.
    Nothing(Vec<bool>),
}

impl Upper {
    /// Over these layers, the topmost first, or over some that are not known; so many directories of them may be open.
    pub(crate) fn over(lowers: &[OwnedFd], marks: Marks, most: usize) -> Result<Upper> {
        let below = match lowers {
            [] => Below::Nothing(vec![false]),
            lowers => Below::All(Levels::new(Tree::new(lowers, Some(marks))?, most)),
        };
        Ok(Upper { marks, below })
    }

    /// What an open file or directory stands for.
    fn stands(&self, file: &OwnedFd, seen: &Seen) -> Result<Stands> {
        let stands = self.marks.stands(shape(seen), |name| value(file, name))?;
        let needs = match &stands {
            Stands::Directory { redirect: Some(_), .. } => "redirect",
            Stands::Metacopy { .. } => "metacopy",
            _ => return Ok(stands),
        };
        match self.below {
            Below::All(_) => Ok(stands),
            Below::Nothing(_) => Err(self.problem(needs, MarkProblem::NeedsLowers)),
        }
    }

    fn problem(&self, mark: &str, what: MarkProblem) -> Fault {
        Cause::OverlayMark { name: self.marks.name(mark), what }.into()
    }

    fn directory(&mut self, packer: &mut Packer<'_>, spot: &Spot<'_>, packed: bool) -> Result<Option<Entered>, Failed> {
        let Some((dir, seen)) = packer.open_directory(spot)? else { return Ok(None) };
        let stands = self.stands(&dir, &seen)?;
        if packed {
            not_reserved(spot.name)?;
            packer.directory(&dir, &seen, spot.path)?;
        }
        if !packer.goes_on(spot, &seen) {
            return Ok(None);
        }
        if packed && self.is_marked(&stands) {
            packer.opaque(spot.path)?;
        }
        let Some(listing) = packer.list(&dir)? else { return Ok(None) };
        let listing = self.go_into(spot.name, overlay::Upper::There(stands), listing)?;
        Ok(Some(Entered { dir: Arc::new(Dir { fd: dir, seen: Some(seen) }), listing }))
    }

    /// Where the lower layers are not known, a marker says that nothing of them shows; not below another.
    fn is_marked(&self, stands: &Stands) -> bool {
        let opaque = matches!(stands, Stands::Directory { opaque: true, .. });
        opaque && matches!(&self.below, Below::Nothing(hidden) if hidden.last() == Some(&false))
    }

    /// The names in a directory: besides its own, those for which something must be written.
    fn go_into(&mut self, name: &[u8], upper: overlay::Upper, mut listing: Listing) -> Result<Listing> {
        match &mut self.below {
            Below::Nothing(hidden) => {
                let above = hidden.last().copied().unwrap_or(false);
                hidden.push(above || upper.stands_apart());
            }
            Below::All(levels) => {
                levels.push(name, upper);
                if levels.is_apart() {
                    levels.list(&mut listing)?;
                }
            }
        }
        Ok(listing)
    }

    fn file(&mut self, packer: &mut Packer<'_>, spot: &Spot<'_>) -> Result<(), Failed> {
        let Some((file, seen)) = packer.open_file(spot)? else { return Ok(()) };
        let stands = self.stands(&file, &seen)?;
        match stands {
            Stands::Whiteout => self.whiteout(packer, spot),
            Stands::Metacopy { .. } => {
                not_reserved(spot.name)?;
                let data = self.content(spot.name, overlay::Upper::There(stands))?;
                packer.file_of(spot, &file, &seen, &data)
            }
            _ => {
                not_reserved(spot.name)?;
                packer.file_of(spot, &file, &seen, &file)
            }
        }
    }

    /// Where the content of a file is that has but its metadata here.
    fn content(&mut self, name: &[u8], upper: overlay::Upper) -> Result<OwnedFd> {
        let found = match &mut self.below {
            Below::All(levels) => levels.made_of(name, &upper)?,
            Below::Nothing(_) => Err(NoData),
        };
        match found {
            Ok(Shown::File(files)) => match files.last() {
                Some(file) => self.open(file),
                None => Err(self.problem("metacopy", MarkProblem::NotThere)),
            },
            _ => Err(self.problem("metacopy", MarkProblem::NotThere)),
        }
    }

    fn open(&self, file: &Leaf) -> Result<OwnedFd> {
        if !matches!(shape(&file.seen), Shape::Regular { .. }) {
            return Err(self.problem("metacopy", MarkProblem::NotThere));
        }
        opened(&file.dir.fd, &file.name, Way::Lower)
    }

    fn special(&mut self, packer: &mut Packer<'_>, spot: &Spot<'_>, kind: FileType) -> Result<(), Failed> {
        let Some(seen) = packer.look_at_special(spot, kind)? else { return Ok(()) };
        if shape(&seen) == (Shape::CharDevice { major: 0, minor: 0 }) {
            return self.whiteout(packer, spot);
        }
        // It is in no archive, and what it covers does not show.
        if kind == FileType::Socket {
            self.whiteout(packer, spot)?;
        } else {
            not_reserved(spot.name)?;
        }
        packer.special_of(spot, &seen)
    }

    /// Of a name that is not to show, if it would.
    fn whiteout(&mut self, packer: &mut Packer<'_>, spot: &Spot<'_>) -> Result<(), Failed> {
        let would = match &mut self.below {
            Below::Nothing(hidden) => hidden.last() == Some(&false),
            Below::All(levels) => !matches!(levels.shows(spot.name)?, Ok(Shown::Absent)),
        };
        if would { packer.whiteout(spot.path) } else { Ok(()) }
    }

    /// A name that only lower layers have, in a directory that is not what lies below it.
    fn lower(&mut self, packer: &mut Packer<'_>, spot: &Spot<'_>, depth: usize) -> Result<Option<Entered>, Failed> {
        let Below::All(levels) = &mut self.below else { return Ok(None) };
        match levels.made_of(spot.name, &overlay::Upper::Nothing)? {
            Err(NoData) => Err(self.problem("metacopy", MarkProblem::NotThere).into()),
            Ok(Shown::Absent) => {
                if packer.chosen(spot.path, FileType::Unknown, depth)? == Some(true) {
                    self.whiteout(packer, spot)?;
                }
                Ok(None)
            }
            Ok(Shown::File(files)) => self.lower_file(packer, spot, &files, depth).map(|()| None),
            Ok(Shown::Directory(dirs)) => {
                let Some(packed) = packer.chosen(spot.path, FileType::Directory, depth)? else { return Ok(None) };
                let Some(dir) = dirs.dirs().next().map(Arc::clone) else { return Ok(None) };
                if let Some(seen) = dir.seen.filter(|_| packed) {
                    not_reserved(spot.name)?;
                    packer.directory(&dir.fd, &seen, spot.path)?;
                }
                let listing = self.go_into(spot.name, overlay::Upper::Nothing, Listing::default())?;
                Ok(Some(Entered { dir, listing }))
            }
        }
    }

    /// A file of lower layers: the first has its metadata, the last its content.
    fn lower_file(
        &mut self,
        packer: &mut Packer<'_>,
        spot: &Spot<'_>,
        files: &[Leaf],
        depth: usize,
    ) -> Result<(), Failed> {
        let (Some(first), Some(last)) = (files.first(), files.last()) else { return Ok(()) };
        if packer.chosen(spot.path, first.seen.kind, depth)?.is_none() {
            return Ok(());
        }
        not_reserved(spot.name)?;
        let there = Spot { dir: &first.dir, name: &first.name, path: spot.path };
        if first.seen.kind != FileType::RegularFile {
            let Some(seen) = packer.look_at_special(&there, first.seen.kind)? else { return Ok(()) };
            return packer.special_of(&there, &seen);
        }
        let Some((file, seen)) = packer.open_file(&there)? else { return Ok(()) };
        match files.len() {
            1 => packer.file_of(&there, &file, &seen, &file),
            _ => packer.file_of(&there, &file, &seen, &self.open(last)?),
        }
    }
}

impl<'a> Entries<'a> for Upper {
    fn entry(
        &mut self,
        packer: &mut Packer<'a>,
        spot: &Spot<'_>,
        name: Name,
        depth: usize,
    ) -> Result<Option<Entered>, Failed> {
        if name.below {
            return self.lower(packer, spot, depth);
        }
        let Some((kind, packed)) = packer.wanted(spot, name.kind, depth)? else { return Ok(None) };
        match kind {
            FileType::Directory => self.directory(packer, spot, packed),
            FileType::RegularFile => self.file(packer, spot).map(|()| None),
            kind => self.special(packer, spot, kind).map(|()| None),
        }
    }

    fn find(&mut self) -> Result<Option<Arc<Dir>>> {
        match &mut self.below {
            Below::All(levels) => levels.first(),
            Below::Nothing(_) => Ok(None),
        }
    }

    fn left(&mut self) {
        match &mut self.below {
            Below::All(levels) => levels.pop(),
            Below::Nothing(hidden) => drop(hidden.pop()),
        }
    }
}
