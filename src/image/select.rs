//! Which of the images is meant: by tag, name or digest, then by platform.

use super::docker;
use super::document::DockerImage;
use super::documents::Documents;
use super::oci;
use super::platform::Platform;
use super::problem::{Problem, shortened};
use super::{Image, digest};
use crate::error::Error;
use std::path::Path;

/// An image that has been found and not yet read.
pub(super) enum Candidate {
    Oci(Box<oci::Found>),
    Docker(DockerImage),
}

impl Candidate {
    fn load(&self, documents: &Documents) -> Result<Image, Error> {
        match self {
            Candidate::Oci(found) => oci::load(documents, found),
            Candidate::Docker(found) => docker::load(documents, found),
        }
    }

    /// Nothing that could be applied: an attestation, or of a type that is not known.
    fn is_beside(&self) -> bool {
        match self {
            Candidate::Oci(found) => !found.is_manifest() || found.platform.as_ref().is_some_and(Platform::is_unknown),
            Candidate::Docker(_) => false,
        }
    }

    fn platform(&self) -> Option<&Platform> {
        match self {
            Candidate::Oci(found) => found.platform.as_ref(),
            Candidate::Docker(_) => None,
        }
    }

    fn matches(&self, reference: &str) -> bool {
        let wanted = digest::parse(reference).ok();
        match self {
            Candidate::Oci(found) => {
                found.names.iter().any(|name| **name == *reference || docker::same_name(name, reference))
                    || wanted.is_some_and(|wanted| found.digests.contains(&wanted))
            }
            Candidate::Docker(found) => {
                let mut tags = found.tags().iter();
                tags.any(|tag| docker::same_name(tag, reference))
                    || wanted.is_some_and(|wanted| found.config.contains(&digest::hex(&wanted)))
            }
        }
    }

    /// The name as people see it, no longer than a line bears, since an error may have a thousand.
    fn name(&self) -> String {
        const LONGEST: usize = 100;
        let name = match self {
            Candidate::Oci(found) => found.names.first().map(|name| &**name),
            Candidate::Docker(found) => Some(found.tags().first().unwrap_or(&found.config).as_str()),
        };
        let name = match (name, self) {
            (None, Candidate::Oci(found)) => found.digest().map(ToString::to_string).unwrap_or_default(),
            (name, _) => name.map(|name| shortened(name, LONGEST)).unwrap_or_default(),
        };
        match self.platform() {
            Some(platform) => format!("{name} ({platform})"),
            None => name,
        }
    }
}

/// Everything that can be read as an image; attestations and artifacts are passed over.
pub(super) fn all(documents: &Documents, candidates: &[Candidate]) -> Result<Vec<Image>, Error> {
    let mut images = Vec::new();
    for candidate in candidates.iter().filter(|candidate| !candidate.is_beside()) {
        match candidate.load(documents) {
            Err(error) if matches!(error.image_problem(), Some(Problem::Artifact(_))) => {}
            image => images.push(image?),
        }
    }
    Ok(images)
}

/// The one image that is meant.
pub(super) fn one(
    documents: &Documents,
    mut candidates: Vec<Candidate>,
    reference: Option<&str>,
    wanted: Option<&Platform>,
) -> Result<Image, Error> {
    let place: &Path = documents.files().name();
    if let Some(reference) = reference {
        if !candidates.iter().any(|candidate| candidate.matches(reference)) {
            let there = candidates.iter().map(Candidate::name).collect();
            return Err(Problem::NoReference { wanted: reference.to_owned(), there }.at(place));
        }
        candidates.retain(|candidate| candidate.matches(reference));
    }
    // Unless nothing else is there: then the error says what it is.
    if candidates.iter().any(|candidate| !candidate.is_beside()) {
        candidates.retain(|candidate| !candidate.is_beside());
    }
    match (&candidates[..], wanted) {
        ([], _) => Err(Problem::Empty.at(place)),
        ([only], None) => only.load(documents),
        (several, _) => fitting(documents, several, wanted.unwrap_or(&Platform::host())),
    }
}

/// The best for this platform.
fn fitting(documents: &Documents, candidates: &[Candidate], wanted: &Platform) -> Result<Image, Error> {
    let mut there = Vec::new();
    let mut best: Vec<(u8, Image, String)> = Vec::new();
    for candidate in candidates {
        if candidate.platform().is_some_and(|platform| wanted.fit(platform).is_none()) {
            there.push(candidate.name());
            continue;
        }
        let image = match candidate.load(documents) {
            Err(error) if matches!(error.image_problem(), Some(Problem::Artifact(_))) => continue,
            image => image?,
        };
        let platform = candidate.platform().unwrap_or(image.platform());
        there.push(format!("{} ({platform})", candidate.name().trim_end_matches(&format!(" ({platform})"))));
        let Some(fit) = wanted.fit(platform) else { continue };
        // The same image twice is one image.
        if best.iter().all(|(_, other, _)| other.id() != image.id() || other.digest() != image.digest()) {
            best.push((fit, image, candidate.name()));
        }
    }
    let Some(least) = best.iter().map(|(fit, ..)| *fit).min() else {
        return Err(Problem::NoPlatform { wanted: wanted.to_string(), there }.at(documents.files().name()));
    };
    best.retain(|(fit, ..)| *fit == least);
    match best.pop() {
        Some((_, image, _)) if best.is_empty() => Ok(image),
        Some((.., last)) => {
            let names = best.into_iter().map(|(.., name)| name).chain([last]).collect();
            Err(Problem::Several(names).at(documents.files().name()))
        }
        None => Err(Problem::Empty.at(documents.files().name())),
    }
}
