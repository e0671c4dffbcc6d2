//! Directories that stay because a mount below them is left out: what they are like, and what they hide.

use std::os::unix::fs::PermissionsExt;

use untar_in_root::{OverlayPrefix, Owner};

use super::*;
use crate::support::run::{apply, dated, over};
use crate::support::tree::{Tree, line};

/// `d`, 0755 and of a known time, with a mount at this place below it.
fn with_mount(scratch: &Scratch, at: &str) -> PathBuf {
    let dest = scratch.dir("dest");
    tmpfs(&dest.join(at), "secret");
    for dir in Path::new(at).ancestors().skip(1).filter(|dir| *dir != Path::new("")) {
        dated(&dest.join(dir));
    }
    dated(&dest);
    dest
}

fn listed(tar: Tarball, name: &str, mode: u32) -> Tarball {
    tar.dir(name).with(|e| _ = e.mode(mode).mtime(5))
}

#[test]
fn rule_14_a_listed_directory_that_stays_for_a_mount_is_as_the_archive_says() {
    if !need_root() {
        return;
    }
    let (tar, mut wrong) = (Tarball::new, Vec::new());
    for (what, at, archive, mode) in [
        ("itself", "d/m", listed(tar(), "d", 0o700).file("d", "1"), Mode::Literal),
        ("with a file", "d/m", listed(tar(), "d", 0o1500).file("d/f", "1").symlink("d", "x"), Mode::Layer),
        ("below", "d/e/m", listed(listed(tar(), "d", 0o711), "d/e", 0).file("d/e/f", "1").file("d", "1"), Mode::Layer),
        ("that goes", "d/m", listed(listed(tar(), "d", 0o700), "d/e", 0o700).file("d", "1"), Mode::Literal),
        ("then in it", "d/m", listed(tar(), "d", 0o700).file("d", "1").hardlink("d", "x"), Mode::Literal),
    ] {
        for mounts in [Mounts::Skip, Mounts::Refuse] {
            let scratch = Scratch::new();
            let dest = with_mount(&scratch, at);
            fs::write(dest.join("x"), "x").expect("file");
            let result = apply(&dest, &archive.build(), |o| (o.mode, o.jail.mounts) = (mode.clone(), mounts));
            assert_eq!(result.is_ok(), mounts == Mounts::Skip, "{what}: {result:?}");
            let tree = Tree::read(&dest);
            let want = match what {
                "with a file" => vec![("d", "1500")],
                "below" => vec![("d", "0711"), ("d/e", "0000")],
                _ => vec![("d", "0700")],
            };
            for (path, mode) in want {
                let got = (tree.get(path, "mode"), tree.get(path, "mtime"));
                if got != (mode, "5.000000000") {
                    wrong.push(format!("{what}, {mounts:?}: {path} {got:?}"));
                }
            }
            if let Ok(report) = result {
                let told: Vec<_> = report.events.iter().map(|event| &event.what).collect();
                assert!(told.iter().all(|told| **told == EventKind::MountSkipped), "{what}: {told:?}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Known or not, listed or not: only what is mounted tells who was there.
#[test]
fn rule_14_directories_on_the_way_to_a_mount_have_their_times_again() {
    if !need_root() {
        return;
    }
    let (tar, mut wrong) = (Tarball::new, Vec::new());
    for (what, archive, mode) in [
        ("a whiteout", tar().whiteout("d"), Mode::Layer),
        ("a whiteout behind a look", tar().whiteout("d/e/nothing").whiteout("d"), Mode::Layer),
        ("a whiteout below", tar().whiteout("d/e"), Mode::Layer),
        ("an opaque marker", tar().opaque("d"), Mode::Layer),
        ("an opaque marker at the top", tar().opaque(""), Mode::Layer),
        ("a file", tar().file("d", "1"), Mode::Layer),
        ("a whiteout in an upper directory", tar().whiteout("d"), Mode::Overlay(over::<&Path>([]))),
    ] {
        let scratch = Scratch::new();
        let dest = with_mount(&scratch, "d/e/m");
        for place in ["d/f", "d/e/f", "d/e/g/h"] {
            fs::create_dir_all(dest.join(place).parent().expect("a parent")).expect("directory");
            fs::write(dest.join(place), "old").expect("file");
        }
        ["d/e", "d", ""].iter().for_each(|dir| dated(&dest.join(dir)));
        let (_, left_out) = skipping(&dest, &archive.build(), |o| o.mode = mode.clone());
        assert_eq!(left_out.len(), 1, "{what}: {left_out:?}");
        let tree = Tree::read(&dest);
        assert!(!tree.has("d/e/f") && !tree.has("d/e/g"), "{what}: {}", line(&tree));
        for dir in [".", "d", "d/e"] {
            if tree.get(dir, "mtime") != "77.000000007" {
                wrong.push(format!("{what}: {dir} {}", tree.get(dir, "mtime")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Not ours: its time is told to be what it became, and nothing fails.
#[test]
fn rule_15_a_time_on_the_way_to_a_mount_that_may_not_be_put_back_is_an_event() {
    if !need_root() {
        return;
    }
    for (what, archive) in [("a whiteout", Tarball::new().whiteout("d")), ("a file", Tarball::new().file("d", "1"))] {
        let scratch = Scratch::new();
        let dest = with_mount(&scratch, "d/m");
        fs::write(dest.join("d/f"), "old").expect("file");
        std::os::unix::fs::chown(dest.join("d"), Some(54_321), None).expect("owner");
        fs::set_permissions(dest.join("d"), fs::Permissions::from_mode(0o777)).expect("mode");
        let report = apply(&dest, &archive.build(), |o| {
            (o.mode, o.jail.mounts) = (Mode::Layer, Mounts::Skip);
            o.jail.user_namespace = UserNamespace::Single;
            o.owner = Owner::Caller;
        });
        let told: Vec<_> = report.expect("applied").events.into_iter().map(|event| event.what).collect();
        assert_eq!(told, [EventKind::MountSkipped, EventKind::TimesIgnored { errno: 1 }], "{what}");
        let tree = Tree::read(&dest);
        assert!(tree.has("d/m") && !tree.has("d/f"), "{what}: {}", line(&tree));
    }
}

/// An upper directory in which something is mounted, over a lower one.
struct Upper {
    scratch: Scratch,
    upper: PathBuf,
    at: PathBuf,
}

impl Upper {
    fn new(lower: &Tarball, at: &str) -> Upper {
        let scratch = Scratch::new();
        let (below, upper) = (scratch.dir("lower"), scratch.dir("upper"));
        apply(&below, &lower.build(), |_| ()).expect("lower");
        let at = upper.join(at);
        tmpfs(&at, "secret");
        Upper { scratch, upper, at }
    }

    fn apply(&self, archive: &Tarball, user: bool, change: impl FnOnce(&mut Options)) -> Vec<String> {
        let prefix = if user { OverlayPrefix::User } else { OverlayPrefix::Trusted };
        let (_, left_out) = skipping(&self.upper, &archive.build(), |o| {
            o.mode = Mode::Overlay(over([self.scratch.join("lower")]).prefix(prefix));
            change(o);
        });
        left_out
    }

    /// What overlayfs shows once nothing is mounted there any more.
    fn shows(&self, user: bool) -> String {
        rustix::mount::unmount(&self.at, rustix::mount::UnmountFlags::empty()).expect("unmounted");
        let merged = self.scratch.dir("merged");
        let user = if user { ",userxattr" } else { "" };
        let (upper, lower) = (self.upper.display(), self.scratch.join("lower"));
        let data = std::ffi::CString::new(format!("lowerdir={upper}:{}{user}", lower.display())).expect("no NUL");
        mount("overlay", &merged, "overlay", MountFlags::RDONLY, Some(data.as_c_str())).expect("overlayfs");
        line(&Tree::read(&merged))
    }
}

#[test]
fn rule_15_a_mount_in_an_upper_directory_brings_nothing_back() {
    if !need_root() {
        return;
    }
    let (tar, mut wrong) = (Tarball::new, Vec::new());
    let lower = || tar().file("a", "1").file("b/c", "2").file("d/e/s", "3").file("d/s", "4").file("zz", "5");
    let many = (0..80).fold(tar(), |tar, n| tar.file("n/many", n.to_string()));
    for (what, at, archive, shown) in [
        ("all", "d", tar().opaque(""), "d/ d/e/ d/e/s=3 d/s=4"),
        ("all, and a mount deeper", "d/m", tar().opaque(""), "d/ d/m/"),
        ("all, and the directory is the layer's", "d/m", tar().opaque("").dir("d"), "d/ d/m/"),
        ("all, and it was the layer's", "d/m", tar().dir("d").opaque(""), "d/ d/m/"),
        ("a whiteout", "d/m", tar().whiteout("d"), "a=1 b/ b/c=2 d/ d/m/ zz=5"),
        ("a whiteout, twice", "d/m", tar().whiteout("d").whiteout("d"), "a=1 b/ b/c=2 d/ d/m/ zz=5"),
        ("a whiteout of what is known", "d/m", tar().opaque("d/e").whiteout("d"), "a=1 b/ b/c=2 d/ d/m/ zz=5"),
        ("a whiteout of the layer's", "d/m", tar().dir("d").whiteout("d"), "a=1 b/ b/c=2 d/ d/m/ zz=5"),
        ("an opaque marker", "d/m", tar().opaque("d"), "a=1 b/ b/c=2 d/ d/m/ zz=5"),
        ("one in the layer's", "d/m", tar().dir("d").opaque("d"), "a=1 b/ b/c=2 d/ d/m/ zz=5"),
        ("one behind another", "d/e/m", tar().whiteout("d/e/s").opaque("d"), "a=1 b/ b/c=2 d/ d/e/ d/e/m/ zz=5"),
        ("a file", "d/m", tar().file("d", "1"), "a=1 b/ b/c=2 d/ d/m/ zz=5"),
        ("a file by a writer", "d/m", many.file("d", "1"), "a=1 b/ b/c=2 d/ d/m/ n/ n/many=79 zz=5"),
        ("a link over the layer's", "d/m", tar().dir("d").symlink("d", "x"), "a=1 b/ b/c=2 d/ d/m/ zz=5"),
        (
            "then it is filled",
            "d/m",
            tar().whiteout("d").file("d/e/n", "9").whiteout("d/s"),
            "a=1 b/ b/c=2 d/ d/e/ d/e/n=9 d/m/ zz=5",
        ),
    ] {
        let archive = archive.file("after", "");
        for user in [false, true] {
            let upper = Upper::new(&lower(), at);
            let left_out = upper.apply(&archive, user, |_| ());
            let got = upper.shows(user).replacen("after= ", "", 1);
            if left_out.is_empty() || got != shown {
                wrong.push(format!("{what}: {left_out:?}, {got}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn rule_15_a_mount_goes_before_a_conflict_with_a_directory() {
    if !need_root() {
        return;
    }
    let tar = Tarball::new;
    for (what, lower) in [("nothing below", tar()), ("the same below", tar().file("m/s", "1").file("file", "1"))] {
        for (archive, mode) in [
            (tar().file("m", "1"), Mode::Literal),
            (tar().symlink("m", "1"), Mode::Layer),
            (tar().dir("file"), Mode::Literal),
        ] {
            let upper = Upper::new(&lower, "m");
            fs::write(upper.upper.join("file"), "under it").expect("file");
            mount_bind(upper.at.join("secret"), upper.upper.join("file")).expect("bind");
            let archive = archive.file("after", "");
            for overlay in [false, true] {
                let left_out = if overlay {
                    upper.apply(&archive, false, |o| o.no_overwrite_dir_nondir = true)
                } else {
                    let set = |o: &mut Options| (o.mode, o.no_overwrite_dir_nondir) = (mode.clone(), true);
                    skipping(&upper.upper, &archive.build(), set).1
                };
                assert_eq!(left_out.len(), 1, "{what}, {overlay}");
            }
        }
    }
}
