//! What is mounted below the root: out of the sight of a helper that may have been taken over, and never entered.

mod kept;

use std::fs;
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{RenameFlags, renameat_with};
use rustix::mount::{MountFlags, mount, mount_bind};
use untar_in_root::{
    Cause, Event, EventKind, IdRange, Isolation, Mode, Mounts, MountsBelow, Options, Report, Session, UserNamespace,
};

use crate::support::privilege::need_root;
use crate::support::process::my_helper_on;
use crate::support::run::{self, untar};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

type Setting = (&'static str, fn(&mut Options));

const SETTINGS: [Setting; 4] = [
    ("pivot", |o| o.jail.isolation = Isolation::Pivot),
    ("chroot", |o| o.jail.isolation = Isolation::Chroot),
    ("user namespace", |o| {
        let map = || vec![IdRange { inside: 0, outside: 0, count: 65_536 }];
        o.jail.user_namespace = UserNamespace::Mapped { uids: map(), gids: map() };
    }),
    ("user namespace, chroot", |o| {
        o.jail.user_namespace = UserNamespace::Single;
        o.jail.isolation = Isolation::Chroot;
    }),
];

fn tmpfs(place: &Path, file: &str) {
    fs::create_dir_all(place).expect("directory");
    mount("tmpfs", place, "tmpfs", MountFlags::empty(), None).expect("tmpfs");
    fs::write(place.join(file), "of the host").expect("file");
}

/// A `/proc`, one tmpfs, two on each other, one in another, one that only root may enter, and a file.
fn host(dest: &Path) -> &'static [&'static str] {
    fs::create_dir_all(dest.join("proc")).expect("directory");
    mount("proc", dest.join("proc"), "proc", MountFlags::empty(), None).expect("proc");
    for place in ["data", "twice", "twice", "deep/er", "deep/er/in", "shut"] {
        tmpfs(&dest.join(place), "secret");
    }
    let shut = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(dest.join("shut"), shut).expect("mode");
    fs::write(dest.join("file"), "under it").expect("file");
    mount_bind(dest.join("data/secret"), dest.join("file")).expect("bind");
    &["data", "deep/er", "deep/er/in", "file", "proc", "shut", "twice"]
}

/// A helper that waits for its archive, confined.
struct Waiting {
    session: Session,
    root: PathBuf,
}

impl Waiting {
    fn new(dest: &Path, change: impl FnOnce(&mut Options)) -> Waiting {
        Waiting::or_refused(dest, change).expect("a confined helper")
    }

    /// `None` if the helper has ended instead.
    fn or_refused(dest: &Path, change: impl FnOnce(&mut Options)) -> Option<Waiting> {
        let mut session = untar(dest, change).spawn().expect("helper");
        let pid = my_helper_on(dest)?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while session.check().is_ok() && Instant::now() < deadline {
            if fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|s| s.contains("Seccomp:\t2")) {
                return Some(Waiting { session, root: format!("/proc/{pid}/root").into() });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }

    /// What it finds of what the host has mounted.
    fn finds(&self, places: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for place in places {
            let path = self.root.join(place);
            match fs::read_dir(&path) {
                Ok(names) => {
                    found.extend(names.flatten().take(3).map(|name| format!("{place}/{}", name.file_name().display())));
                }
                Err(_) => {
                    found.extend(fs::read(&path).ok().filter(|text| !text.is_empty()).map(|_| (*place).to_owned()))
                }
            }
        }
        found
    }
}

#[test]
fn what_is_mounted_below_the_root_is_out_of_the_helpers_sight() {
    if !need_root() {
        return;
    }
    for (what, change) in SETTINGS {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        let places = host(&dest);
        let mut waiting = Waiting::new(&dest, change);
        assert_eq!(waiting.finds(places), Vec::<String>::new(), "{what}");
        let written = fs::write(waiting.root.join("data/new"), "");
        assert_eq!(written.map_err(|error| error.raw_os_error()), Err(Some(30)), "{what}: read-only");
        waiting.session.write_all(&Tarball::new().file("f", "1").build()).expect("room");
        let report = waiting.session.finish().expect("applied");
        assert_eq!(report.confinement.mounts_below, places.iter().map(|p| p.as_bytes().to_vec()).collect::<Vec<_>>());
        // In the helper's namespace alone.
        for place in ["data/secret", "twice/secret", "deep/er/in/secret", "shut/secret", "file"] {
            assert_eq!(fs::read_to_string(dest.join(place)).expect("still there"), "of the host", "{what}");
        }
        assert!(dest.join("proc/self").exists() && fs::read_to_string(dest.join("f")).expect("f") == "1");
    }
}

#[test]
fn what_is_mounted_below_a_root_that_is_slash_is_out_of_sight_too() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let archive = scratch.file("archive.tar", Tarball::new().file("f", "1").file("data/x", "2").build());
    let dest = scratch.tmpfs("dest", 1 << 30).expect("tmpfs"); // The program with its debug information has 100 MB.
    tmpfs(&dest.join("data"), "secret");
    fs::create_dir(dest.join("proc")).expect("directory");
    mount("proc", dest.join("proc"), "proc", MountFlags::empty(), None).expect("proc");
    // The program is static or not; what it takes is bound.
    for place in ["usr", "lib", "lib64", "bin"].into_iter().filter(|place| Path::new("/").join(place).exists()) {
        fs::create_dir(dest.join(place)).expect("directory");
        mount_bind(Path::new("/").join(place), dest.join(place)).expect("bind");
    }
    fs::copy(run::program_path(), dest.join("program")).expect("program");
    fs::copy(archive, dest.join("archive.tar")).expect("archive");
    let output = std::process::Command::new("chroot")
        .arg(&dest)
        .args(["/program", "/", "/archive.tar"])
        .output()
        .expect("chroot");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("another file system is mounted there"), "{said}");
    assert!(fs::read_to_string(dest.join("f")).is_ok_and(|text| text == "1"), "{said}");
}

