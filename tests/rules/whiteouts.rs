//! Rules 4 to 8 in layer mode: which entries are markers, what they hide, what they never hide.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use untar_in_root::{ErrorKind, EventKind, Limit, Mode, Options, Refusal};

use crate::support::expected::Expected;
use crate::support::privilege::is_root;
use crate::support::run::{Run, layer, layers, line, plain, untar};
use crate::support::scratch::Scratch;
use crate::support::tarball::{SparseFormat, Tarball};
use crate::support::tree::Tree;

fn tar() -> Tarball {
    Tarball::new()
}

/// `a/ a/f=f a/s/ a/s/g=g t=t`
fn lower() -> Tarball {
    tar().dir("a").file("a/f", "f").dir("a/s").file("a/s/g", "g").file("t", "t")
}

#[test]
fn rule_04_literal_mode_knows_no_markers() {
    let archive = tar().whiteout("a").opaque("d").file(".wh..wh.plnk/x", "").file("d/.wh.", "");
    plain(archive).leads_to(".wh..wh.plnk/ .wh..wh.plnk/x= .wh.a= d/ d/.wh.= d/.wh..wh..opq=").tells(&[]);
}

#[test]
fn rule_04_a_marker_is_told_by_its_name_whatever_its_type() {
    for flag in [b'0', 0, b'7', b'2', b'3', b'4', b'5', b'6', b'1'] {
        let marker = |name: &str| tar().entry(name, flag, "").with(|e| _ = e.link("t").device(1, 3));
        layers(&[lower(), marker(".wh.a")]).leads_to("t=t");
        layers(&[lower(), marker("a/.wh..wh..opq")]).leads_to("a/ t=t");
    }
    layers(&[lower(), tar().dir(".wh.a/")]).leads_to("t=t");
}

#[test]
fn rule_04_the_body_of_a_marker_is_discarded() {
    let archive = tar().file(".wh.a", "x".repeat(3000)).file("a/.wh..wh..opq", "x".repeat(600)).file("n", "n");
    layers(&[lower(), archive]).leads_to("n=n t=t");
}

#[test]
fn rule_04_aufs_bookkeeping_is_skipped_with_an_event() {
    for name in [".wh..wh.plnk/1.2", ".wh..wh.orph/", "a/.wh..wh.aufs", ".wh..wh..opqx", "a/.wh..wh.x/.wh.f"] {
        layers(&[lower(), tar().file(name, "")]).leads_to("a/ a/f=f a/s/ a/s/g=g t=t").tells(&[EventKind::SkippedAufs]);
    }
}

/// A layer of an engine that used aufs: the content is kept aside, the names are hardlinks to it.
fn aufs() -> Tarball {
    tar().dir(".wh..wh.plnk/").file(".wh..wh.plnk/1.2", "12").with(|e| _ = e.mode(0o640).uid(3).gid(4).mtime(5))
}

#[test]
fn rule_04_hardlinks_to_what_aufs_keeps_work() {
    let skipped = || vec![EventKind::SkippedAufs; 2];
    // One name, several, and one more after the first was replaced by something else.
    let run = layers(&[lower(), aufs().hardlink("n", ".wh..wh.plnk/1.2")]);
    run.leads_to("a/ a/f=f a/s/ a/s/g=g n=12 t=t").tells(&skipped());
    let three = aufs().hardlink("x/n", ".wh..wh.plnk/1.2").hardlink("m", "/.wh..wh.plnk/1.2").hardlink("o", "m");
    let run = layers(&[three]).leads_to("m=12 o==m x/ x/n==m").tells(&skipped());
    if is_root() {
        let run = run.has("m", "mode", "0640").has("m", "uid", "3").has("m", "gid", "4");
        run.has("m", "mtime", "5.000000000");
    }
    let target = ".wh..wh.plnk/1.2";
    layers(&[aufs().hardlink("m", target).file("m", "3").hardlink("n", target)]).leads_to("m=3 n=12");
    layers(&[aufs().hardlink("d/m", target).file("d", "3").hardlink("n", target)]).leads_to("d=3 n=12");
    layers(&[aufs().hardlink("m", target).hardlink("m", target).hardlink("n", target)]).leads_to("m=12 n==m");
    layers(&[aufs().file(target, "34").hardlink("m", target)]).leads_to("m=34");
    layers(&[tar().file("n", "1"), aufs().hardlink("n", target).whiteout("n")]).leads_to("n=12");
    let (empty, other) = (".wh..wh.plnk/3.4", ".wh..wh.plnk/5.6");
    let several = aufs().file(empty, "").file(other, "x".repeat(300_000)).hardlink("c", other).hardlink("b", empty);
    let run = layers(&[several.hardlink("a", target).hardlink("d", other)]);
    let run = run.has("a", "content", "12").has("b", "content", "").has("d", "link", "c");
    assert_eq!(std::fs::read(run.dest.join("c")).expect("read"), "x".repeat(300_000).as_bytes());
}

