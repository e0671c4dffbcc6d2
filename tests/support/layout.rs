//! A writer of OCI layouts and docker archives that can lie.
//!
//! ```text
//! let layout = Layout::new().layer(&Tarball::new().file("a", "1"), Packing::Gzip);
//! layout.write_with(&dir, |document, value| if document == Document::Manifest { value["layers"][0]["size"] = 7.into() });
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::tarball::{Tarball, gz, zst};

/// How a layer is compressed, and what its media type says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    fn media_type(self) -> &'static str {
        match self {
            Packing::Plain => "application/vnd.oci.image.layer.v1.tar",
            Packing::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Packing::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    fn pack(self, tar: &[u8]) -> Vec<u8> {
        match self {
            Packing::Plain => tar.to_vec(),
            Packing::Gzip => gz(tar),
            Packing::Zstd => zst(tar),
        }
    }
}

/// Which document is about to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    Config,
    Manifest,
    Index,
}

/// One layer.
#[derive(Clone)]
pub struct Packed {
    pub blob: Vec<u8>,
    pub tar: Vec<u8>,
    pub media_type: String,
}

/// An image in the making.
#[derive(Clone, Default)]
pub struct Layout {
    pub layers: Vec<Packed>,
    pub tag: Option<String>,
    pub platform: Option<(&'static str, &'static str)>,
}

/// Where things are in a layout that has been written.
pub struct Written {
    pub manifest: String,
    pub config: String,
    pub layers: Vec<String>,
}

impl Layout {
    /// No layer yet, the tag `latest`.
    pub fn new() -> Layout {
        Layout { tag: Some("latest".into()), ..Layout::default() }
    }

    /// One more layer on top.
    pub fn layer(self, tar: &Tarball, packing: Packing) -> Layout {
        self.bytes(&tar.build(), packing)
    }

    /// The same from a finished archive.
    pub fn bytes(mut self, tar: &[u8], packing: Packing) -> Layout {
        self.layers.push(Packed {
            blob: packing.pack(tar),
            tar: tar.to_vec(),
            media_type: packing.media_type().into(),
        });
        self
    }

    /// Of another platform than linux/amd64.
    pub fn for_platform(mut self, os: &'static str, architecture: &'static str) -> Layout {
        self.platform = Some((os, architecture));
        self
    }

    /// Under this tag.
    pub fn tagged(mut self, tag: &str) -> Layout {
        self.tag = Some(tag.into());
        self
    }

    /// Writes it, as it should be.
    pub fn write(&self, dir: &Path) -> Written {
        self.write_with(dir, |_, _| ())
    }

    /// Writes it; `tweak` may change each document before it is digested.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_with(&self, dir: &Path, tweak: impl Fn(Document, &mut Value)) -> Written {
        fs::create_dir_all(dir.join("blobs/sha256")).expect("blobs");
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("oci-layout");
        let (os, architecture) = self.platform.unwrap_or(("linux", "amd64"));
        let diff_ids: Vec<String> = self.layers.iter().map(|layer| digest(&layer.tar)).collect();
        let mut config =
            json!({ "os": os, "architecture": architecture, "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        tweak(Document::Config, &mut config);
        let config = blob(dir, &bytes(&config), "application/vnd.oci.image.config.v1+json");
        let layers: Vec<Value> = self.layers.iter().map(|layer| blob(dir, &layer.blob, &layer.media_type)).collect();
        let mut manifest = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": layers });
        tweak(Document::Manifest, &mut manifest);
        let mut descriptor = blob(dir, &bytes(&manifest), "application/vnd.oci.image.manifest.v1+json");
        descriptor["platform"] = json!({ "os": os, "architecture": architecture });
        if let Some(tag) = &self.tag {
            descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        }
        let index_path = dir.join("index.json");
        // A second image goes beside the first.
        let mut index = fs::read(&index_path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or(
            json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [] }),
        );
        let text = |value: &Value| value["digest"].as_str().expect("digest").to_owned();
        let written =
            Written { manifest: text(&descriptor), config: text(&config), layers: layers.iter().map(text).collect() };
        index["manifests"].as_array_mut().expect("manifests").push(descriptor);
        tweak(Document::Index, &mut index);
        fs::write(index_path, bytes(&index)).expect("index.json");
        written
    }

    /// As `docker save` wrote it before it wrote layouts: layers by name, uncompressed.
    pub fn docker_archive(&self, tag: &str) -> Tarball {
        let diff_ids: Vec<String> = self.layers.iter().map(|layer| digest(&layer.tar)).collect();
        let config = bytes(&json!({ "os": "linux", "architecture": "amd64",
            "rootfs": { "type": "layers", "diff_ids": diff_ids } }));
        let config_name = format!("{}.json", digest(&config).trim_start_matches("sha256:"));
        let names: Vec<String> = (0..self.layers.len()).map(|at| format!("{at}/layer.tar")).collect();
        let manifest = bytes(&json!([{ "Config": config_name, "RepoTags": [tag], "Layers": names }]));
        let mut tar = Tarball::new().file(&config_name, &config);
        for (name, layer) in names.iter().zip(&self.layers) {
            tar = tar.file(name, &layer.tar);
        }
        tar.file("manifest.json", &manifest)
    }
}

/// The path of a blob.
pub fn blob_path(dir: &Path, digest: &str) -> PathBuf {
    dir.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
}

/// Writes a blob; its descriptor.
///
/// # Panics
/// When it cannot be written.
pub fn blob(dir: &Path, bytes: &[u8], media_type: &str) -> Value {
    let digest = digest(bytes);
    fs::write(blob_path(dir, &digest), bytes).expect("blob");
    json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
}

/// `sha256:…`
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".into(), |text, byte| format!("{text}{byte:02x}"))
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON")
}

/// A layout directory as a tar archive.
///
/// # Panics
/// When it cannot be read.
pub fn pack(dir: &Path) -> Tarball {
    let mut tar = Tarball::new();
    for name in ["oci-layout", "index.json"] {
        tar = tar.file(name, fs::read(dir.join(name)).expect("file"));
    }
    for entry in fs::read_dir(dir.join("blobs/sha256")).expect("blobs").flatten() {
        let name = format!("blobs/sha256/{}", entry.file_name().to_string_lossy());
        tar = tar.file(&name, fs::read(entry.path()).expect("blob"));
    }
    tar
}
