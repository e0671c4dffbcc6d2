//! What a store writes about layers and images.

use super::{Store, state, storage};
use crate::error::Error;
use crate::image::{digest, document};
use crate::report::Digest;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd};
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
    pub(super) fn read(layer: BorrowedFd<'_>, path: &Path) -> Result<LayerRecord, Error> {
        read(layer, "layer", path)
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
pub(super) fn images(store: &Store) -> Result<Vec<ImageRecord>, Error> {
    let (dir, path) = (store.kept.images.as_fd(), store.images_path());
    let mut images = Vec::new();
    for name in state::names(dir, &path)? {
        // A record that was being written when its process was killed; the next of its name replaces it.
        if Path::new(&name).extension().is_some_and(|end| end == "part") {
            continue;
        }
        images.push(read::<ImageRecord>(dir, &name.to_string_lossy(), &path)?);
    }
    Ok(images)
}

fn read<T: serde::de::DeserializeOwned>(dir: BorrowedFd<'_>, name: &str, within: &Path) -> Result<T, Error> {
    let path = within.join(name);
    let missing = || storage("reading", &path, Errno::ENOENT.into());
    document::json(&state::read(dir, name, within)?.ok_or_else(missing)?, &path.to_string_lossy())
}

pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    // Structures of strings always serialise.
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
