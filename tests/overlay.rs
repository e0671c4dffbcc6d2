//! Overlay mode: what is in the upper directory, and what a real overlayfs shows of it.

use std::ffi::CString;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use untar_in_root::{Error, ErrorKind, EventKind, Mode, OverlayPrefix, Refusal, Report};

use crate::support::expected::Expected;
use crate::support::privilege::{is_at_least, need_root};
use crate::support::run::{apply, dated, layer, line, over};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;
use crate::support::tree::{But, Tree, assert_same};

fn tar() -> Tarball {
    Tarball::new()
}

/// `a/ a/f=f a/s/ a/s/g=g t=t`
fn lower() -> Tarball {
    tar().dir("a").file("a/f", "f").dir("a/s").file("a/s/g", "g").file("t", "t")
}

/// One layer over one lower directory.
struct Over {
    scratch: Scratch,
    result: Result<Report, Error>,
    user: bool,
}

impl Over {
    fn new(lower: &Tarball, archive: &Tarball, user: bool) -> Over {
        let scratch = Scratch::new();
        let (below, upper) = (scratch.dir("lower"), scratch.dir("upper"));
        dated(&below);
        apply(&below, &lower.build(), layer).expect("lower");
        let result = apply(&upper, &archive.build(), |o| {
            let prefix = if user { OverlayPrefix::User } else { OverlayPrefix::Trusted };
            o.mode = Mode::Overlay(over([below]).prefix(prefix));
        });
        Over { scratch, result, user }
    }

    fn upper(&self) -> Tree {
        Tree::read(&self.scratch.join("upper"))
    }

    /// What overlayfs shows.
    fn mounted(&self) -> Tree {
        let place: PathBuf = self.scratch.dir("merged");
        let (upper, lower) = (self.scratch.join("upper"), self.scratch.join("lower"));
        let user = if self.user { ",userxattr" } else { "" };
        let data = format!("lowerdir={}:{}{user}", upper.display(), lower.display());
        let data = CString::new(data).expect("no NUL");
        mount("overlay", &place, "overlay", MountFlags::RDONLY, Some(data.as_c_str())).expect("overlayfs");
        Tree::read(&place)
    }
}

/// With both prefixes: the upper directory's line is this, and mounted it is what layer mode makes.
#[track_caller]
fn makes(lower: Tarball, archive: Tarball, upper: &str) {
    let merged = Scratch::new();
    dated(merged.path());
    for one in [&lower, &archive] {
        apply(merged.path(), &one.build(), layer).expect("layer mode");
    }
    for user in [false, true] {
        let over = Over::new(&lower, &archive, user);
        if let Err(error) = &over.result {
            panic!("{error:?}: {error}");
        }
        assert_eq!(line(&over.upper()), upper);
        let but = [But::Field("xattr.trusted.overlay.*"), But::Field("xattr.user.overlay.*")];
        assert_same("mounted, layer mode", &over.mounted(), &Tree::read(merged.path()), &but);
    }
}

/// Which directories of the upper one are opaque.
fn opaque(tree: &Tree, user: bool) -> Vec<String> {
    let name = if user { "xattr.user.overlay.opaque" } else { "xattr.trusted.overlay.opaque" };
    tree.paths().into_iter().filter(|path| tree.get(path, name) == "y").map(str::to_owned).collect()
}

#[track_caller]
fn is_opaque(lower: Tarball, archive: Tarball, want: &[&str]) {
    for user in [false, true] {
        let over = Over::new(&lower, &archive, user);
        assert_eq!(opaque(&over.upper(), user), want);
    }
}

#[track_caller]
fn fails(archive: Tarball, kind: ErrorKind, cause: impl Into<Expected>) {
    let error = Over::new(&lower(), &archive, false).result.expect_err("refused");
    assert_eq!(error.kind(), kind, "{error:?}");
    cause.into().assert_of(&error);
}

#[test]
fn overlay_a_whiteout_of_an_absent_name_is_a_device() {
    if !need_root() {
        return;
    }
    makes(lower(), tar().whiteout("t"), "t:0,0");
    makes(lower(), tar().whiteout("a"), "a:0,0");
    makes(lower(), tar().whiteout("a/s/g"), "a/ a/s/ a/s/g:0,0");
    let over = Over::new(&lower(), &tar().whiteout("t"), false);
    assert_eq!((over.upper().get("t", "uid"), over.upper().get("t", "mode")), ("0", "0000"));
}

