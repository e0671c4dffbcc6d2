//! Docker archives: `manifest.json`, a configuration per image, layers by their path in the archive.

use super::beneath::Beneath;
use super::document::{DockerImage, DockerImages, json};
use super::documents::Documents;
use super::problem::Problem;
use super::{Image, Layer, MAX_IMAGES, MAX_LAYERS, blob, digest};
use crate::error::Error;
use crate::report::Digest;

const MANIFEST: &str = "manifest.json";

/// Looks like one.
pub(super) fn is_archive(files: &Beneath) -> bool {
    files.has(MANIFEST)
}

/// Every image of the archive.
pub(super) fn find(documents: &Documents) -> Result<Vec<DockerImage>, Error> {
    let images: DockerImages = json(&documents.read(MANIFEST)?, MANIFEST)?;
    if images.count() > MAX_IMAGES {
        return Err(Problem::Images.at(MANIFEST));
    }
    Ok(images.into_items())
}

/// Reads an image's configuration, and looks for its layers.
pub(super) fn load(documents: &Documents, found: &DockerImage) -> Result<Image, Error> {
    let (layers, count) = found.layers.as_ref().map_or((&[][..], 0), |layers| (layers.items(), layers.count()));
    if count > MAX_LAYERS {
        return Err(Problem::Layers(count).at(MANIFEST));
    }
    let config = documents.configuration(&found.config, || configuration(documents, &found.config))?;
    let diff_ids = config.diff_ids(count, &found.config)?;
    let layers = layers.iter().zip(diff_ids).map(|(file, diff_id)| layer(documents.files(), file, *diff_id));
    let layers = layers.collect::<Result<_, _>>()?;
    let names = found.tags().to_vec();
    documents.keep(Image::new(names, None, config.id, config.platform, layers, config.bytes), MANIFEST)
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

/// `debian`, `debian:latest` and `docker.io/library/debian:latest` are one name.
pub(super) fn same_name(a: &str, b: &str) -> bool {
    full(a) == full(b)
}

fn full(name: &str) -> String {
    let host = name.split_once('/').map(|(first, _)| first);
    let has_host = host.is_some_and(|host| host.contains(['.', ':']) || host == "localhost");
    let name = match (has_host, name.contains('/')) {
        (true, _) => name.to_owned(),
        (false, true) => format!("docker.io/{name}"),
        (false, false) => format!("docker.io/library/{name}"),
    };
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) { name } else { format!("{name}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_whole() {
        for (a, b, want) in [
            ("debian", "docker.io/library/debian:latest", true),
            ("debian:12", "docker.io/library/debian:12", true),
            ("me/app", "docker.io/me/app:latest", true),
            ("localhost:5000/app", "localhost:5000/app:latest", true),
            ("localhost/app:1", "docker.io/localhost/app:1", false),
            ("debian", "debian:12", false),
        ] {
            assert_eq!(same_name(a, b), want, "{a} {b}");
        }
    }

    #[test]
    fn configurations_are_named_by_digest() {
        let hex = "ab".repeat(32);
        for name in [format!("{hex}.json"), format!("blobs/sha256/{hex}"), format!("sha256:{hex}"), hex.clone()] {
            assert_eq!(named(&name), Some(Digest([0xab; 32])), "{name}");
        }
        assert_eq!(named("config.json"), None);
        assert_eq!(named(&format!("other/{hex}.json")), None);
    }
}
