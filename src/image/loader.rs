//! Reading what is listed: indexes in indexes, each image once, and what is wrong with one of them kept apart.

use super::catalogue::Catalogue;
use super::documents::Documents;
use super::item::{Item, Pointer, What};
use super::media::Kind;
use super::oci::INDEX;
use super::platform::Platform;
use super::problem::Problem;
use super::{Image, MAX_ENTRIES, docker, oci};
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::report::Digest;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Indexes in indexes: real ones have two.
const DEPTH: usize = 8;

/// What may be an image: the items that lead to it, its own last.
pub(super) struct Candidate {
    /// The first of them in the catalogue.
    pub(super) item: usize,
    pub(super) path: Vec<Arc<Item>>,
    /// An index on the way could not be read.
    failed: Option<usize>,
}

impl Candidate {
    pub(super) fn own(&self) -> &Item {
        // A path has one item at least.
        &self.path[self.path.len() - 1]
    }

    pub(super) fn platform(&self) -> Option<&Platform> {
        self.own().platform()
    }

    /// What it is if it is no image, as its descriptor says.
    pub(super) fn beside(&self) -> Option<String> {
        match &self.own().what {
            What::Oci(pointer) => pointer.beside(),
            What::Docker(_) => None,
        }
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.path.iter().any(|item| item.digest() == Some(*digest))
    }

    /// Tags and names of all that leads to it, the outermost first.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.path.iter().flat_map(|item| &item.names)
    }
}

/// What became of reading one.
pub(super) enum Outcome {
    Image(Box<Image>),
    /// A file of it is not there.
    Absent(Error),
    /// It is no image.
    Beside(String),
    Broken(Error),
}

impl Outcome {
    /// A broken image breaks only itself; what is too much altogether, or cannot be read at all, ends the search.
    fn of(result: Result<Image, Error>) -> Result<Outcome, Error> {
        let error = match result {
            Ok(image) => return Ok(Outcome::Image(Box::new(image))),
            Err(error) => error,
        };
        match (error.image_problem(), error.kind()) {
            (Some(Problem::Missing), _) => Ok(Outcome::Absent(error)),
            (Some(Problem::Artifact(what)), _) => Ok(Outcome::Beside(what.clone())),
            (Some(Problem::Documents | Problem::Images), _) => Err(error),
            (_, ErrorKind::Image | ErrorKind::Digest | ErrorKind::Limit) => Ok(Outcome::Broken(error)),
            _ => Err(error),
        }
    }

    pub(super) fn image(&self) -> Option<&Image> {
        match self {
            Outcome::Image(image) => Some(image),
            _ => None,
        }
    }
}

/// By what an image is known that has been read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Oci(Digest, Kind, u64),
    /// An item of the catalogue, which is listed once.
    Item(usize),
}

/// Reads what is listed; each image once, however many indexes lead to it.
pub(super) struct Loader<'a> {
    pub(super) documents: &'a Documents,
    pub(super) catalogue: &'a Catalogue,
    outcomes: Vec<Outcome>,
    known: BTreeMap<Key, usize>,
    entries: usize,
}

impl<'a> Loader<'a> {
    pub(super) fn new(documents: &'a Documents, catalogue: &'a Catalogue) -> Loader<'a> {
        Loader { documents, catalogue, outcomes: Vec::new(), known: BTreeMap::new(), entries: 0 }
    }

    /// What these items of the catalogue lead to, through indexes.
    pub(super) fn expand(&mut self, items: impl IntoIterator<Item = usize>) -> Result<Vec<Candidate>, Error> {
        let mut found = Vec::new();
        for item in items {
            let path = vec![Arc::clone(&self.catalogue.items[item])];
            self.descend(Candidate { item, path, failed: None }, &mut found)?;
        }
        Ok(found)
    }

    fn descend(&mut self, at: Candidate, found: &mut Vec<Candidate>) -> Result<(), Error> {
        self.entries += 1;
        let kept = size_of::<Candidate>() + at.path.len() * size_of::<Arc<Item>>();
        self.documents.pay(kept, INDEX)?;
        // The same index a thousand times costs as much as a thousand of them.
        if self.entries > MAX_ENTRIES {
            return Err(Problem::Images.at(INDEX));
        }
        let own = Arc::clone(&at.path[at.path.len() - 1]);
        let pointer = match &own.what {
            What::Oci(pointer) if pointer.kind.is_index() && pointer.beside().is_none() => pointer,
            _ => {
                found.push(at);
                return Ok(());
            }
        };
        match self.children(&at.path, pointer) {
            Ok(children) => children.into_iter().try_for_each(|child| {
                let path = at.path.iter().cloned().chain([child]).collect();
                self.descend(Candidate { item: at.item, path, failed: None }, found)
            }),
            Err(error) => {
                let failed = Some(self.keep(Err(error))?);
                found.push(Candidate { failed, ..at });
                Ok(())
            }
        }
    }

    fn children(&self, path: &[Arc<Item>], pointer: &Pointer) -> Result<Vec<Arc<Item>>, Error> {
        let file = || pointer.digest.map_or_else(|| INDEX.to_owned(), |digest| self.documents.manifest(&digest));
        let around = &path[..path.len() - 1];
        if around.iter().any(|index| index.digest() == pointer.digest) {
            return Err(Problem::Cycle.at(file()));
        }
        if around.len() >= DEPTH {
            return Err(Problem::Depth.at(file()));
        }
        oci::children(self.documents, pointer)
    }

    fn keep(&mut self, result: Result<Image, Error>) -> Result<usize, Error> {
        self.outcomes.push(Outcome::of(result)?);
        Ok(self.outcomes.len() - 1)
    }

    fn key(&self, candidate: &Candidate) -> Key {
        match &candidate.own().what {
            What::Oci(pointer) => match pointer.digest {
                Some(digest) => Key::Oci(digest, pointer.kind, pointer.size),
                None => Key::Item(candidate.item),
            },
            What::Docker(_) => Key::Item(candidate.item),
        }
    }

    /// Reads it, if it has not been; the number of its outcome.
    pub(super) fn load(&mut self, candidate: &Candidate) -> Result<usize, Error> {
        if let Some(failed) = candidate.failed {
            return Ok(failed);
        }
        let key = self.key(candidate);
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let loaded = match &candidate.own().what {
            What::Oci(pointer) => oci::load(self.documents, pointer),
            What::Docker(item) => docker::load(self.documents, item),
        };
        let outcome = self.keep(loaded)?;
        self.known.insert(key, outcome);
        Ok(outcome)
    }

    /// Both lead to the same image.
    pub(super) fn is_same(&self, one: &Candidate, other: &Candidate) -> bool {
        self.key(one) == self.key(other)
    }

    /// The image, if it has been read.
    pub(super) fn known(&self, candidate: &Candidate) -> Option<&Image> {
        self.outcomes[*self.known.get(&self.key(candidate))?].image()
    }

    pub(super) fn outcome(&self, number: usize) -> &Outcome {
        &self.outcomes[number]
    }

    pub(super) fn into_outcomes(self) -> Vec<Outcome> {
        self.outcomes
    }
}
