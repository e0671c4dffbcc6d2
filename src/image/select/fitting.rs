//! The first image that fits a platform best.

use super::super::loader::{Candidate, Loader, Outcome};
use super::super::platform::{EXACT, Platform};
use super::super::problem::Problem;
use crate::error::Error;
use std::collections::{BTreeMap, BTreeSet};

/// A broken image of a platform that nobody knows: only where its group has nothing else.
const LAST: u8 = u8::MAX;
/// So many different images are read to know that they are several; the others are told by their names alone.
const ENOUGH: usize = 12;

/// What was found, for one platform.
struct Survey<'a, 'b> {
    loader: &'a mut Loader<'b>,
    candidates: &'a [Candidate],
    platform: &'a Platform,
    /// The best of each group that has one.
    best: Vec<Choice>,
    groups: BTreeMap<usize, usize>,
    /// Images that fit exactly.
    exact: BTreeSet<usize>,
    /// Those that fit and are not there.
    absent: Vec<usize>,
    /// Those that fit and are broken.
    broken: Vec<usize>,
    /// Those that do not fit.
    others: Vec<usize>,
    /// The first that is no image.
    beside: Option<usize>,
}

/// One that fits.
#[derive(Clone, Copy)]
struct Choice {
    candidate: usize,
    rank: u8,
    /// `None` if it has not been read.
    outcome: Option<usize>,
}

/// What has been chosen.
pub(super) struct Chosen {
    pub(super) candidate: usize,
    /// Some of those that were asked for as well, and are broken or not there.
    pub(super) passed_over: Vec<usize>,
}

/// The candidate for this platform, or for this machine.
pub(super) fn choose(
    loader: &mut Loader<'_>,
    candidates: &[Candidate],
    wanted: Option<&Platform>,
) -> Result<Chosen, Error> {
    let host = Platform::host();
    let platform = wanted.unwrap_or(&host);
    let mut survey = Survey::new(loader, candidates, platform);
    (0..candidates.len()).try_for_each(|candidate| survey.look(candidate))?;
    let candidate = match survey.decide()? {
        Some(candidate) => candidate,
        // One platform is there, and no other was asked for.
        None if wanted.is_none() => survey.only()?.ok_or(()).or_else(|()| survey.nothing())?,
        None => survey.nothing()?,
    };
    let mut passed_over = [survey.absent, survey.broken].concat();
    passed_over.retain(|other| *other != candidate);
    passed_over.sort_unstable();
    passed_over.truncate(ENOUGH);
    Ok(Chosen { candidate, passed_over })
}

impl<'a, 'b> Survey<'a, 'b> {
    fn new(loader: &'a mut Loader<'b>, candidates: &'a [Candidate], platform: &'a Platform) -> Survey<'a, 'b> {
        let (best, groups, exact) = Default::default();
        let (absent, broken, others, beside) = Default::default();
        Survey { loader, candidates, platform, best, groups, exact, absent, broken, others, beside }
    }

    fn look(&mut self, at: usize) -> Result<(), Error> {
        let candidate = &self.candidates[at];
        let described = candidate.platform().map(|platform| self.platform.fit(platform));
        if described == Some(None) {
            self.others.push(at);
            return Ok(());
        }
        let rank = described.flatten();
        if self.exact.len() > ENOUGH {
            self.choose(Choice { candidate: at, rank: rank.unwrap_or(EXACT), outcome: None });
            return Ok(());
        }
        let outcome = self.loader.load(candidate)?;
        let rank = match self.loader.outcome(outcome) {
            Outcome::Beside(_) => {
                self.beside.get_or_insert(at);
                return Ok(());
            }
            Outcome::Absent(_) => {
                self.absent.push(at);
                return Ok(());
            }
            Outcome::Broken(_) => {
                self.broken.push(at);
                rank.unwrap_or(LAST)
            }
            Outcome::Image(image) => match rank.or_else(|| self.platform.fit(image.platform())) {
                Some(rank) => rank,
                None => {
                    self.others.push(at);
                    return Ok(());
                }
            },
        };
        self.choose(Choice { candidate: at, rank, outcome: Some(outcome) });
        Ok(())
    }

    /// The first of a group is taken, unless another fits better.
    fn choose(&mut self, choice: Choice) {
        let group = self.loader.catalogue.groups[self.candidates[choice.candidate].item];
        let at = *self.groups.entry(group).or_insert(self.best.len());
        match self.best.get_mut(at) {
            Some(best) if choice.rank < best.rank => *best = choice,
            Some(_) => return,
            None => self.best.push(choice),
        }
        if choice.rank == EXACT && self.image(&choice) {
            self.exact.extend(choice.outcome);
        }
    }

    fn image(&self, choice: &Choice) -> bool {
        choice.outcome.is_none_or(|outcome| self.loader.outcome(outcome).image().is_some())
    }

    /// The best of all groups, if it is one image.
    fn decide(&self) -> Result<Option<usize>, Error> {
        let images = || self.best.iter().filter(|choice| self.image(choice));
        let Some(least) = images().map(|choice| choice.rank).min() else {
            // What is broken is told as that, if there is nothing else.
            return Ok(self.best.first().map(|broken| broken.candidate));
        };
        let mut known = BTreeSet::new();
        let image = |choice: &Choice| self.loader.outcome(choice.outcome?).image();
        let is_new = |choice: &&Choice| image(choice).is_none_or(|image| known.insert((image.id(), image.digest())));
        let best: Vec<&Choice> = images().filter(|choice| choice.rank == least).filter(is_new).collect();
        match best[..] {
            [one] => Ok(Some(one.candidate)),
            ref several => {
                let words = several.iter().map(|choice| self.word(choice.candidate)).collect();
                Err(Problem::Several(words).at(self.loader.documents.files().name()))
            }
        }
    }

    /// The only image that is there, whatever it is for.
    fn only(&mut self) -> Result<Option<usize>, Error> {
        let mut there: Option<usize> = None;
        for at in self.others.clone() {
            let outcome = self.loader.load(&self.candidates[at])?;
            let is_image = self.loader.outcome(outcome).image().is_some();
            match there {
                Some(other) if is_image && !self.loader.is_same(&self.candidates[other], &self.candidates[at]) => {
                    return Ok(None);
                }
                None if is_image => there = Some(at),
                _ => {}
            }
        }
        Ok(there)
    }

    fn nothing(&mut self) -> Result<usize, Error> {
        if let Some(beside) = self.beside.filter(|_| self.others.is_empty() && self.absent.is_empty()) {
            return Ok(beside);
        }
        let there = self.others.iter().map(|at| self.word(*at)).collect();
        let place = self.loader.documents.files().name();
        let wanted = self.platform.to_string();
        let problem = match self.absent.first().map(|at| self.candidates[*at].own().digest()) {
            Some(digest) => Problem::Absent { wanted, digest, there },
            None => Problem::NoPlatform { wanted, there },
        };
        Err(problem.at(place))
    }

    /// What can be written to mean it, and its platform.
    fn word(&self, at: usize) -> String {
        let candidate = &self.candidates[at];
        let word = self.loader.catalogue.word(&candidate.path, candidate.item);
        match (candidate.platform(), self.loader.known(candidate)) {
            (Some(platform), _) => format!("{word} ({platform})"),
            (None, Some(image)) => format!("{word} ({})", image.platform()),
            (None, None) => word,
        }
    }
}
