//! `Untar::destination`: a path inside the root, resolved only after the root has been entered.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use untar_in_root::{Cause, Error, ErrorKind, Options, Refusal, Report};

use crate::support::run::{layer, line, literal, untar};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;
use crate::support::tree::Tree;

fn tar() -> Tarball {
    Tarball::new()
}

/// Into `destination` of a root that `prepare` has filled; the outcome and the root's tree.
fn into(destination: &str, prepare: impl FnOnce(&Path), archive: Tarball) -> (Result<Report, Error>, String) {
    let scratch = Scratch::new();
    let guarded = scratch.guarded();
    prepare(&guarded.dest());
    let result = untar(&guarded.dest(), literal).destination(destination).apply(&archive.build()[..]);
    guarded.assert_untouched();
    (result, line(&Tree::read(&guarded.dest())))
}

#[track_caller]
fn leads_to(destination: &str, prepare: impl FnOnce(&Path), archive: Tarball, want: &str) {
    let (result, tree) = into(destination, prepare, archive);
    result.expect("applied");
    assert_eq!(tree, want, "{destination}");
}

fn nothing(_: &Path) {}

#[test]
fn a_missing_destination_is_made_0755() {
    for destination in ["a/b", "/a/b", "a//b/", "./a/b/.", "a/c/../b"] {
        let scratch = Scratch::new();
        untar(scratch.path(), literal)
            .destination(destination)
            .apply(&tar().file("f", "1").build()[..])
            .expect("applied");
        let tree = Tree::read(scratch.path());
        assert_eq!(tree.get("a/b/f", "content"), "1", "{destination}");
        assert_eq!((tree.get("a", "mode"), tree.get("a/b", "mode")), ("0755", "0755"));
    }
}

#[test]
fn the_root_itself_is_the_default() {
    for destination in ["", ".", "/", "./"] {
        leads_to(destination, nothing, tar().file("f", "1"), "f=1");
    }
}

#[test]
fn dots_stop_at_the_root() {
    for (destination, want) in [("..", "a/ f=1"), ("../../a", "a/ a/f=1"), ("a/../../../a", "a/ a/f=1")] {
        let (result, tree) = into(destination, |root| fs::create_dir(root.join("a")).expect("a"), tar().file("f", "1"));
        // As in a chroot: never outside (`into` has looked).
        result.expect("applied");
        assert_eq!(tree, want, "{destination}");
    }
}

#[test]
fn symlinks_resolve_against_the_root() {
    for target in ["/real", "real", "../../real", "/../real", "./real/"] {
        let prepare = |root: &Path| {
            fs::create_dir(root.join("real")).expect("dir");
            symlink(target, root.join("link")).expect("link");
        };
        leads_to("link", prepare, tar().file("f", "1"), &format!("link->{target} real/ real/f=1"));
        let prepare = |root: &Path| {
            fs::create_dir_all(root.join("real/sub")).expect("dir");
            symlink(target, root.join("link")).expect("link");
        };
        leads_to("link/sub", prepare, tar().file("f", "1"), &format!("link->{target} real/ real/sub/ real/sub/f=1"));
    }
}

#[test]
fn rule_06_a_destination_behind_a_link_must_be_there() {
    // `/etc` of the host exists; the root's does not, and is not made either.
    for (target, destination, resolved) in [
        ("/etc", "link", "/etc"),
        ("/etc", "link/a/b", "/etc"),
        ("/real", "link/sub/below", "/real/sub"),
        ("real", "link/sub", "/real/sub"),
        ("real/gone", "link", "/real/gone"),
        ("../../gone", "real/../link", "/gone"),
        ("/real", "link/../new", "/new"),
    ] {
        let prepare = |root: &Path| {
            fs::create_dir(root.join("real")).expect("dir");
            symlink(target, root.join("link")).expect("link");
        };
        let (result, tree) = into(destination, prepare, tar().file("f", "1"));
        let error = result.expect_err("nothing is there");
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Root, Some(2)), "{destination}: {error:?}");
        assert!(error.to_string().contains(&format!("{resolved:?}")), "{destination}: {error}");
        assert_eq!(tree, format!("link->{target} real/"), "{destination}");
    }
    // What comes before the link is made, as without one.
    let (result, tree) = into("new/../link", |root| symlink("gone", root.join("link")).expect("link"), tar());
    assert_eq!((result.expect_err("dangling").raw_os_error(), &*tree), (Some(2), "link->gone new/"));
}

