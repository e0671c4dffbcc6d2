//! Rules 21, 22 and, of an upper directory, 23.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, mknodat};
use untar_in_root::{Cause, ErrorKind, EventKind, MarkProblem, OverlayPrefix, PackOptions, SourceChange};

use super::{applied, archive_of, cause, make, mark, over, shown, white, written};
use crate::pack::entries;
use crate::support::privilege::{need_root, need_tool};
use crate::support::scratch::Scratch;
use crate::support::tree::Tree;

fn plain(_: &mut PackOptions) {}

#[test]
fn pack_rule_21_a_whiteout_is_of_what_the_lower_layers_show_and_in_its_names_place() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let bottom = make(&scratch, "bottom", "gone old/ old/f hidden d/ d/x d/y d/z both");
    let top = make(&scratch, "top", "d/");
    white(&scratch, "top/hidden");
    white(&scratch, "top/d/z");
    let upper = make(&scratch, "upper", "a d/ d/y2 zz");
    for name in ["gone", "old", "never", "hidden", "d/x", "d/z", "d/never"] {
        white(&scratch, &format!("upper/{name}"));
    }
    // An empty file with the attribute is one too, whatever its value; other files are not.
    fs::write(upper.join("both"), "").expect("a file");
    mark(&upper.join("both"), "trusted.overlay.whiteout", "n");
    mark(&upper, "trusted.overlay.opaque", "x");
    mark(&upper.join("zz"), "trusted.overlay.whiteout", "y");
    let want = "./ a=x .wh.both d/ d/.wh.x d/y2=x .wh.gone .wh.old zz=x";
    assert_eq!(shown(over(&upper, &[top, bottom], plain)), want);
    // Nobody knows what they hide.
    let all = "./ a=x .wh.both d/ d/.wh.never d/.wh.x d/y2=x d/.wh.z .wh.gone .wh.hidden .wh.never .wh.old zz=x";
    assert_eq!(shown(over(&upper, &[], plain)), all);
}

#[test]
fn pack_rule_21_markers_are_nobodys_and_timeless() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let upper = make(&scratch, "upper", "d/");
    white(&scratch, "upper/gone");
    mark(&upper.join("d"), "trusted.overlay.opaque", "y");
    let archive = archive_of(over(&upper, &[], |o| {
        o.owner = untar_in_root::PackOwner::Forced { uid: 7, gid: 8 };
        o.whole_seconds = false;
    }));
    let all = entries(&archive);
    let markers: Vec<_> = all.iter().filter(|seen| seen.name.windows(4).any(|bytes| bytes == b".wh.")).collect();
    assert_eq!(markers.len(), 2);
    for marker in markers {
        assert_eq!((marker.kind, marker.mode, marker.owner, marker.size), (b'0', 0, (0, 0), 0));
        assert!(marker.records.is_empty(), "{:?}", marker.records);
    }
    let header = archive.chunks(512).find(|block| block.starts_with(b".wh.gone")).expect("a header");
    assert_eq!(&header[136..148], b"00000000000\0");
}

#[test]
fn pack_rule_21_an_opaque_directory_hides_by_names_or_without_lowers_by_its_marker() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let lower = make(&scratch, "lower", "d/ d/a d/b/ d/b/c d/b/d d/e/ d/e/f d/g p/ p/q");
    let upper = make(&scratch, "upper", "d/ d/a2 d/b/ d/b/d=n d/g/ d/g/h d/o/ p/");
    mark(&upper.join("d"), "trusted.overlay.opaque", "y");
    mark(&upper.join("d/o"), "trusted.overlay.opaque", "y");
    mark(&upper.join("p"), "trusted.overlay.opaque", "x");
    white(&scratch, "upper/d/w");
    // Level by level: `b` is there and loses `c`; all of `e` is one whiteout; `g` was a file.
    let want = "./ d/ d/.wh.a d/a2=x d/b/ d/b/.wh.c d/b/d=n d/.wh.e d/g/ d/g/h=x d/o/ p/";
    assert_eq!(shown(over(&upper, std::slice::from_ref(&lower), plain)), want);
    let without = "./ d/ d/.wh..wh..opq d/a2=x d/b/ d/b/d=n d/g/ d/g/h=x d/o/ p/";
    assert_eq!(shown(over(&upper, &[], plain)), without);
    // Both come to the same.
    let trees = [&[lower.clone()][..], &[]].map(|lowers| {
        let root = make(&scratch, "applied", "d/ d/a d/b/ d/b/c d/b/d d/e/ d/e/f d/g p/ p/q");
        applied(&archive_of(over(&upper, lowers, plain)), &root);
        let tree = Tree::read(&root);
        fs::remove_dir_all(&root).expect("gone");
        tree
    });
    assert_eq!(trees[0].paths(), trees[1].paths());
    assert_eq!(trees[0].paths(), [".", "d", "d/a2", "d/b", "d/b/d", "d/g", "d/g/h", "d/o", "p", "p/q"]);
}

