//! Which of the images is meant: by tag, name or digest, then by platform.

use super::beneath::Beneath;
use super::docker;
use super::document::DockerImage;
use super::oci;
use super::platform::Platform;
use super::problem::Problem;
use super::{Image, digest};
use crate::Error;
use std::path::Path;

/// An image that has been found and not yet read.
pub(super) enum Candidate {
    Oci(Box<oci::Found>),
    Docker(DockerImage),
}

impl Candidate {
    fn load(&self, files: &Beneath) -> Result<Image, Error> {
        match self {
            Candidate::Oci(found) => oci::load(files, found),
            Candidate::Docker(found) => docker::load(files, found),
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
                found.names.iter().any(|name| name == reference || docker::same_name(name, reference))
                    || wanted.is_some_and(|wanted| found.digests.contains(&wanted))
            }
            Candidate::Docker(found) => {
                let mut tags = found.repo_tags.iter().flatten();
                tags.any(|tag| docker::same_name(tag, reference))
                    || wanted.is_some_and(|wanted| found.config.contains(&digest::hex(&wanted)))
            }
        }
    }

    /// For people.
    fn name(&self) -> String {
        let (names, digest) = match self {
            Candidate::Oci(found) => (&found.names[..], found.digest().map(ToString::to_string)),
            Candidate::Docker(found) => (found.repo_tags.as_deref().unwrap_or_default(), Some(found.config.clone())),
        };
        let name = names.first().cloned().or(digest).unwrap_or_default();
        match self.platform() {
            Some(platform) => format!("{name} ({platform})"),
            None => name,
        }
    }
}

/// Everything that can be read as an image; attestations and artifacts are passed over.
pub(super) fn all(files: &Beneath, candidates: &[Candidate]) -> Result<Vec<Image>, Error> {
    let mut images = Vec::new();
    for candidate in candidates.iter().filter(|candidate| !candidate.is_beside()) {
        match candidate.load(files) {
            Err(error) if matches!(error.image_problem(), Some(Problem::Artifact(_))) => {}
            image => images.push(image?),
        }
    }
    Ok(images)
}

/// The one image that is meant.
pub(super) fn one(
    files: &Beneath,
    mut candidates: Vec<Candidate>,
    reference: Option<&str>,
    wanted: Option<&Platform>,
) -> Result<Image, Error> {
    let place: &Path = files.name();
    if let Some(reference) = reference {
        let there: Vec<String> = candidates.iter().map(Candidate::name).collect();
        candidates.retain(|candidate| candidate.matches(reference));
        if candidates.is_empty() {
            return Err(Problem::NoReference { wanted: reference.to_owned(), there }.at(place));
        }
    }
    // Unless nothing else is there: then the error says what it is.
    if candidates.iter().any(|candidate| !candidate.is_beside()) {
        candidates.retain(|candidate| !candidate.is_beside());
    }
    match (&candidates[..], wanted) {
        ([], _) => Err(Problem::Empty.at(place)),
        ([only], None) => only.load(files),
        (several, _) => fitting(files, several, wanted.unwrap_or(&Platform::host())),
    }
}

/// The best for this platform.
fn fitting(files: &Beneath, candidates: &[Candidate], wanted: &Platform) -> Result<Image, Error> {
    let mut there = Vec::new();
    let mut best: Vec<(u8, Image, String)> = Vec::new();
    for candidate in candidates {
        if candidate.platform().is_some_and(|platform| wanted.fit(platform).is_none()) {
            there.push(candidate.name());
            continue;
        }
        let image = match candidate.load(files) {
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
        return Err(Problem::NoPlatform { wanted: wanted.to_string(), there }.at(files.name()));
    };
    best.retain(|(fit, ..)| *fit == least);
    match best.pop() {
        Some((_, image, _)) if best.is_empty() => Ok(image),
        Some((.., last)) => {
            let names = best.into_iter().map(|(.., name)| name).chain([last]).collect();
            Err(Problem::Several(names).at(files.name()))
        }
        None => Err(Problem::Empty.at(files.name())),
    }
}