#[test]
fn rule_04_what_aufs_keeps_has_its_attributes_and_holes() {
    let hole = [(4 << 20, &b"end"[..])];
    let archive = tar()
        .file(".wh..wh.plnk/1.2", "1")
        .with(|e| _ = e.xattr("user.a", "1").xattr("user.b", "2"))
        .sparse(".wh..wh.plnk/3.4", SparseFormat::Pax10, &hole, (4 << 20) + 3)
        .hardlink("s", ".wh..wh.plnk/3.4")
        .hardlink("n", ".wh..wh.plnk/1.2");
    let run = layers(&[archive]).has("n", "xattr.user.a", "1").has("n", "xattr.user.b", "2");
    let made = std::fs::metadata(run.dest.join("s")).expect("made");
    assert_eq!(std::fs::read(run.dest.join("s")).expect("read")[4 << 20..], b"end"[..]);
    assert!(made.len() == (4 << 20) + 3 && made.blocks() < 1024, "{made:?}");
}

#[test]
fn rule_04_what_aufs_does_not_keep_cannot_be_linked() {
    for target in [".wh..wh.plnk/9", ".wh..wh.plnk", "a/.wh..wh.plnk/1.2", ".wh..wh.plnk/1.2/x"] {
        layers(&[lower(), aufs().hardlink("n", target)])
            .fails(ErrorKind::Entry, Expected::LinkTargetMissing)
            .leaves("a/ a/f=f a/s/ a/s/g=g t=t");
    }
    // What comes only later, what is no file, and what another layer kept.
    layers(&[tar().hardlink("n", ".wh..wh.plnk/1.2").file(".wh..wh.plnk/1.2", "")])
        .fails(ErrorKind::Entry, Expected::LinkTargetMissing)
        .leaves("");
    layers(&[tar().fifo(".wh..wh.plnk/1.2").hardlink("n", ".wh..wh.plnk/1.2")])
        .fails(ErrorKind::Entry, Expected::LinkTargetMissing)
        .leaves("");
    layers(&[aufs(), tar().hardlink("n", ".wh..wh.plnk/1.2")])
        .fails(ErrorKind::Entry, Expected::LinkTargetMissing)
        .leaves("");
}

#[test]
fn rule_04_what_aufs_keeps_is_within_the_limits() {
    let archive = || aufs().file(".wh..wh.plnk/3.4", "x".repeat(4000)).hardlink("n", ".wh..wh.plnk/3.4");
    let run = |change: fn(&mut Options)| {
        Run::of(&[archive()], |o| {
            layer(o);
            change(o);
        })
    };
    // What is kept is written, and written again where it is linked.
    run(|o| o.limits.total_bytes = 10_000).report();
    run(|o| o.limits.total_bytes = 7_900).fails(ErrorKind::Limit, Limit::TotalBytes);
    run(|o| o.limits.file_bytes = 3_999).fails(ErrorKind::Limit, Limit::FileBytes).leaves("");
    run(|o| o.limits.entries = 3).fails(ErrorKind::Limit, Limit::Entries).leaves("");
    assert_eq!(run(|_| {}).report().bytes_written, 2 + 4000 + 4000);
}

/// A name that no file system would have costs memory alone.
#[test]
fn rule_04_what_aufs_keeps_has_a_name_that_a_file_could_have() {
    for (length, fails) in [(255, false), (256, true), (100_000, true)] {
        let name = format!(".wh..wh.plnk/{}", "n".repeat(length));
        let archive = tar().file(&name, "1").hardlink("x", &name);
        if fails {
            layers(&[archive]).fails(ErrorKind::Entry, Errno::NAMETOOLONG);
        } else {
            layers(&[archive]).leads_to("x=1");
        }
    }
}

#[test]
fn rule_04_many_holes_are_not_copied_for_one_block_of_the_archive_each_time() {
    let pieces: Vec<(u64, &[u8])> = (0..300).map(|at| (at * 8192, &b"x"[..])).collect();
    let kept = || tar().sparse(".wh..wh.plnk/1.2", SparseFormat::Pax10, &pieces, 300 * 8192);
    let again = |tar: Tarball| tar.hardlink("n", ".wh..wh.plnk/1.2").file("n", "");
    layers(&[again(kept()).hardlink("m", "n")]).leads_to("m= n==m");
    layers(&[again(again(kept()))]).fails(ErrorKind::Limit, Limit::SparseRegions);
}

