//! A directory for each layer, and a real overlayfs of them.

use super::{MOUNT, flatten, line, mounted, names, open, sample, tar};
use crate::support::layout::{Layout, Packing};
use crate::support::privilege::need_root;
use crate::support::run::program;
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, assert_same};
use std::sync::{Arc, Mutex};
use untar_in_root::image::{Layers, What};
use untar_in_root::{ErrorKind, Mode, Overlay, OverlayPrefix};

/// Flat, and mounted with one and several jobs, both kinds of marks: one tree.
#[track_caller]
fn one_tree(layout: &Layout) {
    let scratch = Scratch::new();
    layout.write(&scratch.join("oci"));
    let image = open(&scratch.join("oci")).expect("opened");
    let flat = scratch.join("flat");
    flatten(&image, &flat).expect("flattened");
    let want = Tree::read(&flat);
    for (jobs, prefix) in [(1, OverlayPrefix::Trusted), (4, OverlayPrefix::Trusted), (4, OverlayPrefix::User)] {
        let dir = scratch.join(format!("layers-{jobs}-{prefix:?}"));
        let mut overlay = Overlay::default();
        overlay.prefix = prefix;
        let mut unpack = image.unpack().program(program()).jobs(jobs);
        unpack.options_mut().mode = Mode::Overlay(overlay);
        let layers = unpack.layers(&dir).expect("layers");
        assert_eq!(layers.userxattr, prefix == OverlayPrefix::User);
        assert_same("mounted, flat", &Tree::read(&mounted(&scratch, &layers)), &want, &MOUNT);
        assert_eq!(names(&dir).len(), image.layers().len());
    }
}

/// None of them lists its root, nor the directories that it needs.
#[test]
fn the_times_of_an_image_do_not_depend_on_when_it_is_applied() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let layout = Layout::new().layer(&tar().file("d/f", "1").with(|e| _ = e.mtime_ns(5, 6)), Packing::Gzip);
    layout
        .layer(&tar().whiteout("d/f").file("e/f", "2").with(|e| _ = e.mtime(7)), Packing::Plain)
        .write(&scratch.join("oci"));
    let image = open(&scratch.join("oci")).expect("opened");
    let [first, second] = ["1", "2"].map(|number| {
        let flat = scratch.join(format!("flat-{number}"));
        flatten(&image, &flat).expect("flattened");
        let dir = scratch.join(format!("layers-{number}"));
        let layers = image.unpack().program(program()).layers(&dir).expect("layers");
        [Tree::read(&flat)].into_iter().chain(layers.dirs.iter().map(|dir| Tree::read(&dir.path))).collect::<Vec<_>>()
    });
    for (one, other) in first.iter().zip(&second) {
        // A whiteout is nothing that anybody sees.
        assert_same("the second time", one, other, &[crate::support::tree::But::Of("char", "mtime")]);
    }
    let times = [".", "d", "e"].map(|path| first[0].get(path, "mtime").to_owned());
    assert_eq!(times, ["5.000000006", "5.000000006", "7.000000000"]);
}

#[test]
fn stack_and_flat_are_one_tree() {
    if !need_root() {
        return;
    }
    one_tree(&sample());
    // The root's own metadata comes from the topmost layer that says it.
    let root = |mode| move |e: &mut crate::support::tarball::Entry| _ = e.mode(mode).uid(3).mtime(9);
    let said = Layout::new().layer(&tar().dir("./").with(root(0o700)).file("a", "1"), Packing::Gzip);
    one_tree(&said.clone().layer(&tar().file("b", "2"), Packing::Gzip));
    one_tree(&said.layer(&tar().dir("./").with(root(0o711)), Packing::Gzip).layer(&tar().opaque(""), Packing::Plain));
    // A whiteout of nothing, in a directory that only this layer has.
    one_tree(&Layout::new().layer(&tar().file("d/x", "x").whiteout("d/y"), Packing::Gzip));
}

#[test]
fn stack_names_may_hold_what_mount_takes_for_its_own() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    let image = open(&scratch.join("oci")).expect("opened");
    let layers = image.unpack().program(program()).layers(scratch.join(r"a:b,c\d")).expect("layers");
    assert!(line(&mounted(&scratch, &layers)).contains("deep/er/x=x"));
}

/// The order of what happens, with two layers at once.
#[test]
fn stack_a_layer_that_needs_no_lower_one_does_not_wait() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let listed = |name: &str| tar().dir("./").dir("d").file(format!("d/{name}"), name);
    let layout = Layout::new()
        .layer(&listed("a"), Packing::Gzip)
        .layer(&listed("b"), Packing::Gzip)
        .layer(&tar().file("d/c", "c"), Packing::Gzip);
    layout.write(&scratch.join("oci"));
    let waited = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&waited);
    let image = open(&scratch.join("oci")).expect("opened");
    let unpack = image.unpack().program(program()).jobs(2).on_step(move |step| {
        if matches!(step.what, What::Waiting) {
            told.lock().expect("steps").push(step.layer);
        }
    });
    let layers = unpack.layers(scratch.join("layers")).expect("layers");
    assert_eq!(*waited.lock().expect("steps"), [2]);
    assert_eq!(line(&mounted(&scratch, &layers)), "d/ d/a=a d/b=b d/c=c");
}

#[test]
fn stack_one_bad_layer_ends_the_others_and_leaves_nothing() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    for bad in 0..5 {
        let mut layout = Layout::new();
        for at in 0..5 {
            let good = tar().file(format!("dir/{at}"), vec![b'x'; 200_000]);
            layout = layout.layer(&if at == bad { good.hardlink("h", "missing") } else { good }, Packing::Zstd);
        }
        let dir = scratch.join(format!("oci{bad}"));
        layout.write(&dir);
        let image = open(&dir).expect("opened");
        let error = image.unpack().program(program()).jobs(3).layers(scratch.join("layers")).expect_err("bad");
        let layer = error.layer().expect("a layer");
        assert_eq!((error.kind(), layer.number), (ErrorKind::Entry, bad + 1), "{error}");
        std::fs::remove_dir_all(dir).expect("scratch");
        assert_eq!(names(scratch.path()), Vec::<String>::new());
    }
}

/// As many as overlayfs mounts; relative names, for the page that the kernel takes.
#[test]
fn stack_of_many_layers() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let mut layout = Layout::new();
    for at in 0..150 {
        layout = layout.layer(&tar().file(format!("d/{at}"), "").whiteout(format!("d/{}", at - 1)), Packing::Plain);
    }
    layout.write(&scratch.join("oci"));
    let image = open(&scratch.join("oci")).expect("opened");
    let layers: Layers = image.unpack().program(program()).layers(scratch.join("layers")).expect("layers");
    let relative = layers.mount_options_in(&scratch.join("layers"));
    assert!(relative.len() < 4096 && layers.mount_options().len() > 4096);
    let flat = scratch.join("flat");
    flatten(&image, &flat).expect("flattened");
    assert_eq!(line(&flat), "d/ d/149=");
}
