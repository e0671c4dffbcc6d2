//! Rule 10, missing parents, and rule 14, what is done at the end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::io::Errno;
use untar_in_root::{Durability, ErrorKind, EventKind, Mode, Options, Untar};

use crate::support::expected::Expected;
use crate::support::privilege::need_root;
use crate::support::run::{Run, apply, both, dated, layer, layers, line, literal, plain, program, untar};
use crate::support::scratch::Scratch;
use crate::support::tarball::{Tarball, gz};
use crate::support::tree::{But, Tree, assert_same};

fn tar() -> Tarball {
    Tarball::new()
}

#[test]
fn rule_10_missing_parents_are_0755_whatever_the_umask() {
    both(&[tar().file("a/b/f", "1")], |run| {
        let run = run.leads_to("a/ a/b/ a/b/f=1").has("a", "mode", "0755").has("a/b", "mode", "0755");
        let tree = run.tree();
        // Of the mapped root: as the root directory of a test that runs as root, or the caller's own id.
        assert_eq!((tree.get("a", "uid"), tree.get("a", "gid")), (tree.get(".", "uid"), tree.get(".", "gid")));
    });
}

#[test]
fn rule_10_missing_parents_belong_to_the_mapped_root() {
    if !need_root() {
        return;
    }
    let range = |outside| vec![untar_in_root::IdRange { inside: 0, outside, count: 10 }];
    let owner = untar_in_root::Owner::Mapped { uids: range(5000), gids: range(6000) };
    let archive = tar().file("a/f", "1").with(|e| _ = e.uid(3).gid(4));
    let run = Run::of(&[archive], |o| o.owner = owner).has("a", "uid", "5000").has("a", "gid", "6000");
    run.has("a/f", "uid", "5003").has("a/f", "gid", "6004");
}

#[test]
fn rule_10_missing_parents_do_not_inherit() {
    if !need_root() {
        return;
    }
    // A set-gid directory with a default ACL above: neither group, set-gid bit nor ACL come down.
    let acl = "user::rwx,user:7:rwx,group::rwx,mask::rwx,other::---";
    let below = tar().dir("d").with(|e| _ = e.mode(0o2777).gid(55).pax("SCHILY.acl.default", acl));
    let run = layers(&[below, tar().file("d/e/f", "1").symlink("d/l", "x").fifo("d/p")])
        .leads_to("d/ d/e/ d/e/f=1 d/l->x d/p|");
    let tree = run.tree();
    for path in ["d/e", "d/e/f", "d/l", "d/p"] {
        assert_eq!(tree.get(path, "gid"), "0", "{path}");
    }
    assert_eq!((tree.get("d/e", "mode"), tree.get("d/e/f", "mode")), ("0755", "0644"));
    assert_eq!((tree.get("d/p", "mode"), run.report().events.len()), ("0644", 0));
    let with_acl: Vec<_> = tree.text(&[]).lines().filter(|l| l.contains("acl")).map(str::to_owned).collect();
    assert!(with_acl.iter().all(|line| line.starts_with("d ")), "{with_acl:#?}");
}

#[test]
fn rule_10_a_non_directory_of_this_archive_in_the_way_is_enotdir() {
    for (archive, left) in [
        (tar().file("x", "1").file("x/y", "2"), "x=1"),
        (tar().fifo("x").dir("x/y"), "x|"),
        (tar().file("f", "1").symlink("x", "f").file("x/y", "2"), "f=1 x->f"),
    ] {
        both(&[archive], |run| {
            assert_eq!(run.error().raw_os_error(), Some(20));
            run.fails(ErrorKind::Entry, Errno::NOTDIR).leaves(left);
        });
    }
    // What the layer has linked to, or put in the place of something else, is its own.
    layers(&[tar().file("f", "1"), tar().hardlink("x", "f").file("x/y", "2")]).fails(ErrorKind::Entry, Errno::NOTDIR);
    layers(&[tar().file("x", "1"), tar().file("x", "2").file("x/y", "3")]).fails(ErrorKind::Entry, Errno::NOTDIR);
    layers(&[tar().file("f", "1"), tar().symlink("x", "f").file("x/y", "3")]).fails(ErrorKind::Entry, Errno::NOTDIR);
    // Plain tar knows no layers.
    Run::of(&[tar().file("x", "1"), tar().file("x/y", "2")], literal)
        .fails(ErrorKind::Entry, Errno::NOTDIR)
        .leaves("x=1");
}