#[test]
fn overlay_whiteouts_that_are_no_ops() {
    if !need_root() {
        return;
    }
    makes(lower(), tar().file("t", "new").whiteout("t"), "t=new");
    makes(lower(), tar().whiteout("t").whiteout("t"), "t:0,0");
    makes(lower(), tar().whiteout("a").whiteout("a/f"), "a:0,0");
    makes(lower(), tar().opaque("a").whiteout("a/f"), "a/");
    makes(lower(), tar().whiteout("no/x"), "");
}

#[test]
fn overlay_a_whiteout_of_a_directory_of_this_layer_makes_it_opaque() {
    if !need_root() {
        return;
    }
    for archive in [|| tar().file("a/n", "n").whiteout("a"), || tar().whiteout("a").file("a/n", "n")] {
        makes(lower(), archive(), "a/ a/n=n");
        is_opaque(lower(), archive(), &["a"]);
    }
}

#[test]
fn overlay_an_entry_over_a_whiteout_replaces_it() {
    if !need_root() {
        return;
    }
    makes(lower(), tar().whiteout("t").file("t", "new"), "t=new");
    makes(lower(), tar().whiteout("a").symlink("a", "t"), "a->t");
    // Explicit or implied, a directory over a whiteout is opaque, or the lower one shows through.
    for archive in [|| tar().whiteout("a").dir("a"), || tar().whiteout("a").dir("a").whiteout("a/f")] {
        makes(lower(), archive(), "a/");
        is_opaque(lower(), archive(), &["a"]);
    }
    makes(lower(), tar().whiteout("a/s").file("a/s/deep/n", "n"), "a/ a/s/ a/s/deep/ a/s/deep/n=n");
    is_opaque(lower(), tar().whiteout("a/s").file("a/s/deep/n", "n"), &["a/s"]);
}

#[test]
fn overlay_an_opaque_marker_wherever_it_stands() {
    if !need_root() {
        return;
    }
    for archive in [
        || tar().opaque("a").file("a/n", "n"),
        || tar().file("a/n", "n").opaque("a"),
        || tar().whiteout("a/f").opaque("a").file("a/n", "n").opaque("a"),
    ] {
        makes(lower(), archive(), "a/ a/n=n");
        is_opaque(lower(), archive(), &["a"]);
    }
    makes(lower(), tar().opaque("a/s"), "a/ a/s/");
}

#[test]
fn overlay_an_opaque_marker_makes_its_directory_where_that_is_asked_for() {
    if !need_root() {
        return;
    }
    for lowers in [false, true] {
        let scratch = Scratch::new();
        let (below, upper) = (scratch.dir("lower"), scratch.dir("upper"));
        apply(&below, &lower().build(), layer).expect("lower");
        let archive = tar().opaque("no/x").opaque("t").whiteout("gone").opaque("gone");
        let mode = Mode::Overlay(over(lowers.then_some(below)));
        apply(&upper, &archive.build(), |o| (o.mode, o.opaque_makes_directory) = (mode, true)).expect("applied");
        // Whether `t` is a file below is known only with the directory below.
        let t = if lowers { "" } else { " t/" };
        assert_eq!(line(&Tree::read(&upper)), format!("gone/ no/ no/x/{t}"));
        assert_eq!(Tree::read(&upper).get("no/x", "mode"), "0755");
    }
}

#[test]
fn overlay_an_opaque_marker_at_top_level_hides_all() {
    if !need_root() {
        return;
    }
    // overlayfs does not look whether the topmost root is opaque: each name is hidden.
    makes(lower(), tar().opaque("").file("n", "n"), "a:0,0 n=n t:0,0");
    makes(lower(), tar().file("a/n", "n").opaque(""), "a/ a/n=n t:0,0");
}

#[test]
fn overlay_a_directory_made_only_for_a_marker_is_taken_away_again() {
    if !need_root() {
        return;
    }
    makes(lower(), tar().whiteout("a/s/g").whiteout("a"), "a:0,0");
    makes(lower(), tar().opaque("a/s").whiteout("a"), "a:0,0");
    makes(lower(), tar().whiteout("a/s/g").opaque("a"), "a/");
}

