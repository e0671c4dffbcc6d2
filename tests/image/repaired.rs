//! A store whose layers are named shortly, and whose damaged layers are made again.

use super::{line, mounted, names, open, tar};
use crate::support::layout::{Layout, Packing};
use crate::support::privilege::need_root;
use crate::support::run::program;
use crate::support::scratch::Scratch;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use untar_in_root::image::{Difference, Image, Layers, Store};

fn put(image: &Image, store: &Store, name: &str) -> Layers {
    image.unpack().program(program()).into_store(store, name).expect("put")
}

/// For each layer, whether it was found.
fn found(layers: &Layers) -> Vec<bool> {
    layers.dirs.iter().map(|dir| dir.report.is_none()).collect()
}

/// Each layer has a file of its own number, and one that all have.
fn image(scratch: &Scratch, name: &str, layers: &[&str]) -> Image {
    let mut layout = Layout::new();
    for layer in layers {
        layout = layout.layer(&tar().file(format!("d/{layer}"), layer).file("top", layer), Packing::Plain);
    }
    layout.write(&scratch.join(name));
    open(&scratch.join(name)).expect("opened")
}

fn differences(store: &Store) -> Vec<Difference> {
    store.verify().expect("verified").differences
}

/// Debian 12's mount(8) hands the kernel one page.
#[test]
fn store_of_a_hundred_layers_is_mounted_by_its_line() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let numbers: Vec<String> = (0..100).map(|at| at.to_string()).collect();
    let image = image(&scratch, "oci", &numbers.iter().map(String::as_str).collect::<Vec<_>>());
    let store = Store::open_or_make(scratch.join("store")).expect("store");
    let layers = put(&image, &store, "x");
    let place = scratch.dir("merged");
    let mut mount = Command::new("mount");
    mount.args(["-r", "-t", "overlay", "overlay", "-o"]).arg(layers.mount_options()).arg(&place).current_dir("/");
    let done = mount.output().expect("mount(8)");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!((names(&place.join("d")).len(), fs::read(place.join("top")).expect("top")), (100, b"99".to_vec()));
    for layer in &layers.dirs {
        assert_eq!(fs::canonicalize(&layer.short).expect("a link"), fs::canonicalize(&layer.path).expect("a tree"));
    }
    assert_eq!(put(&image, &store, "y").mount_options(), layers.mount_options());
}

#[test]
fn store_names_step_over_what_is_there_and_go_with_their_layers() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let image = image(&scratch, "oci", &["one", "two"]);
    let store = Store::open_or_make(scratch.join("store")).expect("store");
    let hex = image.chain_ids()[0].to_string()["sha256:".len()..].to_owned();
    let short = store.path().join("l");
    fs::create_dir(&short).expect("names");
    // Somebody's file, another layer's name, and one that leads out.
    fs::write(short.join(&hex[..1]), "").expect("file");
    symlink("../layers/0000/tree", short.join(&hex[..2])).expect("link");
    symlink("/etc", short.join(&hex[..3])).expect("link");
    let layers = put(&image, &store, "x");
    assert_eq!(layers.dirs[0].short, short.join(&hex[..4]));
    assert_eq!(line(&mounted(&scratch, &layers)), "d/ d/one=one d/two=two top=two");
    // What leads to no layer goes; what is no link is not ours.
    store.gc(Some(program())).expect("gc");
    assert_eq!(names(&short).len(), 3);
    store.forget("x").expect("forgotten");
    store.gc(Some(program())).expect("gc");
    assert_eq!(names(&short), [&hex[..1]]);
}

#[test]
fn store_makes_again_what_verify_found_damaged_and_what_is_above() {
    if !need_root() {
        return;
    }
    type Damage = fn(&Path);
    let table: [(&str, Damage); 5] = [
        ("content", |tree| fs::write(tree.join("d/two"), "TWO").expect("file")),
        ("a name less", |tree| fs::remove_file(tree.join("top")).expect("file")),
        ("the record", |tree| fs::write(tree.with_file_name("layer"), "{}").expect("file")),
        ("no record", |tree| fs::remove_file(tree.with_file_name("layer")).expect("file")),
        ("no tree", |tree| fs::remove_dir_all(tree).expect("tree")),
    ];
    for (what, damage) in table {
        let scratch = Scratch::new();
        let image = image(&scratch, "oci", &["one", "two", "three"]);
        let store = Store::open_or_make(scratch.join("store")).expect("store");
        let first = put(&image, &store, "x");
        damage(&first.dirs[1].path);
        let told = differences(&store);
        assert!(told.iter().any(|one| one.damaged() == Some(image.chain_ids()[1])), "{what}: {told:?}");
        assert!(!differences(&store).is_empty(), "{what}: it stays so");
        let second = put(&image, &store, "x");
        assert_eq!(found(&second), [true, false, false], "{what}");
        assert_eq!(second.mount_options(), first.mount_options(), "{what}");
        assert_eq!(line(&mounted(&scratch, &second)), "d/ d/one=one d/three=three d/two=two top=three", "{what}");
        assert!(differences(&store).is_empty(), "{what}: what is aside is no difference");
        assert_eq!(found(&put(&image, &store, "x")), [true; 3], "{what}");
        // What may be mounted stays until it is collected.
        assert_eq!(names(&store.path().join("layers")).len(), 5, "{what}");
        store.gc(Some(program())).expect("gc");
        assert_eq!(names(&store.path().join("layers")).len(), 3, "{what}");
    }
}

/// A layer that was made from what was damaged is as it was made, and wrong all the same.
#[test]
fn store_hands_out_no_other_images_layer_on_a_damaged_one() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let store = Store::open_or_make(scratch.join("store")).expect("store");
    let (one, other) = (image(&scratch, "a", &["base", "a"]), image(&scratch, "b", &["base", "b"]));
    let layers = put(&one, &store, "a");
    put(&other, &store, "b");
    fs::write(layers.dirs[0].path.join("top"), "BASE").expect("file");
    assert_eq!(differences(&store).len(), 1);
    assert_eq!(found(&put(&one, &store, "a")), [false, false]);
    assert_eq!(found(&put(&other, &store, "b")), [true, false]);
    assert_eq!(found(&put(&other, &store, "b")), [true, true]);
}
