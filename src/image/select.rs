//! Which of the images is meant: by tag, name or digest, then by platform.

mod fitting;

use super::catalogue::{Catalogue, is_typed};
use super::contents::{Contents, LeftOut, Why};
use super::documents::Documents;
use super::item::Item;
use super::loader::{Candidate, Loader, Outcome};
use super::platform::Platform;
use super::problem::Problem;
use super::reference::{Reference, full_name, short};
use super::{Image, digest, oci::INDEX};
use crate::error::Error;
use crate::report::Digest;
use fitting::Chosen;
use std::collections::{BTreeMap, BTreeSet};
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
        ([_], None) => Chosen { candidate: 0, passed_over: Vec::new() },
        _ => fitting::choose(&mut loader, &candidates, wanted)?,
    };
    read(loader, &candidates, chosen)
}

/// The chosen one, with all its names, and those that were passed over for it.
fn read(mut loader: Loader<'_>, candidates: &[Candidate], chosen: Chosen) -> Result<Image, Error> {
    let documents = loader.documents;
    let mut line = |at: &usize| -> Result<Line, Error> {
        let candidate = &candidates[*at];
        Ok(Line::of(Ok(loader.load(candidate)?), candidate, loader.catalogue))
    };
    let mut own = line(&chosen.candidate)?;
    let mut besides = chosen.passed_over.iter().map(&mut line).collect::<Result<Vec<_>, _>>()?;
    for (beside, at) in besides.iter_mut().zip(&chosen.passed_over) {
        beside.names.add(documents, &candidates[*at])?;
    }
    let mut same = candidates.iter().filter(|candidate| loader.is_same(candidate, &candidates[chosen.candidate]));
    same.try_for_each(|candidate| own.names.add(documents, candidate))?;
    let mut outcomes = loader.into_outcomes().into_iter().map(Some).collect::<Vec<_>>();
    let place = documents.files().name();
    match own.read(&mut outcomes) {
        Some(Ok(image)) => {
            let left_out = |line: Line| line.read(&mut outcomes).and_then(Result::err);
            Ok(Image { passed_over: besides.into_iter().filter_map(left_out).collect(), ..image })
        }
        Some(Err(LeftOut { why: Why::Absent(error) | Why::Broken(error), .. })) => Err(error),
        Some(Err(LeftOut { why: Why::Beside(what), .. })) => Err(Problem::Artifact(what).at(place)),
        None => Err(Problem::Empty.at(place)),
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
        Reference::Short(digits) => {
            let all = loader.expand(catalogue.all())?;
            beginning(loader, all, digits)?
        }
        Reference::Name(name) => named(loader, name)?,
    };
    if found.is_empty() {
        let word = |item: usize| catalogue.word(&catalogue.items[item..=item], item);
        return Err(lacking(loader, text, catalogue.all().map(word).collect()));
    }
    Ok(found)
}

fn lacking(loader: &Loader<'_>, wanted: &str, there: Vec<String>) -> Error {
    Problem::NoReference { wanted: wanted.to_owned(), there }.at(loader.documents.files().name())
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
    let mut known = BTreeMap::new();
    let mut has = |item: &Arc<Item>| {
        let look = || item.names.iter().any(|own| full_name(own) == wanted);
        *known.entry(Arc::as_ptr(item)).or_insert_with(look)
    };
    let mut is_called = |candidate: &Candidate| candidate.path.iter().any(&mut has);
    if all.iter().any(&mut is_called) {
        all.retain(is_called);
        return Ok(all);
    }
    let there = names(catalogue, &all);
    let found = short(name).map_or(Ok(Vec::new()), |digits| beginning(loader, all, digits))?;
    if found.is_empty() { Err(lacking(loader, name, there)) } else { Ok(found) }
}

