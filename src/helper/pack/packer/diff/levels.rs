//! What lies below each directory of a walk, found when it is asked for: the cost is that of what is asked, and not that of
//! what lies there.

use super::super::super::overlay::{Layers, Leaf, Merged, NoData, Shown, Tree, Upper, lookup};
use super::super::super::walk::{Dir, Listing};
use crate::helper::fault::Result;
use std::sync::Arc;

type Dirs = Merged<Arc<Dir>>;
pub(super) type Sight = std::result::Result<Shown<Arc<Dir>, Leaf>, NoData>;

/// Of the directory at hand, and of those that it is in.
pub(super) struct Levels {
    tree: Tree,
    levels: Vec<Level>,
    /// So many directories may be held.
    most: usize,
}

struct Level {
    name: Vec<u8>,
    upper: Upper,
    /// It is not made of what lies below it by its path: it is opaque, or comes from elsewhere, or is in such a one.
    apart: bool,
    /// What lies below it by its path, which is what a layer is applied to.
    shown: Option<Dirs>,
    /// What it is made of, if that is something else.
    origin: Option<Dirs>,
}

impl Level {
    fn is_known(&self) -> bool {
        self.shown.is_some() && (self.origin.is_some() || !self.apart)
    }

    fn held(&self) -> usize {
        [&self.shown, &self.origin].into_iter().flatten().map(Merged::count).sum()
    }

    fn made_of(&self) -> Option<&Dirs> {
        if self.apart { self.origin.as_ref() } else { self.shown.as_ref() }
    }

    fn find(&mut self, tree: &Tree, above: &Level) -> Result<()> {
        let none = Dirs::default();
        let dirs = |from: Option<&Dirs>, upper: &Upper| -> Result<Dirs> {
            Ok(match lookup(tree, from.unwrap_or(&none), &self.name, upper)? {
                Ok(Shown::Directory(dirs)) => dirs,
                _ => Dirs::default(),
            })
        };
        let shown = dirs(above.shown.as_ref(), &Upper::Nothing)?;
        let origin = if self.apart { Some(dirs(above.made_of(), &self.upper)?) } else { None };
        (self.shown, self.origin) = (Some(shown), origin);
        Ok(())
    }
}

impl Levels {
    pub(super) fn new(tree: Tree, most: usize) -> Levels {
        let shown = Some(Merged::top(tree.roots()));
        let top = Level { name: Vec::new(), upper: Upper::Nothing, apart: false, shown, origin: None };
        Levels { tree, levels: vec![top], most }
    }

    /// Goes into a directory of this name, of which the upper directory has this.
    pub(super) fn push(&mut self, name: &[u8], upper: Upper) {
        let apart = self.is_apart() || upper.stands_apart();
        self.levels.push(Level { name: name.to_vec(), upper, apart, shown: None, origin: None });
    }

    /// The same where it is known what lies below.
    pub(super) fn push_shown(&mut self, name: &[u8], shown: Dirs) {
        let (upper, name) = (Upper::Nothing, name.to_vec());
        self.levels.push(Level { name, upper, apart: self.is_apart(), shown: Some(shown), origin: None });
        self.give_up(self.levels.len() - 1);
    }

    /// The first of the directories that the one at hand is made of.
    pub(super) fn first(&mut self) -> Result<Option<Arc<Dir>>> {
        self.fill()?;
        Ok(self.levels.last().and_then(Level::made_of).and_then(|dirs| dirs.dirs().next().map(Arc::clone)))
    }

    /// The first directory that lies below the one at hand.
    pub(super) fn here(&self) -> Option<Arc<Dir>> {
        self.levels.last()?.shown.as_ref()?.dirs().next().map(Arc::clone)
    }

    pub(super) fn pop(&mut self) {
        self.levels.pop();
    }

    /// Whether the directory at hand is not made of what lies below it by its path.
    pub(super) fn is_apart(&self) -> bool {
        self.levels.last().is_some_and(|level| level.apart)
    }

    /// What lies below a name by its path.
    pub(super) fn shows(&mut self, name: &[u8]) -> Result<Sight> {
        self.fill()?;
        let shown = self.levels.last().and_then(|level| level.shown.as_ref());
        lookup(&self.tree, shown.unwrap_or(&Dirs::default()), name, &Upper::Nothing)
    }

    /// What a name is made of below what the upper directory has there.
    pub(super) fn made_of(&mut self, name: &[u8], upper: &Upper) -> Result<Sight> {
        self.fill()?;
        let made_of = self.levels.last().and_then(Level::made_of);
        lookup(&self.tree, made_of.unwrap_or(&Dirs::default()), name, upper)
    }

    /// Adds the names of all that lies below the directory at hand, or that it is made of.
    pub(super) fn list(&mut self, listing: &mut Listing) -> Result<()> {
        self.fill()?;
        let level = self.levels.last();
        let dirs = level.into_iter().flat_map(|level| [&level.shown, &level.origin]).flatten();
        for dir in dirs.flat_map(Merged::dirs) {
            listing.add_below(&Listing::read(&dir.fd)?);
        }
        Ok(())
    }

    /// Finds what lies below the directory at hand, from the nearest above it of which that is known.
    fn fill(&mut self) -> Result<()> {
        let known = self.levels.iter().rposition(Level::is_known).unwrap_or(0);
        for at in known + 1..self.levels.len() {
            let (above, here) = self.levels.split_at_mut(at);
            if let (Some(above), Some(here)) = (above.last(), here.first_mut()) {
                here.find(&self.tree, above)?;
            }
            self.give_up(at);
        }
        Ok(())
    }

    /// Half of what may be held is let go at once, that of the highest but the first.
    fn give_up(&mut self, last: usize) {
        let mut held: usize = self.levels.iter().map(Level::held).sum();
        if held <= self.most {
            return;
        }
        for level in self.levels.iter_mut().take(last).skip(1) {
            held -= level.held();
            (level.shown, level.origin) = (None, None);
            if held <= self.most / 2 {
                return;
            }
        }
    }
}
