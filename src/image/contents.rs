//! All that is in a layout or archive.

use super::{Image, Platform};
use crate::error::Error;
use crate::report::Digest;

/// What is in a layout or archive: its images, and what it lists beside them.
#[derive(Debug)]
#[non_exhaustive]
pub struct Contents {
    /// Those that can be opened, each once, with all its names.
    pub images: Vec<Image>,
    /// What is listed and is no image that could be opened.
    pub left_out: Vec<LeftOut>,
}

/// Something that is listed and left out.
#[derive(Debug)]
#[non_exhaustive]
pub struct LeftOut {
    /// The number of the first line that lists it, or the index around it, counted from 0: what `@N` means.
    pub line: usize,
    /// Tags and names; unchecked text.
    pub names: Vec<String>,
    /// The digest of its manifest, where it has one.
    pub digest: Option<Digest>,
    /// The platform that it is for, as it is listed.
    pub platform: Option<Platform>,
    /// Why it is left out.
    pub why: Why,
}

/// Why something that is listed is left out.
#[derive(Debug)]
#[non_exhaustive]
pub enum Why {
    /// A file of it is not there: archives of one platform often list the others too.
    Absent(Error),
    /// It is no image: an attestation, a signature, an artifact of this type (unchecked text).
    Beside(String),
    /// It is damaged, or not what it should be.
    Broken(Error),
}
