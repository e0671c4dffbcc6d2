//! OCI layouts and skopeo's `dir:`: what an index lists, and what an image is made of.

mod load;

pub(super) use load::load;

use super::beneath::Beneath;
use super::catalogue::Catalogue;
use super::document::{Descriptor, Document, Entry, LayoutMarker, Manifests, json};
use super::documents::{Documents, MANIFEST};
use super::item::{Gathered, Item, Pointer, What};
use super::media::Kind;
use super::problem::Problem;
use super::{blob, digest};
use crate::error::Error;
use std::sync::Arc;

pub(super) const INDEX: &str = "index.json";
const MARKER: &str = "oci-layout";

/// Looks like a layout.
pub(super) fn is_layout(files: &Beneath) -> Result<bool, Error> {
    Ok(files.has(MARKER)? || files.has(INDEX)?)
}

/// Everything that the layout lists.
pub(super) fn find(documents: &Documents) -> Result<Catalogue, Error> {
    let marker: LayoutMarker = json(&documents.read(MARKER)?, MARKER)?;
    if marker.image_layout_version.split('.').next() != Some("1") {
        return Err(Problem::Version(marker.image_layout_version).at(MARKER));
    }
    let document = Document::parse(&documents.read(INDEX)?, INDEX)?;
    document.is(Kind::Index.media_type(), INDEX)?;
    list(documents, document.into_manifests(INDEX)?, INDEX).map(Catalogue::new)
}

/// The one image, or index, whose manifest `manifest.json` is.
pub(super) fn find_dir(documents: &Documents) -> Result<Catalogue, Error> {
    let bytes = documents.read(MANIFEST)?;
    let document = Document::parse(&bytes, MANIFEST)?;
    let media_type = document.media_type.clone().filter(|says| !says.is_empty());
    let default = if document.is_index() { Kind::Index } else { Kind::Manifest };
    let media_type = media_type.unwrap_or_else(|| default.media_type().to_owned());
    let (digest, size) = (digest::of(&bytes).to_string(), bytes.len() as u64);
    let descriptor = Descriptor { media_type, digest, size, ..Descriptor::default() };
    let mut gathered = Gathered::new();
    let (pointer, names) = Pointer::of(Entry { value: descriptor, flaw: None });
    gathered.line(pointer, names);
    Ok(Catalogue::new(gathered.items(What::Oci)))
}

/// What an index has in it.
pub(super) fn children(documents: &Documents, pointer: &Pointer) -> Result<Vec<Arc<Item>>, Error> {
    let digest = pointer.known_digest(INDEX)?;
    let name = documents.manifest(&digest);
    let bytes = blob::document(documents, &name, &digest, pointer.size)?;
    let document = Document::parse(&bytes, &name)?;
    drop(bytes);
    document.is(pointer.kind.media_type(), &name)?;
    Ok(list(documents, document.into_manifests(&name)?, &name)?.0)
}

fn list(documents: &Documents, manifests: Manifests, file: &str) -> Result<(Vec<Arc<Item>>, Vec<usize>), Error> {
    let mut gathered = Gathered::new();
    for (pointer, names) in manifests.into_items().into_iter().map(Pointer::of) {
        gathered.line(pointer, names);
    }
    let (items, lines) = gathered.items(What::Oci);
    documents.pay(items.iter().map(|item| item.cost()).sum(), file)?;
    Ok((items, lines))
}
