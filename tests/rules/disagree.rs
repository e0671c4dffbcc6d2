//! Where docker, podman, containerd and umoci disagree: the cases of `docs/peers.md`, with our outcome.
//! `index.txt` has the line of the table for each.

use untar_in_root::{Error, ErrorKind, EventKind, Mode, Refusal, Report};

use crate::equivalence::cost::at_most_thrice;
use crate::support::expected::Expected;
use crate::support::privilege::need_root;
use crate::support::run::{Run, apply, both, layer, layers, line, literal, plain};
use crate::support::scratch::Scratch;
use crate::support::tarball::{SparseFormat, Tarball};
use crate::support::tree::Tree;

fn tar() -> Tarball {
    Tarball::new()
}

#[test]
fn a_file_then_its_whiteout_in_the_same_layer_is_kept() {
    layers(&[tar(), tar().file("f", "1").whiteout("f")]).leads_to("f=1");
}

#[test]
fn a_directory_with_a_child_then_its_whiteout_keeps_the_new() {
    layers(&[tar().file("d/old", ""), tar().dir("d").file("d/new", "").whiteout("d")]).leads_to("d/ d/new=");
}

#[test]
fn implied_parents_then_an_opaque_marker_keep_the_new() {
    layers(&[tar().file("a/b/old", "").file("a/old", ""), tar().file("a/b/new", "").opaque("a")])
        .leads_to("a/ a/b/ a/b/new=");
}

#[test]
fn a_whiteout_then_one_below_it_leaves_nothing() {
    layers(&[tar().file("a/f", ""), tar().whiteout("a").whiteout("a/f")]).leads_to("");
}

#[test]
fn a_whiteout_in_a_missing_directory_makes_nothing() {
    layers(&[tar(), tar().whiteout("no/f")]).leads_to("");
}

#[test]
fn a_whiteout_of_nothing_or_dots_is_an_error() {
    for name in ["d/.wh.", "d/.wh..", "d/.wh..."] {
        layers(&[tar().file("d/f", ""), tar().file(name, "")])
            .fails(ErrorKind::Refused, Refusal::WhiteoutName)
            .leaves("d/ d/f=");
    }
}

#[test]
fn a_directory_entry_later_replaced_by_a_symlink_is_fine() {
    layers(&[tar(), tar().dir("d").symlink("d", "x")]).leads_to("d->x");
}

/// What a layer leaves in an upper directory over these.
fn over(lower: &Tarball, archive: &Tarball) -> (Scratch, Result<Report, Error>) {
    let scratch = Scratch::new();
    let (below, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    apply(&below, &lower.build(), layer).expect("lower");
    let result = apply(&upper, &archive.build(), |o| {
        o.mode = Mode::Overlay(crate::support::run::over([below]));
    });
    (scratch, result)
}

#[test]
fn a_whiteout_then_a_directory_in_overlay_mode_hides_the_lower_one() {
    if !need_root() {
        return;
    }
    for archive in [tar().whiteout("x").dir("x").file("x/new", ""), tar().whiteout("x").file("x/new", "")] {
        let (scratch, result) = over(&tar().file("x/old", ""), &archive);
        result.expect("applied");
        let place = scratch.dir("merged");
        let data = format!("lowerdir={}:{}", scratch.join("upper").display(), scratch.join("lower").display());
        let data = std::ffi::CString::new(data).expect("no NUL");
        rustix::mount::mount("overlay", &place, "overlay", rustix::mount::MountFlags::RDONLY, Some(data.as_c_str()))
            .expect("overlayfs");
        assert_eq!(line(&Tree::read(&place)), "x/ x/new=");
    }
}

#[test]
fn a_forged_whiteout_device_is_refused_in_overlay_mode() {
    if !need_root() {
        return;
    }
    let (scratch, result) = over(&tar().file("c", ""), &tar().char_dev("c", 0, 0));
    let error = result.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Refused);
    Expected::Refused(Refusal::ForgedWhiteout).assert_of(&error);
    assert_eq!(line(&Tree::read(&scratch.join("upper"))), "");
}

#[test]
fn overlay_attributes_inside_the_archive_are_escaped_in_overlay_mode() {
    if !need_root() {
        return;
    }
    let archive = tar().dir("d").with(|e| _ = e.xattr("user.overlay.opaque", "y"));
    let (scratch, result) = over(&tar().file("d/f", ""), &archive);
    result.expect("applied");
    let upper = Tree::read(&scratch.join("upper"));
    assert_eq!(
        (upper.get("d", "xattr.user.overlay.overlay.opaque"), upper.get("d", "xattr.user.overlay.opaque")),
        ("y", "")
    );
}

#[test]
fn overlay_attributes_inside_the_archive_do_not_get_through() {
    let run = layers(&[
        tar(),
        tar().dir("d").with(|e| _ = e.xattr("trusted.overlay.opaque", "y").xattr("user.overlay.opaque", "y")),
    ]);
    assert!(!run.tree().text(&[]).contains("overlay"));
    assert_eq!(run.report().event_count, 2);
}

#[test]
fn a_hardlink_header_with_other_metadata_is_ignored() {
    let archive =
        tar().file("f", "1").with(|e| _ = e.mode(0o4755)).hardlink("h", "f").with(|e| _ = e.mode(0o600).mtime(1));
    both(&[archive], |run| {
        run.leads_to("f=1 h==f").has("f", "mode", "4755").has("f", "mtime", "3600.000000000");
    });
}

