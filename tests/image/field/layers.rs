//! Layers whose type is not what they are.

use super::*;
use crate::support::layout::blob_path;
use crate::support::privilege::need_root;
use untar_in_root::{Compression, EventKind};

const DOCKER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// An image with one layer of this type.
fn typed(dir: &Path, packing: Packing, media_type: &str, more: Value) -> Written {
    let layout = Layout::new().layer(&tar().file("which", "layer"), packing);
    layout.write_with(dir, |document, value| {
        if document == Document::Manifest {
            let layer = &mut value["layers"][0];
            layer["mediaType"] = media_type.into();
            more.as_object().expect("object").iter().for_each(|(key, value)| layer[key] = value.clone());
        }
    })
}

/// Docker goes by the bytes, whatever their type says; size and digest are compared all the same.
#[test]
fn layers_of_dockers_types_are_read_by_their_bytes() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let gzip = format!("{DOCKER}.gzip");
    for (at, (packing, media_type, declared, found)) in [
        (Packing::Plain, gzip.as_str(), Compression::Gzip, Compression::None),
        (Packing::Zstd, &gzip, Compression::Gzip, Compression::Zstd),
        (Packing::Gzip, DOCKER, Compression::None, Compression::Gzip),
    ]
    .into_iter()
    .enumerate()
    {
        let dir = scratch.join(format!("oci{at}"));
        let written = typed(&dir, packing, media_type, json!({}));
        let image = open(&dir).expect("opened");
        assert_eq!(image.layers()[0].refusal(), None);
        let root = scratch.join(format!("root{at}"));
        let flat = super::super::flatten(&image, &root).expect("flattened");
        assert_eq!(line(&root), "which=layer");
        let events: Vec<_> = flat.layers[0].events.iter().map(|event| &event.what).collect();
        assert_eq!(events, [&EventKind::CompressionDiffers { declared, found }]);
        let blob = blob_path(&dir, &written.layers[0]);
        let mut bytes = fs::read(&blob).expect("blob");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&blob, bytes).expect("blob");
        let error = super::super::flatten(&image, &scratch.join("bad")).expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Digest, "{error}");
    }
    let dir = scratch.join("right");
    typed(&dir, Packing::Gzip, &gzip, json!({}));
    let flat = super::super::flatten(&open(&dir).expect("opened"), &scratch.join("root")).expect("flattened");
    assert_eq!(flat.layers[0].events.len(), 0, "{:?}", flat.layers[0].events);
}

/// A foreign layer that is there is a layer; one that is not is refused, with where it is, and the image is shown.
#[test]
fn layers_that_are_foreign_are_used_if_they_are_there() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let urls = json!({ "urls": ["https://example.com/base.tar.gz"] });
    for (at, media_type) in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+gzip",
    ]
    .into_iter()
    .enumerate()
    {
        let dir = scratch.join(format!("oci{at}"));
        let written = typed(&dir, Packing::Gzip, media_type, urls.clone());
        assert_eq!(which(&open(&dir).expect("opened")), "layer");
        fs::remove_file(blob_path(&dir, &written.layers[0])).expect("blob");
        let image = open(&dir).expect("still shown");
        assert!(matches!(image.layers()[0].refusal(), Some(Problem::Foreign(what)) if what.contains("example.com")));
        let error = super::super::flatten(&image, &scratch.join("root")).expect_err("not there");
        assert!(error.to_string().contains("foreign") && error.to_string().contains("example.com"), "{error}");
    }
}

#[test]
fn layers_in_a_rootfs_without_a_type() {
    let scratch = Scratch::new();
    for (kind, opens) in
        [(json!(null), true), (json!(""), true), (json!("layers"), true), (json!("layers+base"), false)]
    {
        let dir = scratch.join(format!("oci{}", kind.to_string().len()));
        image("x").write_with(&dir, |document, value| {
            if document == Document::Config {
                value["rootfs"]["type"] = kind.clone();
            }
        });
        match open(&dir) {
            Ok(_) => assert!(opens, "{kind}"),
            Err(error) => assert!(!opens && error.to_string().contains("layers+base"), "{kind}: {error}"),
        }
    }
}
