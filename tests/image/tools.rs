//! A real image of seven layers of Debian packages, built by buildah, against what the tools make of it themselves.
//!
//! Where they differ, and who is right by the image-spec, is listed at each comparison.

use super::{MOUNT, mounted, names, opener};
use crate::support::debian::{debian, debian_image};
use crate::support::privilege::{need_root, need_tools};
use crate::support::run::program;
use crate::support::scratch::Scratch;
use crate::support::tree::{But, Tree, assert_same, compare_but};
use std::path::{Path, PathBuf};
use std::process::Command;
use untar_in_root::image::{Image, Store};

/// The image, and a place for what is made of it.
fn ready() -> Option<(PathBuf, Scratch)> {
    let tools = ["buildah", "skopeo", "umoci", "setfattr", "setcap", "dpkg-deb", "tar"];
    if !need_root() || !need_tools(&tools) {
        return None;
    }
    Some((debian_image(debian()?), Scratch::new()))
}

fn open(source: String, scratch: &Scratch) -> Image {
    opener(source).staging_in(scratch.path()).open().expect("opened")
}

fn flat(source: String, scratch: &Scratch) -> Tree {
    let root = scratch.join("flat");
    open(source, scratch).unpack().program(program()).flatten(&root).expect("flattened");
    let tree = Tree::read(&root);
    std::fs::remove_dir_all(root).expect("scratch");
    tree
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().expect("the tool");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What buildah itself mounts, packed and unpacked by GNU tar. Two things differ: the root directory, which no layer
/// lists (buildah gives its own 0555, we 0755; the specification says nothing), and a time before 1970, which
/// containers/storage makes 0 although the layer has it.
#[test]
fn tools_the_image_is_what_buildah_mounts() {
    let Some((image, scratch)) = ready() else { return };
    let want = scratch.dir("want");
    run(Command::new("tar")
        .args(["--numeric-owner", "--acls", "--xattrs", "--xattrs-include=*", "-xpf"])
        .arg(image.join("mounted.tar"))
        .arg("-C")
        .arg(&want));
    let want = Tree::read(&want);
    assert!(want.paths().len() >= 20_000, "{} entries", want.paths().len());
    for source in [
        format!("oci:{}:gzip", image.join("oci").display()),
        format!("docker-archive:{}", image.join("docker.tar").display()),
    ] {
        let got = flat(source.clone(), &scratch);
        let differences = compare_but(&got, &want, &[But::Path(".")]);
        assert_eq!(differences, ["etc/hostname: mtime -3600.000000000 / 0.000000000"], "{source}");
        println!("{source}: {} entries, {} differences", got.paths().len(), differences.len());
    }
}

/// Flat, mounted, found in a store: no difference.
#[test]
fn tools_the_image_is_one_tree_by_each_route() {
    let Some((image, scratch)) = ready() else { return };
    let source = format!("oci:{}:zstd", image.join("oci").display());
    let want = flat(source.clone(), &scratch);
    let image = open(source, &scratch);
    assert!(image.layers().len() >= 5);
    let layers = image.unpack().program(program()).jobs(4).layers(scratch.join("layers")).expect("layers");
    assert_same("layers, mounted", &Tree::read(&mounted(&scratch, &layers)), &want, &MOUNT);
    let store = Store::open_or_make(scratch.join("store")).expect("store");
    for found in [false, true] {
        let layers = image.unpack().program(program()).into_store(&store, "debian").expect("layers");
        assert!(layers.dirs.iter().all(|dir| dir.report.is_none() == found));
        assert_same("store, mounted", &Tree::read(&mounted(&scratch, &layers)), &want, &MOUNT);
    }
    let verified = store.verify().expect("verified");
    let (count, differences) = (verified.layers, verified.differences);
    assert_eq!((count, differences.len()), (image.layers().len(), 0));
    assert!(names(scratch.path()).iter().all(|name| !name.starts_with('.')));
}

/// What umoci unpacks. It gives the root directory, which no layer lists, a time of 0.
#[test]
fn tools_the_image_is_what_umoci_unpacks() {
    let Some((image, scratch)) = ready() else { return };
    let bundle = scratch.join("bundle");
    umoci(&image.join("oci"), "gzip", &bundle);
    let want = Tree::read(&bundle.join("rootfs"));
    let got = flat(format!("oci:{}:gzip", image.join("oci").display()), &scratch);
    let lines = compare_but(&got, &want, &[But::Path(".")]);
    assert!(lines.is_empty(), "{} differences (ours, umoci's): {:#?}", lines.len(), &lines[..lines.len().min(30)]);
}

fn umoci(layout: &Path, tag: &str, bundle: &Path) {
    run(Command::new("umoci").arg("unpack").arg("--image").arg(format!("{}:{tag}", layout.display())).arg(bundle));
}