/// Every name that could be typed, each once; what has none by another word.
fn names(catalogue: &Catalogue, all: &[Candidate]) -> Vec<String> {
    const TRIED: usize = 32;
    let (mut looked_at, mut known, mut names) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for candidate in all.iter().filter(|candidate| candidate.beside().is_none()) {
        // An index that has many names leads to many images.
        for item in candidate.path.iter().filter(|item| looked_at.insert(Arc::as_ptr(item))) {
            let typed = item.names.iter().filter(|name| is_typed(name) && known.insert(Arc::clone(name)));
            names.extend(typed.map(|name| name.to_string()));
        }
        if !candidate.names().take(TRIED).any(|name| is_typed(name)) {
            names.push(catalogue.word(&candidate.path, candidate.item));
        }
    }
    names
}

/// Those of the one digest that begins so: of a manifest, of an index around it, or of a configuration.
fn beginning(loader: &mut Loader<'_>, all: Vec<Candidate>, digits: &str) -> Result<Vec<Candidate>, Error> {
    let (mut known, mut found) = (BTreeSet::new(), Vec::new());
    for candidate in all.into_iter().filter(|candidate| candidate.beside().is_none()) {
        let outcome = loader.load(&candidate)?;
        let id = loader.outcome(outcome).image().map(Image::id);
        let digests = candidate.path.iter().filter_map(|item| item.digest()).chain(id);
        let begun: Vec<Digest> = digests.filter(|digest| digest::hex(digest).starts_with(digits)).collect();
        if !begun.is_empty() {
            known.extend(begun);
            found.push(candidate);
        }
    }
    if known.len() > 1 {
        let words = known.iter().map(Digest::to_string).collect();
        return Err(Problem::Several(words).at(loader.documents.files().name()));
    }
    Ok(found)
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
    known: BTreeSet<Arc<str>>,
}

impl Names {
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
    /// The number of its outcome, or what it is if it is no image.
    outcome: Result<usize, String>,
    names: Names,
    number: usize,
    digest: Option<Digest>,
    platform: Option<Platform>,
}

impl Line {
    /// Of this candidate, without its names.
    fn of(outcome: Result<usize, String>, candidate: &Candidate, catalogue: &Catalogue) -> Line {
        let (digest, platform) = (candidate.own().digest(), candidate.platform().cloned());
        Line { outcome, names: Names::default(), number: catalogue.line(candidate.item), digest, platform }
    }

    /// The image, or what is said of it in its place; takes the outcome, of which there is one.
    fn read(self, outcomes: &mut [Option<Outcome>]) -> Option<Result<Image, LeftOut>> {
        let names = self.names.owned();
        let why = match self.outcome.map(|number| outcomes[number].take()) {
            Ok(Some(Outcome::Image(image))) => return Some(Ok(image.listed(names, self.platform))),
            Ok(Some(Outcome::Absent(error))) => Why::Absent(error),
            Ok(Some(Outcome::Broken(error))) => Why::Broken(error),
            Ok(Some(Outcome::Beside(what))) | Err(what) => Why::Beside(what),
            Ok(None) => return None,
        };
        Some(Err(LeftOut { line: self.number, names, digest: self.digest, platform: self.platform, why }))
    }
}

/// Everything that can be read as an image, each once, and what else there is.
pub(super) fn all(documents: &Documents, catalogue: &Catalogue) -> Result<Contents, Error> {
    let mut loader = Loader::new(documents, catalogue);
    let mut lines: Vec<Line> = Vec::new();
    let mut known = BTreeMap::new();
    for candidate in loader.expand(catalogue.all())? {
        let outcome = candidate.beside().map_or_else(|| loader.load(&candidate).map(Ok), |what| Ok(Err(what)))?;
        let next = lines.len();
        let at = outcome.as_ref().map_or(next, |number| *known.entry(*number).or_insert(next));
        if at == next {
            lines.push(Line::of(outcome, &candidate, catalogue));
        }
        lines[at].names.add(documents, &candidate)?;
    }
    let mut outcomes: Vec<Option<Outcome>> = loader.into_outcomes().into_iter().map(Some).collect();
    let mut contents = Contents { images: Vec::new(), left_out: Vec::new() };
    for read in lines.into_iter().filter_map(|line| line.read(&mut outcomes)) {
        match read {
            Ok(image) => contents.images.push(image),
            Err(left_out) => contents.left_out.push(left_out),
        }
    }
    Ok(contents)
}
