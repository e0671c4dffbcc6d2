//! The Debian root is real, and its layers lead where `expected` says, by GNU tar and a naive loop.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::debian::{Debian, debian};
use crate::support::privilege::need_root;
use crate::support::scratch::Scratch;
use crate::support::tree::{But, Tree, assert_same};

/// GNU tar needs root for the devices and owners.
fn debian_for_root() -> Option<&'static Debian> {
    if need_root() { debian() } else { None }
}

fn gnu_tar() -> Command {
    let mut tar = Command::new("tar");
    tar.args(["--numeric-owner", "--acls", "--xattrs", "--xattrs-include=*"]);
    tar
}

fn unpack(archive: &Path, dest: &Path) {
    let status = gnu_tar().args(["--exclude=.wh.*", "-xpf"]).arg(archive).arg("-C").arg(dest).status();
    assert!(status.expect("tar").success(), "{}", archive.display());
}

/// Removes what the markers of this layer name, and directories where something else is to come:
/// both before its entries are unpacked.
fn hide(layer: &Path, dest: &Path) {
    let output = Command::new("tar").arg("-tf").arg(layer).output().expect("tar");
    let names = String::from_utf8(output.stdout).expect("ASCII names");
    for name in names.lines() {
        let hidden = match name.split_once(".wh.") {
            Some((parent, ".wh..opq")) => children(&dest.join(parent)),
            Some((parent, name)) => vec![dest.join(parent).join(name)],
            None if !name.ends_with('/') && is_dir(&dest.join(name)) => vec![dest.join(name)],
            None => continue,
        };
        assert!(Command::new("rm").args(["-rf", "--"]).args(hidden).status().expect("rm").success(), "{name}");
    }
}

fn children(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).expect("opaque").map(|entry| entry.expect("entry").path()).collect()
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_dir())
}

#[test]
fn debian_is_real() {
    let Some(debian) = debian_for_root() else { return };
    let scratch = Scratch::new();
    let dest = scratch.dir("root");
    unpack(&debian.root("tar.gz"), &dest);
    let tree = Tree::read(&dest);
    assert!(tree.paths().len() > 5000, "{}", tree.paths().len());
    assert!(!tree.get("usr/bin/ping", "xattr.security.capability").is_empty());
    assert_eq!(tree.get("usr/bin/passwd", "mode"), "4755");
    assert_eq!((tree.get("lib", "target"), tree.get("dev/null", "rdev")), ("usr/lib", "1,3"));
    assert_eq!(tree.get("usr/local/bin/env-again", "link"), "usr/bin/env");
}

#[test]
fn debian_layers_lead_to_what_is_expected() {
    let Some(debian) = debian_for_root() else { return };
    let scratch = Scratch::new();
    let (got, want) = (scratch.dir("got"), scratch.dir("want"));
    unpack(&debian.root("tar"), &got);
    for number in [1, 2] {
        hide(&debian.layer(number), &got);
        unpack(&debian.layer(number), &got);
    }
    unpack(&debian.expected(2), &want);
    assert_same("two layers", &Tree::read(&got), &Tree::read(&want), &[But::Of("dir", "mtime")]);
}
