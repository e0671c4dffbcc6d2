//! A real Debian root file system: every entry as GNU tar makes it, in each compression; two layers on it.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use untar_in_root::{Compression, Report};

use crate::support::debian::{Debian, debian};
use crate::support::privilege::need_root;
use crate::support::run::{layer, literal, untar};
use crate::support::scratch::Scratch;
use crate::support::tree::{But, Tree, assert_same, compare_but};

fn ready() -> Option<&'static Debian> {
    if need_root() { debian() } else { None }
}

/// What GNU tar makes of it.
fn gnu_tar(archive: &Path, dest: &Path) {
    let status = Command::new("tar")
        .args(["--numeric-owner", "--acls", "--xattrs", "--xattrs-include=*", "-xpf"])
        .arg(archive)
        .arg("-C")
        .arg(dest)
        .status()
        .expect("tar");
    assert!(status.success());
}

fn ours(archive: &Path, dest: &Path, change: fn(&mut untar_in_root::Options)) -> Report {
    untar(dest, change).compute_digest().apply_fd(File::open(archive).expect("archive")).expect("applied")
}

#[test]
fn the_root_in_four_compressions_is_as_gnu_tar_makes_it() {
    let Some(debian) = ready() else { return };
    let scratch = Scratch::new();
    let want = scratch.dir("gnu");
    gnu_tar(&debian.root("tar"), &want);
    let want = Tree::read(&want);
    assert!(want.paths().len() > 5000, "{} entries", want.paths().len());
    let mut diff_ids = Vec::new();
    for (suffix, format) in [
        ("tar", Compression::None),
        ("tar.gz", Compression::Gzip),
        ("tar.zst", Compression::Zstd),
        ("tar.xz", Compression::Xz),
    ] {
        let place = Scratch::new();
        let report = ours(&debian.root(suffix), place.path(), literal);
        assert_same(suffix, &Tree::read(place.path()), &want, &[]);
        assert_eq!((report.compression, report.event_count), (format, 0), "{:?}", report.events);
        assert_eq!(report.entries.total(), want.paths().len() as u64);
        diff_ids.push(report.diff_id);
    }
    diff_ids.dedup();
    assert_eq!(diff_ids.len(), 1, "one content, one diff ID");
}

#[test]
fn two_layers_lead_to_the_expected_tree() {
    let Some(debian) = ready() else { return };
    let dest = Scratch::new();
    ours(&debian.root("tar.zst"), dest.path(), layer);
    for number in [1, 2] {
        let report = ours(&debian.layer(number), dest.path(), layer);
        assert!(report.entries.whiteouts > 0 && report.event_count == 0, "{:?}", report.events);
        let want = Scratch::new();
        gnu_tar(&debian.expected(number), want.path());
        let (got, want) = (Tree::read(dest.path()), Tree::read(want.path()));
        // Times of directories that no layer lists are not the same.
        let lines = compare_but(&got, &want, &[But::Of("dir", "mtime")]);
        assert_eq!(lines, Vec::<String>::new(), "layer {number}");
    }
}

#[test]
fn applying_the_root_again_changes_nothing() {
    let Some(debian) = ready() else { return };
    let dest = Scratch::new();
    ours(&debian.root("tar.zst"), dest.path(), literal);
    let first = Tree::read(dest.path());
    ours(&debian.root("tar.zst"), dest.path(), layer);
    assert_same("again", &Tree::read(dest.path()), &first, &[]);
}
