//! Images as producers write them that cannot be had here, after their sources and what they have written.

use super::super::field::{architectures, json_at, nest, relist};
use super::{Layout, Packing, Scratch, Tarball, image, layers, tar};
use crate::support::layout::{Document, blob, blob_path, digest, pack};
use crate::support::tarball::gz;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

fn hex(bytes: &[u8]) -> String {
    digest(bytes).trim_start_matches("sha256:").to_owned()
}

fn configuration(created: &str) -> Vec<u8> {
    let diff_ids: Vec<String> = layers().iter().map(|layer| digest(&layer.build())).collect();
    let history: Vec<Value> = diff_ids.iter().map(|_| json!({ "created": created, "created_by": "by hand" })).collect();
    let config = json!({ "created": created, "architecture": architectures().0, "os": "linux", "author": "",
        "config": { "Entrypoint": ["/app/one"], "Env": null }, "history": history,
        "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    config.to_string().into_bytes()
}

/// How a producer of docker archives names things.
struct Docker {
    config: fn(&str) -> String,
    layer: fn(&str) -> String,
    pack: fn(&[u8]) -> Vec<u8>,
    created: &'static str,
    tags: &'static [&'static str],
}

/// google/go-containerregistry: ko, kaniko, crane.
const GGCR: Docker = Docker {
    config: |hex| format!("sha256:{hex}"),
    layer: |hex| format!("{hex}.tar.gz"),
    pack: gz,
    created: "0001-01-01T00:00:00Z",
    tags: &["registry.example.com/app:latest"],
};

impl Docker {
    /// Layers, configuration and `manifest.json`.
    fn archive(&self) -> Tarball {
        let config = configuration(self.created);
        let named = (self.config)(&hex(&config));
        let packed: Vec<(String, Vec<u8>)> = layers()
            .iter()
            .map(|layer| (self.pack)(&layer.build()))
            .map(|packed| ((self.layer)(&hex(&packed)), packed))
            .collect();
        let names: Vec<&str> = packed.iter().map(|(name, _)| name.as_str()).collect();
        let manifest = json!([{ "Config": named, "RepoTags": self.tags, "Layers": names }]);
        let tar = packed.iter().fold(tar().file(&named, &config), |tar, (name, bytes)| tar.file(name, bytes));
        tar.file("manifest.json", manifest.to_string())
    }
}

/// An archive in a file: its path.
fn file(scratch: &Scratch, bytes: impl AsRef<[u8]>) -> Option<String> {
    Some(scratch.file("image.tar", bytes).display().to_string())
}

/// A layout in a directory; `more` changes what its index lists.
fn layout(scratch: &Scratch, more: impl FnOnce(&Path)) -> Option<String> {
    let dir = scratch.join("layout");
    image().write(&dir);
    more(&dir);
    Some(dir.display().to_string())
}

/// Nothing in the index but what is listed.
fn bare(dir: &Path) {
    relist(dir, |manifests| {
        for manifest in manifests {
            manifest.as_object_mut().expect("descriptor").remove("annotations");
        }
    });
}

/// The same for a machine that this is not.
fn other(dir: &Path) {
    let (_, other) = architectures();
    Layout::new().for_platform("linux", other).layer(&tar().file("other", ""), Packing::Gzip).write(dir);
}

pub(super) fn ko_tarball(scratch: &Scratch) -> Option<String> {
    file(scratch, GGCR.archive().build())
}

pub(super) fn ko_layout(scratch: &Scratch) -> Option<String> {
    layout(scratch, |dir| {
        other(dir);
        nest(dir, "x");
        bare(dir);
    })
}

pub(super) fn kaniko_tarball(scratch: &Scratch) -> Option<String> {
    let docker = Docker { created: "2025-01-02T03:04:05.678901234Z", tags: &["a/app:1", "a/app:latest"], ..GGCR };
    file(scratch, docker.archive().build())
}

pub(super) fn jib_docker(scratch: &Scratch) -> Option<String> {
    let docker = Docker { config: |_| "config.json".into(), created: "1970-01-01T00:00:00Z", ..GGCR };
    file(scratch, docker.archive().build())
}

pub(super) fn jib_oci(scratch: &Scratch) -> Option<String> {
    let dir = layout(scratch, |_| ())?;
    file(scratch, pack(Path::new(&dir)).build())
}

/// An index of what is not at `blobs`, and no `oci-layout`.
pub(super) fn apko(scratch: &Scratch) -> Option<String> {
    let dir = layout(scratch, |_| ())?;
    let index = json_at(&Path::new(&dir).join("index.json"));
    file(scratch, GGCR.archive().file("index.json", index.to_string()).build())
}

const MOBY: Docker = Docker {
    config: |hex| format!("{hex}.json"),
    layer: |hex| format!("{hex}/layer.tar"),
    pack: <[u8]>::to_vec,
    created: "0001-01-01T00:00:00Z",
    tags: &["bazel/app:image"],
};

pub(super) fn rules_docker(scratch: &Scratch) -> Option<String> {
    let repositories = json!({ "bazel/app": { "image": "0".repeat(64) } });
    file(scratch, MOBY.archive().file("repositories", repositories.to_string()).build())
}

pub(super) fn rules_oci(scratch: &Scratch) -> Option<String> {
    layout(scratch, bare)
}

pub(super) fn oci_load(scratch: &Scratch) -> Option<String> {
    let docker = Docker {
        config: |hex| format!("blobs/sha256/{hex}"),
        layer: |hex| format!("blobs/sha256/{hex}.tar.gz"),
        created: "1970-01-01T00:00:00Z",
        ..GGCR
    };
    file(scratch, docker.archive().build())
}

pub(super) fn nix_layered(scratch: &Scratch) -> Option<String> {
    let archive = Docker { created: "1970-01-01T00:00:01Z", tags: &["app:7gcnq0x4"], ..MOBY }.archive();
    // `result` is a link to the store.
    let target = scratch.file("docker-image-app.tar.gz", gz(&archive.build()));
    std::os::unix::fs::symlink(target, scratch.join("result")).expect("link");
    Some(scratch.join("result").display().to_string())
}

pub(super) fn nix_streamed(scratch: &Scratch) -> Option<String> {
    let docker = Docker { created: "1970-01-01T00:00:01Z", tags: &["app:7gcnq0x4"], ..MOBY };
    file(scratch, docker.archive().build())
}

pub(super) fn buildpacks(scratch: &Scratch) -> Option<String> {
    // A directory for each image, below the names of its registry and repository.
    let dir = scratch.join("layout-repo/index.docker.io/library/app/latest");
    image().write(&dir);
    Some(dir.display().to_string())
}

/// `cosign save`: what has been signed, and beside it the signature and a statement, typed as images are.
pub(super) fn cosign(scratch: &Scratch) -> Option<String> {
    layout(scratch, |dir| {
        let beside = |media_type: &str, kind: &str| {
            let payload = json!({ "critical": { "type": kind } }).to_string();
            let mut layer = blob(dir, payload.as_bytes(), media_type);
            layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": "MEUCIQ" });
            let rootfs = json!({ "type": "layers", "diff_ids": [digest(payload.as_bytes())] });
            let config = json!({ "architecture": "", "created": "0001-01-01T00:00:00Z", "os": "", "config": {},
                "rootfs": rootfs });
            let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer],
                "config": blob(dir, config.to_string().as_bytes(), CONFIG) });
            let mut listed = blob(dir, manifest.to_string().as_bytes(), MANIFEST);
            listed["annotations"] = json!({ "kind": format!("dev.cosignproject.cosign/{kind}") });
            listed
        };
        let signature = beside("application/vnd.dev.cosign.simplesigning.v1+json", "sigs");
        let statement = beside("application/vnd.dsse.envelope.v1+json", "atts");
        relist(dir, |manifests| {
            manifests[0]["annotations"] = json!({ "kind": "dev.cosignproject.cosign/image" });
            manifests.extend([signature, statement]);
        });
    })
}

/// moby #47065: the layout's manifest has lost its layers.
pub(super) fn docker_25(scratch: &Scratch) -> Option<String> {
    let dir = scratch.join("layout");
    let written = image().write_with(&dir, |document, value| {
        if document == Document::Manifest {
            value["layers"] = json!([]);
        }
    });
    let blobs = |hex: &str| format!("blobs/sha256/{hex}");
    let docker = Docker { config: blobs, layer: blobs, ..MOBY };
    let archive = docker.archive();
    let archive = ["oci-layout", "index.json"]
        .iter()
        .fold(archive, |tar, name| tar.file(name, fs::read(dir.join(name)).expect("file")));
    let manifest = fs::read(blob_path(&dir, &written.manifest)).expect("manifest");
    file(scratch, archive.file(blobs(&hex(&manifest)), manifest).build())
}
