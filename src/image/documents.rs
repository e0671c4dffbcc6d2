//! What is read of an image, and what is kept of it: paid from one purse.

use super::beneath::Beneath;
use super::document::{Config, json};
use super::platform::Platform;
use super::problem::Problem;
use super::{Files, Image, Layer, MAX_DOCUMENTS, digest};
use crate::error::Error;
use crate::purse::Purse;
use crate::report::Digest;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// The documents of a layout or archive while it is being opened.
pub(super) struct Documents {
    files: Arc<Files>,
    purse: Purse,
    /// Configurations by their name: many images may have one.
    configurations: RefCell<HashMap<String, Configuration>>,
}

/// What a configuration says, and its bytes.
#[derive(Clone)]
pub(super) struct Configuration {
    pub(super) id: Digest,
    pub(super) bytes: Arc<[u8]>,
    pub(super) platform: Platform,
    diff_ids: Arc<[Digest]>,
}

impl Configuration {
    fn parse(bytes: Vec<u8>, id: Digest, name: &str) -> Result<Configuration, Error> {
        let config: Config = json(&bytes, name)?;
        let platform = Platform::of(&config.platform());
        if config.rootfs.kind != "layers" {
            return Err(Problem::RootfsType(config.rootfs.kind).at(name));
        }
        let diff_ids = config.rootfs.diff_ids.unwrap_or_default();
        // One more than any manifest may have.
        if diff_ids.count() > diff_ids.items().len() {
            return Err(Problem::Layers(diff_ids.count()).at(name));
        }
        let diff_ids = diff_ids.items().iter().map(|text| digest::parse(text)).collect::<Result<_, _>>();
        let diff_ids = diff_ids.map_err(|problem| problem.at(name))?;
        Ok(Configuration { id, bytes: bytes.into(), platform, diff_ids })
    }

    /// The diff IDs, of which there must be as many as layers.
    pub(super) fn diff_ids(&self, layers: usize, name: &str) -> Result<&[Digest], Error> {
        match self.diff_ids.len() {
            diff_ids if diff_ids != layers => Err(Problem::LayerCount { layers, diff_ids }.at(name)),
            _ => Ok(&self.diff_ids),
        }
    }
}

impl Documents {
    pub(super) fn new(files: Arc<Files>) -> Documents {
        let purse = Purse::new(MAX_DOCUMENTS);
        Documents { files, purse, configurations: RefCell::default() }
    }

    pub(super) fn files(&self) -> &Beneath {
        &self.files.beneath
    }

    fn pay(&self, bytes: usize, file: &str) -> Result<(), Error> {
        if self.purse.pay(bytes) { Ok(()) } else { Err(Problem::Documents.at(file)) }
    }

    /// A document, whole; read again, it is paid again.
    pub(super) fn read(&self, file: &str) -> Result<Vec<u8>, Error> {
        let bytes = self.files().document(file)?;
        self.pay(bytes.len(), file)?;
        Ok(bytes)
    }

    /// A configuration, read once: `read` gives its bytes and their digest.
    pub(super) fn configuration(
        &self,
        name: &str,
        read: impl FnOnce() -> Result<(Vec<u8>, Digest), Error>,
    ) -> Result<Configuration, Error> {
        if let Some(known) = self.configurations.borrow().get(name) {
            return Ok(known.clone());
        }
        let (bytes, id) = read()?;
        let configuration = Configuration::parse(bytes, id, name)?;
        self.pay(configuration.diff_ids.len() * size_of::<Digest>(), name)?;
        self.configurations.borrow_mut().insert(name.to_owned(), configuration.clone());
        Ok(configuration)
    }

    /// Pays for an image, which is kept.
    pub(super) fn keep(&self, image: Image, file: &str) -> Result<Image, Error> {
        let names = image.names.iter().map(|name| size_of::<String>() + name.len());
        let platform = image.platform.os.len() + image.platform.architecture.len();
        let variant = image.platform.variant.as_ref().map_or(0, String::len);
        let all =
            size_of::<Image>() + platform + variant + names.chain(image.layers.iter().map(of_layer)).sum::<usize>();
        self.pay(all, file)?;
        Ok(image)
    }
}

/// A refusal has a short text.
fn of_layer(layer: &Layer) -> usize {
    const REFUSAL: usize = 1 << 10;
    let media_type = layer.media_type.as_ref().map_or(0, String::len);
    let refusal = if layer.refusal.is_some() { REFUSAL } else { 0 };
    size_of::<Layer>() + layer.file.len() + media_type + refusal
}