#[test]
fn rule_04_a_helper_that_is_killed_leaves_nothing_of_what_aufs_keeps() {
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    let mut session = untar(&dest, layer).spawn().expect("started");
    // Without its end; large enough to be written out, and then the run waits for more.
    let archive = aufs().file(".wh..wh.plnk/3.4", vec![b'x'; 3 << 20]).hardlink("n", ".wh..wh.plnk/1.2");
    session.write_all(&archive.no_end().build()).expect("written");
    let begun = Instant::now();
    // It has its name before it has its content.
    while !std::fs::read(dest.join("n")).is_ok_and(|content| content == b"12") {
        session.check().expect("it waits");
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is made");
        std::thread::yield_now();
    }
    // Dropped, the session kills it with SIGKILL.
    drop(session);
    assert_eq!(line(&Tree::read(&dest)), "n=12");
}

#[test]
fn rule_04_a_marker_in_the_middle_of_a_name_is_refused() {
    for name in [".wh.a/f", "a/.wh.s/g", ".wh..wh..opq/x", ".wh./x", "a/.wh.x/.wh.y"] {
        layers(&[lower(), tar().file(name, "1")])
            .fails(ErrorKind::Refused, Refusal::WhiteoutInPath)
            .leaves("a/ a/f=f a/s/ a/s/g=g t=t");
    }
}

#[test]
fn rule_05_a_whiteout_of_nothing_or_dots_is_refused() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh.", "a/.wh..", "a/.wh...", "missing/.wh..", "a/.wh../"] {
        layers(&[lower(), tar().file(name, "")])
            .fails(ErrorKind::Refused, Refusal::WhiteoutName)
            .leaves("a/ a/f=f a/s/ a/s/g=g t=t");
    }
    layers(&[tar().file("..f", "").file("...", ""), tar().file(".wh...f", "").file(".wh....", "")]).leads_to("");
}

#[test]
fn rule_05_an_opaque_marker_at_top_level_hides_all_in_the_root() {
    layers(&[lower(), tar().opaque("").file("n", "n")]).leads_to("n=n");
    layers(&[lower(), tar().file("n", "n").opaque("")]).leads_to("n=n");
    layers(&[lower(), tar().file("a/n", "n").opaque(".")]).leads_to("a/ a/n=n");
}

#[test]
fn rule_06_a_whiteout_in_a_missing_or_wrong_parent_makes_nothing() {
    let all = "a/ a/f=f a/s/ a/s/g=g t=t";
    for marker in [tar().whiteout("no/x"), tar().whiteout("no/no/x"), tar().whiteout("t/x"), tar().opaque("no")] {
        layers(&[lower(), marker]).leads_to(all).tells(&[]);
    }
    layers(&[lower(), tar().opaque("t").opaque("no/no").opaque("a/f")]).leads_to(all);
}

#[test]
fn rule_08_a_missing_directory_is_made_where_that_is_asked_for() {
    let asked = |archives: &[Tarball]| {
        Run::of(archives, |o| (o.mode, o.opaque_makes_directory) = (Mode::Layer, true)).tells(&[])
    };
    asked(&[lower(), tar().opaque("no/x")]).leads_to("a/ a/f=f a/s/ a/s/g=g no/ no/x/ t=t").has("no/x", "mode", "0755");
    asked(&[lower(), tar().opaque("a").opaque("no").file("no/n", "n")]).leads_to("a/ no/ no/n=n t=t");
    // It is this layer's own, so a whiteout leaves it.
    asked(&[tar().opaque("no").whiteout("no")]).leads_to("no/");
    // What is no directory stays, whoever made it.
    asked(&[lower(), tar().file("n", "n").opaque("t").opaque("a/f/x").opaque("n")])
        .leads_to("a/ a/f=f a/s/ a/s/g=g n=n t=t");
    Run::of(&[tar().opaque("no")], |o| o.opaque_makes_directory = true).leads_to("no/ no/.wh..wh..opq=");
}