#[test]
fn pack_rule_21_what_is_in_no_archive_does_not_let_through_what_it_covers() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let lower = make(&scratch, "lower", "s");
    let upper = scratch.dir("upper");
    let _listening = UnixListener::bind(upper.join("s")).expect("a socket");
    let (archive, packed) = written(over(&upper, &[lower], plain)).expect("a layer");
    assert_eq!(crate::pack::names_of(&archive), "./ .wh.s");
    assert_eq!(crate::pack::events(&packed), [EventKind::SocketSkipped]);
}

#[test]
fn pack_rule_18_a_name_that_looks_like_a_whiteout_is_an_error() {
    if !need_root() {
        return;
    }
    for name in [".wh.a", ".wh.", ".wh..wh..opq", "d/.wh.b", ".wh.d/"] {
        let scratch = Scratch::new();
        let upper = make(&scratch, "upper", &format!("d/ {name}"));
        let lower = make(&scratch, "lower", "a");
        assert_eq!(cause(over(&upper, &[], plain)), Cause::ReservedName, "{name}");
        assert_eq!(cause(over(&upper, std::slice::from_ref(&lower), plain)), Cause::ReservedName, "{name}");
        // What is left out deletes nothing.
        let out = |o: &mut PackOptions| o.exclude = vec![name.trim_end_matches('/').into()];
        assert!(!shown(over(&upper, &[], out)).contains(".wh."));
    }
    let scratch = Scratch::new();
    let upper = scratch.dir("upper");
    white(&scratch, "upper/.wh.f");
    assert_eq!(shown(over(&upper, &[make(&scratch, "lower", "f")], plain)), "./", "it hides nothing");
    assert_eq!(cause(over(&upper, &[make(&scratch, "with", ".wh.f")], plain)), Cause::ReservedName);
}

#[test]
fn pack_rule_22_one_prefix_is_in_force_and_the_other_is_data() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let upper = make(&scratch, "upper", "t/ u/ e/");
    for (name, prefix) in [("t", "trusted"), ("u", "user")] {
        mark(&upper.join(name), &format!("{prefix}.overlay.opaque"), "y");
        mark(&upper.join(name), &format!("{prefix}.overlay.origin"), "o");
        mark(&upper.join("e"), &format!("{prefix}.overlay.overlay.opaque"), prefix);
    }
    let keys = |prefix| {
        let archive = archive_of(over(&upper, &[], |o| o.trusted_xattrs = true).prefix(prefix));
        let keys = |seen: &crate::pack::Seen| seen.records.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
        let of = |seen: &crate::pack::Seen| (String::from_utf8_lossy(&seen.name).into_owned(), keys(seen));
        entries(&archive).iter().map(of).collect::<Vec<_>>()
    };
    let entry = |name: &str, keys: &[&str]| {
        (name.to_owned(), keys.iter().map(|key| format!("SCHILY.xattr.{key}")).collect::<Vec<_>>())
    };
    let trusted = [
        entry("./", &[]),
        entry("e/", &["trusted.overlay.opaque", "user.overlay.overlay.opaque"]),
        entry("t/", &[]),
        entry("t/.wh..wh..opq", &[]),
        entry("u/", &["user.overlay.opaque", "user.overlay.origin"]),
    ];
    assert_eq!(keys(OverlayPrefix::Trusted), trusted);
    assert_eq!(keys(OverlayPrefix::Auto), trusted);
    let user = [
        entry("./", &[]),
        entry("e/", &["trusted.overlay.overlay.opaque", "user.overlay.opaque"]),
        entry("t/", &["trusted.overlay.opaque", "trusted.overlay.origin"]),
        entry("u/", &[]),
        entry("u/.wh..wh..opq", &[]),
    ];
    assert_eq!(keys(OverlayPrefix::User), user);
}

