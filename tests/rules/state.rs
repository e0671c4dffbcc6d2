//! "State kept during one run": what the layer touched, what it has hidden, what waits for the end. Its cost is
//! counted in `equivalence/cost.rs`.

use untar_in_root::{Cause, Refusal};

use crate::support::run::{apply, layer, layers};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;
use crate::support::tree::Tree;

fn tar() -> Tarball {
    Tarball::new()
}

/// `a/ a/b/ a/b/old a/old t`
fn lower() -> Tarball {
    tar().dir("a").file("a/old", "").dir("a/b").file("a/b/old", "").file("t", "")
}

#[test]
fn state_upper_holds_ancestors_and_no_markers() {
    // Ancestors, implied ones too, through a link as well: kept under an enclosing marker, in either order.
    for archive in [tar().file("a/b/new", "").whiteout("a"), tar().whiteout("a").file("a/b/new", "")] {
        layers(&[lower(), archive]).leads_to("a/ a/b/ a/b/new= t=");
    }
    layers(&[lower().symlink("l", "a/b"), tar().file("l/new", "").whiteout("a")])
        .leads_to("a/ a/b/ a/b/new= l->a/b t=");
    // A marker touches nothing, be it in a directory that this layer has below another.
    layers(&[lower(), tar().whiteout("a/b/old").whiteout("a")]).leads_to("t=");
    layers(&[lower(), tar().opaque("a/b").opaque("a")]).leads_to("a/ t=");
}

#[test]
fn state_opaqued_holds_for_what_comes_later() {
    // The second marker does not take what came between, nor does a whiteout of what is hidden already.
    let archive = tar().opaque("a").file("a/one", "").opaque("a").file("a/two", "").whiteout("a/one").opaque("a");
    layers(&[lower(), archive]).leads_to("a/ a/one= a/two= t=");
    // A directory that is replaced by another is not opaque any more than new: nothing is left to hide.
    layers(&[lower(), tar().opaque("a").file("a", "f").dir("a").file("a/n", "").opaque("a")]).leads_to("a/ a/n= t=");
}

#[test]
fn state_deferred_goes_with_its_directory() {
    let closed = || tar().dir("a").with(|e| _ = e.mode(0o500).mtime(5)).dir("a/b").with(|e| _ = e.mode(0).mtime(6));
    // Replaced by a file, a link, and a directory that another directory's metadata must not reach.
    layers(&[lower(), closed().file("a", "f")]).leads_to("a=f t=").has("a", "mode", "0644");
    layers(&[lower(), closed().symlink("a", "t")]).leads_to("a->t t=").has("t", "mtime", "3600.000000000");
    let again =
        layers(&[lower(), closed().file("a", "f").file("a", "g").dir("a").with(|e| _ = e.mode(0o711).mtime(9))]);
    again.leads_to("a/ t=").has("a", "mode", "0711").has("a", "mtime", "9.000000000");
    // A marker takes lower directories away whose metadata a lower layer had set: nothing waits for them.
    layers(&[closed(), tar().whiteout("a").file("n", "")]).leads_to("n=");
}

/// What ends the run is not what forgets it.
#[test]
fn state_deferred_stays_with_a_directory_that_does_not_give_way() {
    for (mode, want) in [(0o700, "0700"), (0, "0000"), (0o1777, "1777")] {
        let listed = || tar().dir("d").with(|e| _ = e.mode(mode).mtime(5));
        for (below, archive) in [
            (tar().dir("d"), listed().file("d", "1")),
            (tar(), listed().file("d/f", "1").file("d", "1")),
            (tar(), listed().symlink("d", "x")),
        ] {
            let scratch = Scratch::new();
            apply(scratch.path(), &below.build(), layer).expect("below");
            let error = apply(scratch.path(), &archive.build(), |o| o.no_overwrite_dir_nondir = true);
            let cause = error.expect_err("a conflict").failure().map(|failure| failure.cause.clone());
            assert_eq!(cause, Some(Cause::Refused(Refusal::DirectoryConflict)));
            let tree = Tree::read(scratch.path());
            assert_eq!((tree.get("d", "mode"), tree.get("d", "mtime")), (want, "5.000000000"));
        }
    }
}

#[test]
fn state_cost_of_markers_is_linear() {
    // Every kind of marker at every depth, hundreds of times: each directory is looked through once.
    let mut archive = tar();
    for i in 0..300 {
        archive = archive.file(format!("a/b/f{i}"), "").opaque("a").opaque("a/b").whiteout("a").whiteout("a/b/old");
    }
    let run = layers(&[lower(), archive]);
    assert_eq!(run.report().entries.whiteouts, 1200);
    assert_eq!(run.tree().paths().len(), 304);
    assert!(!run.tree().has("a/old") && !run.tree().has("a/b/old") && run.tree().has("a/b/f0"));
}