#[test]
fn rule_10_a_non_directory_of_a_lower_layer_gives_way() {
    for (below, above, left) in [
        (tar().file("x", "1"), tar().file("x/y", "2"), "x/ x/y=2"),
        (tar().fifo("x"), tar().dir("x/y"), "x/ x/y/"),
        (tar().file("x", "1"), tar().symlink("x/y/z", "2"), "x/ x/y/ x/y/z->2"),
        (tar().dir("d").file("d/x", "1").symlink("l", "d"), tar().file("l/x/y", "2"), "d/ d/x/ d/x/y=2 l->d"),
        (tar().file("f", "1").hardlink("x", "f"), tar().file("x/y", "2"), "f=1 x/ x/y=2"),
    ] {
        layers(&[below, above]).leads_to(left);
    }
    // Whoever does not want it says so.
    let archives = [tar().file("x", "1"), tar().file("x/y", "2")];
    let refuse = |o: &mut untar_in_root::Options| (o.mode, o.no_overwrite_dir_nondir) = (Mode::Layer, true);
    Run::of(&archives, refuse).fails(ErrorKind::Entry, Errno::NOTDIR).leaves("x=1");
    // The way to the destination is the caller's, not the layer's.
    let into = |o: &mut untar_in_root::Options| o.mode = Mode::Layer;
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    fs::write(dest.join("x"), "1").expect("file");
    let error = untar(&dest, into).destination("x/y").apply(&tar().file("z", "2").build()[..]).expect_err("refused");
    assert_eq!((error.raw_os_error(), line(&Tree::read(&dest)).as_str()), (Some(20), "x=1"));
}

#[test]
fn rule_10_of_links_to_no_directory_the_one_that_the_path_names_gives_way() {
    for (below, above, left) in [
        (tar().file("f", "1").symlink("x", "f"), tar().file("x/y", "2"), "f=1 x/ x/y=2"),
        (tar().file("f", "1").symlink("m", "f").symlink("x", "/m"), tar().dir("x/y"), "f=1 m->f x/ x/y/"),
        (tar().file("f", "1").symlink("x", "f/no/more"), tar().file("x/y/z", "2"), "f=1 x/ x/y/ x/y/z=2"),
        // Below a link to a directory it is the one that is named there.
        (
            tar().file("f", "1").dir("d").symlink("d/x", "../f").symlink("l", "d"),
            tar().file("l/x/y", "2"),
            "d/ d/x/ d/x/y=2 f=1 l->d",
        ),
        // The file may be this layer's: it stays, too.
        (tar().symlink("x", "f"), tar().file("f", "2").file("x/y", "3"), "f=2 x/ x/y=3"),
    ] {
        layers(&[below, above]).leads_to(left);
    }
    // A link that a path has been through before leads nowhere any more.
    let below = tar().dir("d").symlink("m", "d").symlink("x", "m");
    layers(&[below, tar().file("x/a", "1").file("m", "2").file("x/b", "3")]).leads_to("d/ d/a=1 m=2 x/ x/b=3");
}

#[test]
fn rule_14_directory_times_survive_what_is_put_into_them() {
    let archive = tar().dir("d").with(|e| _ = e.mtime_ns(11, 3)).dir("d/e").with(|e| _ = e.mtime_ns(12, 4));
    let archive = archive.file("d/e/f", "1").file("d/f", "1").symlink("d/l", "x").hardlink("d/e/h", "d/f");
    both(&[archive], |run| {
        run.has("d", "mtime", "11.000000003").has("d/e", "mtime", "12.000000004");
    });
    let below = tar().dir("d").file("d/f", "").file("d/g", "").dir("d/e").file("d/e/x", "");
    let above =
        tar().dir("d").with(|e| _ = e.mtime(9)).whiteout("d/f").dir("d/e").with(|e| _ = e.mtime(8)).opaque("d/e");
    layers(&[below, above]).has("d", "mtime", "9.000000000").has("d/e", "mtime", "8.000000000");
}