#[test]
fn pack_rule_22_what_was_renamed_is_read_from_where_it_was() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let bottom = make(&scratch, "bottom", "old/ old/a=1 old/b=2 old/c/ old/c/d=3 old/c/e=4 new/ new/was new/a=9");
    let top = make(&scratch, "top", "old/ old/c/ old/c/e=5");
    white(&scratch, "top/old/a");
    symlink("there", top.join("old/l")).expect("a link");
    let upper = make(&scratch, "upper", "new/ new/b=6 new/c/");
    mark(&upper.join("new"), "trusted.overlay.redirect", "/old");
    white(&scratch, "upper/old");
    white(&scratch, "upper/new/c/d");
    let lowers = [top, bottom];
    let want = "./ new/ new/.wh.a new/b=6 new/c/ new/c/e=5 new/l->there new/.wh.was .wh.old";
    assert_eq!(shown(over(&upper, &lowers, plain)), want);
    let needs = |mark: &str| Cause::OverlayMark { name: mark.into(), what: MarkProblem::NeedsLowers };
    assert_eq!(cause(over(&upper, &[], plain)), needs("trusted.overlay.redirect"));
}

#[test]
fn pack_rule_22_content_comes_from_the_layer_that_has_it() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let bottom = make(&scratch, "bottom", "d/ d/f=content g=other h=x");
    let top = scratch.dir("top");
    let large = vec![b'l'; 300_000];
    scratch.file("bottom/large", &large);
    let upper = make(&scratch, "upper", "d/");
    for (name, size, redirect) in
        [("d/f", 7, None), ("moved", 5, Some("/g")), ("large", 300_000, None), ("h2", 1, Some("h"))]
    {
        let path = upper.join(name);
        fs::File::create(&path).and_then(|file| file.set_len(size)).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
        mark(&path, "trusted.overlay.metacopy", "");
        redirect.iter().for_each(|to| mark(&path, "trusted.overlay.redirect", to));
    }
    let lowers = [top, bottom];
    let archive = archive_of(over(&upper, &lowers, plain));
    let found: Vec<_> = entries(&archive).into_iter().filter(|seen| seen.kind == b'0').collect();
    let want: [(&str, &[u8]); 4] = [("d/f", b"content"), ("h2", b"x"), ("large", &large), ("moved", b"other")];
    assert_eq!(found.len(), want.len());
    for (seen, (name, content)) in found.iter().zip(want) {
        assert_eq!((&seen.name[..], &seen.body[..], seen.mode), (name.as_bytes(), content, 0o640), "{name}");
    }
    let told = cause(over(&upper, &[], plain));
    assert_eq!(told, Cause::OverlayMark { name: "trusted.overlay.metacopy".into(), what: MarkProblem::NeedsLowers });
}

