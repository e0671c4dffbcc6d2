//! Whole images: an OCI layout, an archive of one, or what `docker save` writes, applied layer by layer.
//!
//! Open one, then choose an outcome:
//!
//! ```no_run
//! use untar_in_root::Program;
//! use untar_in_root::image::{Opener, Source};
//! # fn main() -> Result<(), untar_in_root::Error> {
//! let program = Program::at("/usr/bin/untar-in-root");
//! let image = Opener::new(Source::parse("oci:/srv/layouts/debian:12")).program(program.clone()).open()?;
//! let flat = image.unpack().program(program.clone()).flatten("/srv/rootfs")?;
//! let stack = image.unpack().program(program).jobs(4).layers("/srv/layers")?;
//! println!("{} layers; mount -t overlay -o {}", flat.layers.len(), stack.mount_options().display());
//! # Ok(())
//! # }
//! ```
//!
//! | to have | use |
//! |---|---|
//! | one directory with all layers in it | [`Unpack::flatten`], or [`Unpack::flatten_in_place`] on what is there |
//! | an overlayfs upper directory for each layer | [`Unpack::layers`], several at a time |
//! | the same, kept and found again | [`Unpack::into_store`] with a [`Store`] |
//! | a look | [`Opener::documents_only`], [`Opener::list`], [`Image::layers`], [`Image::description`] |
//!
//! # What is checked
//!
//! Nothing in an image is trusted. Its files are opened beneath its directory, only regular ones and without ever
//! waiting for one; an image has at most 500 layers, indexes 20,000 entries; documents have at most 4 MiB, and 64 MiB
//! together; a document that could be read in two ways is refused. Manifests, configurations and layers have the size
//! and SHA-256 that their descriptors say, and each layer's uncompressed stream has the diff ID of the configuration.
//! A layer passes through this process, so what was digested is what was applied, whoever writes to the file
//! meanwhile. Its first bytes must be of the format that its media type declares; only docker's types may lie about
//! that, which is an event. Foreign layers that are not there, encrypted layers, artifacts and unknown types are refused
//! by name. Digests are known to be right only when the last byte has been read, so a result appears at its place only
//! after all of them were: until then it is made beside it, and after an error nothing is left.
//!
//! # Which image is meant
//!
//! Of several images, the first of those that fit the platform best, in an index also of those without a name; under
//! different names, none is chosen, and the error has a word for each that [`Source::reference`] takes. What is listed and not there is no candidate; what is
//! damaged is one, but stands for itself alone. Where a layout has no image that can be opened and `manifest.json` is
//! beside it, as `docker save` writes both, that decides.
//!
//! Decompressing and tar stay in the helper, for archives of images too.

mod archive;
mod beneath;
mod blob;
mod catalogue;
mod contents;
mod description;
mod digest;
mod docker;
mod document;
mod documents;
mod flatten;
mod item;
mod layers;
mod lists;
mod loader;
mod media;
mod oci;
mod open;
mod platform;
mod problem;
mod reference;
mod schedule;
mod select;
mod source;
mod staged;
mod store;
mod unpack;

pub use contents::{Contents, LeftOut, Why};
pub use description::{Description, Execution, History};
pub use flatten::Flattened;
pub use layers::{LayerDir, Layers};
pub use open::Opener;
pub use platform::{ParsePlatformError, Platform};
pub use problem::{BadJson, Problem, StoreProblem};
pub use source::{Form, Source};
pub use store::{Difference, Removed, Store, Verified};
pub use unpack::{Step, Unpack, What};

use crate::options::Compression;
use crate::report::Digest;
use beneath::Beneath;
use documents::Configuration;
use std::fmt;
use std::sync::Arc;

/// The most bytes of a manifest, index or configuration. Registries take no more than 4 MiB.
const MAX_DOCUMENT: u64 = 4 << 20;
/// The most bytes of all documents of a layout or archive that are read, and of what is kept of them, together. A
/// configuration that several images share counts once.
const MAX_DOCUMENTS: usize = 64 << 20;
/// The most layers of an image: overlayfs (`OVL_MAX_STACK`) mounts no more than 500; docker makes no more than 127.
const MAX_LAYERS: usize = 500;
/// The most entries of the indexes of a layout or archive, one that is reached twice counted twice.
const MAX_ENTRIES: usize = 20_000;