#[test]
fn directories_exchanged_on_the_way_to_a_mount_uncover_nothing() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    tmpfs(&dest.join("a/b/m"), "secret");
    tmpfs(&dest.join("c/b/m"), "secret");
    fs::create_dir(dest.join("e")).expect("directory");
    std::os::unix::fs::symlink("/", dest.join("l")).expect("link");
    let stop = AtomicBool::new(false);
    let (places, mut found, mut refused) = (["a/b/m", "c/b/m", "e/b/m"], Vec::new(), 0);
    let exchanges = std::thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            let dir = fs::File::open(&dest).expect("root");
            let mut exchanges = 0u32;
            while !stop.load(Ordering::Relaxed) {
                for (one, other) in [("a", "c"), ("a/b", "c/b"), ("a", "e"), ("c", "l"), ("c", "l"), ("a", "e")] {
                    exchanges += u32::from(renameat_with(&dir, one, &dir, other, RenameFlags::EXCHANGE).is_ok());
                    std::thread::sleep(Duration::from_micros(20));
                }
            }
            exchanges
        });
        for turn in 0..40 {
            let (what, change) = SETTINGS[turn % SETTINGS.len()];
            match Waiting::or_refused(&dest, change) {
                Some(waiting) => found.extend((0..9).flat_map(|_| waiting.finds(&places)).map(|path| (what, path))),
                None => refused += 1,
            }
        }
        stop.store(true, Ordering::Relaxed);
        attacker.join().expect("attacker")
    });
    println!("mounts: {exchanges} exchanges, {refused} of 40 runs refused");
    assert_eq!(found, Vec::new());
    assert!(refused < 40 && exchanges > 0, "{refused} refused, {exchanges} exchanges");
    for place in places {
        let text = fs::read_to_string(dest.join(place).join("secret"));
        assert!(text.is_err() || text.is_ok_and(|text| text == "of the host"));
    }
}

/// Who owns what the root is in can always do that: its name is not the same from one question to the next.
#[test]
fn a_directory_above_the_root_that_is_renamed_all_the_time_uncovers_nothing() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let above = scratch.dir("above");
    tmpfs(&above.join("one/dest/data"), "secret");
    fs::create_dir(above.join("other")).expect("directory");
    let root = fs::File::open(above.join("one/dest")).expect("root");
    let dest = PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd()));
    let (stop, mut refused) = (AtomicBool::new(false), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let dir = fs::File::open(&above).expect("the directory above");
            while !stop.load(Ordering::Relaxed) {
                let _ = renameat_with(&dir, "one", &dir, "other", RenameFlags::EXCHANGE);
            }
        });
        for turn in 0..80 {
            let (what, change) = SETTINGS[turn % 2];
            let Some(waiting) = Waiting::or_refused(&dest, change) else {
                refused += 1;
                continue;
            };
            let found = waiting.finds(&["data"]);
            let report = waiting.session.finish();
            stop.fetch_or(!found.is_empty() || report.is_err(), Ordering::Relaxed);
            assert_eq!(found, Vec::<String>::new(), "{what}");
            assert_eq!(report.expect("applied").confinement.mounts_below, [b"data"], "{what}");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(refused < 80);
}