#[test]
fn rule_06_symlinks_in_parents_are_followed_inside_the_root() {
    for target in ["a", "/a", "/../../a", "a/s/..", "./a/."] {
        let with = |lower: Tarball| lower.symlink("l", target);
        layers(&[with(lower()), tar().whiteout("l/f")]).leads_to(&format!("a/ a/s/ a/s/g=g l->{target} t=t"));
        layers(&[with(lower()), tar().opaque("l")]).leads_to(&format!("a/ l->{target} t=t"));
        layers(&[with(lower()), tar().file("l/n", "n")])
            .leads_to(&format!("a/ a/f=f a/n=n a/s/ a/s/g=g l->{target} t=t"));
    }
}

#[test]
fn rule_06_a_dangling_parent_symlink_creates_its_target_inside() {
    layers(&[tar().symlink("l", "/x/y"), tar().file("l/z/f", "1")]).leads_to("l->/x/y x/ x/y/ x/y/z/ x/y/z/f=1");
    layers(&[tar().symlink("l", "../../x"), tar().file("l/f", "1")]).leads_to("l->../../x x/ x/f=1");
    layers(&[tar().symlink("l", "/x/y"), tar().whiteout("l/f").opaque("l")]).leads_to("l->/x/y");
}

#[test]
fn rule_06_at_most_forty_links_are_followed() {
    let chain = |n: u32| {
        let links = (1..n).fold(tar().symlink("l0", "d"), |tar, i| tar.symlink(format!("l{i}"), format!("l{}", i - 1)));
        links.dir("d").file(format!("l{}/f", n - 1), "1")
    };
    let run = plain(chain(40));
    run.report();
    assert_eq!(run.tree().get("d/f", "content"), "1");
    plain(chain(41)).fails(ErrorKind::Entry, Errno::LOOP);
    layers(&[tar().symlink("l", "l"), tar().whiteout("l/x").opaque("l")]).leads_to("l->l");
    plain(tar().symlink("l", "l").file("l/x", "")).fails(ErrorKind::Entry, Errno::LOOP).leaves("l->l");
}

#[test]
fn rule_07_a_whiteout_removes_recursively_what_is_below() {
    layers(&[lower(), tar().whiteout("a")]).leads_to("t=t");
    layers(&[lower(), tar().whiteout("a/s").whiteout("t")]).leads_to("a/ a/f=f");
    layers(&[lower(), tar().whiteout("absent").whiteout("a/absent")]).leads_to("a/ a/f=f a/s/ a/s/g=g t=t");
}

#[test]
fn rule_07_a_whiteout_never_follows_a_symlink() {
    layers(&[lower().symlink("l", "a"), tar().whiteout("l")]).leads_to("a/ a/f=f a/s/ a/s/g=g t=t");
    layers(&[lower().symlink("d/l", "/a"), tar().whiteout("d")]).leads_to("a/ a/f=f a/s/ a/s/g=g t=t");
}

#[test]
fn rule_07_whiteout_in_upper_is_kept() {
    layers(&[lower(), tar().file("t", "new").whiteout("t")]).leads_to("a/ a/f=f a/s/ a/s/g=g t=new");
    layers(&[lower(), tar().whiteout("t").file("t", "new")]).leads_to("a/ a/f=f a/s/ a/s/g=g t=new");
    layers(&[tar(), tar().symlink("l", "x").whiteout("l")]).leads_to("l->x");
    layers(&[tar().file("x", ""), tar().hardlink("h", "x").whiteout("h").whiteout("x")]).leads_to("h=");
}

#[test]
fn rule_07_a_whiteout_of_a_directory_in_upper_hides_what_is_below_only() {
    let want = "a/ a/n=n t=t";
    layers(&[lower(), tar().dir("a").file("a/n", "n").whiteout("a")]).leads_to(want);
    layers(&[lower(), tar().whiteout("a").dir("a").file("a/n", "n")]).leads_to(want);
    layers(&[lower(), tar().file("a/n", "n").whiteout("a")]).leads_to(want);
    layers(&[lower(), tar().dir("a/s").whiteout("a")]).leads_to("a/ a/s/ t=t");
}

#[test]
fn rule_07_a_marker_touches_nothing_itself() {
    // A directory that only held a marker is not of this layer: an enclosing whiteout takes it.
    layers(&[lower(), tar().whiteout("a/f").whiteout("a")]).leads_to("t=t");
    layers(&[lower(), tar().whiteout("a").whiteout("a/f")]).leads_to("t=t");
    layers(&[lower(), tar().opaque("a").whiteout("a")]).leads_to("t=t");
    layers(&[lower(), tar().whiteout("a").opaque("a")]).leads_to("t=t");
    layers(&[lower(), tar().opaque("a/s").opaque("")]).leads_to("");
    layers(&[lower(), tar().whiteout("a/s/g").opaque("a")]).leads_to("a/ t=t");
}