/// An image: its manifest and configuration have been read and verified, its layers not yet.
#[derive(Clone)]
pub struct Image {
    names: Vec<String>,
    digest: Option<Digest>,
    id: Digest,
    platform: Platform,
    layers: Vec<Layer>,
    config: Arc<[u8]>,
    files: Option<Arc<Files>>,
    passed_over: Arc<[LeftOut]>,
}

/// Where the files of an image are, and what keeps them there.
struct Files {
    beneath: Beneath,
    /// The layers are there, too.
    whole: bool,
    _staging: Option<staged::Staged>,
}

/// One layer of an image.
#[derive(Clone, Debug)]
pub struct Layer {
    digest: Option<Digest>,
    diff_id: Digest,
    size: u64,
    media_type: Option<String>,
    /// The format by the media type; `None` if only the bytes say it.
    compression: Option<Compression>,
    /// Why it cannot be applied.
    refusal: Option<Problem>,
    /// The blob's path within the image.
    file: String,
}

impl Layer {
    /// SHA-256 of the blob as it lies in the image. Docker archives of the older form have none.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// SHA-256 of the uncompressed tar, as the configuration has it.
    #[must_use]
    pub fn diff_id(&self) -> Digest {
        self.diff_id
    }

    /// Bytes of the blob.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The media type as the manifest has it, unchecked text; docker archives have none.
    #[must_use]
    pub fn media_type(&self) -> Option<&str> {
        self.media_type.as_deref()
    }

    /// Why this layer cannot be applied: it is foreign, encrypted or of an unknown type.
    #[must_use]
    pub fn refusal(&self) -> Option<&Problem> {
        self.refusal.as_ref()
    }
}

impl Image {
    fn new(digest: Option<Digest>, config: Configuration, layers: Vec<Layer>) -> Image {
        let Configuration { id, bytes, platform, .. } = config;
        let (names, passed_over) = (Vec::new(), Arc::default());
        Image { names, digest, id, platform, layers, config: bytes, files: None, passed_over }
    }

    /// Gives it the names under which it is listed, and what it demands of a machine, if only the list says that.
    fn listed(mut self, names: Vec<String>, platform: Option<Platform>) -> Image {
        if self.platform.features.is_empty() {
            self.platform.features = platform.map(|listed| listed.features).unwrap_or_default();
        }
        Image { names, ..self }
    }

    /// Tags and names that it has in its layout or archive; unchecked text.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The digest of the image's manifest; a docker archive has none.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The digest of the image's configuration: what docker calls the image ID.
    #[must_use]
    pub fn id(&self) -> Digest {
        self.id
    }

    /// The platform that the image is for, as its configuration has it, with the `os.features` by which it is listed if
    /// that has none; unchecked text.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// What is listed, was meant as well and would have fitted, but is damaged or not there: the first twelve. It is
    /// known of an image that was chosen among several ([`Opener::open`]).
    #[must_use]
    pub fn passed_over(&self) -> &[LeftOut] {
        &self.passed_over
    }

    /// The bottom one first.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The bytes of its configuration, JSON as in the image-spec's `config.md`: entry point, environment, history.
    #[must_use]
    pub fn config(&self) -> &[u8] {
        &self.config
    }

    /// The chain IDs of its layers, the bottom one first (image-spec, `config.md`): each stands for a layer on all
    /// those below it.
    #[must_use]
    pub fn chain_ids(&self) -> Vec<Digest> {
        let mut below = None;
        let mut chain = |layer: &Layer| *below.insert(digest::chain(below, layer.diff_id));
        self.layers.iter().map(&mut chain).collect()
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Image");
        fields.field("names", &self.names).field("digest", &self.digest).field("id", &self.id);
        fields.field("platform", &self.platform).field("layers", &self.layers).finish_non_exhaustive()
    }
}