/// In literal and layer mode, in a root that is made for it, below a destination that is.
#[test]
fn rule_10_directories_that_no_entry_lists_have_the_time_of_the_one_that_implied_them() {
    let archive = || {
        let tar = tar().file("a/b/f", "1").with(|e| _ = e.mtime_ns(5, 7)).file("a/c/g", "2").with(|e| _ = e.mtime(9));
        tar.symlink("l", "m/n").file("l/h", "3").with(|e| _ = e.mtime_ns(-3, 1))
    };
    for change in [literal as fn(&mut Options), layer] {
        let scratch = Scratch::new();
        let made = scratch.join("made");
        Untar::atomic(&made)
            .expect("a place")
            .program(program())
            .options(options(change))
            .apply(&archive().build()[..])
            .expect("applied");
        let tree = Tree::read(&made);
        for (path, time) in [(".", "5.000000007"), ("a", "5.000000007"), ("a/b", "5.000000007"), ("a/c", "9.000000000")]
        {
            assert_eq!(tree.get(path, "mtime"), time, "{path}");
        }
        assert_eq!((tree.get("m", "mtime"), tree.get("m/n", "mtime")), ("-3.000000001", "-3.000000001"));

        let below = scratch.dir("below");
        dated(&below);
        untar(&below, change).destination("in/to").apply(&archive().build()[..]).expect("applied");
        let tree = Tree::read(&below);
        assert_eq!((tree.get("in", "mtime"), tree.get("in/to", "mtime")), ("5.000000007", "5.000000007"));
        let clamped = Run::of(&[archive()], |o| {
            change(o);
            o.clamp_mtime = Some(4);
        });
        clamped.has("a", "mtime", "4.000000000").has("m", "mtime", "-3.000000001");
    }
    // Who lists it, when ever, says its time.
    both(
        &[tar().file("a/f", "1").with(|e| _ = e.mtime(5)).dir("a").with(|e| _ = e.mtime(6)).file("a/g", "2")],
        |run| {
            run.has("a", "mtime", "6.000000000");
        },
    );
    // A marker implies nothing, if anything else does.
    let scratch = Scratch::new();
    let made = scratch.join("made");
    let archive = tar().whiteout("x").file("f", "1").with(|e| _ = e.mtime(8));
    Untar::atomic(&made)
        .expect("a place")
        .program(program())
        .options(options(layer))
        .apply(&archive.build()[..])
        .expect("applied");
    assert_eq!(Tree::read(&made).get(".", "mtime"), "8.000000000");
}

#[test]
fn rule_14_directories_that_no_entry_lists_get_their_times_back() {
    let listed = |tar: Tarball, name: &str, time| tar.dir(name).with(|e| _ = e.mtime_ns(time, 5));
    let below = || {
        let mut below = tar();
        for (name, time) in
            [("", 20), ("new", 21), ("less", 22), ("bare", 23), ("links", 24), ("deep", 25), ("deep/er", 26)]
        {
            below = listed(below, if name.is_empty() { "./" } else { name }, time);
        }
        below.file("less/x", "1").file("bare/x", "1").file("links/x", "1").file("deep/er/way", "1")
    };
    let above = tar().file("new/f", "1").whiteout("less/x").opaque("bare").hardlink("links/y", "links/x");
    let above = above.file("deep/er/way/f", "1").with(|e| _ = e.mtime(6)).file("top", "1");
    let unchanged = [(".", 20), ("new", 21), ("less", 22), ("bare", 23), ("links", 24), ("deep", 25), ("deep/er", 26)];
    let run = layers(&[below(), above]);
    for (path, time) in unchanged {
        assert_eq!(run.tree().get(path, "mtime"), format!("{time}.000000005"), "{path}");
    }
    run.has("deep/er/way", "mtime", "6.000000000");
    // Whoever is listed has the entry's, and plain tar changes what it puts things into.
    let above = tar().file("new/f", "1").dir("new").with(|e| _ = e.mtime(1));
    layers(&[below(), above]).has("new", "mtime", "1.000000000").has(".", "mtime", "20.000000005");
    let run = Run::of(&[below(), tar().file("new/f", "1")], literal);
    assert_ne!(run.tree().get("new", "mtime"), "21.000000005");
}