#[test]
fn a_hardlink_header_does_not_strip_capabilities() {
    if !need_root() {
        return;
    }
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let archive = tar().file("f", "1").with(|e| _ = e.xattr("security.capability", capability));
    both(&[archive.hardlink("h", "f").with(|e| _ = e.uid(5).gid(6).mode(0o600))], |run| {
        let run = run.leads_to("f=1 h==f").has("f", "uid", "0");
        assert!(run.tree().get("f", "xattr.security.capability").starts_with("\\x01\\x00\\x00\\x02"));
    });
}

#[test]
fn a_symlink_parent_that_climbs_above_the_root_is_clamped() {
    both(&[tar().symlink("l", "../../../d").dir("d").file("l/f", "1")], |run| {
        run.leads_to("d/ d/f=1 l->../../../d");
    });
}

#[test]
fn a_name_that_climbs_is_refused() {
    both(&[tar().file("../x", "")], |run| {
        run.fails(ErrorKind::Refused, Expected::PathEscapes).leaves("");
    });
}

#[test]
fn a_name_that_climbs_can_be_clamped() {
    Run::of(&[tar().file("../../x", "1")], |o| o.escaping_names = untar_in_root::EscapingNames::Clamp).leads_to("x=1");
}

#[test]
fn metadata_of_the_root_is_applied() {
    both(&[tar().dir("./").with(|e| _ = e.mode(0o711).mtime(5))], |run| {
        run.has(".", "mode", "0711").has(".", "mtime", "5.000000000");
    });
}

#[test]
fn old_gnu_sparse_and_type_7_are_extracted() {
    both(&[tar().sparse("s", SparseFormat::OldGnu, &[(8192, b"x")], 16384).entry("c", b'7', "1")], |run| {
        run.has("s", "size", "16384").has("s", "holes", "8192+4096").has("c", "content", "1");
    });
}

#[test]
fn pax_sparse_has_holes() {
    for format in [SparseFormat::Pax00, SparseFormat::Pax01, SparseFormat::Pax10] {
        plain(tar().sparse("s", format, &[(8192, b"x")], 16384)).has("s", "holes", "8192+4096");
    }
}

#[test]
fn a_pax_global_header_is_skipped() {
    both(&[tar().pax_global(&[("comment", "git")]).file("f", "")], |run| {
        run.leads_to("f=").tells(&[]);
    });
}

#[test]
fn stale_attributes_on_a_merged_directory_are_cleared() {
    layers(&[tar().dir("d").with(|e| _ = e.xattr("user.x", "1")), tar().dir("d")]).has("d", "xattr.user.x", "");
}

#[test]
fn an_attribute_of_a_symlink_is_never_its_targets() {
    let archive = tar().file("t", "").symlink("l", "t").with(|e| _ = e.xattr("user.x", "1").xattr("trusted.x", "1"));
    layers(&[tar(), archive]).has("t", "xattr.user.x", "").has("t", "xattr.trusted.x", "");
    if need_root() {
        let archive = tar().file("t", "").symlink("l", "t").with(|e| _ = e.xattr("trusted.x", "1"));
        let run = Run::of(&[archive], |o| o.trusted_xattrs = true);
        run.tells(&[lost("trusted.x")]).has("t", "xattr.trusted.x", "").has("l", "xattr.trusted.x", "");
    }
}

/// No kernel sets it through a descriptor that is only a path, and by its name it might be another file's.
fn lost(name: &str) -> EventKind {
    EventKind::XattrUnsupported { name: name.as_bytes().into(), errno: 95 }
}

#[test]
fn ids_of_2_32_and_minus_1_are_refused() {
    for id in [1 << 32, -1] {
        plain(tar().file("f", "").with(|e| _ = e.uid(id))).fails(ErrorKind::Refused, Refusal::Uid).leaves("");
    }
}

#[test]
fn a_time_before_1970_is_exact() {
    plain(tar().file("f", "").with(|e| _ = e.mtime(-7))).has("f", "mtime", "-7.000000000");
}

#[test]
fn an_attribute_without_support_is_an_event() {
    let run = plain(tar().symlink("l", "t").with(|e| _ = e.xattr("user.x", "1")));
    run.leads_to("l->t").tells(&[EventKind::XattrUnsupported { name: b"user.x".into(), errno: 1 }]);
}

#[test]
fn trusted_attributes_are_dropped_unless_allowed() {
    let archive = || tar().file("f", "").with(|e| _ = e.xattr("trusted.x", "1"));
    plain(archive()).has("f", "xattr.trusted.x", "");
    if need_root() {
        Run::of(&[archive()], |o| o.trusted_xattrs = true).has("f", "xattr.trusted.x", "1");
    }
}

/// That it is linear is counted in `equivalence/cost.rs`; here it is what comes of it.
#[test]
fn four_thousand_files_and_as_many_opaque_markers_are_linear() {
    let marked = |n: usize| (0..n).fold(tar().dir("d"), |tar, i| tar.file(format!("d/f{i}"), "").opaque("d"));
    at_most_thrice(4, |n| [tar().dir("d").build(), marked(n).build(), entries(2 * n).build()], 1_000);
    layers(&[entries(3), marked(1)]).leads_to("d/ d/f0=");
    assert_eq!(layers(&[entries(8_000), marked(4_000)]).tree().paths().len(), 4_002);
}

#[test]
fn whiteouts_are_linear() {
    let hidden = |n: usize| {
        (0..n).fold(entries(n), |tar, i| tar.whiteout(format!("d/f{i}")).whiteout(format!("d/no{i}"))).build()
    };
    at_most_thrice(4, |n| [tar().dir("d").build(), hidden(n), entries(3 * n).build()], 500);
    Run::of(&[entries(3)], literal).leads_to("d/ d/f0= d/f1= d/f2=");
}

fn entries(n: usize) -> Tarball {
    (0..n).fold(tar().dir("d"), |tar, i| tar.file(format!("d/f{i}"), ""))
}