#[test]
fn overlay_implied_parents_take_the_metadata_of_the_lower_ones() {
    if !need_root() {
        return;
    }
    let acl = "user::rwx,user:7:r-x,group::r-x,mask::r-x,other::---";
    let below = || {
        tar().dir("a").with(|e| {
            _ = e.mode(0o3750).uid(5).gid(6).mtime_ns(7, 8).xattr("user.a", "1").pax("SCHILY.acl.default", acl);
        })
    };
    for archive in [tar().file("a/n", "n"), tar().whiteout("a/f")] {
        let over = Over::new(&below().file("a/f", ""), &archive, false);
        over.result.as_ref().expect("applied");
        let (upper, mounted) = (over.upper(), over.mounted());
        for (field, want) in
            [("mode", "3750"), ("uid", "5"), ("gid", "6"), ("mtime", "7.000000008"), ("xattr.user.a", "1")]
        {
            assert_eq!((upper.get("a", field), mounted.get("a", field)), (want, want), "{field}");
        }
        assert!(!upper.get("a", "xattr.system.posix_acl_default").is_empty());
        // What is made in it does not inherit.
        assert_eq!(upper.get("a/n", "xattr.system.posix_acl_access"), "");
    }
    // Unless this layer has already hidden it.
    let over = Over::new(&below(), &tar().whiteout("a").file("a/n", ""), false);
    assert_eq!((over.upper().get("a", "mode"), over.upper().get("a", "uid")), ("0755", "0"));
}

#[test]
fn overlay_a_hardlink_to_a_lower_file_copies_it_up() {
    if !need_root() {
        return;
    }
    makes(lower(), tar().hardlink("h", "a/f"), "a/ a/f=f h==a/f");
    makes(lower(), tar().hardlink("h", "a/f").whiteout("a/f"), "a/ a/f:0,0 h=f");
    makes(lower().symlink("l", "t"), tar().hardlink("h", "l"), "h->t l==h");
    fails(tar().whiteout("t").hardlink("h", "t"), ErrorKind::Entry, Expected::LinkTargetMissing);
    fails(tar().opaque("a").hardlink("h", "a/f"), ErrorKind::Entry, Expected::LinkTargetMissing);
    fails(tar().hardlink("h", "missing"), ErrorKind::Entry, Expected::LinkTargetMissing);
    fails(tar().hardlink("h", "a"), ErrorKind::Refused, Refusal::HardlinkToDirectory);
}

#[test]
fn overlay_attributes_of_links_and_special_files_that_are_copied_up_are_told() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let (below, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    apply(&below, &lower().symlink("l", "t").fifo("p").build(), |_| {}).expect("lower");
    for name in ["l", "p"] {
        let name = below.join(name);
        rustix::fs::lsetxattr(&name, "trusted.x", b"1", rustix::fs::XattrFlags::empty()).expect("attribute");
    }
    let archive = tar().hardlink("h", "l").hardlink("i", "p").build();
    let report = apply(&upper, &archive, |o| o.mode = Mode::Overlay(over([below]))).expect("applied");
    let told: Vec<_> = report.events.into_iter().map(|event| event.what).collect();
    // Before Linux 6.13 their names cannot be asked for.
    let name = if is_at_least(6, 13) { "trusted.x" } else { "*" };
    assert_eq!(told, vec![EventKind::XattrUnsupported { name: name.as_bytes().into(), errno: 95 }; 2]);
    assert_eq!(line(&Tree::read(&upper)), "h->t i| l==h p==i");
}