#[test]
fn rule_14_the_times_of_many_directories_come_back() {
    // More than are open at once: they are left, entered and left again.
    let listed = |tar: Tarball, n: i64| tar.dir(format!("d{n}")).with(|e| _ = e.mtime_ns(1000 + n, 3));
    let below = (0..600).fold(tar(), listed);
    let add = |tar: Tarball, n: i64| tar.file(format!("d{}/f{n}", n % 600), "1");
    let run = layers(&[below, (0..1200).fold(tar(), add)]);
    let tree = run.tree();
    for n in 0..600 {
        assert_eq!(tree.get(&format!("d{n}"), "mtime"), format!("{}.000000003", 1000 + n));
    }
}

/// Not ours: its time is told to be what it became, and nothing fails.
#[test]
fn rule_14_a_time_that_may_not_be_put_back_is_an_event() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    fs::create_dir(dest.join("open")).expect("directory");
    std::os::unix::fs::chown(dest.join("open"), Some(54_321), None).expect("owner");
    fs::set_permissions(dest.join("open"), fs::Permissions::from_mode(0o777)).expect("mode");
    let report = untar(&dest, |o| {
        layer(o);
        o.jail.user_namespace = untar_in_root::UserNamespace::Single;
        o.owner = untar_in_root::Owner::Caller;
    });
    let report = report.apply(&tar().file("open/f", "1").build()[..]).expect("applied");
    let told: Vec<_> = report.events.iter().map(|event| event.what.clone()).collect();
    assert_eq!(told, [EventKind::TimesIgnored { errno: 1 }]);
}

/// One archive is one tree, whenever it is applied.
#[test]
fn rule_14_the_same_archive_gives_the_same_times_whenever_it_is_applied() {
    let below = tar().file("a/b/f", "1").with(|e| _ = e.mtime_ns(3, 9)).file("c", "2").symlink("l", "a").dir("e/e");
    let above = tar().file("l/new/f", "1").with(|e| _ = e.mtime_ns(4, 8)).whiteout("e/e").file("c/x/y", "2");
    let above = above.opaque("a/b").hardlink("h", "l/new/f").file("z/.wh..wh.skipped", "");
    let once = |mode: &dyn Fn(&Path) -> Mode| {
        let scratch = Scratch::new();
        let (made, there) = (scratch.join("made"), scratch.dir("there"));
        dated(&there);
        let lower = scratch.join("lower");
        atomic(&lower, Mode::Layer, &below);
        for archive in [&below, &above] {
            // In literal mode what is there changes as with tar, the root, too.
            if mode(&lower) != Mode::Literal {
                untar(&there, |o| o.mode = mode(&lower)).apply(&archive.build()[..]).expect("applied");
            }
            if matches!(mode(&lower), Mode::Overlay(_)) {
                break;
            }
        }
        atomic(&made, mode(&lower), if mode(&lower) == Mode::Literal { &below } else { &above });
        [lower, made, there].map(|path| Tree::read(&path))
    };
    let over = |lowers: bool, path: &Path| {
        let mut overlay = untar_in_root::Overlay::default();
        let there = lowers.then(|| untar_in_root::Lower::open(path).expect("lower directory"));
        overlay.lowers = there.into_iter().collect();
        Mode::Overlay(overlay)
    };
    let modes: [&dyn Fn(&Path) -> Mode; 4] =
        [&|_| Mode::Literal, &|_| Mode::Layer, &|path| over(true, path), &|path| over(false, path)];
    for (number, mode) in modes.into_iter().enumerate() {
        if number < 2 || need_root() {
            let (first, second) = (once(mode), once(mode));
            for (one, other) in first.iter().zip(&second) {
                assert_same(&format!("mode {number}"), one, other, &[But::Of("char", "mtime")]);
            }
        }
    }
}

fn atomic(place: &Path, mode: Mode, archive: &Tarball) {
    let untar = Untar::atomic(place).expect("a place").program(program()).options(options(|o| o.mode = mode));
    untar.apply(&archive.build()[..]).expect("applied");
}

fn options(change: impl FnOnce(&mut Options)) -> Options {
    let mut options = Options::default();
    change(&mut options);
    options
}

#[test]
fn rule_14_the_root_time_is_last() {
    let archive = tar().dir(".").with(|e| _ = e.mtime_ns(-5, 9)).file("f", "").dir("d").file("d/f", "");
    both(&[archive], |run| {
        run.has(".", "mtime", "-5.000000009");
    });
}

