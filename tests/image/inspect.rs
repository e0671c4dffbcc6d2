//! A look at an image: what it is for, and no layer unpacked for it.

use super::{names, opener, sample, tar};
use crate::support::layout::{Document, Layout, Packing, pack};
use crate::support::privilege::{has_capability, need_root, need_userns};
use crate::support::run::program_path;
use crate::support::scratch::Scratch;
use crate::support::tarball::gz;
use serde_json::{Value, json};
use std::process::{Command, Output};
use untar_in_root::ErrorKind;
use untar_in_root::image::Problem;

fn inspect(scratch: &Scratch, words: &[&str], before: &str) -> Output {
    // A shell, for the limit that is to hold in the program and its helper.
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before} exec \"$0\" inspect \"$@\"")]).arg(program_path()).args(words);
    command.current_dir(scratch.path()).output().expect("the program")
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn images(output: &Output) -> Value {
    serde_json::from_str::<Value>(&text(output)).expect("JSON")["images"].take()
}

/// What an image says of itself.
fn said(document: Document, value: &mut Value) {
    if document == Document::Config {
        value["config"] = json!({ "Entrypoint": ["/start it", "-x"], "Cmd": null, "User": "7:8", "WorkingDir": "/srv",
            "Env": ["PATH=/bin", "BAD=\u{1b}[31m\u{202e}two\nlines"], "Labels": { "a.b": "its \u{1b}label" },
            "ExposedPorts": { "80/tcp": {} }, "Volumes": { "/data": {} }, "StopSignal": "SIGQUIT" });
        value["history"] = json!([{ "created_by": "COPY a b" }, { "created_by": "CMD", "empty_layer": true }]);
        value["created"] = "2021-02-03T04:05:06Z".into();
    }
}

#[test]
fn inspect_says_what_an_image_is_for() {
    let scratch = Scratch::new();
    Layout::new().layer(&tar().file("f", ""), Packing::Gzip).write_with(&scratch.join("oci"), said);
    let shown = text(&inspect(&scratch, &["oci"], ""));
    for want in [
        "entry     \"/start it\" \"-x\"\n",
        "env       PATH=/bin\n",
        "user      7:8\n",
        "workdir   /srv\n",
        "label     a.b=its ",
        "port      80/tcp\n",
        "volume    /data\n",
        "signal    SIGQUIT\n",
        "created   2021-02-03T04:05:06Z\n",
        "     1    COPY a b\n     -    CMD\n",
    ] {
        assert!(shown.contains(want), "{want} is not in {shown}");
    }
    assert!(!shown.contains(['\u{1b}', '\u{202e}']) && !shown.contains("\nlines"), "{shown:?}");
    let output = inspect(&scratch, &["--json", "oci"], "");
    assert!(!text(&output).contains(['\u{1b}', '\u{202e}']));
    let value = images(&output)[0]["configuration"].take();
    assert_eq!(value["config"]["entrypoint"], json!(["/start it", "-x"]));
    assert_eq!((&value["config"]["cmd"], &value["history"][1]["empty_layer"]), (&json!([]), &json!(true)));
    assert_eq!(value["config"]["labels"]["a.b"], "its \u{1b}label");
}

/// The rest is shown all the same.
#[test]
fn inspect_says_what_is_wrong_with_a_configuration() {
    let scratch = Scratch::new();
    Layout::new().layer(&tar(), Packing::Gzip).write_with(&scratch.join("oci"), |document, value| {
        if document == Document::Config {
            value["config"] = json!({ "Env": "A=1" });
        }
    });
    let shown = text(&inspect(&scratch, &["oci"], ""));
    assert!(shown.contains("platform  linux/amd64") && shown.contains("config    blobs/sha256/"), "{shown}");
    let value = images(&inspect(&scratch, &["--json", "oci"], ""));
    assert!(value[0]["configuration"].is_null() && value[0]["configuration_error"].is_string(), "{value}");
}

/// Ten thousand images may have one configuration, which is not shown ten thousand times.
#[test]
fn inspect_shows_so_much_of_configurations_and_no_more() {
    let scratch = Scratch::new();
    let long = "x".repeat(3 << 20);
    let tags: Vec<String> = (0..40).map(|at| format!("app:{at}")).collect();
    let config = serde_json::to_vec(&json!({ "os": "linux", "architecture": "amd64", "author": long,
        "rootfs": { "type": "layers", "diff_ids": [] } }));
    scratch.dir("docker");
    scratch.file("docker/config.json", config.expect("JSON"));
    let manifest: Vec<Value> =
        tags.iter().map(|tag| json!({ "Config": "config.json", "RepoTags": [tag], "Layers": [] })).collect();
    scratch.file("docker/manifest.json", serde_json::to_vec(&manifest).expect("JSON"));
    let output = inspect(&scratch, &["--json", "docker"], "");
    assert!(text(&output).len() < 80 << 20);
}

