//! A part of an image, or one whose owners are others.

use super::{line, tar};
use crate::support::layout::{Layout, Packing};
use crate::support::privilege::need_root;
use crate::support::run::program_path;
use crate::support::scratch::Scratch;
use crate::support::tree::Tree;
use std::path::PathBuf;
use std::process::{Command, Output};

fn run(scratch: &Scratch, options: &[&str]) -> Output {
    let mut command = Command::new(program_path());
    command.args(["image", "oci", "root"]).args(options).current_dir(scratch.path());
    command.output().expect("the program")
}

/// The tree of the image with these options.
fn made(scratch: &Scratch, options: &[&str]) -> PathBuf {
    let root = scratch.join("root");
    drop(std::fs::remove_dir_all(&root));
    let output = run(scratch, options);
    assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
    root
}

/// What is selected of all layers together: a whiteout counts under the name that it hides, and one of a directory for
/// all below it.
#[test]
fn image_takes_what_is_selected_of_all_layers_together() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let one = tar().dir("etc").file("etc/a", "1").file("etc/b", "1").dir("usr").file("usr/x", "1").file("v/w/x", "1");
    let one = one.file("o/old.conf", "1").file("etcetera", "1");
    let two = tar().whiteout("etc/b").file("usr/y", "2").whiteout("v").dir("o").opaque("o").file("o/new.conf", "2");
    let two = two.whiteout("etcetera");
    Layout::new().layer(&one, Packing::Gzip).layer(&two, Packing::Gzip).write(&scratch.join("oci"));
    for (options, want) in [
        (&["--include", "etc"][..], "etc/ etc/a=1"),
        (&["--include", "etc/b"], "etc/"),
        (&["--include", "etc/b", "--include", "etc/a"], "etc/ etc/a=1"),
        (&["--include", "usr/*"], "usr/ usr/x=1 usr/y=2"),
        (&["--include", "v/w/x"], ""),
        (&["--include", "*.conf"], "o/ o/new.conf=2"),
        (&["--include", "o/*", "--exclude", "*new*"], "o/"),
        (&["--exclude", "usr", "--exclude", "o"], "etc/ etc/a=1"),
        (&["--include", "y", "--strip-components", "1"], "y=2"),
    ] {
        assert_eq!(line(&made(&scratch, options)), want, "{options:?}");
    }
    // In place, what is not selected is left alone.
    std::fs::create_dir_all(scratch.join("root/v")).expect("root");
    std::fs::write(scratch.join("root/etcetera"), "mine").expect("file");
    let output = run(&scratch, &["--in-place", "--include", "etc"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(line(&scratch.join("root")), "etc/ etc/a=1 etcetera=mine v/ y=2");
}

#[test]
fn image_has_the_owners_that_are_asked_for() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let tar = tar().file("root", "").file("user", "").with(|entry| _ = entry.uid(1000).gid(100));
    Layout::new().layer(&tar, Packing::Gzip).write(&scratch.join("oci"));
    for (options, want) in [
        (&["--uid-map", "0:100000:65536", "--gid-map", "0:200000:65536"][..], ["100000:200000", "101000:200100"]),
        (&["--chown", "7:8"], ["7:8", "7:8"]),
        (&["--no-same-owner"], ["0:0", "0:0"]),
    ] {
        let tree = Tree::read(&made(&scratch, options));
        let owner = |file| format!("{}:{}", tree.get(file, "uid"), tree.get(file, "gid"));
        assert_eq!(["root", "user"].map(owner), want, "{options:?}");
    }
    // In a store they are for all who come after.
    let mut command = Command::new(program_path());
    command.args(["image", "oci", "--store", "store", "--chown", "7:8"]).current_dir(scratch.path());
    assert_eq!(command.output().expect("the program").status.code(), Some(2));
    for wrong in
        [&["--chown", "7:8", "--no-same-owner"][..], &["--uid-map", "0:1:0"], &["--uid-map", "0:1:1", "--chown", "7:8"]]
    {
        assert_eq!(run(&scratch, wrong).status.code(), Some(2), "{wrong:?}");
    }
}
