//! Which of several images is meant.

use super::{Opener, Source, line, open, opener, tar};
use crate::support::layout::{Document, Layout, Packing, blob};
use crate::support::run::program;
use crate::support::scratch::Scratch;
use serde_json::json;
use std::path::Path;
use untar_in_root::image::{Image, Platform, Problem};
use untar_in_root::{Error, ErrorKind};

fn image(name: &str) -> Layout {
    Layout::new().layer(&tar().file(name, name), Packing::Gzip).tagged(name)
}

fn named(dir: &Path, reference: &str) -> Result<Image, Error> {
    opener(format!("oci:{}:{reference}", dir.display())).open()
}

fn for_platform(dir: &Path, platform: &str) -> Result<Image, Error> {
    opener(dir).platform(platform.parse().expect("platform")).open()
}

#[track_caller]
fn problem(result: Result<Image, Error>) -> Problem {
    let error = result.expect_err("no image");
    error.image_problem().unwrap_or_else(|| panic!("{error}")).clone()
}

#[test]
fn select_by_tag_and_by_digest() {
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let (one, two) = (image("one").write(&dir), image("two").write(&dir));
    for (reference, want) in [("one", &one), ("two", &two), (&one.manifest, &one), (&two.manifest, &two)] {
        let image = named(&dir, reference).expect("opened");
        assert_eq!(image.digest().expect("digest").to_string(), want.manifest);
        assert_eq!(image.id().to_string(), want.config);
        assert_eq!(image.layers()[0].digest().expect("digest").to_string(), want.layers[0]);
    }
    assert!(matches!(problem(named(&dir, "three")), Problem::NoReference { wanted, there }
        if wanted == "three" && there.len() == 2 && there[0].starts_with("one")));
    assert!(matches!(problem(open(&dir)), Problem::Several(there) if there.len() == 2));
    let error = open(&dir).expect_err("two");
    assert_eq!(error.kind(), ErrorKind::Options);
    assert!(error.to_string().contains("one (linux/amd64), two (linux/amd64)"), "{error}");
    assert_eq!(opener(&dir).list().expect("both").len(), 2);
}

#[test]
fn select_by_platform() {
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let arm = image("arm").for_platform("linux", "arm64").write(&dir);
    // The only one is taken whatever it is for, unless another is asked for.
    assert_eq!(open(&dir).expect("opened").digest().expect("digest").to_string(), arm.manifest);
    assert!(matches!(problem(for_platform(&dir, "linux/riscv64")), Problem::NoPlatform { there, .. }
        if there == ["arm (linux/arm64)"]));
    let host = Platform::host();
    let (os, architecture) = (host.os.leak(), host.architecture.leak());
    let own = Layout::new().layer(&tar().file("own", ""), Packing::Zstd).for_platform(os, architecture).write(&dir);
    if architecture != "arm64" {
        assert_eq!(open(&dir).expect("opened").digest().expect("digest").to_string(), own.manifest);
        assert_eq!(
            for_platform(&dir, "linux/arm64").expect("opened").digest().expect("digest").to_string(),
            arm.manifest
        );
        assert_eq!(for_platform(&dir, "linux/arm64/v8").expect("opened").names(), ["arm"]);
    }
}

/// An index in an index, beside an attestation and something that is no image.
#[test]
fn select_through_nested_indexes() {
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    image("inner").write_with(&dir, |document, index| {
        if document != Document::Index {
            return;
        }
        let descriptor = index["manifests"][0].take();
        let mut attestation = descriptor.clone();
        attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
        attestation["digest"] = format!("sha256:{}", "0".repeat(64)).into();
        let other = json!({ "mediaType": "application/vnd.example", "digest": format!("sha256:{}", "1".repeat(64)), "size": 1 });
        let mut inner = json!({ "schemaVersion": 2, "manifests": [descriptor, attestation, other] });
        for _ in 0..3 {
            let bytes = serde_json::to_vec(&inner).expect("JSON");
            let descriptor = blob(&dir, &bytes, "application/vnd.oci.image.index.v1+json");
            inner = json!({ "schemaVersion": 2, "manifests": [descriptor] });
        }
        inner["manifests"][0]["annotations"] = json!({ "org.opencontainers.image.ref.name": "outer" });
        *index = inner;
    });
    let image = named(&dir, "outer").expect("opened");
    assert_eq!(image.names(), ["outer", "inner"]);
    assert_eq!(opener(&dir).list().expect("listed").len(), 1);
    // By the digest of an index around it.
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("index.json")).expect("index")).expect("JSON");
    let digest = index["manifests"][0]["digest"].as_str().expect("digest");
    assert_eq!(named(&dir, digest).expect("opened").id(), image.id());
}

#[test]
fn select_finds_out_what_a_path_is() {
    let scratch = Scratch::new();
    let dir = scratch.join("a:b");
    image("one").write(&dir);
    assert_eq!(Opener::new(Source::parse(&dir)).open().expect("a colon in the path").names(), ["one"]);
    let error = Opener::new(Source::parse(scratch.dir("empty"))).open().expect_err("nothing in it");
    assert_eq!((error.kind(), error.image_problem()), (ErrorKind::Image, Some(&Problem::NotAnImage)));
    let error = Opener::new(Source::parse(scratch.join("no"))).program(program()).open().expect_err("not there");
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Read, Some(2)));
    assert_eq!(line(&scratch.join("empty")), "");
}
