//! What a store writes about layers and images.

use super::storage;
use crate::image::problem::Problem;
use crate::image::{MAX_DOCUMENT, digest, document};
use crate::{Digest, Error};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Beside a layer's tree.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LayerRecord {
    /// The chain ID of the layer below.
    pub(super) below: Option<String>,
    pub(super) diff_id: String,
    /// The digest of the blob that it was made from, where it was known.
    pub(super) blob: Option<String>,
    /// See `listing.rs`.
    pub(super) listing: String,
}

impl LayerRecord {
    pub(super) fn read(layer: &Path) -> Result<LayerRecord, Error> {
        read(&layer.join("layer"))
    }

    /// What it is the record of; `None` if its text is no digests.
    pub(super) fn chain(&self) -> Option<Digest> {
        let below = self.below.as_deref().map(digest::parse).transpose().ok()?;
        Some(digest::chain(below, digest::parse(&self.diff_id).ok()?))
    }
}

/// An image that keeps layers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImageRecord {
    pub(super) name: String,
    pub(super) id: String,
    /// The bottom one first.
    pub(super) chain: Vec<String>,
}

/// Every recorded image. One that cannot be read is an error: it must not look as if it needed no layers.
pub(super) fn images(store: &Path) -> Result<Vec<ImageRecord>, Error> {
    let dir = store.join("images");
    let names = std::fs::read_dir(&dir).map_err(|error| storage("reading", &dir, error))?;
    let mut images = Vec::new();
    for entry in names {
        let entry = entry.map_err(|error| storage("reading", &dir, error))?;
        // A record that was being written when its process was killed; the next of its name replaces it.
        if entry.path().extension().is_some_and(|end| end == "part") {
            continue;
        }
        images.push(read::<ImageRecord>(&entry.path())?);
    }
    Ok(images)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let name = path.to_string_lossy();
    let bytes = std::fs::read(path).map_err(|error| storage("reading", path, error))?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(Problem::DocumentSize(bytes.len() as u64).at(path));
    }
    document::json(&bytes, &name)
}

pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    // Structures of strings always serialise.
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