#[test]
fn an_absolute_symlink_to_the_host_stays_inside() {
    let prepare = |root: &Path| {
        symlink("/etc", root.join("link")).expect("link");
        fs::create_dir(root.join("etc")).expect("dir");
    };
    leads_to("link", prepare, tar().file("passwd", "1"), "etc/ etc/passwd=1 link->/etc");
}

#[test]
fn names_may_not_climb_above_the_destination() {
    for name in ["../x", "a/../../x", "/../x"] {
        let (result, tree) = into("d", nothing, tar().file(name, ""));
        assert_eq!(result.expect_err("climbs").kind(), ErrorKind::Refused);
        assert_eq!(tree, "d/");
    }
}

#[test]
fn hardlink_targets_are_relative_to_the_destination() {
    let prepare = |root: &Path| fs::write(root.join("f"), "root's").expect("file");
    for target in ["f", "/f", "./f"] {
        leads_to("d", prepare, tar().file("f", "1").hardlink("h", target), "d/ d/f=1 d/h==d/f f=root's");
    }
    let (result, _) = into("d", prepare, tar().hardlink("h", "../f"));
    assert_eq!(result.expect_err("climbs").kind(), ErrorKind::Refused);
    let (result, _) = into("d", prepare, tar().hardlink("h", "f"));
    assert!(result.expect_err("missing").to_string().contains('f'));
}

#[test]
fn symlinked_parents_in_the_archive_resolve_against_the_root() {
    // As in the finished system, where the root is `/`: not against the destination.
    leads_to(
        "d",
        |root| fs::create_dir(root.join("e")).expect("dir"),
        tar().symlink("l", "/e").file("l/f", "1").symlink("m", "../e").file("m/g", "2"),
        "d/ d/l->/e d/m->../e e/ e/f=1 e/g=2",
    );
}

#[test]
fn whiteouts_are_relative_to_the_destination() {
    let scratch = Scratch::new();
    for name in ["keep", "d/keep", "d/gone", "d/s/gone"] {
        fs::create_dir_all(scratch.join(name).parent().expect("parent")).expect("dir");
        scratch.file(name, "");
    }
    let archive = tar().whiteout("gone").opaque("s").whiteout("../keep");
    let error = untar(scratch.path(), layer).destination("d").apply(&archive.build()[..]).expect_err("climbs");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(line(&Tree::read(scratch.path())), "d/ d/keep= d/s/ keep=");
    untar(scratch.path(), layer).destination("d").apply(&tar().opaque("").build()[..]).expect("applied");
    assert_eq!(line(&Tree::read(scratch.path())), "d/ keep=");
}

#[test]
fn the_root_entry_is_the_destination() {
    let scratch = Scratch::new();
    let archive = tar().dir("./").with(|e| _ = e.mode(0o711).mtime(7)).file("f", "");
    untar(scratch.path(), literal).destination("d").apply(&archive.build()[..]).expect("applied");
    let tree = Tree::read(scratch.path());
    assert_eq!((tree.get("d", "mode"), tree.get("d", "mtime")), ("0711", "7.000000000"));
    assert_eq!(tree.get(".", "mode"), "0755");
}

