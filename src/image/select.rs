//! Which of the images is meant: by tag, name or digest, then by platform.

mod fitting;

use super::catalogue::Catalogue;
use super::contents::{Contents, LeftOut, Why};
use super::documents::Documents;
use super::item::Item;
use super::loader::{Candidate, Loader, Outcome};
use super::platform::Platform;
use super::problem::Problem;
use super::reference::{Reference, full_name};
use super::{Image, oci::INDEX};
use crate::error::Error;
use crate::report::Digest;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// The one image that is meant.
pub(super) fn one(
    documents: &Documents,
    catalogue: &Catalogue,
    reference: Option<&str>,
    wanted: Option<&Platform>,
) -> Result<Image, Error> {
    let place: &Path = documents.files().name();
    let mut loader = Loader::new(documents, catalogue);
    let mut candidates = meant(&mut loader, reference)?;
    // Unless nothing else is there: then the error says what it is.
    if candidates.iter().any(|candidate| candidate.beside().is_none()) {
        candidates.retain(|candidate| candidate.beside().is_none());
    }
    let chosen = match (&candidates[..], wanted) {
        ([], _) => return Err(Problem::Empty.at(place)),
        ([_], None) => 0,
        _ => fitting::choose(&mut loader, &candidates, wanted)?,
    };
    let outcome = loader.load(&candidates[chosen])?;
    let same = candidates.iter().filter(|candidate| loader.is_same(candidate, &candidates[chosen]));
    let names = Names::of(documents, same)?.owned();
    match loader.into_outcomes().swap_remove(outcome) {
        Outcome::Image(image) => Ok(image.named(names)),
        Outcome::Beside(what) => Err(Problem::Artifact(what).at(place)),
        Outcome::Absent(error) | Outcome::Broken(error) => Err(error),
    }
}

/// Those that the reference names. What is listed outermost is looked at first, so that of ten thousand tags one index
/// is read.
fn meant(loader: &mut Loader<'_>, reference: Option<&str>) -> Result<Vec<Candidate>, Error> {
    let catalogue = loader.catalogue;
    let Some(text) = reference else { return loader.expand(catalogue.all()) };
    let found = match Reference::parse(text) {
        Reference::Number(number) => loader.expand(catalogue.lines.get(number).copied())?,
        Reference::Digest(digest) => digested(loader, &digest)?,
        Reference::Name(name) => named(loader, name)?,
    };
    if found.is_empty() {
        let word = |item: usize| catalogue.word(&catalogue.items[item..=item], item);
        let there = catalogue.all().map(word).collect();
        return Err(Problem::NoReference { wanted: text.to_owned(), there }.at(loader.documents.files().name()));
    }
    Ok(found)
}

fn named(loader: &mut Loader<'_>, name: &str) -> Result<Vec<Candidate>, Error> {
    let catalogue = loader.catalogue;
    let listed = catalogue.named(name);
    if !listed.is_empty() {
        return loader.expand(listed);
    }
    let mut all = loader.expand(catalogue.all())?;
    let wanted = full_name(name);
    // Each once, however many images it has below it.
    let mut known = HashMap::new();
    let mut has = |item: &Arc<Item>| {
        let look = || item.names.iter().any(|own| full_name(own) == wanted);
        *known.entry(Arc::as_ptr(item)).or_insert_with(look)
    };
    all.retain(|candidate| candidate.path.iter().any(&mut has));
    Ok(all)
}

/// Of a manifest, of an index around it, or of a configuration, which is what docker calls the image's ID.
fn digested(loader: &mut Loader<'_>, digest: &Digest) -> Result<Vec<Candidate>, Error> {
    let catalogue = loader.catalogue;
    let is_it = |item: &usize| catalogue.items[*item].digest() == Some(*digest);
    let listed: Vec<usize> = catalogue.all().filter(is_it).collect();
    if !listed.is_empty() {
        return loader.expand(listed);
    }
    let mut all = loader.expand(catalogue.all())?;
    if all.iter().any(|candidate| candidate.has(digest)) {
        all.retain(|candidate| candidate.has(digest));
        return Ok(all);
    }
    let mut found = Vec::new();
    for candidate in all.into_iter().filter(|candidate| candidate.beside().is_none()) {
        let outcome = loader.load(&candidate)?;
        if loader.outcome(outcome).image().is_some_and(|image| image.id() == *digest) {
            found.push(candidate);
        }
    }
    Ok(found)
}

/// Names of an image, each once.
#[derive(Default)]
struct Names {
    names: Vec<Arc<str>>,
    known: HashSet<Arc<str>>,
}

impl Names {
    fn of<'a>(documents: &Documents, mut candidates: impl Iterator<Item = &'a Candidate>) -> Result<Names, Error> {
        let mut names = Names::default();
        candidates.try_for_each(|candidate| names.add(documents, candidate))?;
        Ok(names)
    }

    /// Pays for each before it is looked at: an index may have as many as images, and each image has all of them.
    fn add(&mut self, documents: &Documents, candidate: &Candidate) -> Result<(), Error> {
        for name in candidate.names() {
            documents.pay(size_of::<String>() + name.len(), INDEX)?;
            if self.known.insert(Arc::clone(name)) {
                self.names.push(Arc::clone(name));
            }
        }
        Ok(())
    }

    fn owned(self) -> Vec<String> {
        self.names.iter().map(|name| name.to_string()).collect()
    }
}

/// What is listed once or more often, in the making.
struct Line {
    outcome: Result<usize, String>,
    names: Names,
    digest: Option<Digest>,
    platform: Option<Platform>,
}

/// Everything that can be read as an image, each once, and what else there is.
pub(super) fn all(documents: &Documents, catalogue: &Catalogue) -> Result<Contents, Error> {
    let mut loader = Loader::new(documents, catalogue);
    let mut lines: Vec<Line> = Vec::new();
    let mut known = HashMap::new();
    for candidate in loader.expand(catalogue.all())? {
        let outcome = candidate.beside().map_or_else(|| loader.load(&candidate).map(Ok), |what| Ok(Err(what)))?;
        let next = lines.len();
        let at = match outcome {
            Ok(number) => *known.entry(number).or_insert(next),
            Err(_) => next,
        };
        if at == next {
            let (digest, platform) = (candidate.own().digest(), candidate.platform().cloned());
            lines.push(Line { outcome, names: Names::default(), digest, platform });
        }
        lines[at].names.add(documents, &candidate)?;
    }
    let mut outcomes: Vec<Option<Outcome>> = loader.into_outcomes().into_iter().map(Some).collect();
    let mut contents = Contents { images: Vec::new(), left_out: Vec::new() };
    for Line { outcome, names, digest, platform } in lines {
        let names = names.owned();
        let why = match outcome.map(|number| outcomes[number].take()) {
            Ok(Some(Outcome::Image(image))) => {
                contents.images.push(image.named(names));
                continue;
            }
            Ok(Some(Outcome::Absent(error))) => Why::Absent(error),
            Ok(Some(Outcome::Broken(error))) => Why::Broken(error),
            Ok(Some(Outcome::Beside(what))) | Err(what) => Why::Beside(what),
            // Each outcome has one line.
            Ok(None) => continue,
        };
        contents.left_out.push(LeftOut { names, digest, platform, why });
    }
    Ok(contents)
}