/// Entries that enter, replace or remove what `host` has mounted.
fn attempts() -> Vec<Tarball> {
    let tar = Tarball::new;
    vec![
        tar().dir("data"),
        tar().dir("data/new"),
        tar().file("data/secret", "1"),
        tar().file("data", "1"),
        tar().symlink("data", "x"),
        tar().file("file", "1"),
        tar().dir("file"),
        tar().file("file/x", "1"),
        tar().hardlink("h", "data/secret"),
        tar().hardlink("h", "file"),
        tar().file("deep", "1"),
        tar().whiteout("data"),
        tar().whiteout("data/secret"),
        tar().whiteout("file"),
        tar().whiteout("deep"),
        tar().opaque("data"),
        tar().opaque("deep"),
        tar().opaque(""),
    ]
}

fn assert_untouched(dest: &Path, what: &str) {
    for place in ["data/secret", "twice/secret", "deep/er/secret", "deep/er/in/secret", "shut/secret", "file"] {
        assert_eq!(fs::read_to_string(dest.join(place)).expect("still there"), "of the host", "{what}: {place}");
    }
}

/// Applies with what is mounted left out; the report, and the paths that were.
fn skipping(dest: &Path, archive: &[u8], change: impl FnOnce(&mut Options)) -> (Report, Vec<String>) {
    let report = run::apply(dest, archive, |o| {
        o.jail.mounts = Mounts::Skip;
        change(o);
    })
    .expect("applied");
    assert!(report.events.iter().all(|event| event.what == EventKind::MountSkipped), "{:?}", report.events);
    let path = |event: &Event| String::from_utf8_lossy(&event.entry.as_ref().expect("an entry").path).into_owned();
    let paths = report.events.iter().map(path).collect();
    (report, paths)
}

#[test]
fn rule_15_what_leads_into_a_mount_is_left_out_and_told() {
    if !need_root() {
        return;
    }
    for (what, change) in &SETTINGS[..2] {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        host(&dest);
        for (number, attempt) in attempts().into_iter().enumerate() {
            let after = format!("after-{number}");
            let archive = attempt.file(after.as_str(), "1").build();
            let (report, left_out) = skipping(&dest, &archive, |o| {
                o.mode = Mode::Layer;
                change(o);
            });
            assert_eq!(
                (report.entries.skipped, report.entries.total(), left_out.len()),
                (1, 2, 1),
                "{what}: {left_out:?}"
            );
            assert_eq!(report.confinement.mounts, MountsBelow::Covered, "{what}");
            assert!(dest.join(&after).exists(), "{what}: {left_out:?}");
            assert_untouched(&dest, what);
        }
    }
}

#[test]
fn rule_15_what_goes_keeps_the_mounts_below_it() {
    if !need_root() {
        return;
    }
    let tar = Tarball::new;
    for (archive, mode) in [
        (tar().whiteout("deep"), Mode::Layer),
        (tar().opaque("deep"), Mode::Layer),
        (tar().opaque(""), Mode::Layer),
        (tar().file("deep", "1"), Mode::Literal),
        // The same of a directory that the archive has named before.
        (tar().dir("deep").dir("deep/a").file("deep", "1"), Mode::Literal),
    ] {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        host(&dest);
        for place in ["deep/a/b", "deep/z/b"] {
            fs::create_dir_all(dest.join(place)).expect("directory");
            fs::write(dest.join(place).join("f"), "old").expect("file");
        }
        fs::write(dest.join("deep/f"), "old").expect("file");
        fs::write(dest.join("deep/mounted"), "under it").expect("file");
        mount_bind(dest.join("data/secret"), dest.join("deep/mounted")).expect("bind");
        // What comes behind finds its way there again.
        let archive = archive.file("deep/after", "1").build();
        let (_, left_out) = skipping(&dest, &archive, |o| o.mode = mode.clone());
        assert_eq!(left_out.len(), 1, "{left_out:?}");
        let mut names: Vec<_> =
            fs::read_dir(dest.join("deep")).expect("deep").flatten().map(|e| e.file_name()).collect();
        names.sort();
        assert_eq!(names, ["after", "er", "mounted"], "{left_out:?}");
        assert_untouched(&dest, "deep");
    }
}

