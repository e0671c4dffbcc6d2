//! What is read of an image, and what is kept of it: paid from one purse.

use super::beneath::Beneath;
use super::document::{Config, json};
use super::platform::Platform;
use super::problem::Problem;
use super::{Files, Image, Layer, digest};
use crate::error::Error;
use crate::purse::Purse;
use crate::report::Digest;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How the files of an image are named.
#[derive(Clone, Copy, Debug)]
pub(super) enum Naming {
    /// `blobs/sha256/HEX`, as an OCI layout has it; a docker archive says the name of each.
    Layout,
    /// `HEX`, as skopeo's `dir:` has it, whose `manifest.json` is the manifest of this digest.
    Flat(Digest),
}

pub(super) const MANIFEST: &str = "manifest.json";

/// The documents of a layout or archive while it is being opened.
pub(super) struct Documents {
    files: Arc<Files>,
    purse: Purse,
    naming: Naming,
    /// Configurations by their name: many images may have one.
    configurations: RefCell<BTreeMap<String, Configuration>>,
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
        let platform = Platform::of(config.platform());
        // Small builders leave it out, and there has never been another.
        if !matches!(config.rootfs.kind.as_str(), "layers" | "") {
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
    /// Several descriptions of one archive are paid from one purse.
    pub(super) fn new(files: Arc<Files>, purse: Purse, naming: Naming) -> Documents {
        Documents { files, purse, naming, configurations: RefCell::default() }
    }

    pub(super) fn files(&self) -> &Beneath {
        &self.files.beneath
    }

    /// The name of a configuration or layer.
    pub(super) fn blob(&self, digest: &Digest) -> String {
        match self.naming {
            Naming::Layout => digest::blob(digest),
            Naming::Flat(_) => digest::hex(digest),
        }
    }

    /// The name of a manifest or index.
    pub(super) fn manifest(&self, digest: &Digest) -> String {
        match self.naming {
            Naming::Layout => digest::blob(digest),
            Naming::Flat(top) if top == *digest => MANIFEST.to_owned(),
            Naming::Flat(_) => format!("{}.manifest.json", digest::hex(digest)),
        }
    }

    /// Pays for what is kept of a file.
    pub(super) fn pay(&self, bytes: usize, file: &str) -> Result<(), Error> {
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

    /// Pays for an image, which is kept; names are paid by whoever gives it some.
    pub(super) fn keep(&self, image: Image, file: &str) -> Result<Image, Error> {
        let layers = image.layers.iter().map(of_layer).sum::<usize>();
        self.pay(size_of::<Image>() + image.platform.cost() + layers, file)?;
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
