//! OCI layouts: which images an index leads to, and what one of them is made of.

use super::beneath::Beneath;
use super::document::{Config, Descriptor, Document, LayoutMarker, json};
use super::media::{self, Kind};
use super::platform::Platform;
use super::problem::Problem;
use super::{Image, Layer, MAX_IMAGES, MAX_LAYERS, blob, digest};
use crate::{Digest, Error};

const INDEX: &str = "index.json";
const MARKER: &str = "oci-layout";
/// Indexes in indexes: real ones have two.
const DEPTH: usize = 8;
/// The tag, in `index.json`.
const TAG: &str = "org.opencontainers.image.ref.name";
/// The whole name, as containerd and `docker save` have it.
const NAME: &str = "io.containerd.image.name";

/// An image that an index points to.
#[derive(Clone, Debug)]
pub(super) struct Found {
    descriptor: Descriptor,
    /// Tags and names, of the index around it too.
    pub(super) names: Vec<String>,
    /// Its own, and of the indexes around it.
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
pub(super) fn find(files: &Beneath) -> Result<Vec<Found>, Error> {
    let marker: LayoutMarker = json(&files.document(MARKER)?, MARKER)?;
    if marker.image_layout_version.split('.').next() != Some("1") {
        return Err(Problem::Version(marker.image_layout_version).at(MARKER));
    }
    let document = Document::parse(&files.document(INDEX)?, INDEX)?;
    document.is("application/vnd.oci.image.index.v1+json", INDEX)?;
    let mut search = Search { files, found: Vec::new(), around: Vec::new(), indexes: 0 };
    search.index(document, INDEX, &[])?;
    Ok(search.found)
}

struct Search<'a> {
    files: &'a Beneath,
    found: Vec<Found>,
    /// The indexes that are being read.
    around: Vec<Digest>,
    indexes: usize,
}

impl Search<'_> {
    fn index(&mut self, document: Document, file: &str, names: &[String]) -> Result<(), Error> {
        for descriptor in document.into_manifests(file)? {
            let own = digest::parse(&descriptor.digest).map_err(|problem| problem.at(file))?;
            let mut names = names.to_vec();
            names.extend([TAG, NAME].iter().filter_map(|key| descriptor.annotation(key)).map(str::to_owned));
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

    fn nested(&mut self, descriptor: &Descriptor, own: Digest, file: &str, names: &[String]) -> Result<(), Error> {
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
        let (name, bytes) = blob::document(self.files, &own, descriptor.size)?;
        let document = Document::parse(&bytes, &name)?;
        document.is(&descriptor.media_type, &name)?;
        self.around.push(own);
        let result = self.index(document, &name, names);
        self.around.pop();
        result
    }
}

/// Reads an image's manifest and configuration.
pub(super) fn load(files: &Beneath, found: &Found) -> Result<Image, Error> {
    let descriptor = &found.descriptor;
    let own = digest::parse(&descriptor.digest).map_err(|problem| problem.at(INDEX))?;
    let name = digest::blob(&own);
    if !found.is_manifest() {
        return Err(Problem::MediaType(descriptor.media_type.clone()).at(name));
    }
    let (_, bytes) = blob::document(files, &own, descriptor.size)?;
    let document = Document::parse(&bytes, &name)?;
    document.is(&descriptor.media_type, &name)?;
    let artifact = document.artifact_type.clone().filter(|kind| !kind.is_empty());
    let (config, layers) = document.into_image(&name)?;
    if !media::is_config(&config.media_type) {
        return Err(Problem::Artifact(artifact.unwrap_or(config.media_type)).at(name));
    }
    if layers.len() > MAX_LAYERS {
        return Err(Problem::Layers(layers.len()).at(name));
    }
    let id = digest::parse(&config.digest).map_err(|problem| problem.at(name.as_str()))?;
    let (config_name, config) = blob::document(files, &id, config.size)?;
    let (platform, diff_ids) = configuration(&config, &config_name, layers.len())?;
    let layers = layers.into_iter().zip(diff_ids).map(|(descriptor, diff_id)| layer(files, descriptor, diff_id, &name));
    let layers = layers.collect::<Result<_, _>>()?;
    Ok(Image::new(found.names.clone(), Some(own), id, platform, layers, config))
}

/// The platform and the diff IDs, as many as there are layers.
pub(super) fn configuration(bytes: &[u8], name: &str, layers: usize) -> Result<(Platform, Vec<Digest>), Error> {
    let config: Config = json(bytes, name)?;
    let platform = Platform::of(&config.platform());
    if config.rootfs.kind != "layers" {
        return Err(Problem::RootfsType(config.rootfs.kind).at(name));
    }
    let diff_ids = config.rootfs.diff_ids.unwrap_or_default();
    if diff_ids.len() != layers {
        return Err(Problem::LayerCount { layers, diff_ids: diff_ids.len() }.at(name));
    }
    let diff_ids = diff_ids.iter().map(|text| digest::parse(text)).collect::<Result<_, _>>();
    Ok((platform, diff_ids.map_err(|problem| problem.at(name))?))
}

fn layer(files: &Beneath, descriptor: Descriptor, diff_id: Digest, manifest: &str) -> Result<Layer, Error> {
    let own = digest::parse(&descriptor.digest).map_err(|problem| problem.at(manifest))?;
    let file = digest::blob(&own);
    let elsewhere = descriptor.urls.filter(|urls| !urls.is_empty() && !files.has(&file));
    let (compression, refusal) = match (media::compression(&descriptor.media_type), elsewhere) {
        (Err(problem), _) => (None, Some(problem)),
        (Ok(_), Some(urls)) => (None, Some(Problem::Foreign(urls.join(" ")))),
        (Ok(compression), None) => (Some(compression), None),
    };
    let media_type = Some(descriptor.media_type);
    Ok(Layer { digest: Some(own), diff_id, size: descriptor.size, media_type, compression, refusal, file })
}