#[test]
fn rule_15_a_mounted_file_among_many_is_left_out() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    host(&dest);
    let many = |tar: Tarball, range: std::ops::Range<u32>| range.fold(tar, |tar, i| tar.file(format!("f{i}"), "x"));
    let archive = many(many(Tarball::new(), 0..200).file("file", "1"), 200..400).build();
    let (report, left_out) = skipping(&dest, &archive, |o| o.writers = std::num::NonZeroU32::new(4));
    assert_eq!((report.entries.files, report.entries.skipped, left_out), (400, 1, vec!["file".to_owned()]));
    assert_untouched(&dest, "many");
}

#[test]
fn rule_15_a_link_to_a_mounted_file_leaves_what_is_there() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    host(&dest);
    fs::write(dest.join("h"), "old").expect("file");
    for target in ["file", "data"] {
        let (_, left_out) = skipping(&dest, &Tarball::new().hardlink("h", target).build(), |_| ());
        let there = fs::read_to_string(dest.join("h")).expect("h");
        assert_eq!((left_out, there.as_str()), (vec!["h".to_owned()], "old"), "{target}");
    }
}

/// A file that is left out was not made by this archive, whoever was to write it: its whiteout meets the mount too.
#[test]
fn rule_15_what_is_told_does_not_depend_on_the_number_of_writers() {
    if !need_root() {
        return;
    }
    let [one, four] = [1, 4].map(|writers| {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        host(&dest);
        let many = (0..100).fold(Tarball::new(), |tar, i| tar.file(format!("f{i}"), "x"));
        let archive = many.file("file", "not written").file(".wh.file", "").build();
        let (report, left_out) = skipping(&dest, &archive, |o| {
            o.mode = Mode::Layer;
            o.writers = std::num::NonZeroU32::new(writers);
        });
        (left_out, report.entries, report.bytes_written)
    });
    assert_eq!(one, four);
    assert_eq!(one.0, ["file", ".wh.file"]);
}

/// Entering, replacing and removing it are the error that they were, whatever lies over it.
#[test]
fn a_covered_mount_is_still_one_that_is_not_crossed() {
    if !need_root() {
        return;
    }
    for (what, change) in &SETTINGS[..2] {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        host(&dest);
        for attempt in attempts() {
            let error = run::apply(&dest, &attempt.build(), |o| {
                o.mode = Mode::Layer;
                change(o);
            })
            .expect_err("a mount");
            let cause = error.failure().map(|failure| failure.cause.clone());
            let mounts = |cause: &Cause| matches!(cause, Cause::CrossesMount | Cause::MountPoint { .. });
            assert!(cause.as_ref().is_some_and(mounts), "{what}: {error:?}");
        }
        assert_eq!(fs::read_to_string(dest.join("data/secret")).expect("still there"), "of the host");
        assert_eq!(fs::read_to_string(dest.join("file")).expect("still there"), "of the host");
        assert_ne!(fs::metadata(dest.join("data")).expect("data").dev(), fs::metadata(&dest).expect("root").dev());
    }
}

/// Nor does it give way to a directory that a path implies, when crossing was asked for.
#[test]
fn a_mounted_file_in_the_way_of_an_implied_directory_stays() {
    if !need_root() {
        return;
    }
    for (what, change) in &SETTINGS[..2] {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        host(&dest);
        std::os::unix::fs::symlink("file", dest.join("l")).expect("link");
        let attempt = |name: &str| {
            run::apply(&dest, &Tarball::new().file(name, "1").build(), |o| {
                (o.mode, o.jail.mounts) = (Mode::Layer, Mounts::Cross);
                change(o);
            })
        };
        let error = attempt("file/x").expect_err("a mount");
        let on_a_file = Some(Cause::MountPoint { directory: false });
        assert_eq!(error.failure().map(|f| f.cause.clone()), on_a_file, "{what}: {error:?}");
        // A link to it does, and what it leads to stays.
        attempt("l/x").expect("the link gives way");
        assert_eq!(fs::read_to_string(dest.join("l/x")).expect("made"), "1", "{what}");
        assert_eq!(fs::read_to_string(dest.join("file")).expect("still there"), "of the host", "{what}");
    }
}

#[test]
fn who_asks_for_crossing_gets_what_is_there() {
    if !need_root() {
        return;
    }
    for (what, change) in &SETTINGS[..2] {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        let places = host(&dest);
        let waiting = Waiting::new(&dest, |o| {
            o.jail.mounts = Mounts::Cross;
            change(o);
        });
        let found = waiting.finds(places);
        assert!(
            ["data/secret", "shut/secret", "file"].iter().all(|f| found.contains(&(*f).into())),
            "{what}: {found:?}"
        );
    }
}
