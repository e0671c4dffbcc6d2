//! Every kind of damage once: a clear error of the right kind, one line, and nothing left.

use super::{flatten, names, open, tar};
use crate::support::layout::{Document, Layout, Packing, Written, blob, blob_path};
use crate::support::privilege::need_root;
use crate::support::run::program;
use crate::support::scratch::Scratch;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use untar_in_root::{Error, ErrorKind};

fn image() -> Layout {
    Layout::new()
        .layer(&tar().file("f", vec![b'f'; 3000]), Packing::Gzip)
        .layer(&tar().file("g", vec![b'g'; 3000]), Packing::Zstd)
        .layer(&tar().file("h", vec![b'h'; 3000]), Packing::Plain)
}

/// Opening or applying fails in this way, by each outcome, and nothing is left.
#[track_caller]
fn refused(what: &str, dir: &Path, scratch: &Scratch, kind: ErrorKind, words: &str) {
    let check = |how: &str, error: Error| {
        let text = error.to_string();
        assert_eq!(error.kind(), kind, "{what}, {how}: {text}");
        assert!(text.contains(words) && !text.contains('\n'), "{what}, {how}: {words:?} is not in {text:?}");
        assert_eq!(names(scratch.path()), ["oci"], "{what}, {how}: something is left");
    };
    match open(dir) {
        Err(error) => check("open", error),
        Ok(image) => {
            check("flatten", flatten(&image, &scratch.join("root")).expect_err(what));
            let unpack = image.unpack().program(program()).jobs(2);
            check("layers", unpack.layers(scratch.join("layers")).expect_err(what));
        }
    }
}

/// A layout whose documents are changed before they are digested.
#[track_caller]
fn document(what: &str, layout: &Layout, tweak: impl Fn(Document, &mut Value), kind: ErrorKind, words: &str) {
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    layout.write_with(&dir, tweak);
    refused(what, &dir, &scratch, kind, words);
}

/// A good layout whose files are changed afterwards.
#[track_caller]
fn file(what: &str, damage: impl Fn(&Path, &Written), kind: ErrorKind, words: &str) {
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let written = image().write(&dir);
    damage(&dir, &written);
    refused(what, &dir, &scratch, kind, words);
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("file");
    bytes[at] ^= 0x20;
    fs::write(path, bytes).expect("file");
}

fn cut(path: &Path) {
    let bytes = fs::read(path).expect("file");
    fs::write(path, &bytes[..bytes.len() / 2]).expect("file");
}