/// A limit on the size of files, below one layer: whoever unpacks one fails.
#[test]
fn inspect_of_an_archive_unpacks_no_layer() {
    if !has_capability(21) && !need_userns() {
        return;
    }
    let scratch = Scratch::new();
    let noise: Vec<u8> = (0_u32..3 << 18).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    // Small ones, too, and one that begins as a document does but is too large for one.
    let layout = Layout::new()
        .layer(&tar().file("large", &noise), Packing::Plain)
        .layer(&tar().file("small", "s"), Packing::Gzip)
        .layer(&tar().file("{", [noise.clone(), noise.clone()].concat()), Packing::Plain);
    layout.write(&scratch.join("oci"));
    let archives = [pack(&scratch.join("oci")).build(), layout.docker_archive("x:1").build()];
    for archive in archives.iter().cloned().chain(archives.iter().map(|archive| gz(archive))) {
        scratch.file("image.tar", &archive);
        let staging = scratch.dir("staging");
        let output = inspect(&scratch, &["--json", "--staging", "staging", "image.tar"], "ulimit -f 64;");
        let sizes: Vec<u64> = images(&output)[0]["layers"]
            .as_array()
            .expect("layers")
            .iter()
            .map(|one| one["size"].as_u64().expect("size"))
            .collect();
        let blobs: Vec<u64> = layout.layers.iter().map(|layer| layer.blob.len() as u64).collect();
        let tars: Vec<u64> = layout.layers.iter().map(|layer| layer.tar.len() as u64).collect();
        assert!(sizes == blobs || sizes == tars, "{sizes:?}, {blobs:?}, {tars:?}");
        assert!(names(&staging).is_empty());
    }
}

#[test]
fn inspect_of_links_in_an_archive_shows_the_sizes_of_what_they_lead_to() {
    if !has_capability(21) && !need_userns() {
        return;
    }
    let scratch = Scratch::new();
    let one = tar().file("f", "f").build();
    let layout = Layout::new().bytes(&one, Packing::Plain).bytes(&one, Packing::Plain);
    let archive = layout.docker_archive("x:1").file("real/layer.tar", &one);
    let archive = archive.symlink("0/layer.tar", "../real/layer.tar").hardlink("1/layer.tar", "real/layer.tar");
    scratch.file("image.tar", archive.build());
    let layers = images(&inspect(&scratch, &["--json", "image.tar"], ""))[0]["layers"].take();
    assert_eq!((&layers[0]["size"], &layers[1]["size"]), (&json!(one.len()), &json!(one.len())));
}

/// What was opened to be looked at has no layers, and what is no document is none.
#[test]
fn an_image_that_was_only_looked_at_is_not_applied() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    let file = scratch.file("image.tar", pack(&scratch.join("oci")).build());
    let image = opener(&file).documents_only().open().expect("opened");
    let error = super::flatten(&image, &scratch.join("root")).expect_err("no layers");
    assert_eq!(error.kind(), ErrorKind::Options, "{error}");
    let image = opener(scratch.join("oci")).documents_only().open().expect("opened");
    super::flatten(&image, &scratch.join("root")).expect("a directory has them");
    for (content, want) in [
        (vec![7; 100], "it is no JSON"),
        ([b"{".as_slice(), &vec![b' '; 5 << 20]].concat(), "refused: a document of 5242881 bytes"),
    ] {
        let archive = tar().file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#).file("index.json", &content);
        let error = opener(scratch.file("bad.tar", archive.build())).documents_only().list().expect_err(want);
        assert!(matches!(error.image_problem(), Some(Problem::Json { .. } | Problem::DocumentSize(_))), "{error}");
        assert!(error.to_string().contains(want), "{error}");
    }
}

/// As Go's tools write an empty list.
#[test]
fn a_document_of_null_is_an_empty_list_to_who_only_looks() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let archive = scratch.file("image.tar", tar().file("manifest.json", " null\n").build());
    let contents = opener(archive).documents_only().contents().expect("an empty list");
    assert!(contents.images.is_empty() && contents.left_out.is_empty());
}

#[test]
fn where_room_lacks_is_said_and_what_to_do() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let large = vec![b'x'; 3 << 20];
    let layout = Layout::new().layer(&tar().file("large", &large), Packing::Plain);
    scratch.file("image.tar", layout.docker_archive("x:1").build());
    let small = scratch.tmpfs("small", 1 << 20).expect("tmpfs");
    let mut command = Command::new(program_path());
    command.args(["image", "image.tar", "root", "--staging"]).arg(&small).current_dir(scratch.path());
    let output = command.output().expect("the program");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    for want in [small.to_str().expect("text"), "ENOSPC", "--staging", "TMPDIR"] {
        assert!(said.contains(want), "{want} is not in {said}");
    }
    let image = super::opener(scratch.join("image.tar")).staging_in(&small).documents_only().open().expect("a look");
    assert_eq!(image.layers().len(), 1);
}
