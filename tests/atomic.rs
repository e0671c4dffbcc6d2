//! `--atomic`: the directory appears whole or not at all, and what a killed run left goes with the next.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use untar_in_root::{Digest, Durability, ErrorKind, Options, Untar};

use crate::support::child::Job;
use crate::support::privilege::{need_mount, need_root, need_tools, need_userns};
use crate::support::process::{is_group_gone, wait_until};
use crate::support::run::{killed_at_work, line, program, program_path};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;
use crate::support::tree::Tree;

const PREFIX: &str = ".untar-in-root-staging-";

fn atomic(place: &Path, change: impl FnOnce(&mut Options)) -> Untar {
    let mut untar = Untar::atomic(place).expect("a place").program(program());
    change(untar.options_mut());
    untar
}

fn sample() -> Tarball {
    Tarball::new().dir("./").with(|e| _ = e.mode(0o750).mtime(7)).file("a", "1").dir("d").file("d/b", "2")
}

/// What is in a directory, staging directories as their prefix.
fn names(dir: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("entry").file_name().into_string().expect("UTF-8");
    let short = |name: String| if name.starts_with(PREFIX) { PREFIX.to_owned() } else { name };
    let mut names: Vec<_> = fs::read_dir(dir).expect("directory").map(name).map(short).collect();
    names.sort();
    names
}

#[test]
fn a_directory_appears_with_all_that_the_archive_says() {
    for durability in [Durability::None, Durability::FileSystem, Durability::PerFile] {
        let scratch = Scratch::new();
        let place = scratch.dir("in").join("root");
        let report = atomic(&place, |o| o.durability = durability).apply(&sample().build()[..]).expect("applied");
        assert_eq!(report.entries.total(), 4);
        assert_eq!(line(&Tree::read(&place)), "a=1 d/ d/b=2");
        let root = fs::metadata(&place).expect("there");
        assert_eq!((root.mode() & 0o7777, root.mtime()), (0o750, 7));
        assert_eq!(names(&scratch.join("in")), ["root"]);
    }
}

#[test]
fn nothing_is_there_before_all_is_and_what_is_made_is_closed_to_others() {
    let scratch = Scratch::new();
    let place = scratch.dir("in").join("root");
    let bytes = sample().build();
    let mut session = atomic(&place, |_| ()).spawn().expect("helper");
    session.write_all(&bytes).expect("written");
    assert_eq!(names(&scratch.join("in")), [PREFIX]);
    let staging = fs::read_dir(scratch.join("in")).expect("dir").next().expect("staging").expect("entry");
    assert_eq!(staging.metadata().expect("there").mode() & 0o7777, 0o700);
    session.finish().expect("applied");
    assert_eq!(names(&scratch.join("in")), ["root"]);
    // A session that is dropped leaves nothing, nor does one that is cancelled.
    let place = scratch.dir("two").join("root");
    let mut session = atomic(&place, |_| ()).spawn().expect("helper");
    session.write_all(&bytes[..1024]).expect("written");
    drop(session);
    assert!(names(&scratch.join("two")).is_empty());
    let session = atomic(&place, |_| ()).spawn().expect("helper");
    session.canceller().cancel();
    assert_eq!(session.finish().expect_err("cancelled").kind(), ErrorKind::Cancelled);
    assert!(names(&scratch.join("two")).is_empty());
}

struct Fails;

impl Read for Fails {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("gone"))
    }
}

#[test]
fn after_any_failure_nothing_is_left() {
    let scratch = Scratch::new();
    let dir = scratch.dir("in");
    let place = dir.join("root");
    let good = sample().build();
    let wrong = Digest([1; 32]);
    let run = |archive: &[u8], shape: fn(Untar) -> Untar| shape(atomic(&place, |_| ())).apply(archive);
    let truncated = &good[..good.len() / 2 - 100];
    let escapes = sample().file("../x", "").build();
    for (result, kind) in [
        (run(&good, |untar| untar.expect_digest(Digest([1; 32]))), ErrorKind::Digest),
        (run(&good, |untar| untar.expect_diff_id(Digest([1; 32]))), ErrorKind::Digest),
        (run(truncated, |untar| untar), ErrorKind::Archive),
        (run(&escapes, |untar| untar), ErrorKind::Refused),
        (atomic(&place, |o| o.limits.entries = 2).apply(&good[..]), ErrorKind::Limit),
        (atomic(&place, |_| ()).apply(good.chain(Fails)), ErrorKind::Read),
        (atomic(&place, |_| ()).program(untar_in_root::Program::at("/bin/false")).apply(&good[..]), ErrorKind::Helper),
        (atomic(&place, |_| ()).program(untar_in_root::Program::at("/no")).apply(&good[..]), ErrorKind::Helper),
    ] {
        let error = result.expect_err("a failure");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(names(&dir).is_empty(), "{kind:?} leaves {:?}", names(&dir));
    }
    assert_ne!(atomic(&place, |_| ()).apply(&good[..]).expect("applied").diff_id, Some(wrong));
}

