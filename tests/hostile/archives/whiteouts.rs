//! Markers that want to remove what is not theirs.

use std::os::unix::fs::symlink;
use untar_in_root::Refusal;

use super::super::case::{Case, case};
use super::tar;
use crate::support::expected::Expected;
use crate::support::tarball::Tarball;

fn below() -> Tarball {
    tar().dir("d").file("d/a", "1").file("d/b", "2").file("keep", "3").symlink("out", "..").symlink("etc-out", "/etc")
}

pub fn cases() -> Vec<Case> {
    let on_layer = |name, archive: Tarball| case(name, archive).over(below()).layer();
    let same = "d/ d/a=1 d/b=2 etc-out->/etc keep=3 out->..";
    vec![
        // CVE-2026-79699: a whiteout of nothing, of `.` and `..`.
        on_layer("a whiteout of nothing (CVE-2026-79699)", tar().file(".wh.", "")).refused(Refusal::WhiteoutName),
        on_layer("a whiteout of dot", tar().file(".wh..", "")).refused(Refusal::WhiteoutName),
        on_layer("a whiteout of dot-dot", tar().file(".wh...", "")).refused(Refusal::WhiteoutName),
        on_layer("a whiteout of nothing in a directory", tar().file("d/.wh.", "")).refused(Refusal::WhiteoutName),
        on_layer("a whiteout of dot-dot in a directory", tar().file("d/.wh...", "")).refused(Refusal::WhiteoutName),
        on_layer("a whiteout of dot-dot as a directory", tar().dir(".wh.../")).refused(Refusal::WhiteoutName),
        on_layer("a whiteout outside", tar().file("../.wh.victim", "")).refused(Expected::PathEscapes),
        on_layer("a whiteout far outside", tar().file("../../../../tmp/.wh.victim", "")).refused(Expected::PathEscapes),
        on_layer("a whiteout through a symlink out", tar().file("out/.wh.victim", "")).tree(same),
        on_layer("a whiteout through an absolute symlink", tar().file("etc-out/.wh.passwd", "")).tree(same),
        on_layer("a whiteout of a symlink out is of the link", tar().whiteout("out"))
            .tree("d/ d/a=1 d/b=2 etc-out->/etc keep=3"),
        on_layer("an opaque marker through a symlink to the root", tar().file("out/.wh..wh..opq", "")).tree(""),
        on_layer("an opaque marker through a symlink to nowhere", tar().file("etc-out/.wh..wh..opq", "")).tree(same),
        on_layer("an opaque marker outside", tar().file("../.wh..wh..opq", "")).refused(Expected::PathEscapes),
        on_layer("an opaque marker on a file", tar().file("keep/.wh..wh..opq", "")).tree(same),
        on_layer("an opaque root", tar().opaque("").file("new", "4")).tree("new=4"),
        on_layer("a marker in the middle of a name", tar().file(".wh.d/a", "")).refused(Refusal::WhiteoutInPath),
        on_layer("an opaque marker in the middle of a name", tar().file("d/.wh..wh..opq/a", ""))
            .refused(Refusal::WhiteoutInPath),
        on_layer("aufs bookkeeping", tar().file(".wh..wh.plnk/1.2", "x").file("d/.wh..wh.aufs", "x")).tree(same),
        on_layer("a whiteout as a symlink out", tar().symlink("d/.wh.a", "../.."))
            .tree("d/ d/b=2 etc-out->/etc keep=3 out->.."),
        on_layer("a whiteout as a device", tar().char_dev("d/.wh.a", 0, 0))
            .tree("d/ d/b=2 etc-out->/etc keep=3 out->.."),
        on_layer("a whiteout with a body", tar().file("d/.wh.a", "x".repeat(5_000)))
            .tree("d/ d/b=2 etc-out->/etc keep=3 out->.."),
        on_layer("a whiteout by a PAX path", tar().file("d/x", "").with(|e| _ = e.pax("path", "d/.wh.a")))
            .tree("d/ d/b=2 etc-out->/etc keep=3 out->.."),
        on_layer("a whiteout behind dots", tar().file("d/../d/./.wh.a", ""))
            .tree("d/ d/b=2 etc-out->/etc keep=3 out->.."),
        on_layer("a whiteout of what this layer made", tar().file("n", "4").whiteout("n"))
            .tree("d/ d/a=1 d/b=2 etc-out->/etc keep=3 n=4 out->.."),
        on_layer("a whiteout of a directory that becomes a link", {
            tar().whiteout("d").symlink("d", "..").file("d/victim", "evil")
        })
        .tree("d->.. etc-out->/etc keep=3 out->.. victim=evil"),
        on_layer("a hardlink to a whiteout", tar().whiteout("keep").hardlink("l", ".wh.keep"))
            .fails(Expected::LinkTargetMissing),
        on_layer("a hardlink to what is hidden", tar().whiteout("keep").hardlink("l", "keep"))
            .fails(Expected::LinkTargetMissing),
        on_layer("a whiteout in a missing directory makes nothing", tar().file("no/where/.wh.x", "")).tree(same),
        case("a symlink out below a removed directory is not followed", tar().whiteout("d"))
            .on(|dest, _| {
                std::fs::create_dir_all(dest.join("d/e")).expect("directory");
                symlink("../../../etc", dest.join("d/e/l")).expect("symlink");
                symlink("../..", dest.join("d/up")).expect("symlink");
            })
            .layer()
            .tree(""),
        case("a destination that is a symlink farm is emptied", tar().opaque(""))
            .on(|dest, _| {
                for i in 0..50 {
                    symlink("../victim", dest.join(format!("v{i}"))).expect("symlink");
                    symlink("..", dest.join(format!("d{i}"))).expect("symlink");
                }
            })
            .layer()
            .tree(""),
        case("a directory deeper than any path is removed", tar().whiteout("d"))
            .over(tar().file(format!("d/{}f", "deep/".repeat(3_000)), ""))
            .layer()
            .tree(""),
        case("four thousand files and as many opaque markers", {
            (0..4_000).fold(tar(), |tar, i| tar.file(format!("d/f{i:04}"), "").opaque("d"))
        })
        .over(below())
        .layer()
        .fact("d/f3999", "content", "")
        .applied(),
        case("four thousand whiteouts of one directory", {
            (0..4_000).fold(tar().dir("d"), |tar, i| tar.file(format!("d/f{i:04}"), "").whiteout("d"))
        })
        .over(below())
        .layer()
        .fact("d/f3999", "content", "")
        .applied(),
        case("overlay: a forged whiteout", tar().char_dev("f", 0, 0)).with(overlay).refused(Refusal::ForgedWhiteout),
        case("overlay: a forged opaque attribute", tar().dir("d").with(|e| _ = e.xattr("trusted.overlay.opaque", "y")))
            .with(overlay)
            .fact("d", "xattr.trusted.overlay.opaque", "")
            .tree("d/")
            .without_marks(),
        case("overlay: a forged redirect (CVE-2023-0386)", {
            tar()
                .dir("d")
                .with(|e| _ = e.xattr("trusted.overlay.redirect", "/../../etc").xattr("user.overlay.redirect", "/etc"))
        })
        .with(overlay)
        .fact("d", "xattr.trusted.overlay.redirect", "")
        .fact("d", "xattr.user.overlay.redirect", "")
        .tree("d/")
        .without_marks(),
        case("overlay: a forged metacopy", tar().file("f", "").with(|e| _ = e.xattr("user.overlay.metacopy", "")))
            .with(overlay)
            .fact("f", "xattr.user.overlay.metacopy", "")
            .tree("f="),
        case("overlay: a whiteout outside", tar().file("../.wh.victim", ""))
            .with(overlay)
            .refused(Expected::PathEscapes),
        case("overlay: a whiteout of dot-dot", tar().file("a/.wh...", "")).with(overlay).refused(Refusal::WhiteoutName),
        case("overlay: a file through a whiteout's name", tar().whiteout("a").hardlink("b", "a"))
            .with(overlay_by_user)
            .fails(Expected::LinkTargetMissing),
    ]
}

fn overlay(o: &mut untar_in_root::Options) {
    o.mode = untar_in_root::Mode::Overlay(untar_in_root::Overlay::default());
    o.trusted_xattrs = true;
}

fn overlay_by_user(o: &mut untar_in_root::Options) {
    let mut overlay = untar_in_root::Overlay::default();
    overlay.prefix = untar_in_root::OverlayPrefix::User;
    o.mode = untar_in_root::Mode::Overlay(overlay);
}
