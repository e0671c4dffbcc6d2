//! fuse-overlayfs as the destination: it knows no device 0:0 and no trusted.overlay.* of anybody else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use untar_in_root::image::{Problem, Store, StoreProblem};
use untar_in_root::{EventKind, Mode, OverlayPrefix};

use crate::support::privilege::{need_root, need_tools, skip};
use crate::support::run::{apply, layer, line, literal, over};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;
use crate::support::tree::Tree;

fn tar() -> Tarball {
    Tarball::new()
}

/// A mounted one, over a lower directory.
fn fuse(scratch: &Scratch) -> Option<PathBuf> {
    if !need_root() || !need_tools(&["fuse-overlayfs"]) {
        return None;
    }
    let [lower, upper, work, merged] = ["f-lower", "f-upper", "f-work", "fuse"].map(|name| scratch.dir(name));
    let layers = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let output = Command::new("fuse-overlayfs").args(["-o", &layers]).arg(&merged).output().expect("fuse-overlayfs");
    if !output.status.success() {
        skip(&format!("fuse-overlayfs cannot be mounted: {}", String::from_utf8_lossy(&output.stderr)));
        return None;
    }
    Some(merged)
}

/// `a/ a/f=f a/s/ a/s/g=g t=t`
fn lower() -> Tarball {
    tar().dir("a").file("a/f", "f").dir("a/s").file("a/s/g", "g").file("t", "t")
}

#[test]
fn an_upper_directory_on_fuse_overlayfs_has_marks_as_attributes() {
    let scratch = Scratch::new();
    let Some(fuse) = fuse(&scratch) else { return };
    let (below, upper) = (scratch.dir("lower"), scratch.dir(fuse.join("upper")));
    apply(&below, &lower().build(), layer).expect("lower");
    let archive = tar().whiteout("t").whiteout("a/f").opaque("a/s").file("a/s/n", "n");
    let report = apply(&upper, &archive.build(), |o| o.mode = Mode::Overlay(over([&below]))).expect("applied");
    let told: Vec<_> = report.events.iter().map(|event| &event.what).collect();
    assert_eq!((told, report.user_marks), (vec![&EventKind::UserMarks], true));
    // A device tried as a whiteout would hide it all.
    assert_eq!(line(&Tree::read(&upper)), "a/ a/f= a/s/ a/s/n=n t=");
    // As it lies on the disk below: x says that there are whiteouts of this form.
    for (path, name, want) in [
        ("t", "user.overlay.whiteout", b'y'),
        ("", "user.overlay.opaque", b'x'),
        ("a/f", "user.overlay.whiteout", b'y'),
        ("a", "user.overlay.opaque", b'x'),
        ("a/s", "user.overlay.opaque", b'y'),
    ] {
        let mut value = [0u8; 1];
        let read = rustix::fs::getxattr(scratch.join("f-upper/upper").join(path), name, &mut value);
        assert_eq!((read, value), (Ok(1), [want]), "{path}");
    }
}

#[test]
fn trusted_marks_on_fuse_overlayfs_are_refused_by_name() {
    let scratch = Scratch::new();
    let Some(fuse) = fuse(&scratch) else { return };
    for (name, archive) in [("opaque", tar().dir("d").opaque("d")), ("whiteout", tar().dir("d").whiteout("d/gone"))] {
        let run = |prefix: OverlayPrefix| {
            let upper = scratch.dir(fuse.join(format!("{name}-{prefix:?}")));
            apply(&upper, &archive.build(), |o| o.mode = Mode::Overlay(over::<&Path>([]).prefix(prefix)))
        };
        let error = run(OverlayPrefix::Trusted).expect_err("refused");
        assert_eq!(error.advice(), Some(untar_in_root::Advice::UserMarks), "{name}: {error}");
        // What it says.
        run(OverlayPrefix::User).expect("applied");
    }
}

/// What its layers hide would be in sight wherever they are mounted.
#[test]
fn a_store_on_fuse_overlayfs_is_refused_by_name() {
    let scratch = Scratch::new();
    let Some(fuse) = fuse(&scratch) else { return };
    let error = Store::open_or_make(fuse.join("store")).expect_err("refused");
    assert_eq!(error.image_problem(), Some(&Problem::Store(StoreProblem::Marks)), "{error}");
    assert_eq!(fs::read_dir(fuse.join("store")).expect("store").count(), 0);
    // What it says.
    Store::open_or_make(scratch.join("store")).expect("elsewhere");
}

#[test]
fn the_other_modes_on_fuse_overlayfs_are_as_anywhere() {
    let scratch = Scratch::new();
    let Some(fuse) = fuse(&scratch) else { return };
    let many = (0..300).fold(tar(), |tar, i| tar.dir(format!("d{i}")).file(format!("d{i}/f"), "f"));
    let many =
        (0..300).fold(many, |tar, i| tar.file(format!("d{i}/g"), "g").hardlink(format!("d{i}/h"), format!("d{i}/f")));
    let [there, here] = [scratch.dir(fuse.join("many")), scratch.dir("here")];
    for place in [&there, &here] {
        apply(place, &many.build(), literal).expect("applied");
        apply(place, &tar().whiteout("d7").opaque("d8").file("d9", "9").build(), layer).expect("a layer");
    }
    assert_eq!(line(&Tree::read(&there)), line(&Tree::read(&here)));
    assert!(fs::metadata(there.join("d7")).is_err());
}