#[test]
fn a_place_that_is_taken_is_left_as_it_is() {
    let scratch = Scratch::new();
    let dir = scratch.dir("in");
    scratch.dir("in/full/x");
    scratch.dir("in/empty");
    scratch.file("in/file", "");
    symlink("empty", dir.join("link")).expect("link");
    symlink("nowhere", dir.join("dangling")).expect("link");
    let before = Tree::read(&dir);
    for (name, words) in
        [("full", "ENOTEMPTY"), ("file", "EEXIST"), ("link", "EEXIST"), ("dangling", "EEXIST"), ("no/root", "ENOENT")]
    {
        let error = Untar::atomic(dir.join(name)).expect_err("taken");
        assert_eq!(error.kind(), ErrorKind::Root);
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(line(&Tree::read(&dir)), line(&before));
    // Filled between the check and the end.
    let place = dir.join("empty");
    let mut session = atomic(&place, |_| ()).spawn().expect("helper");
    session.write_all(&sample().build()).expect("written");
    scratch.file("in/empty/theirs", "");
    let error = session.finish().expect_err("filled");
    assert_eq!(error.kind(), ErrorKind::Root);
    assert!(error.to_string().starts_with("moving the result to"), "{error}");
    assert!(error.report().is_some());
    assert_eq!(names(&dir), names(&dir).into_iter().filter(|name| name != PREFIX).collect::<Vec<_>>());
    assert_eq!(names(&place), ["theirs"]);
}

#[test]
fn an_empty_directory_lends_its_owner_and_mode() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let place = scratch.dir("root");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o2710)).expect("mode");
    chown(&place, Some(5), Some(6)).expect("owner");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o2710)).expect("mode");
    atomic(&place, |_| ()).apply(&Tarball::new().file("a", "1").build()[..]).expect("applied");
    let root = fs::metadata(&place).expect("there");
    assert_eq!((root.uid(), root.gid(), root.mode() & 0o7777), (5, 6, 0o2710));
    assert_eq!(names(&place), ["a"]);
}

#[test]
fn a_mount_point_is_no_place() {
    if !need_mount() {
        return;
    }
    let scratch = Scratch::new();
    let place = scratch.tmpfs("root", 1 << 20).expect("tmpfs");
    let error = Untar::atomic(&place).expect_err("a mount");
    assert!(error.to_string().contains("EBUSY"), "{error}");
}

/// Whatever the moment: nothing or all of it, and the next run finds nothing in its way and leaves nothing else.
#[test]
fn killed_at_many_moments_then_cleaned_by_the_next() {
    let count = 2000;
    let tar = (0..count).fold(Tarball::new(), |tar, i| tar.file(format!("d/{}/f{i}", i % 40), "content"));
    let scratch = Scratch::new();
    let archive = scratch.file("archive.tar", tar.build());
    let dir = scratch.dir("in");
    let place = dir.join("root");
    let start = || {
        let mut command = Command::new(program_path());
        command.arg("--atomic").args([&place, &archive]).stdout(Stdio::null()).stderr(Stdio::piped());
        command.process_group(0).spawn().expect("the program")
    };
    let files = |dir: &Path| (0..count).filter(|i| dir.join(format!("d/{}/f{i}", i % 40)).exists()).count();
    let (mut interrupted, mut complete) = (0, 0);
    for moment in 0..40 {
        let mut child = start();
        // From the start of the process to well past its end, unevenly.
        thread::sleep(Duration::from_micros(moment * moment * 120));
        child.kill().expect("killed");
        child.wait().expect("reaped");
        // A helper that was being started holds the lock until it is executed, and the kernel ends it a moment later.
        wait_until("what it started is gone", || is_group_gone(child.id()));
        let left = names(&dir);
        assert!(left.iter().filter(|name| *name == PREFIX).count() <= 1, "moment {moment}: {left:?}");
        if place.exists() {
            assert_eq!(files(&place), count as usize, "moment {moment}");
            fs::remove_dir_all(&place).expect("removed");
            complete += 1;
        } else {
            interrupted += usize::from(left.contains(&PREFIX.to_owned()));
        }
    }
    assert!(interrupted > 3, "no run was caught at work: {interrupted} interrupted, {complete} complete");
    let output = start().wait_with_output().expect("the program");
    assert!(output.status.success(), "{output:?}");
    assert_eq!((names(&dir), files(&place)), (vec!["root".to_owned()], count as usize));
}

