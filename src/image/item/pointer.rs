//! What a descriptor in an index points to, as far as it is used.

use crate::error::Error;
use crate::image::digest;
use crate::image::document::{Descriptor, Entry};
use crate::image::media::Kind;
use crate::image::platform::Platform;
use crate::image::problem::{Problem, shortened};
use crate::report::Digest;

/// What a descriptor in an index points to.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::image) struct Pointer {
    /// `None` if it is none that is supported; `flaw` then has it.
    pub(in crate::image) digest: Option<Digest>,
    pub(in crate::image) kind: Kind,
    pub(in crate::image) size: u64,
    pub(in crate::image) platform: Option<Platform>,
    /// It says of an image how it was made, and is none.
    pub(in crate::image) is_attestation: bool,
    /// The digest that is none, or else the media type that is not known.
    pub(in crate::image) text: Option<String>,
    /// Why nobody can read what it says; there is no digest then.
    flaw: Option<String>,
}

impl Pointer {
    pub(in crate::image) fn of(entry: Entry<Descriptor>) -> (Pointer, impl Iterator<Item = String>) {
        const LONGEST: usize = 400;
        let Entry { value: descriptor, flaw } = entry;
        let kind = Kind::of(&descriptor.media_type);
        let digest = digest::parse(&descriptor.digest).ok();
        let text = match (digest, kind) {
            (None, _) => Some(descriptor.digest),
            (_, Kind::Other) => Some(descriptor.media_type),
            _ => None,
        };
        let annotations = descriptor.annotations;
        let is_attestation = annotations.as_ref().is_some_and(|known| known.reference_type.is_some());
        let platform = descriptor.platform.and_then(Platform::described);
        let text = text.map(|text| shortened(&text, LONGEST));
        let size = descriptor.size;
        let pointer = Pointer { digest, kind, size, platform, is_attestation, text, flaw };
        (pointer, annotations.into_iter().flat_map(|known| [known.tag, known.name]).flatten())
    }

    /// The digest, where it is one.
    pub(in crate::image) fn known_digest(&self, file: &str) -> Result<Digest, Error> {
        let problem = || match &self.flaw {
            Some(words) => Problem::Entry(words.clone()),
            None => Problem::DigestText(self.text.clone().unwrap_or_default()),
        };
        self.digest.ok_or_else(|| problem().at(file))
    }

    /// What is there in an image's place, where it is none.
    pub(in crate::image) fn beside(&self) -> Option<String> {
        let is_unknown = self.platform.as_ref().is_some_and(Platform::is_unknown);
        match self.kind {
            _ if self.is_attestation || is_unknown => Some("attestation".to_owned()),
            Kind::Other if self.digest.is_some() => Some(self.text.clone().unwrap_or_default()),
            _ => None,
        }
    }

    pub(in crate::image) fn cost(&self) -> usize {
        let platform = self.platform.as_ref().map_or(0, Platform::cost);
        platform + [&self.text, &self.flaw].into_iter().flatten().map(String::len).sum::<usize>()
    }
}