#[test]
fn rule_03_the_destination_is_not_replaced_whichever_way_a_name_leads_there() {
    type Add = fn(Tarball, &str) -> Tarball;
    let takes: [Add; 4] = [
        |tar, name| tar.file(name, "new"),
        |tar, name| tar.symlink(name, "/"),
        |tar, name| tar.fifo(name),
        |tar, name| tar.file("f", "").hardlink(name, "f"),
    ];
    for (mode, take) in [literal as fn(&mut Options), layer].into_iter().flat_map(|mode| takes.map(|take| (mode, take)))
    {
        // The destination, and the directory above it.
        for (name, target) in [("l/in", ".."), ("l/to", "../.."), ("l/to", "/"), ("l/to/in", "/")] {
            let scratch = Scratch::new();
            let archive = take(tar().symlink("l", target), name).build();
            let error = untar(scratch.path(), mode).destination("to/in").apply(&archive[..]).expect_err("refused");
            let refused =
                error.failure().is_some_and(|failure| failure.cause == Cause::Refused(Refusal::RootNotDirectory));
            assert!(refused, "{name} {target}: {error:?}");
            assert_eq!(Tree::read(scratch.path()).get("to/in/l", "target"), target);
        }
    }
    // A directory is merged, and what comes after it is made there.
    let archive = tar().symlink("l", "/").dir("l/to").dir("l/to/in").file("f", "1");
    leads_to("to/in", nothing, archive, "to/ to/in/ to/in/f=1 to/in/l->/");
}

#[test]
fn rule_07_a_marker_hides_what_is_in_the_destination_and_not_the_destination() {
    for (marker, want) in [
        (tar().whiteout("l/to"), "to/ to/in/ to/in/f=1"),
        (tar().whiteout("l/to/in"), "to/ to/in/ to/in/f=1 to/side/"),
        (tar().opaque("l"), "to/ to/in/ to/in/f=1"),
        (tar().opaque("l/to/in"), "to/ to/in/ to/in/f=1 to/side/"),
    ] {
        let scratch = Scratch::new();
        fs::create_dir_all(scratch.join("to/in")).expect("dirs");
        scratch.dir("to/side");
        scratch.file("to/in/old", "");
        // A link of before, so that nothing of this archive is there when the marker comes.
        symlink("/", scratch.join("to/in/l")).expect("link");
        untar(scratch.path(), layer).destination("to/in").apply(&marker.file("f", "1").build()[..]).expect("applied");
        assert_eq!(line(&Tree::read(scratch.path())), want);
    }
}

#[test]
fn a_destination_that_is_no_directory_is_an_error() {
    let prepare = |root: &Path| {
        fs::write(root.join("f"), "1").expect("file");
        symlink("loop", root.join("loop")).expect("link");
    };
    for destination in ["f", "f/x", "loop", "loop/x"] {
        let (result, tree) = into(destination, prepare, tar().file("g", ""));
        let error = result.expect_err(destination);
        assert_eq!(error.kind(), ErrorKind::Root, "{destination}: {error:?}");
        assert!(matches!(error.raw_os_error(), Some(20 | 40)), "{destination}: {error:?}");
        assert_eq!(tree, "f=1 loop->loop");
    }
}

#[test]
fn a_missing_root_is_an_error() {
    let scratch = Scratch::new();
    let error = untar_in_root::Untar::open(scratch.join("missing")).expect_err("missing");
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Root, Some(2)));
    assert!(error.to_string().contains("missing"), "{error}");
    let error = untar_in_root::Untar::open(scratch.file("file", "")).expect_err("a file");
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Root, Some(20)));
}

#[test]
fn the_root_is_the_directory_that_was_opened() {
    // Renamed and replaced between the decision and the use.
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    let untar = untar(&root, literal);
    fs::rename(&root, scratch.join("moved")).expect("rename");
    scratch.dir("root");
    untar.apply(&tar().file("f", "1").build()[..]).expect("applied");
    assert!(scratch.join("moved/f").exists() && !scratch.join("root/f").exists());
}

#[test]
fn nothing_is_written_for_the_switch() {
    let scratch = Scratch::new();
    let before = fs::symlink_metadata(scratch.path()).expect("metadata");
    untar(scratch.path(), literal).apply(&tar().build()[..]).expect("applied");
    let after = fs::symlink_metadata(scratch.path()).expect("metadata");
    assert_eq!((before.ctime(), before.ctime_nsec()), (after.ctime(), after.ctime_nsec()));
    assert_eq!(before.permissions().mode(), after.permissions().mode());
}

#[test]
fn a_removed_root_is_an_error() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    let untar = untar(&root, literal);
    fs::remove_dir(&root).expect("rmdir");
    let error = untar.apply(&tar().file("f", "1").build()[..]).expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::Entry, "{error:?}");
}
