//! OCI layouts: which images an index leads to, and what one of them is made of.

use super::beneath::Beneath;
use super::document::{Descriptor, Document, LayoutMarker, json};
use super::documents::{Configuration, Documents};
use super::media::{self, Kind};
use super::platform::Platform;
use super::problem::Problem;
use super::{Image, Layer, MAX_IMAGES, MAX_LAYERS, blob, digest};
use crate::error::Error;
use crate::report::Digest;
use std::sync::Arc;

const INDEX: &str = "index.json";
const MARKER: &str = "oci-layout";
/// Indexes in indexes: real ones have two.
const DEPTH: usize = 8;
/// An image that an index points to.
#[derive(Clone, Debug)]
pub(super) struct Found {
    descriptor: Descriptor,
    /// Tags and names, of the index around it too.
    pub(super) names: Vec<Arc<str>>,
    /// Its own digest, and those of the indexes around it.
    pub(super) digests: Vec<Digest>,
    pub(super) platform: Option<Platform>,
}

impl Found {
    pub(super) fn is_manifest(&self) -> bool {
        media::kind(&self.descriptor.media_type) == Kind::Manifest
    }

    pub(super) fn digest(&self) -> Option<&Digest> {
        self.digests.first()
    }
}

/// Looks like a layout.
pub(super) fn is_layout(files: &Beneath) -> bool {
    files.has(MARKER) || files.has(INDEX)
}

/// Every image of the layout.
pub(super) fn find(documents: &Documents) -> Result<Vec<Found>, Error> {
    let marker: LayoutMarker = json(&documents.read(MARKER)?, MARKER)?;
    if marker.image_layout_version.split('.').next() != Some("1") {
        return Err(Problem::Version(marker.image_layout_version).at(MARKER));
    }
    let document = Document::parse(&documents.read(INDEX)?, INDEX)?;
    document.is("application/vnd.oci.image.index.v1+json", INDEX)?;
    let mut search = Search { documents, found: Vec::new(), around: Vec::new(), indexes: 0 };
    search.index(document, INDEX, &[])?;
    Ok(search.found)
}

struct Search<'a> {
    documents: &'a Documents,
    found: Vec<Found>,
    /// The indexes that are being read.
    around: Vec<Digest>,
    indexes: usize,
}

impl Search<'_> {
    fn index(&mut self, document: Document, file: &str, names: &[Arc<str>]) -> Result<(), Error> {
        for descriptor in document.into_manifests(file)?.into_items() {
            let own = digest::parse(&descriptor.digest).map_err(|problem| problem.at(file))?;
            let mut names = names.to_vec();
            let annotations = descriptor.annotations.iter().flat_map(|known| [&known.tag, &known.name]);
            names.extend(annotations.flatten().map(|name| Arc::from(name.as_str())));
            if media::kind(&descriptor.media_type) == Kind::Index {
                self.nested(&descriptor, own, file, &names)?;
                continue;
            }
            if self.found.len() >= MAX_IMAGES {
                return Err(Problem::Images.at(file));
            }
            let digests = [own].into_iter().chain(self.around.iter().rev().copied()).collect();
            let platform = descriptor.platform.as_ref().map(Platform::of);
            self.found.push(Found { descriptor, names, digests, platform });
        }
        Ok(())
    }

    fn nested(&mut self, descriptor: &Descriptor, own: Digest, file: &str, names: &[Arc<str>]) -> Result<(), Error> {
        self.indexes += 1;
        if self.around.contains(&own) {
            return Err(Problem::Cycle.at(file));
        }
        if self.around.len() >= DEPTH {
            return Err(Problem::Depth.at(file));
        }
        // The same index a thousand times costs as much as a thousand of them.
        if self.indexes > MAX_IMAGES {
            return Err(Problem::Images.at(file));
        }
        let (name, bytes) = blob::document(self.documents, &own, descriptor.size)?;
        let document = Document::parse(&bytes, &name)?;
        drop(bytes);
        document.is(&descriptor.media_type, &name)?;
        self.around.push(own);
        let result = self.index(document, &name, names);
        self.around.pop();
        result
    }
}

/// Reads an image's manifest and configuration.
pub(super) fn load(documents: &Documents, found: &Found) -> Result<Image, Error> {
    let descriptor = &found.descriptor;
    let own = digest::parse(&descriptor.digest).map_err(|problem| problem.at(INDEX))?;
    let name = digest::blob(&own);
    if !found.is_manifest() {
        return Err(Problem::MediaType(descriptor.media_type.clone()).at(name));
    }
    let (_, bytes) = blob::document(documents, &own, descriptor.size)?;
    let document = Document::parse(&bytes, &name)?;
    drop(bytes);
    document.is(&descriptor.media_type, &name)?;
    let artifact = document.artifact_type.clone().filter(|kind| !kind.is_empty());
    let (config, layers) = document.into_image(&name)?;
    if !media::is_config(&config.media_type) {
        return Err(Problem::Artifact(artifact.unwrap_or(config.media_type)).at(name));
    }
    if layers.count() > MAX_LAYERS {
        return Err(Problem::Layers(layers.count()).at(name));
    }
    let (config_name, config) = configuration(documents, &config, &name)?;
    let diff_ids = config.diff_ids(layers.count(), &config_name)?;
    let layers = layers.into_items().into_iter().zip(diff_ids);
    let layers = layers.map(|(descriptor, diff_id)| layer(documents.files(), descriptor, *diff_id, &name));
    let layers = layers.collect::<Result<_, _>>()?;
    let names = found.names.iter().map(|name| String::from(&**name)).collect();
    documents.keep(Image::new(names, Some(own), config.id, config.platform, layers, config.bytes), &name)
}

fn configuration(
    documents: &Documents,
    descriptor: &Descriptor,
    manifest: &str,
) -> Result<(String, Configuration), Error> {
    let id = digest::parse(&descriptor.digest).map_err(|problem| problem.at(manifest))?;
    let name = digest::blob(&id);
    let read = || Ok((blob::document(documents, &id, descriptor.size)?.1, id));
    let config = documents.configuration(&name, read)?;
    let actual = config.bytes.len() as u64;
    if actual != descriptor.size {
        return Err(Problem::Size { declared: descriptor.size, actual }.at(name));
    }
    Ok((name, config))
}

fn layer(files: &Beneath, descriptor: Descriptor, diff_id: Digest, manifest: &str) -> Result<Layer, Error> {
    let own = digest::parse(&descriptor.digest).map_err(|problem| problem.at(manifest))?;
    let file = digest::blob(&own);
    let elsewhere = descriptor.urls.filter(|urls| urls.count() > 0 && !files.has(&file));
    let (compression, refusal) = match (media::compression(&descriptor.media_type), elsewhere) {
        (Err(problem), _) => (None, Some(problem.shortened())),
        (Ok(_), Some(urls)) => (None, Some(Problem::Foreign(urls.items().join(" ")).shortened())),
        (Ok(compression), None) => (Some(compression), None),
    };
    let media_type = Some(descriptor.media_type);
    Ok(Layer { digest: Some(own), diff_id, size: descriptor.size, media_type, compression, refusal, file })
}
