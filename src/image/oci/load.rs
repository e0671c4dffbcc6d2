//! What an image is made of: manifest, configuration, layers.

use super::INDEX;
use crate::error::Error;
use crate::image::document::{Descriptor, Document};
use crate::image::documents::{Configuration, Documents};
use crate::image::item::Pointer;
use crate::image::problem::Problem;
use crate::image::{Image, Layer, MAX_LAYERS, blob, digest, media};
use crate::report::{Digest, LayerRef};

/// Reads an image's manifest and configuration, and looks whether its layers are there.
pub(in crate::image) fn load(documents: &Documents, pointer: &Pointer) -> Result<Image, Error> {
    let own = pointer.known_digest(INDEX)?;
    let name = documents.manifest(&own);
    if !pointer.kind.is_manifest() {
        return Err(Problem::MediaType(pointer.text.clone().unwrap_or_default()).at(name));
    }
    let bytes = blob::document(documents, &name, &own, pointer.size)?;
    let document = Document::parse(&bytes, &name)?;
    drop(bytes);
    document.is(pointer.kind.media_type(), &name)?;
    let artifact = document.artifact_type.clone().filter(|kind| !kind.is_empty());
    let (config, layers) = document.into_image(&name)?;
    if !pointer.kind.is_config(&config.media_type) {
        return Err(Problem::Artifact(artifact.unwrap_or(config.media_type)).at(name));
    }
    if layers.count() > MAX_LAYERS {
        return Err(Problem::Layers(layers.count()).at(name));
    }
    // Signatures and lists of packages are often typed like an image, but for what they have in place of layers.
    let is_beside = |layer: &Descriptor| !layer.media_type.is_empty() && !media::is_layer(&layer.media_type);
    if let Some(first) = layers.items().first().filter(|_| layers.items().iter().all(is_beside)) {
        return Err(Problem::Artifact(artifact.unwrap_or_else(|| first.media_type.clone())).at(name));
    }
    let (config_name, config) = configuration(documents, &config, &name)?;
    let diff_ids = config.diff_ids(layers.count(), &config_name)?;
    let layers = layers.into_items().into_iter().zip(diff_ids);
    let layers = layers.map(|(descriptor, diff_id)| layer(documents, descriptor, *diff_id, &name));
    let layers: Vec<Layer> = layers.collect::<Result<_, _>>()?;
    present(documents, &layers)?;
    documents.keep(Image::new(Some(own), config.clone(), layers), &name)
}

fn configuration(
    documents: &Documents,
    descriptor: &Descriptor,
    manifest: &str,
) -> Result<(String, Configuration), Error> {
    let id = digest::parse(&descriptor.digest).map_err(|problem| problem.at(manifest))?;
    let name = documents.blob(&id);
    let read = || Ok((blob::document(documents, &name, &id, descriptor.size)?, id));
    let config = documents.configuration(&name, read)?;
    let actual = config.bytes.len() as u64;
    if actual != descriptor.size {
        return Err(Problem::Size { declared: descriptor.size, actual }.at(name));
    }
    Ok((name, config))
}

/// A layer that may be elsewhere is used if it is here all the same.
fn layer(documents: &Documents, descriptor: Descriptor, diff_id: Digest, manifest: &str) -> Result<Layer, Error> {
    let own = digest::parse(&descriptor.digest).map_err(|problem| problem.at(manifest))?;
    let file = documents.blob(&own);
    let urls = descriptor.urls.unwrap_or_default();
    let (compression, refusal) = match media::layer(&descriptor.media_type) {
        Err(problem) => (None, Some(problem.shortened())),
        Ok(kind) if (kind.is_foreign || urls.count() > 0) && documents.files().lacks(&file) => {
            let what = [std::slice::from_ref(&descriptor.media_type), urls.items()].concat().join(" ");
            (None, Some(Problem::Foreign(what).shortened()))
        }
        Ok(kind) => (Some(kind.compression), None),
    };
    let media_type = Some(descriptor.media_type);
    Ok(Layer { digest: Some(own), diff_id, size: descriptor.size, media_type, compression, refusal, file })
}

/// No layer lacks, but for those that are refused anyway.
fn present(documents: &Documents, layers: &[Layer]) -> Result<(), Error> {
    let lacks = |layer: &Layer| layer.refusal.is_none() && documents.files().lacks(&layer.file);
    match layers.iter().position(lacks) {
        Some(at) => {
            let (number, of, layer) = (at + 1, layers.len(), &layers[at]);
            Err(Problem::Missing.at(&layer.file).in_layer(LayerRef { number, of, diff_id: layer.diff_id }))
        }
        None => Ok(()),
    }
}