#[test]
fn overlay_lower_directories_are_named_from_here_and_only_read() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let (below, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    scratch.file("secret", "outside");
    let start = lower().symlink("out", "../secret").symlink("up", "/..").symlink("abs", "/a");
    apply(&below, &start.build(), |_| {}).expect("lower");
    let before = Tree::read(&below);
    let archive = tar().hardlink("h", "abs/f").file("out/x", "1").file("up/y", "2").whiteout("t").opaque("abs");
    let archive = scratch.file("layer.tar", archive.build());
    // Relative to the caller's directory, which the helper does not have.
    let mut command = std::process::Command::new(crate::support::run::program_path());
    command.current_dir(scratch.path()).args(["--overlay", "--lower", "lower", "upper"]).arg(archive);
    let output = command.output().expect("the program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Neither `..` nor an absolute target leads out of it, and nothing in it has changed.
    assert_eq!(line(&Tree::read(&upper)), "a/ h=f secret/ secret/x=1 t:0,0 y=2");
    assert_eq!(crate::support::tree::compare_all(&Tree::read(&below), &before, &[]), Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(scratch.join("secret")).expect("secret"), "outside");
}

#[test]
fn overlay_symlinked_parents_resolve_through_the_lower_layers() {
    if !need_root() {
        return;
    }
    for target in ["a", "/a", "../../a"] {
        makes(lower().symlink("l", target), tar().file("l/n", "n").whiteout("l/f"), "a/ a/f:0,0 a/n=n");
    }
    makes(lower().symlink("l", "/x/y"), tar().file("l/n", "n"), "x/ x/y/ x/y/n=n");
}

#[test]
fn overlay_a_non_directory_of_a_lower_layer_gives_way_to_an_implied_directory() {
    if !need_root() {
        return;
    }
    makes(lower(), tar().file("t/x", "x"), "t/ t/x=x");
    makes(lower(), tar().file("a/f/x/y", "y"), "a/ a/f/ a/f/x/ a/f/x/y=y");
    makes(lower().symlink("l", "t"), tar().file("l/x", "x"), "l/ l/x=x");
    makes(lower().symlink("m", "a/f").symlink("l", "/m"), tar().file("l/x", "x"), "a/ l/ l/x=x");
    // The file that comes up for a hardlink is a lower one still; the hardlink is not.
    makes(lower(), tar().hardlink("h", "t").file("t/x", "x"), "h=t t/ t/x=x");
    makes(lower(), tar().file("t/x", "x").whiteout("t").file("t/y", "y"), "t/ t/x=x t/y=y");
    for archive in [tar().hardlink("h", "t").file("h/x", ""), tar().symlink("l", "t").file("l/x", "")] {
        fails(archive, ErrorKind::Entry, Errno::NOTDIR);
    }
    fails(tar().file("t", "").file("t/x", ""), ErrorKind::Entry, Errno::NOTDIR);
}

#[test]
fn overlay_replacing_across_kinds() {
    if !need_root() {
        return;
    }
    makes(lower(), tar().file("a", "file"), "a=file");
    makes(lower(), tar().dir("t").file("t/n", "n"), "t/ t/n=n");
    makes(lower().symlink("l", "a"), tar().dir("l").file("l/n", "n"), "l/ l/n=n");
    makes(lower(), tar().dir("a").with(|e| _ = e.mode(0o700).xattr("user.x", "1")), "a/");
    // A file, then a directory of the same name: the lower directory must not show.
    makes(lower(), tar().file("a", "1").dir("a"), "a/");
}

#[test]
fn overlay_a_forged_whiteout_is_refused() {
    if !need_root() {
        return;
    }
    fails(tar().char_dev("c", 0, 0), ErrorKind::Refused, Refusal::ForgedWhiteout);
    makes(lower(), tar().char_dev("c", 1, 3).block_dev("b", 0, 0), "b:0,0 c:1,3");
}

#[test]
fn overlay_attributes_of_the_archive_are_escaped() {
    if !need_root() {
        return;
    }
    let archive = tar().dir("a").with(|e| _ = e.xattr("user.overlay.opaque", "y").xattr("trusted.overlay.opaque", "y"));
    for user in [false, true] {
        let over = Over::new(&lower(), &archive, user);
        let report = over.result.as_ref().expect("applied");
        let told: Vec<_> = report.events.iter().map(|event| &event.what).collect();
        assert!(told.contains(&&EventKind::XattrEscaped { name: b"user.overlay.opaque".into() }), "{told:?}");
        let upper = over.upper();
        assert_eq!(upper.get("a", "xattr.user.overlay.overlay.opaque"), "y");
        assert_eq!(
            (upper.get("a", "xattr.user.overlay.opaque"), upper.get("a", "xattr.trusted.overlay.opaque")),
            ("", "")
        );
        assert!(line(&over.mounted()).contains("a/f=f"), "not hidden");
    }
}

#[test]
fn overlay_names_of_markers_are_checked_as_in_layer_mode() {
    if !need_root() {
        return;
    }
    for name in [".wh.", "a/.wh..", "a/.wh..."] {
        fails(tar().file(name, ""), ErrorKind::Refused, Refusal::WhiteoutName);
    }
    fails(tar().file(".wh.a/f", ""), ErrorKind::Refused, Refusal::WhiteoutInPath);
    makes(lower(), tar().file(".wh..wh.plnk", ""), "");
}

#[test]
fn overlay_hardlinks_to_what_aufs_keeps_work() {
    if !need_root() {
        return;
    }
    let kept = || tar().file(".wh..wh.plnk/1.2", "12").with(|e| _ = e.xattr("user.x", "1"));
    let archive = kept().hardlink("a/n", ".wh..wh.plnk/1.2").hardlink("m", ".wh..wh.plnk/1.2").whiteout("n");
    makes(lower().file("n", "old"), archive, "a/ a/n=12 m==a/n n:0,0");
    fails(kept().hardlink("n", ".wh..wh.plnk/3.4"), ErrorKind::Entry, Expected::LinkTargetMissing);
}

#[test]
fn overlay_of_nothing_below() {
    if !need_root() {
        return;
    }
    makes(tar(), lower().opaque("a"), "a/ a/f=f a/s/ a/s/g=g t=t");
    makes(tar(), tar().whiteout("x"), "");
}