#[test]
fn rule_14_restrictive_modes_do_not_hinder_what_comes_later() {
    let archive = tar().dir("d").with(|e| _ = e.mode(0)).file("d/f", "1").dir("d/e").with(|e| _ = e.mode(0o500));
    let archive = archive.file("d/e/f", "2").dir(".").with(|e| _ = e.mode(0o555)).file("g", "3");
    both(&[archive], |run| {
        run.has("d", "mode", "0000").has(".", "mode", "0555");
        let scratch = Scratch::new();
        drop(scratch);
    });
}

#[test]
fn rule_14_a_thousand_directories_keep_their_metadata() {
    // More than the helper keeps open, filled in turns.
    let dirs = (0..400).fold(tar(), |tar, i| tar.dir(format!("d{i}")).with(|e| _ = e.mode(0o500).mtime(i)));
    let files = (0..400).fold(dirs, |tar, i| tar.file(format!("d{i}/f"), "1"));
    let again = (0..400).rev().fold(files, |tar, i| tar.file(format!("d{i}/g"), "1"));
    both(&[again], |run| {
        run.report();
        let tree = run.tree();
        for i in 0..400 {
            let path = format!("d{i}");
            assert_eq!((tree.get(&path, "mode"), tree.get(&path, "mtime")), ("0500", &*format!("{i}.000000000")));
        }
    });
}

#[test]
fn rule_14_deferred_metadata_is_applied_after_an_error_too() {
    let archive = tar().dir("d").with(|e| _ = e.mode(0o711).mtime(5)).file("d/f", "1").file("../x", "");
    let run = Run::of(&[archive], literal).fails(ErrorKind::Refused, Expected::PathEscapes).leaves("d/ d/f=1");
    assert_eq!((run.tree().get("d", "mode"), run.tree().get("d", "mtime")), ("0711", "5.000000000"));
    let report = run.error().report().expect("a partial report");
    assert_eq!((report.entries.directories, report.entries.files, report.diff_id), (1, 1, None));
}

#[test]
fn rule_14_the_input_is_drained_counted_and_digested() {
    use sha2::{Digest, Sha256};
    let bytes = tar().file("f", "1").trailing(vec![0; 70_000]).build();
    let run = Run::of(&[tar().file("f", "1").trailing(vec![0; 70_000])], layer).leads_to("f=1").tells(&[]);
    let report = run.report();
    assert_eq!((report.bytes_in, report.bytes_tar), (bytes.len() as u64, bytes.len() as u64));
    assert_eq!(report.diff_id.expect("a diff ID").0, <[u8; 32]>::from(Sha256::digest(&bytes)));
    let scratch = Scratch::new();
    let packed = gz(&bytes);
    let report = apply(scratch.path(), &packed, literal).expect("applied");
    assert_eq!((report.bytes_in, report.bytes_tar), (packed.len() as u64, bytes.len() as u64));
    assert_eq!(report.diff_id.expect("a diff ID").0, <[u8; 32]>::from(Sha256::digest(&bytes)));
    let run = plain(tar().file("f", "1").trailing(b"rest"));
    run.leads_to("f=1").tells(&[EventKind::TrailingData { bytes: 4 }]);
}

#[test]
fn rule_14_every_sync_policy_leads_to_the_same_tree() {
    for durability in [Durability::None, Durability::FileSystem, Durability::PerFile] {
        let archive = tar().dir("d").with(|e| _ = e.mtime(5)).file("d/f", "1").symlink("d/l", "f").fifo("d/p");
        Run::of(&[archive], |o| o.durability = durability).leads_to("d/ d/f=1 d/l->f d/p|").has(
            "d",
            "mtime",
            "5.000000000",
        );
    }
}

#[test]
fn a_destination_without_rights_for_its_owner_works() {
    // Mode 0000 directories must work: as root by capability, else by the namespace's.
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    fs::create_dir(dest.join("closed")).expect("dir");
    fs::set_permissions(dest.join("closed"), fs::Permissions::from_mode(0o000)).expect("mode");
    apply(&dest, &tar().file("closed/f", "1").build(), literal).expect("applied");
    fs::set_permissions(dest.join("closed"), fs::Permissions::from_mode(0o700)).expect("mode");
    assert_eq!(Tree::read(&dest).text(&[But::Field("mtime")]).lines().count(), 3);
}
