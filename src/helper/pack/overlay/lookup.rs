//! Looking a name up in merged layers, step by step as overlayfs does: `ovl_lookup` with `redirect_dir=follow`.

use super::Stands;
use super::redirect::Redirect;

/// What has layers: the topmost first.
pub(crate) trait Layers {
    type Dir: Clone;
    type File;
    type Error;

    /// The top of each layer.
    fn roots(&self) -> &[Self::Dir];

    /// What one layer has at a name.
    fn look(&self, dir: &Self::Dir, name: &[u8]) -> Look<Self>;
}

/// What one layer has at a name, if anything.
pub(crate) type Look<L> = Result<Option<Seen<<L as Layers>::Dir, <L as Layers>::File>>, <L as Layers>::Error>;
/// What all layers show there.
pub(crate) type Sight<L> = Result<Result<Shown<<L as Layers>::Dir, <L as Layers>::File>, NoData>, <L as Layers>::Error>;

/// What one layer has at a name.
pub(crate) enum Seen<D, F> {
    Whiteout,
    Directory { dir: D, opaque: bool, redirect: Option<Redirect> },
    File { file: F, regular: bool, metacopy: bool, redirect: Option<Redirect> },
}

/// A directory of merged layers: which of them, and where in them.
#[derive(Clone, Debug)]
pub(crate) struct Merged<D>(Vec<(usize, D)>);

/// What a name leads to in all layers together.
pub(crate) enum Shown<D, F> {
    Absent,
    Directory(Merged<D>),
    /// Metadata is the first's; content too, or the last one's.
    File(Vec<F>),
}

/// A file's content is said to be below, and is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoData;

/// What the upper directory has at the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Upper {
    Nothing,
    There(Stands),
}

impl Upper {
    /// It is a directory that is not made of what lies below it by its path.
    pub(crate) fn stands_apart(&self) -> bool {
        matches!(self, Upper::There(Stands::Directory { opaque, redirect }) if *opaque || redirect.is_some())
    }
}

impl<D> Default for Merged<D> {
    fn default() -> Self {
        Merged(Vec::new())
    }
}

impl<D: Clone> Merged<D> {
    /// The top of all layers.
    pub(crate) fn top(roots: &[D]) -> Merged<D> {
        Merged(roots.iter().cloned().enumerate().collect())
    }

