//! Docker archives: `manifest.json`, a configuration per image, layers by their path in the archive.

use super::beneath::Beneath;
use super::catalogue::Catalogue;
use super::document::{DockerImages, json};
use super::documents::{Documents, MANIFEST};
use super::item::{DockerItem, Gathered, What};
use super::problem::Problem;
use super::{Image, Layer, MAX_ENTRIES, MAX_LAYERS, blob, digest};
use crate::error::Error;
use crate::report::Digest;

/// Every image of the archive.
pub(super) fn find(documents: &Documents) -> Result<Catalogue, Error> {
    let images: Option<DockerImages> = json(&documents.read(MANIFEST)?, MANIFEST)?;
    let images = images.unwrap_or_default();
    if images.count() > MAX_ENTRIES {
        return Err(Problem::Images.at(MANIFEST));
    }
    let mut gathered = Gathered::new();
    for (item, tags) in images.into_items().into_iter().map(DockerItem::of) {
        gathered.line(item, tags);
    }
    let (items, lines) = gathered.items(What::Docker);
    documents.pay(items.iter().map(|item| item.cost()).sum(), MANIFEST)?;
    Ok(Catalogue::new((items, lines)))
}

/// Reads an image's configuration, and looks for its layers.
pub(super) fn load(documents: &Documents, found: &DockerItem) -> Result<Image, Error> {
    if let Some(words) = &found.flaw {
        return Err(Problem::Entry(words.clone()).at(MANIFEST));
    }
    if found.count > MAX_LAYERS {
        return Err(Problem::Layers(found.count).at(MANIFEST));
    }
    if found.layers.iter().any(|file| within(file).is_empty()) {
        return Err(Problem::NamelessLayer.at(MANIFEST));
    }
    let name = within(&found.config);
    if name.is_empty() {
        return Err(Problem::NoConfiguration.at(MANIFEST));
    }
    let config = documents.configuration(name, || configuration(documents, name))?;
    let diff_ids = config.diff_ids(found.count, name)?;
    let layers =
        found.layers.iter().zip(diff_ids).map(|(file, diff_id)| layer(documents.files(), within(file), *diff_id));
    let layers = layers.collect::<Result<_, _>>()?;
    documents.keep(Image::new(None, config, layers), MANIFEST)
}

/// A leading `/` or `./` says nothing: some write it here, some in the archive, some in both.
fn within(file: &str) -> &str {
    let mut rest = file;
    while let Some(shorter) = rest.strip_prefix("./").or_else(|| rest.strip_prefix('/')) {
        rest = shorter;
    }
    rest
}

fn configuration(documents: &Documents, name: &str) -> Result<(Vec<u8>, Digest), Error> {
    let bytes = documents.read(name)?;
    let id = digest::of(&bytes);
    if let Some(declared) = named(name) {
        blob::verify(&declared, id, name)?;
    }
    Ok((bytes, id))
}

/// The digest of the compressed layer is known only where it is its name; the diff ID is known always.
fn layer(files: &Beneath, file: &str, diff_id: Digest) -> Result<Layer, Error> {
    let (_, size) = files.file(file)?;
    let digest = file.strip_prefix("blobs/sha256/").and_then(Digest::from_hex);
    Ok(Layer { digest, diff_id, size, media_type: None, compression: None, refusal: None, file: file.to_owned() })
}

/// The digest that a configuration's name says: `HEX.json`, `blobs/sha256/HEX`, or `sha256:HEX`.
fn named(file: &str) -> Option<Digest> {
    let name = file.strip_prefix("blobs/sha256/").or_else(|| file.strip_prefix("sha256:")).unwrap_or(file);
    Digest::from_hex(name.strip_suffix(".json").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_named_by_digest() {
        let hex = "ab".repeat(32);
        for name in [format!("{hex}.json"), format!("blobs/sha256/{hex}"), format!("sha256:{hex}"), hex.clone()] {
            assert_eq!(named(&name), Some(Digest([0xab; 32])), "{name}");
        }
        assert_eq!(named("config.json"), None);
        assert_eq!(named(&format!("other/{hex}.json")), None);
    }

    #[test]
    fn a_leading_slash_or_dot_says_nothing() {
        for name in ["a/b", "/a/b", "./a/b", "//a/b", ".//./a/b"] {
            assert_eq!(within(name), "a/b");
        }
        for name in ["../a", "/../a", ".a", "..", "a/../b"] {
            assert_eq!(within(name), name.trim_start_matches('/'), "and what climbs is refused where it is opened");
        }
    }
}
