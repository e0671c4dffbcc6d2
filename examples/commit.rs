//! A committer: what an overlayfs upper directory changes becomes a container image of one layer, an OCI layout that
//! `skopeo copy oci:LAYOUT:NAME …`, podman and docker take. `commit LAYOUT NAME UPPER [LOWER...]`, the topmost lower first.
#![allow(clippy::print_stdout)]

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use untar_in_root::{Diff, Encoding, Lower, Packed, Program, helper};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    helper::init();
    let mut args = std::env::args_os().skip(1);
    let mut next = || args.next().ok_or("usage: commit LAYOUT NAME UPPER [LOWER...]");
    let (layout, name, upper) = (PathBuf::from(next()?), next()?, next()?);
    let lowers = args.map(Lower::open).collect::<Result<Vec<_>, _>>()?;
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    let layer = pack(Diff::upper(upper)?.lowers(lowers), &layout)?;
    println!("{} entries, diff_id {}", layer.entries.total(), layer.diff_id.ok_or("it is asked for")?);
    describe(&layer, &layout, name.to_str().ok_or("the name is no text")?)
}

/// The layer, under the name that its content has.
fn pack(diff: Diff, layout: &Path) -> Result<Packed, Failure> {
    let unnamed = layout.join("layer.part");
    let diff = diff.program(Program::this()?).encoding(Encoding::Gzip { level: 6 });
    // A live container's directory may change meanwhile: then this fails, and nothing names what was written.
    let packed = diff.to_fd(File::create(&unnamed)?)?;
    fs::rename(unnamed, blob(layout, &packed.digest.ok_or("it is asked for")?.to_string()))?;
    Ok(packed)
}

/// Configuration, manifest, index: OCI image-spec `config.md`, `manifest.md`, `image-index.md`.
fn describe(layer: &Packed, layout: &Path, name: &str) -> Result<(), Failure> {
    let text = |digest: Option<untar_in_root::Digest>| digest.map(|digest| digest.to_string());
    let config = json!({
        "architecture": architecture(), "os": "linux", "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [text(layer.diff_id)]},
    });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": write(layout, CONFIG, &config)?,
        "layers": [{"mediaType": layer.media_type(), "digest": text(layer.digest), "size": layer.blob_size}],
    });
    let mut listed = write(layout, MANIFEST, &manifest)?;
    listed["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(fs::write(layout.join("index.json"), json!({"schemaVersion": 2, "manifests": [listed]}).to_string())?)
}

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Writes a document, and gives what points to it.
fn write(layout: &Path, media_type: &str, document: &Value) -> Result<Value, Failure> {
    let bytes = document.to_string().into_bytes();
    let hex: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = format!("sha256:{hex}");
    fs::write(blob(layout, &digest), &bytes)?;
    Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
}

fn blob(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// As Go names it, and with it the specification.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