#[test]
fn damage_to_files() {
    if !need_root() {
        return;
    }
    use ErrorKind::{Digest, Image, Limit};
    file(
        "no oci-layout",
        |dir, _| fs::remove_file(dir.join("oci-layout")).expect("file"),
        Image,
        "oci-layout: this file",
    );
    file(
        "oci-layout of tomorrow",
        |dir, _| fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).expect("file"),
        Image,
        "version \"2.0.0\"",
    );
    file("no index", |dir, _| fs::remove_file(dir.join("index.json")).expect("file"), Image, "index.json: this file");
    file("index cut short", |dir, _| cut(&dir.join("index.json")), Image, "index.json: not a document");
    file(
        "index empty",
        |dir, _| fs::write(dir.join("index.json"), "").expect("file"),
        Image,
        "index.json: not a document",
    );
    file(
        "index is a FIFO",
        |dir, _| {
            fs::remove_file(dir.join("index.json")).expect("file");
            nix::unistd::mkfifo(&dir.join("index.json"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
        },
        Image,
        "index.json: refused: this is not a regular file",
    );
    file(
        "index is a directory",
        |dir, _| {
            fs::remove_file(dir.join("index.json")).and_then(|()| fs::create_dir(dir.join("index.json"))).expect("dir");
        },
        Image,
        "not a regular file",
    );
    file(
        "index leads out",
        |dir, _| {
            fs::remove_file(dir.join("index.json"))
                .and_then(|()| symlink("/etc/hostname", dir.join("index.json")))
                .expect("link");
        },
        Image,
        "leads out of the image",
    );
    file(
        "index leads to itself",
        |dir, _| {
            fs::remove_file(dir.join("index.json"))
                .and_then(|()| symlink("index.json", dir.join("index.json")))
                .expect("link");
        },
        Image,
        "leads out of the image",
    );
    file(
        "index too large",
        |dir, _| {
            fs::File::options()
                .append(true)
                .open(dir.join("index.json"))
                .and_then(|f| f.set_len(5 << 20))
                .expect("file");
        },
        Limit,
        "5242880 bytes",
    );
    file("manifest changed", |dir, w| flip(&blob_path(dir, &w.manifest), 20), Digest, "digest mismatch");
    file("manifest cut short", |dir, w| cut(&blob_path(dir, &w.manifest)), Image, "are declared");
    file("manifest gone", |dir, w| fs::remove_file(blob_path(dir, &w.manifest)).expect("file"), Image, "is not there");
    file("config changed", |dir, w| flip(&blob_path(dir, &w.config), 20), Digest, "digest mismatch");
    file("config gone", |dir, w| fs::remove_file(blob_path(dir, &w.config)).expect("file"), Image, "is not there");
    for layer in 0..3 {
        let place = move |dir: &Path, w: &Written| blob_path(dir, &w.layers[layer]);
        let number = format!("layer {} of 3", layer + 1);
        file("blob cut short", |dir, w| cut(&place(dir, w)), Image, &number);
        file(
            "blob too long",
            |dir, w| {
                let longer = [fs::read(place(dir, w)).expect("blob"), vec![0]].concat();
                fs::write(place(dir, w), longer).expect("blob");
            },
            Image,
            &number,
        );
        file("blob gone", |dir, w| fs::remove_file(place(dir, w)).expect("file"), Image, &number);
        file("blob empty", |dir, w| fs::write(place(dir, w), "").expect("file"), Image, &number);
        file(
            "blob is a link out",
            |dir, w| {
                fs::remove_file(place(dir, w)).and_then(|()| symlink("/dev/zero", place(dir, w))).expect("link");
            },
            Image,
            &number,
        );
        // At the start, in the middle, at the end: what is damaged is told as that, whatever the decoder says.
        let size = image().layers[layer].blob.len();
        for at in [4, size / 2, size - 1] {
            file("blob changed", |dir, w| flip(&place(dir, w), at), Digest, &number);
        }
    }
    file(
        "blobs swapped",
        |dir, w| {
            let (one, two) = (blob_path(dir, &w.layers[0]), blob_path(dir, &w.layers[1]));
            let first = fs::read(&one).expect("blob");
            fs::copy(&two, &one).and_then(|_| fs::write(&two, first)).expect("blobs");
        },
        Image,
        "layer 1 of 3",
    );
}

#[test]
fn damage_to_documents() {
    if !need_root() {
        return;
    }
    use Document::{Config, Index, Manifest};
    use ErrorKind::{Digest, Image, Limit};
    let at = |wanted: Document, change: fn(&mut Value)| {
        move |document: Document, value: &mut Value| {
            if document == wanted {
                change(value)
            }
        }
    };
    let image = image();
    for (what, tweak, kind, words) in [
        ("no image", at(Index, |v| v["manifests"] = json!([])), Image, "no image in it"),
        ("index of version 1", at(Index, |v| v["schemaVersion"] = 1.into()), Image, "version \"1\""),
        ("index and manifest at once", at(Index, |v| v["layers"] = json!([])), Image, "at once"),
        (
            "index that says it is a manifest",
            at(Index, |v| v["mediaType"] = "application/vnd.oci.image.manifest.v1+json".into()),
            Image,
            "but it says that it is",
        ),
        (
            "manifest of an unknown type",
            at(Index, |v| v["manifests"][0]["mediaType"] = "text/html".into()),
            Image,
            "\"text/html\" is not known",
        ),
        (
            "manifest of no type",
            at(Index, |v| _ = v["manifests"][0].as_object_mut().expect("object").remove("mediaType")),
            Image,
            "is not known",
        ),
        (
            "wrong size of the manifest",
            at(Index, |v| v["manifests"][0]["size"] = 7.into()),
            Image,
            "but 7 are declared",
        ),
        (
            "negative size",
            at(Index, |v| v["manifests"][0]["size"] = (-7).into()),
            Image,
            "an entry of it is not of this kind",
        ),
        ("size beyond all bounds", at(Index, |v| v["manifests"][0]["size"] = u64::MAX.into()), Limit, "bytes"),
        (
            "wrong digest",
            at(Index, |v| v["manifests"][0]["digest"] = format!("sha256:{}", "0".repeat(64)).into()),
            Image,
            "is not there",
        ),
        (
            "../ in a digest",
            at(Index, |v| v["manifests"][0]["digest"] = "sha256:../../../../etc/passwd".into()),
            Image,
            "is not sha256:",
        ),
        (
            "a digest in capitals",
            at(Index, |v| v["manifests"][0]["digest"] = format!("sha256:{}", "A".repeat(64)).into()),
            Image,
            "lower case",
        ),
        (
            "sha512",
            at(Index, |v| v["manifests"][0]["digest"] = format!("sha512:{}", "0".repeat(128)).into()),
            Image,
            "SHA-512 is not supported",
        ),
        ("manifest that is an index too", at(Manifest, |v| v["manifests"] = json!([])), Image, "at once"),
        (
            "manifest that says it is an index",
            at(Manifest, |v| v["mediaType"] = "application/vnd.oci.image.index.v1+json".into()),
            Image,
            "but it says that it is",
        ),
        (
            "manifest without configuration",
            at(Manifest, |v| _ = v.as_object_mut().expect("object").remove("config")),
            Image,
            "without a configuration",
        ),
        (
            "an artifact",
            at(Manifest, |v| v["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into()),
            Image,
            "no container image but \"application/vnd.cncf.helm",
        ),
        (
            "../ in a layer's digest",
            at(Manifest, |v| v["layers"][1]["digest"] = "sha256:../x".into()),
            Image,
            "is not sha256:",
        ),
        ("wrong size of a layer", at(Manifest, |v| v["layers"][1]["size"] = 7.into()), Image, "but 7 are declared"),
        (
            "zstd where gzip is declared",
            at(Manifest, |v| v["layers"][1]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip".into()),
            Image,
            "declared as gzip, but its bytes are zstd",
        ),
        (
            "gzip where zstd is declared",
            at(Manifest, |v| v["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd".into()),
            Image,
            "declared as zstd, but its bytes are gzip",
        ),
        (
            "gzip where plain is declared",
            at(Manifest, |v| v["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into()),
            Image,
            "but its bytes are gzip",
        ),
        (
            "plain where gzip is declared",
            at(Manifest, |v| v["layers"][2]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip".into()),
            Image,
            "a plain tar",
        ),
        (
            "an unknown layer",
            at(Manifest, |v| v["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.squashfs".into()),
            Image,
            "squashfs\" is not known",
        ),
        (
            "a foreign layer",
            at(Manifest, |v| {
                v["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
                v["layers"][0]["digest"] = format!("sha256:{}", "0".repeat(64)).into();
            }),
            Image,
            "a foreign layer",
        ),
        (
            "a layer not to be distributed",
            at(Manifest, |v| {
                v["layers"][2]["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar".into();
                v["layers"][2]["digest"] = format!("sha256:{}", "0".repeat(64)).into();
            }),
            Image,
            "a foreign layer",
        ),
        (
            "a layer that is elsewhere",
            at(Manifest, |v| {
                v["layers"][1]["digest"] = format!("sha256:{}", "0".repeat(64)).into();
                v["layers"][1]["urls"] = json!(["https://example.org/layer"]);
            }),
            Image,
            "https://example.org/layer",
        ),
        (
            "an encrypted layer",
            at(Manifest, |v| {
                v["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted".into()
            }),
            Image,
            "an encrypted layer",
        ),
        (
            "a layer less",
            at(Manifest, |v| _ = v["layers"].as_array_mut().expect("layers").pop()),
            Image,
            "2 layers in the manifest, but 3 diff IDs",
        ),
        (
            "layers in another order",
            at(Manifest, |v| v["layers"].as_array_mut().expect("layers").swap(0, 1)),
            Digest,
            "diff ID mismatch",
        ),
        ("a configuration that is no JSON", at(Config, |v| *v = "x".into()), Image, "not a document"),
        (
            "a configuration without layers",
            at(Config, |v| _ = v.as_object_mut().expect("object").remove("rootfs")),
            Image,
            "missing field `rootfs`",
        ),
        (
            "another kind of rootfs",
            at(Config, |v| v["rootfs"]["type"] = "base".into()),
            Image,
            "rootfs.type is \"base\"",
        ),
        (
            "wrong diff ID",
            at(Config, |v| v["rootfs"]["diff_ids"][1] = format!("sha256:{}", "0".repeat(64)).into()),
            Digest,
            "layer 2 of 3",
        ),
        (
            "a diff ID that is none",
            at(Config, |v| v["rootfs"]["diff_ids"][1] = "sha256:1".into()),
            Image,
            "is not sha256:",
        ),
    ] {
        document(what, &image, tweak, kind, words);
    }
    // Unknown platforms only: buildkit's attestations.
    let unknown = at(Index, |v| v["manifests"][0]["platform"] = json!({ "os": "unknown", "architecture": "unknown" }));
    let scratch = Scratch::new();
    image.write_with(&scratch.join("oci"), unknown);
    assert_eq!(super::opener(scratch.join("oci")).list().expect("none").len(), 0);
}

#[test]
fn damage_by_numbers() {
    if !need_root() {
        return;
    }
    // Ten thousand layers, of one blob.
    let many = |document: Document, value: &mut Value| {
        let list = match document {
            Document::Config => value["rootfs"]["diff_ids"].as_array_mut(),
            Document::Manifest => value["layers"].as_array_mut(),
            Document::Index => None,
        };
        if let Some(list) = list {
            *list = vec![list[0].clone(); 10_000];
        }
    };
    document("ten thousand layers", &image(), many, ErrorKind::Limit, "10000 layers; 500 are the most");
    // More than is looked at, and indexes that are nested or repeated.
    let many = |document: Document, value: &mut Value| {
        if document == Document::Index {
            let one = value["manifests"][0].clone();
            value["manifests"] = (0..20_001).map(|_| json!({ "digest": one["digest"] })).collect();
        }
    };
    document("twenty thousand entries", &image(), many, ErrorKind::Limit, "more than 20000 entries");
    for (what, depth, width, kind, words) in [
        ("nested", 9, 1, ErrorKind::Limit, "nested too deep"),
        ("a tree of indexes", 5, 20, ErrorKind::Limit, "more than 20000 entries"),
    ] {
        let scratch = Scratch::new();
        let dir = scratch.join("oci");
        image().write_with(&dir, |document, value| {
            for _ in 0..if document == Document::Index { depth } else { 0 } {
                let bytes = serde_json::to_vec(value).expect("JSON");
                let descriptor = blob(&dir, &bytes, "application/vnd.oci.image.index.v1+json");
                let another = |at: usize| {
                    let mut descriptor = descriptor.clone();
                    descriptor["platform"] = json!({ "os": "linux", "architecture": format!("machine{at}") });
                    descriptor
                };
                *value = json!({ "schemaVersion": 2, "manifests": (0..width).map(another).collect::<Vec<_>>() });
            }
        });
        refused(what, &dir, &scratch, kind, words);
    }
}

/// An index cannot have its own digest; one whose descriptor says that it is itself has another.
#[test]
fn damage_by_an_index_that_points_at_itself() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    image().write(&dir);
    let index = |digest: &str, size: usize| {
        json!({ "schemaVersion": 2, "manifests": [{ "mediaType": "application/vnd.oci.image.index.v1+json",
            "digest": digest, "size": size }] })
    };
    let digest = format!("sha256:{}", "7".repeat(64));
    let bytes = serde_json::to_vec(&index(&digest, 214)).expect("JSON");
    fs::write(blob_path(&dir, &digest), &bytes).expect("blob");
    fs::write(dir.join("index.json"), serde_json::to_vec(&index(&digest, bytes.len())).expect("JSON")).expect("index");
    refused("an index that points at itself", &dir, &scratch, ErrorKind::Digest, "digest mismatch");
    // index.json as its own blob, through a link.
    let file = fs::read(dir.join("index.json")).expect("index");
    fs::remove_file(blob_path(&dir, &digest))
        .and_then(|()| symlink("../../index.json", blob_path(&dir, &digest)))
        .expect("link");
    assert_eq!(file.len(), bytes.len());
    refused("index.json that points at itself", &dir, &scratch, ErrorKind::Digest, "digest mismatch");
}