/// Whoever can set them could have another's content read, or make the run wait.
#[test]
fn pack_rule_22_hostile_marks_lead_nowhere() {
    if !need_root() {
        return;
    }
    let problem = |name: &str, what| Cause::OverlayMark { name: name.into(), what };
    let of_file = |mark_it: &[(&str, &str)], prefix| {
        let scratch = Scratch::new();
        let lower = make(&scratch, "lower", "etc/ etc/shadow=secret d/");
        mknodat(CWD, lower.join("fifo"), FileType::Fifo, 0o600.into(), 0).expect("a FIFO");
        symlink("/etc/shadow", lower.join("link")).expect("a link");
        let upper = make(&scratch, "upper", "f");
        mark_it.iter().for_each(|(name, value)| mark(&upper.join("f"), name, value));
        cause(over(&upper, &[lower], plain).prefix(prefix))
    };
    use OverlayPrefix::{Trusted, User};
    let meta = ("trusted.overlay.metacopy", "");
    for to in ["..", "../etc/shadow", "/../etc/shadow", "/", "", "a/b", "//etc/shadow"] {
        let told = of_file(&[meta, ("trusted.overlay.redirect", to)], Trusted);
        assert_eq!(told, problem("trusted.overlay.redirect", MarkProblem::Malformed), "{to}");
    }
    let long = "a/".repeat(3000);
    let told = of_file(&[meta, ("trusted.overlay.redirect", &long)], Trusted);
    assert_eq!(told, problem("trusted.overlay.redirect", MarkProblem::Malformed));
    for to in ["/fifo", "/link", "/d", "/nothing", "/etc/shadow/x"] {
        let told = of_file(&[meta, ("trusted.overlay.redirect", to)], Trusted);
        assert_eq!(told, problem("trusted.overlay.metacopy", MarkProblem::NotThere), "{to}");
    }
    // What overlayfs shows no content of; it is not read through the lower layers. The longest are values of no mark.
    let long = "y".repeat(5000);
    for value in ["y", "yes", "\x01\x04\0\0", "\0\x05\0\0", "\0\x04\0\0digest", &long] {
        let told =
            of_file(&[("trusted.overlay.metacopy", value), ("trusted.overlay.redirect", "/etc/shadow")], Trusted);
        assert_eq!(told, problem("trusted.overlay.metacopy", MarkProblem::NoMetacopy), "{value:?}");
    }
    let forged = [("user.overlay.metacopy", ""), ("user.overlay.redirect", "/etc/shadow")];
    assert_eq!(of_file(&forged, User), problem("user.overlay.metacopy", MarkProblem::NotFollowed));
    // Under the other prefix it is a file like any other.
    let scratch = Scratch::new();
    let upper = make(&scratch, "upper", "f");
    forged.iter().for_each(|(name, value)| mark(&upper.join("f"), name, value));
    assert_eq!(shown(over(&upper, &[make(&scratch, "lower", "etc/ etc/shadow=secret")], plain)), "./ f=x");
}

#[test]
fn pack_rule_22_directories_that_lead_to_one_another_end() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let bottom = make(&scratch, "bottom", "a/ a/x=1 b/ b/y=2");
    let top = make(&scratch, "top", "a/ b/");
    mark(&top.join("a"), "trusted.overlay.redirect", "/b");
    mark(&top.join("b"), "trusted.overlay.redirect", "/a");
    let upper = make(&scratch, "upper", "a/ a/a/");
    mark(&upper.join("a"), "trusted.overlay.redirect", "/a");
    mark(&upper.join("a/a"), "trusted.overlay.redirect", "/a");
    assert_eq!(shown(over(&upper, &[top, bottom], plain)), "./ a/ a/a/ a/a/y=2 a/y=2");
}

#[test]
fn pack_rule_22_attributes_out_of_reach_are_an_error_where_they_are_asked_for() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let upper = make(&scratch, "upper", "f");
    let mut diff = over(&upper, &[], plain).prefix(OverlayPrefix::Trusted);
    diff.options_mut().jail.user_namespace = untar_in_root::UserNamespace::Single;
    let (error, _) = written(diff).expect_err("it must fail");
    assert_eq!(error.kind(), ErrorKind::Confinement, "{error}");
}

/// Beyond the directories that are held at once, where the way back leads from one layer into another.
#[test]
fn pack_rule_22_what_was_renamed_is_read_however_deep_it_is() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let (bottom, top) = (scratch.dir("bottom"), scratch.dir("top"));
    scratch.chain("bottom/old", "d", 400);
    scratch.chain("top/old", "d", 100);
    for depth in [10, 100, 101, 300] {
        scratch.file(format!("bottom/old/{}z", "d/".repeat(depth)), "z");
    }
    let upper = make(&scratch, "upper", "new/");
    mark(&upper.join("new"), "trusted.overlay.redirect", "/old");
    let names = crate::pack::names_of(&archive_of(over(&upper, &[top, bottom], plain)));
    let names: Vec<&str> = names.split(' ').collect();
    assert_eq!(names.iter().filter(|name| name.ends_with('/')).count(), 402);
    assert_eq!(names.iter().filter(|name| name.ends_with("d/z")).count(), 4);
}