#[test]
fn what_is_not_a_dead_runs_own_stays() {
    let scratch = Scratch::new();
    let dir = scratch.dir("in");
    let live = atomic(&dir.join("live"), |_| ()).spawn().expect("helper");
    // Marked as ours, but by another name than it has.
    let renamed = dir.join(format!("{PREFIX}renamed"));
    fs::rename(killed_at_work(&dir.join("root")), &renamed).expect("renamed");
    let dead = killed_at_work(&dir.join("root"));
    fs::write(dead.join("root/f"), "").expect("file");
    symlink(scratch.dir("treasure/x"), dead.join("root/link")).expect("link");
    // Of mode 0700 and with such a name, but not marked.
    fs::DirBuilder::new().mode(0o700).create(dir.join(format!("{PREFIX}private"))).expect("directory");
    scratch.file(format!("in/{PREFIX}private/precious"), "");
    scratch.dir(format!("in/{PREFIX}public"));
    symlink("../treasure", dir.join(format!("{PREFIX}link"))).expect("link");
    atomic(&dir.join("root"), |_| ()).apply(&sample().build()[..]).expect("applied");
    // The live one, the renamed one, the private one, the one that others can enter, the link.
    assert_eq!(names(&dir), [PREFIX, PREFIX, PREFIX, PREFIX, PREFIX, "root"]);
    assert!(!dead.exists() && scratch.join("treasure/x").exists());
    assert!(renamed.join("root").exists() && dir.join(format!("{PREFIX}private/precious")).exists());
    drop(live);
    assert_eq!(names(&dir), [PREFIX, PREFIX, PREFIX, PREFIX, "root"]);
}

#[test]
fn what_is_mounted_in_a_dead_runs_directory_is_not_entered() {
    if !need_mount() {
        return;
    }
    let scratch = Scratch::new();
    let dead = killed_at_work(&scratch.dir("in").join("root"));
    let name = dead.file_name().expect("a name").to_string_lossy().into_owned();
    let mounted = scratch.tmpfs(&format!("in/{name}/root/mounted"), 1 << 20).expect("tmpfs");
    fs::write(mounted.join("theirs"), "").expect("file");
    atomic(&scratch.join("in/root"), |_| ()).apply(&sample().build()[..]).expect("applied");
    assert!(mounted.join("theirs").exists() || dead.join("away-0/mounted/theirs").exists());
}

#[test]
fn unprivileged_and_in_a_user_namespace() {
    if !need_root() || !need_userns() || !need_tools(&["setpriv", "unshare"]) {
        return;
    }
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let root = ["unshare", "--user", "--map-root-user"];
    // The second root may not be written to by its own owner: it is moved all the same.
    let closed = sample().dir("./").with(|e| _ = e.mode(0o555)).dir("no").with(|e| _ = e.mode(0));
    let closed = closed.file("no/f", "3");
    let broken = sample().dir("no").with(|e| _ = e.mode(0)).file("no/f", "3").file("../x", "");
    for prefix in [&nobody[..], &root[..]] {
        for (archive, outcome, tree, left) in [
            (&sample(), None, "a=1 d/ d/b=2", &["root"][..]),
            (&closed, None, "a=1 d/ d/b=2 no/ no/f=3", &["root"]),
            (&broken, Some(ErrorKind::Refused), "missing", &[]),
        ] {
            let scratch = Scratch::new();
            let dir = scratch.dir("in");
            if prefix == nobody {
                chown(&dir, Some(65534), Some(65534)).expect("owner");
            }
            let file = scratch.file("archive.tar", archive.build());
            let said = Job::new(&dir.join("root"), &file, "atomic").behind(prefix).run(&scratch);
            assert_eq!(said.answer().outcome.err().map(|failed| failed.kind), outcome, "{}", said.0);
            assert_eq!(names(&dir), left, "{}", said.0);
            let seen = if left.is_empty() { "missing".into() } else { line(&Tree::read(&dir.join("root"))) };
            assert_eq!(seen, tree, "{}", said.0);
        }
    }
}

#[test]
fn what_contradicts_it_is_refused() {
    let scratch = Scratch::new();
    let place = scratch.join("root");
    for untar in [atomic(&place, |o| o.list = true), atomic(&place, |_| ()).destination("below")] {
        assert_eq!(untar.apply(&sample().build()[..]).expect_err("refused").kind(), ErrorKind::Options);
    }
    let archive = scratch.file("archive.tar", sample().build());
    let run = |words: &[&str]| {
        let output = Command::new(program_path()).args(words).args([&place, &archive]).output().expect("the program");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for words in [&["--atomic", "--list"][..], &["--atomic", "--into", "x"]] {
        assert_eq!(run(words).0, Some(2));
    }
    let (code, said) = run(&["--atomic", "--digest", &format!("sha256:{}", "0".repeat(64))]);
    assert!(code == Some(4) && said.contains("nothing of it is left") && !place.exists(), "{said}");
    assert_eq!(run(&["--atomic"]), (Some(0), String::new()));
    assert!(run(&["--atomic"]).1.contains("ENOTEMPTY"));
    drop(File::open(place.join("a")).expect("applied"));
}
