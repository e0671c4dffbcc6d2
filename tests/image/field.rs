//! Images as the field has them: what tools write, what people type.

mod beside;
mod choice;
mod forms;
mod layers;
mod partial;

use super::{line, open, opener, tar};
use crate::support::layout::{Document, Layout, Packing, Written, blob};
use crate::support::scratch::Scratch;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use untar_in_root::image::{Image, Platform, Problem};
use untar_in_root::{Error, ErrorKind};

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image that is known again by its one file.
fn image(name: &str) -> Layout {
    Layout::new().layer(&tar().file("which", name), Packing::Gzip).tagged(name)
}

/// The same for another platform.
fn of(name: &str, architecture: &'static str) -> Layout {
    image(name).for_platform("linux", architecture)
}

/// This machine's architecture, and another.
pub fn architectures() -> (&'static str, &'static str) {
    let own: &'static str = Platform::host().architecture.leak();
    (own, if own == "amd64" { "arm64" } else { "amd64" })
}

pub fn json_at(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("file")).expect("JSON")
}

/// Changes what `index.json` lists.
pub fn relist(dir: &Path, change: impl FnOnce(&mut Vec<Value>)) {
    let mut index = json_at(&dir.join("index.json"));
    change(index["manifests"].as_array_mut().expect("manifests"));
    fs::write(dir.join("index.json"), index.to_string()).expect("index.json");
}

/// Puts all that is listed into one index, listed under one tag.
pub fn nest(dir: &Path, tag: &str) -> String {
    let mut digest = String::new();
    relist(dir, |manifests| {
        for manifest in manifests.iter_mut() {
            manifest.as_object_mut().expect("descriptor").remove("annotations");
        }
        let inner = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        let mut index = blob(dir, inner.to_string().as_bytes(), INDEX);
        index["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        digest = index["digest"].as_str().expect("digest").to_owned();
        *manifests = vec![index];
    });
    digest
}

/// The content of the image's one file.
fn which(image: &Image) -> String {
    let scratch = Scratch::new();
    super::flatten(image, &scratch.join("root")).expect("flattened");
    fs::read_to_string(scratch.join("root/which")).expect("which")
}

fn meant(dir: &Path, reference: &str) -> Result<Image, Error> {
    opener(format!("{}{reference}", dir.display())).open()
}

#[track_caller]
fn is(result: Result<Image, Error>, written: &Written) {
    let image = result.expect("opened");
    assert_eq!(
        (image.id().to_string(), image.digest().expect("digest").to_string()),
        (written.config.clone(), written.manifest.clone())
    );
}

#[track_caller]
fn problem(result: Result<Image, Error>) -> Problem {
    let error = result.expect_err("no image");
    error.image_problem().unwrap_or_else(|| panic!("{error}")).clone()
}