#[test]
fn rule_07_deferred_metadata_below_is_dropped() {
    // A directory of this layer that this layer replaces: nothing is set on what took its place.
    let archive = tar().dir("d").with(|e| _ = e.mode(0o700).mtime(5)).dir("d/e").symlink("d", "t").file("n", "");
    layers(&[lower(), archive]).leads_to("a/ a/f=f a/s/ a/s/g=g d->t n= t=t").has("t", "mtime", "3600.000000000");
}

#[test]
fn rule_07_a_mount_below_is_not_crossed() {
    if !crate::support::privilege::need_mount() {
        return;
    }
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    let mounted = scratch.tmpfs("dest/d/m", 1 << 16).expect("tmpfs");
    std::fs::write(mounted.join("precious"), "1").expect("file");
    for marker in [tar().whiteout("d"), tar().whiteout("d/m"), tar().opaque("d/m"), tar().opaque("d"), tar().opaque("")]
    {
        let error =
            crate::support::run::apply(&dest, &marker.build(), crate::support::run::layer).expect_err("a mount");
        assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
        assert_eq!(std::fs::read_to_string(mounted.join("precious")).expect("still there"), "1");
    }
    let inside = tar().file("d/m/x", "1").build();
    let error = crate::support::run::apply(&dest, &inside, |_| {}).expect_err("a mount");
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    crate::support::run::apply(&dest, &inside, |o| o.jail.mounts = untar_in_root::Mounts::Cross).expect("allowed");
    assert!(mounted.join("x").exists());
}

#[test]
fn rule_08_an_opaque_marker_hides_what_is_below_wherever_it_stands() {
    let want = "a/ a/n=n a/s/ a/s/m=m t=t";
    let new = |tar: Tarball| tar.file("a/n", "n").file("a/s/m", "m");
    layers(&[lower(), new(tar().opaque("a"))]).leads_to(want);
    layers(&[lower(), new(tar()).opaque("a")]).leads_to(want);
    layers(&[lower(), tar().file("a/n", "n").opaque("a").file("a/s/m", "m")]).leads_to(want);
    layers(&[lower(), new(tar().opaque("a")).opaque("a").opaque("a/s")]).leads_to(want);
}

#[test]
fn rule_08_an_opaque_marker_keeps_replacements() {
    layers(&[lower(), tar().file("a/f", "new").opaque("a")]).leads_to("a/ a/f=new t=t");
    layers(&[lower(), tar().file("a/s", "file").opaque("a")]).leads_to("a/ a/s=file t=t");
    layers(&[lower(), tar().dir("a/f").opaque("a")]).leads_to("a/ a/f/ t=t");
}

#[test]
fn rule_08_the_directory_itself_keeps_its_metadata() {
    let below = tar().dir("a").with(|e| _ = e.mode(0o751).xattr("user.a", "1")).file("a/f", "");
    layers(&[below, tar().opaque("a")]).leads_to("a/").has("a", "mode", "0751").has("a", "xattr.user.a", "1");
}

#[test]
fn rule_08_without_a_directory_it_is_a_no_op() {
    let all = "a/ a/f=f a/s/ a/s/g=g t=t";
    for parent in ["t", "no", "no/such", "t/x", "a/f"] {
        layers(&[lower(), tar().opaque(parent)]).leads_to(all);
    }
    layers(&[lower().symlink("l", "no/where"), tar().opaque("l")]).leads_to("a/ a/f=f a/s/ a/s/g=g l->no/where t=t");
}

#[test]
fn whiteouts_through_a_link_that_the_layer_has_removed() {
    // The parent of the entry before may lead elsewhere now.
    let below = || tar().dir("d").symlink("l", "d");
    layers(&[below(), tar().file("l/x", "1").whiteout("l").file("l/y", "2")]).leads_to("d/ d/x=1 l/ l/y=2");
    layers(&[below(), tar().file("l/x", "1").file("l", "f").file("l/y", "2")])
        .fails(ErrorKind::Entry, Errno::NOTDIR)
        .leaves("d/ d/x=1 l=f");
    layers(&[below(), tar().file("l/x", "1").opaque("").file("l/y", "2")]).leads_to("d/ d/x=1 l/ l/y=2");
    layers(&[below(), tar().file("l/x", "1").dir("l").file("l/y", "2")]).leads_to("d/ d/x=1 l/ l/y=2");
    layers(&[below(), tar().file("l/x", "1").symlink("l", "e").file("l/y", "2")]).leads_to("d/ d/x=1 e/ e/y=2 l->e");
}
