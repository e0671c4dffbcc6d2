//! All layers in one directory.

use super::{SAMPLE, flatten, line, names, open, sample, tar};
use crate::support::layout::{Layout, Packing};
use crate::support::privilege::need_root;
use crate::support::run::{killed_at_work, program};
use crate::support::scratch::Scratch;
use crate::support::tree::Tree;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use untar_in_root::image::{Problem, What};
use untar_in_root::{Canceller, Compression, Durability, ErrorKind};

#[test]
fn flatten_applies_all_layers_in_order() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    let image = open(&scratch.join("oci")).expect("opened");
    let root = scratch.join("place/root");
    scratch.dir("place");
    let flat = flatten(&image, &root).expect("flattened");
    assert_eq!(line(&root), SAMPLE);
    let formats: Vec<Compression> = flat.layers.iter().map(|report| report.compression).collect();
    assert_eq!(formats, [Compression::None, Compression::Gzip, Compression::Zstd]);
    let tree = Tree::read(&root);
    assert_eq!((tree.get(".", "mode"), tree.get("a", "mode"), tree.get("a", "uid")), ("0751", "2750", "5"));
    assert_eq!(names(&scratch.join("place")), ["root"], "nothing is left beside it");
}

#[test]
fn flatten_takes_an_empty_directory_and_no_other() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    Layout::new().layer(&tar().file("f", "f"), Packing::Gzip).write(&scratch.join("oci"));
    let image = open(&scratch.join("oci")).expect("opened");
    let root = scratch.dir("root");
    flatten(&image, &root).expect("flattened");
    assert_eq!((line(&root).as_str(), Tree::read(&root).get(".", "mode")), ("f=f", "0755"));
    let error = flatten(&image, &root).expect_err("not empty any more");
    assert_eq!((error.kind(), error.image_problem()), (ErrorKind::Options, Some(&Problem::Occupied)));
    let file = scratch.file("file", "");
    assert_eq!(flatten(&image, &file).expect_err("a file").kind(), ErrorKind::Root);
    assert_eq!(flatten(&image, &scratch.join("no/such/place")).expect_err("no parent").kind(), ErrorKind::Storage);
    assert_eq!(names(scratch.path()), ["file", "oci", "root"]);
}

#[test]
fn flatten_in_place_is_a_layer_on_what_is_there() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    Layout::new()
        .layer(&tar().file("f", "f").whiteout("old"), Packing::Plain)
        .layer(&tar().file("g", "g"), Packing::Plain)
        .write(&scratch.join("oci"));
    // A mount point, which cannot be replaced.
    let root = scratch.tmpfs("root", 1 << 20).expect("tmpfs");
    fs::write(root.join("old"), "old").expect("old");
    fs::write(root.join("kept"), "kept").expect("kept");
    let unpack = open(&scratch.join("oci")).expect("opened");
    unpack.unpack().program(program()).flatten_in_place(&root).expect("flattened");
    assert_eq!(line(&root), "f=f g=g kept=kept");
}

#[test]
fn flatten_of_no_layers_is_an_empty_directory() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    Layout::new().write(&scratch.join("oci"));
    let root = scratch.join("root");
    let image = open(&scratch.join("oci")).expect("opened");
    assert!(flatten(&image, &root).expect("flattened").layers.is_empty());
    assert_eq!(line(&root), "");
}

#[test]
fn flatten_durably_and_watched() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    let image = open(&scratch.join("oci")).expect("opened");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let mut unpack = image.unpack().program(program()).on_step(move |step| {
        let word = match step.what {
            What::Begun => "begun",
            What::Done(_) => "done",
            _ => return,
        };
        told.lock().expect("steps").push((step.layer, word));
    });
    unpack.options_mut().durability = Durability::FileSystem;
    unpack.flatten(scratch.join("root")).expect("flattened");
    let want = [(0, "begun"), (0, "done"), (1, "begun"), (1, "done"), (2, "begun"), (2, "done")];
    assert_eq!(*seen.lock().expect("steps"), want);
}

#[test]
fn flatten_stops_when_it_is_told_to_and_leaves_nothing() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    let image = open(&scratch.join("oci")).expect("opened");
    let canceller = Canceller::default();
    let stop = canceller.clone();
    let unpack = image.unpack().program(program()).cancelled_by(canceller);
    let result = unpack
        .on_step(move |step| {
            if step.layer == 1 {
                stop.cancel()
            }
        })
        .flatten(scratch.join("root"));
    assert_eq!(result.expect_err("cancelled").kind(), ErrorKind::Cancelled);
    assert_eq!(names(scratch.path()), ["oci"]);
}

#[test]
fn flatten_says_in_which_layer_it_failed() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let layout = Layout::new()
        .layer(&tar().file("f", "f"), Packing::Gzip)
        .layer(&tar().hardlink("h", "missing"), Packing::Zstd)
        .layer(&tar().file("g", "g"), Packing::Gzip);
    layout.write(&scratch.join("oci"));
    let error = flatten(&open(&scratch.join("oci")).expect("opened"), &scratch.join("root")).expect_err("no target");
    let layer = error.layer().expect("a layer");
    assert_eq!((error.kind(), layer.number, layer.of), (ErrorKind::Entry, 2, 3));
    assert!(error.to_string().starts_with("layer 2 of 3 (sha256:"), "{error}");
    assert!(error.to_string().contains("missing"), "{error}");
    assert_eq!(names(scratch.path()), ["oci"]);
}

/// A killed process's staging directory goes with the next run; one that is in use stays.
#[test]
fn flatten_sweeps_what_a_killed_run_left() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    let left = killed_at_work(&scratch.dir("place").join("root")).join("root/usr");
    fs::create_dir(&left).and_then(|()| fs::set_permissions(&left, fs::Permissions::from_mode(0o000))).expect("left");
    flatten(&open(&scratch.join("oci")).expect("opened"), &scratch.join("place/root")).expect("flattened");
    assert_eq!(names(&scratch.join("place")), ["root"]);
}