#[test]
fn pack_rule_22_without_rights_it_is_told_that_marks_may_be_missed() {
    if !need_root() || !need_tool("setpriv") {
        return;
    }
    let scratch = Scratch::new();
    let upper = make(&scratch, "upper", "");
    std::os::unix::fs::chown(&upper, Some(65_534), Some(65_534)).expect("an owner");
    let name = upper.to_str().expect("UTF-8");
    for (word, told) in [("--overlay", true), ("--overlay=user", false)] {
        let said = crate::pack::cli::as_nobody(&scratch, &["diff", word, name]);
        let words = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!((said.status.code(), words.contains("trusted.overlay.")), (Some(0), told), "{words}");
    }
}

#[test]
fn pack_rule_23_all_that_is_in_an_upper_directory_is_an_entry() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let upper = make(&scratch, "upper", "d/ d/e/ d/e/f g");
    symlink("f", upper.join("d/l")).expect("a link");
    fs::hard_link(upper.join("g"), upper.join("d/h")).expect("a link");
    let lower = make(&scratch, "lower", "d/ d/e/ d/e/f g z");
    assert_eq!(shown(over(&upper, &[lower], plain)), "./ d/ d/e/ d/e/f=x d/h=x d/l->f g=>d/h");
}

#[test]
fn pack_rule_11_15_a_layer_is_dense_and_has_whole_seconds() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let upper = scratch.dir("upper");
    let file = fs::File::create(upper.join("sparse")).expect("a file");
    file.set_len(1 << 20).and_then(|()| file.write_all_at(b"end", (1 << 20) - 3)).expect("content");
    let archive = archive_of(over(&upper, &[], plain));
    let all = entries(&archive);
    assert!(all.iter().all(|seen| seen.records.is_empty()), "{:?}", all[1].records);
    assert_eq!(all[1].body.len(), 1 << 20);
    let sparse = |o: &mut PackOptions| (o.dense, o.whole_seconds) = (false, false);
    let all = entries(&archive_of(over(&upper, &[], sparse)));
    assert!(all[1].record("GNU.sparse.realsize").is_some() && all[1].record("mtime").is_some());
}

#[test]
fn pack_rule_11_many_holes_that_become_zeros_are_told() {
    if !need_root() {
        return;
    }
    for (size, told) in [((1 << 30) + 1, &[EventKind::HolesFilled][..]), (1 << 30, &[])] {
        let scratch = Scratch::new();
        let upper = scratch.dir("upper");
        fs::File::create(upper.join("sparse")).and_then(|file| file.set_len(size)).expect("a file");
        let packed = over(&upper, &[], |o| o.skip_digests = true).to(std::io::sink()).expect("a layer");
        assert_eq!(crate::pack::events(&packed), told, "{size}");
    }
}

#[test]
fn pack_rule_06_what_is_mounted_on_an_upper_directory_is_refused() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let upper = make(&scratch, "upper", "d/ d/m/");
    scratch.tmpfs("upper/d/m", 1 << 20).expect("a mount");
    assert_eq!(cause(over(&upper, &[], plain)), Cause::CrossesMount);
}

#[test]
fn pack_rule_17_in_a_layer_changes_are_failures() {
    if !need_root() {
        return;
    }
    use std::io::Read;
    let scratch = Scratch::new();
    let upper = make(&scratch, "upper", "");
    fs::File::create(upper.join("a")).and_then(|file| file.set_len(64 << 20)).expect("a large file");
    let mut packing = over(&upper, &[], plain).spawn().expect("a helper");
    packing.read_exact(&mut [0; 4096]).expect("the beginning");
    fs::File::options().write(true).open(upper.join("a")).and_then(|file| file.set_len(5)).expect("shorter");
    let error = std::io::copy(&mut packing, &mut std::io::sink()).expect_err("it must fail");
    let error = error.downcast::<untar_in_root::Error>().expect("ours");
    let cause = error.failure().expect("told").cause.clone();
    assert!(matches!(cause, Cause::Source(SourceChange::Shrank { .. })), "{cause:?}");
}