    /// Where it is in each of its layers, to be listed: a name counts if it leads anywhere.
    pub(crate) fn dirs(&self) -> impl Iterator<Item = &D> {
        self.0.iter().map(|(_, dir)| dir)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// What the layers show at a name of this directory, below what the upper directory has there: only what that lets through.
pub(crate) fn lookup<L: Layers>(layers: &L, parent: &Merged<L::Dir>, name: &[u8], upper: &Upper) -> Sight<L> {
    let mut search = Search::new(name, upper);
    let mut found = Found::default();
    let top = Merged::top(layers.roots());
    let bottom = layers.roots().len().saturating_sub(1);
    let (mut stack, mut at) = (if search.from_top { &top } else { parent }, 0);
    while let Some((layer, base)) = stack.0.get(at).filter(|_| !search.stop) {
        search.last = *layer == bottom;
        at += 1;
        match search.in_layer(layers, base)? {
            None => continue,
            Some(Seen::Directory { dir, .. }) => found.dirs.push((*layer, dir)),
            // Of files in between neither metadata nor content is wanted.
            Some(Seen::File { file, .. }) if !search.metacopy || found.files.is_empty() => found.files.push(file),
            Some(_) => {}
        }
        if search.from_top && !std::ptr::eq(stack, &top) {
            (stack, at) = (&top, layer + 1);
        }
    }
    Ok(found.shown(&search))
}

struct Found<D, F> {
    dirs: Vec<(usize, D)>,
    files: Vec<F>,
}

impl<D, F> Default for Found<D, F> {
    fn default() -> Self {
        Found { dirs: Vec::new(), files: Vec::new() }
    }
}

impl<D, F> Found<D, F> {
    fn shown(self, search: &Search) -> Result<Shown<D, F>, NoData> {
        // A directory has no content either.
        if search.metacopy {
            return Err(NoData);
        }
        Ok(if !self.dirs.is_empty() {
            Shown::Directory(Merged(self.dirs))
        } else if !self.files.is_empty() {
            Shown::File(self.files)
        } else {
            Shown::Absent
        })
    }
}

/// What is looked for, as it changes from layer to layer.
struct Search {
    /// From the top of each layer, or one name in the directories that its parent merges from.
    parts: Vec<Vec<u8>>,
    from_top: bool,
    /// A directory was found above.
    is_dir: bool,
    /// The content of what was found above is below.
    metacopy: bool,
    /// What is below does not count.
    stop: bool,
    /// There is no layer below this one.
    last: bool,
}

impl Search {
    fn new(name: &[u8], upper: &Upper) -> Search {
        let parts = vec![name.to_vec()];
        let mut search = Search { parts, from_top: false, is_dir: false, metacopy: false, stop: false, last: false };
        match upper {
            Upper::Nothing => {}
            Upper::There(Stands::Whiteout | Stands::Itself { .. }) => search.stop = true,
            Upper::There(Stands::Directory { opaque, redirect }) => {
                (search.is_dir, search.stop) = (true, *opaque);
                search.redirect(redirect.as_ref(), 0);
            }
            Upper::There(Stands::Metacopy { redirect }) => {
                search.metacopy = true;
                search.redirect(redirect.as_ref(), 0);
            }
        }
        search
    }

    /// What one layer has there. What it says of where to look on is for the layers below.
    fn in_layer<L: Layers>(&mut self, layers: &L, base: &L::Dir) -> Look<L> {
        let parts = self.parts.clone();
        let mut here = base.clone();
        for (at, part) in parts.iter().enumerate() {
            // The beginning may have become longer or shorter meanwhile.
            let left = parts.len() - at - 1;
            let seen = layers.look(&here, part)?;
            match self.judge(seen, left) {
                Some(Seen::Directory { dir, .. }) if left > 0 => here = dir,
                seen => return Ok(seen),
            }
        }
        Ok(None)
    }

    /// What counts of it, if so many names come behind it.
    fn judge<D, F>(&mut self, seen: Option<Seen<D, F>>, left: usize) -> Option<Seen<D, F>> {
        let end = left == 0;
        let seen = seen?;
        match &seen {
            Seen::Whiteout => {
                self.stop = true;
                return None;
            }
            Seen::File { regular, metacopy, redirect, .. } => {
                if !end || self.is_dir || self.metacopy && !regular {
                    self.stop = true;
                    return None;
                }
                (self.metacopy, self.stop) = (*metacopy, !metacopy);
                if *metacopy && !self.last {
                    self.redirect(redirect.as_ref(), left);
                }
            }
            Seen::Directory { opaque, redirect, .. } => {
                self.is_dir |= end;
                if *opaque && !self.last {
                    self.stop = true;
                } else if !self.last {
                    self.redirect(redirect.as_ref(), left);
                }
            }
        }
        Some(seen)
    }

    /// From here on it is looked for elsewhere, what so many of its names are of.
    fn redirect(&mut self, redirect: Option<&Redirect>, left: usize) {
        let at = self.parts.len() - left;
        match redirect {
            None => {}
            // It counts although a directory on the way is opaque.
            Some(Redirect::Path(path)) => {
                self.parts.splice(..at, path.iter().cloned()).for_each(drop);
                (self.from_top, self.stop) = (true, false);
            }
            Some(Redirect::Name(name)) => {
                if let Some(last) = self.parts.get_mut(at - 1) {
                    last.clone_from(name);
                }
            }
        }
    }
}
