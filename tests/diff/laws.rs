//! Laws 3 and 4 over random trees: what is applied is what is mounted, or what was compared with.
//!
//! `UNTAR_DIFF_CASES` (12) of each, the first of seed `UNTAR_DIFF_SEED` (1).

use std::collections::BTreeMap;
use std::env;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, lsetxattr, removexattr, utimensat};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use untar_in_root::{OverlayPrefix, PackOptions};

use super::{applied, archive_of, between, over};
use crate::pack::generate::Random;
use crate::support::privilege::{need_root, need_tools, skip};
use crate::support::scratch::Scratch;
use crate::support::tree::{But, Tree, assert_same};

fn setting(name: &str, otherwise: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn seeds() -> std::ops::Range<u64> {
    let first = setting("UNTAR_DIFF_SEED", 1);
    first..first + setting("UNTAR_DIFF_CASES", 12)
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "a-b"];

/// Changes a tree by what programs do.
struct Changer {
    random: Random,
    root: PathBuf,
    /// Files get further names.
    links: bool,
    second: i64,
}

impl Changer {
    fn path(&mut self) -> PathBuf {
        let mut path = self.root.clone();
        for _ in 0..=self.random.below(3) {
            path.push(NAMES[usize::try_from(self.random.below(6)).expect("small")]);
        }
        path
    }

    /// Some of it fails, as it must: what is made in a directory that is not there, or over something else.
    fn change(&mut self, times: u64) {
        for _ in 0..times {
            let (path, other) = (self.path(), self.path());
            let number = u32::try_from(self.random.below(5)).expect("small");
            let _: io::Result<()> = match self.random.below(16) {
                0..=2 => fs::create_dir(&path),
                3..=5 => self.file(&path),
                6 => symlink(format!("to-{number}"), &path),
                7 | 8 => fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)),
                9 | 10 => fs::rename(&path, &other),
                11 => fs::set_permissions(&path, fs::Permissions::from_mode(0o700 + number)),
                12 => chown(&path, Some(number), Some(7)),
                13 => lsetxattr(&path, "user.x", &[9; 3][..number.min(3) as usize], XattrFlags::empty())
                    .map_err(Into::into),
                14 if self.links => fs::hard_link(&path, &other),
                14 => removexattr(&path, "user.x").map_err(Into::into),
                _ => fs::remove_dir_all(&path)
                    .and_then(|()| fs::create_dir(&path))
                    .and_then(|()| self.file(&path.join("a"))),
            };
            self.date(&path);
        }
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        let length = usize::try_from(self.random.below(3000)).expect("small");
        let byte = u8::try_from(self.random.below(200)).expect("a byte") + 1;
        if path.is_dir() { Ok(()) } else { fs::write(path, vec![byte; length]) }
    }

    /// A time that nothing else has.
    fn date(&mut self, path: &Path) {
        self.second += 1;
        let time = Timespec { tv_sec: self.second, tv_nsec: self.random.below(1_000_000_000).cast_signed() };
        let times = Timestamps { last_access: time, last_modification: time };
        let _ = utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Plain,
    /// With renamed directories, and files of which only metadata is new.
    Follows,
    /// With marks in `user.`.
    User,
}

struct Overlay(PathBuf);

impl Overlay {
    fn mount(at: PathBuf, upper: Option<(&Path, &Path)>, lowers: &[PathBuf], how: How) -> Overlay {
        fs::create_dir_all(&at).expect("a directory");
        let names: Vec<String> = lowers.iter().map(|path| path.display().to_string()).collect();
        let features = match how {
            How::Plain => "redirect_dir=off,metacopy=off",
            How::Follows => "redirect_dir=on,metacopy=on",
            How::User => "userxattr",
        };
        let mut options = format!("{features},index=off,xino=off,lowerdir={}", names.join(":"));
        match upper {
            Some((upper, work)) => options += &format!(",upperdir={},workdir={}", upper.display(), work.display()),
            None => options = options.replace("=on", "=follow").replace("metacopy=follow", "metacopy=on"),
        }
        let text = CString::new(options.clone()).expect("text");
        mount("overlay", &at, "overlay", MountFlags::empty(), Some(text.as_c_str()))
            .unwrap_or_else(|errno| panic!("{errno}: {options}"));
        Overlay(at)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).expect("it is mounted");
    }
}

fn copied(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-aT").args([from, to]).status().expect("cp").success());
}

/// Names of one file, where more than one of them can be seen. Symlinks hold no attributes in `user.`, by which overlayfs
/// would know that two names in the upper directory, of which one was below, are one file: a mount shows two numbers.
fn linked(tree: &Tree, how: How) -> Vec<Vec<&str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let counts = |path: &&str| how != How::User || tree.get(path, "type") != "symlink";
    for path in tree.paths().into_iter().filter(|path| !tree.get(path, "link").is_empty()).filter(counts) {
        groups.entry(tree.get(path, "link")).or_default().push(path);
    }
    groups.into_values().filter(|group| group.len() > 1).collect()
}

/// Two sessions on a mounted overlay, one on top of the other; after each, what was lower before with the layer on it.
fn sessions(seed: u64, how: How) {
    let follows = how == How::Follows;
    let scratch = Scratch::new();
    let place = scratch.tmpfs("place", 256 << 20).expect("tmpfs");
    let dir = |name: &str| {
        let path = place.join(name);
        fs::create_dir_all(&path).expect("a directory");
        path
    };
    let base = dir("base");
    let mut changer = Changer { random: Random::new(seed), root: base.clone(), links: !follows, second: 1_000_000 };
    changer.change(40);
    let mut lowers = vec![base];
    for session in 0..2 {
        let [upper, work] = ["upper", "work"].map(|name| dir(&format!("{name}{session}")));
        let before = place.join(format!("before{session}"));
        match &lowers[..] {
            [only] => copied(only, &before),
            lowers => copied(&Overlay::mount(dir("shown"), None, lowers, how).0, &before),
        }
        let merged = {
            let overlay = Overlay::mount(dir("merged"), Some((&upper, &work)), &lowers, how);
            changer.root.clone_from(&overlay.0);
            changer.change(25);
            Tree::read(&overlay.0)
        };
        let exact = |o: &mut PackOptions| o.whole_seconds = false;
        let prefix = if how == How::User { OverlayPrefix::User } else { OverlayPrefix::Auto };
        let known: &[&[PathBuf]] = if follows { &[&lowers] } else { &[&lowers, &[]] };
        for lowers in known {
            let what = format!("seed {seed}, session {session}, {} lower directories", lowers.len());
            let root = place.join("applied");
            copied(&before, &root);
            let diff = || over(&upper, lowers, exact).prefix(prefix);
            let archive = archive_of(diff());
            applied(&archive, &root);
            let there = Tree::read(&root);
            assert_same(&what, &there, &merged, &[But::Field("link")]);
            assert_eq!(linked(&there, how), linked(&merged, how), "{what}");
            fs::remove_dir_all(&root).expect("gone");
            assert!(archive == archive_of(diff()), "{what}: other bytes the second time");
        }
        lowers.insert(0, upper);
    }
    unmount(&place, UnmountFlags::DETACH).expect("unmount");
}

#[test]
fn law_3_what_is_applied_is_what_is_mounted() {
    if !need_root() || !need_tools(&["cp"]) {
        return;
    }
    for seed in seeds() {
        sessions(seed, How::Plain);
    }
}

#[test]
fn law_3_what_was_renamed_or_has_but_new_metadata_too() {
    if !need_root() || !need_tools(&["cp"]) {
        return;
    }
    for seed in seeds() {
        sessions(seed, How::Follows);
    }
}

#[test]
fn law_3_with_marks_that_anybody_can_set() {
    if !need_root() || !need_tools(&["cp"]) {
        return;
    }
    let scratch = Scratch::new();
    let probe = scratch.tmpfs("probe", 1 << 20).expect("tmpfs");
    let holds = lsetxattr(&probe, "user.probe", b"x", XattrFlags::empty()).is_ok();
    unmount(&probe, UnmountFlags::DETACH).expect("unmount");
    if !(holds || skip("tmpfs has no attributes in user. here")) {
        return;
    }
    for seed in seeds() {
        sessions(seed, How::User);
    }
}

#[test]
fn law_4_what_is_applied_is_what_was_compared_with() {
    if !need_root() || !need_tools(&["cp"]) {
        return;
    }
    for seed in seeds() {
        let scratch = Scratch::new();
        let (before, after) = (scratch.dir("before"), scratch.join("after"));
        let mut changer = Changer { random: Random::new(seed), root: before.clone(), links: true, second: 1_000_000 };
        changer.change(60);
        copied(&before, &after);
        changer.root.clone_from(&after);
        changer.change(20);
        let exact = |o: &mut PackOptions| o.whole_seconds = false;
        let archive = archive_of(between(&before, &after, exact));
        let root = scratch.join("applied");
        copied(&before, &root);
        applied(&archive, &root);
        let (there, want) = (Tree::read(&root), Tree::read(&after));
        let what = format!("seed {seed}");
        // Directories in which nothing changed keep their time; and what changed in links alone is no change.
        assert_same(&what, &there, &want, &[But::Field("link"), But::Of("dir", "mtime")]);
        assert!(archive == archive_of(between(&before, &after, exact)), "{what}: other bytes the second time");
        // Once applied nothing is left to be done, but for times that whole seconds hide.
        let rest = archive_of(between(&root, &after, exact));
        assert_eq!(rest, [0; 1024], "{what}: {}", crate::pack::names_of(&rest));
        assert_eq!(archive_of(between(&after, &after, exact)), [0; 1024], "{what}");
    }
}

#[test]
fn law_4_of_equal_trees_nothing_is_left() {
    if !need_root() || !need_tools(&["cp"]) {
        return;
    }
    let scratch = Scratch::new();
    let one = crate::pack::generate::tree_with_plain_names(&scratch, "one", 3);
    let other = scratch.join("other");
    copied(&one, &other);
    assert_eq!(archive_of(between(&one, &other, |_| ())), [0; 1024]);
}
