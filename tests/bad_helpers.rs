//! Programs that are no helpers, and helpers that have been taken over: each gives its own error at once.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use untar_in_root::{Error, ErrorKind, Options, Program, Report, Untar, UserNamespace};

use crate::support::privilege::need_tool;
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

fn archive() -> Vec<u8> {
    Tarball::new().file("f", vec![7; 300_000]).build()
}

fn with(program: &Path, scratch: &Scratch) -> Untar {
    Untar::open(scratch.path()).expect("root").program(Program::at(program))
}

/// The error of a run with this program; nothing is left of it, and it took no time.
#[track_caller]
fn error_of(program: &Path, run: impl FnOnce(Untar) -> Result<Report, Error>) -> Error {
    let scratch = Scratch::new();
    let start = Instant::now();
    let error = run(with(program, &scratch)).expect_err("no helper");
    assert!(start.elapsed() < AN_END, "{:?}: {error:?}", start.elapsed());
    let text = error.to_string();
    assert!(!text.is_empty() && !text.contains('\n'), "one line: {text:?}");
    assert_eq!(fs::read_dir(scratch.path()).expect("root").count(), 0);
    error
}

fn apply(untar: Untar) -> Result<Report, Error> {
    untar.apply(&archive()[..])
}

/// A copy of the fake under the name of its misbehaviour.
pub fn fake(scratch: &Scratch, wish: &str) -> PathBuf {
    let path = scratch.file(format!("{wish}.py"), include_str!("support/fake_helper.py"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
    path
}

/// The same fake through all ways of feeding it.
#[track_caller]
fn misbehaving(wish: &str) -> Error {
    let scratch = Scratch::new();
    let path = fake(&scratch, wish);
    let first = error_of(&path, apply);
    let file = scratch.file("archive.tar", archive());
    let second = error_of(&path, |untar| untar.apply_fd(fs::File::open(&file).expect("archive")));
    let third = error_of(&path, |untar| {
        let mut session = untar.spawn().expect("it starts");
        _ = session.write_all(&archive()[..1000]);
        session.finish()
    });
    for other in [&second, &third] {
        assert_eq!(first.kind(), other.kind(), "{wish}: {first:?}, {other:?}");
    }
    first
}

#[test]
fn a_program_that_ends_without_a_word() {
    let error = error_of(Path::new("/bin/true"), apply);
    assert_eq!((error.kind(), error.status().and_then(|s| s.code())), (ErrorKind::Helper, Some(0)), "{error:?}");
    let error = error_of(Path::new("/bin/false"), apply);
    assert_eq!((error.kind(), error.status().and_then(|s| s.code())), (ErrorKind::Helper, Some(1)), "{error:?}");
}

#[test]
fn a_program_that_echoes() {
    let error = error_of(Path::new("/bin/cat"), apply);
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
    // With nothing to echo it ends without a word.
    let error = error_of(Path::new("/bin/cat"), |untar| untar.apply(std::io::empty()));
    assert_eq!(error.kind(), ErrorKind::Helper, "{error:?}");
}

#[test]
fn a_program_that_cannot_be_started() {
    let scratch = Scratch::new();
    for (path, errno) in [
        (scratch.join("missing"), 2),
        (scratch.file("not-executable", "#!/bin/sh\n"), 13),
        (scratch.dir("directory"), 13),
        (scratch.join("missing/below"), 2),
    ] {
        let error = error_of(&path, apply);
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Helper, Some(errno)), "{error:?}");
        let name = path.file_name().and_then(|n| n.to_str()).expect("name");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn deaths_are_told_by_their_status() {
    if !need_tool("python3") {
        return;
    }
    let error = misbehaving("silent");
    assert_eq!((error.kind(), error.status().and_then(|s| s.code())), (ErrorKind::Helper, Some(0)));
    let error = misbehaving("exit-3");
    assert_eq!((error.kind(), error.status().and_then(|s| s.code())), (ErrorKind::Helper, Some(3)));
    assert_eq!(error.helper_stderr(), b"the last words\n");
    let error = misbehaving("segfault");
    assert_eq!((error.kind(), error.status().and_then(|s| s.signal())), (ErrorKind::Helper, Some(11)));
    // What seccomp does to a helper that makes a call it may not make.
    assert_eq!(misbehaving("sigsys").kind(), ErrorKind::Confinement);
    let scratch = Scratch::new();
    let path = fake(&scratch, "progress-then-dies");
    let error = error_of(&path, |untar| apply(asking(untar, |options| options.progress = true)));
    assert_eq!(error.kind(), ErrorKind::Helper, "{error:?}");
}

#[test]
fn what_no_helper_says_is_a_protocol_error() {
    if !need_tool("python3") {
        return;
    }
    for wish in [
        "long",
        "long-plus",
        "unknown-tag",
        "tag-99",
        "half-frame",
        "half-header",
        "left-over",
        "empty-frame",
        "wrong-version",
        "wrong-magic",
        "text",
        "flood-garbage",
        "flood-events",
        "stays-after-garbage",
    ] {
        let error = misbehaving(wish);
        assert_eq!(error.kind(), ErrorKind::Protocol, "{wish}: {error:?}");
    }
}

fn asking(mut untar: Untar, change: impl FnOnce(&mut Options)) -> Untar {
    change(untar.options_mut());
    untar
}

/// How a run ends in which a fake says these frames (a letter each, see `fake_helper.py`).
#[track_caller]
fn said(frames: &str, change: impl Fn(&mut Options)) -> Result<Report, Error> {
    let scratch = Scratch::new();
    let (path, dest) = (fake(&scratch, &format!("say-{frames}")), scratch.dir("dest"));
    let untar = Untar::open(dest).expect("root").program(Program::at(path));
    apply(asking(untar, change))
}

#[test]
fn each_frame_is_taken_only_in_the_states_in_which_an_honest_helper_sends_it() {
    if !need_tool("python3") {
        return;
    }
    let all = |options: &mut Options| (options.progress, options.list) = (true, true);
    // M NeedIdMap, S Started, P Progress, L Listed (l with more attributes than may be), E Event, W NeedLowers,
    // R and F a Reply of success and of failure.
    for (before, may) in [("", "MS"), ("M", "S"), ("S", "PLE"), ("MS", "PLE"), ("SR", ""), ("F", "")] {
        for letter in "MSPLlEWRF".chars() {
            let error = said(&format!("{before}{letter}"), all).err();
            let kind = error.as_ref().map(Error::kind);
            let want = match letter {
                'R' if before.ends_with('S') => None,
                'F' if !before.ends_with(['R', 'F']) => Some(ErrorKind::Refused),
                // It then exits without a reply.
                letter if may.contains(letter) => Some(ErrorKind::Helper),
                // A failure that was told stays what is told.
                _ if before == "F" => Some(ErrorKind::Refused),
                _ => Some(ErrorKind::Protocol),
            };
            assert_eq!(kind, want, "{letter} after {before:?}: {error:?}");
        }
    }
}

#[test]
fn frames_that_nobody_asked_for_are_a_breach() {
    if !need_tool("python3") {
        return;
    }
    type Change = fn(&mut Options);
    let rows: [(&str, Change, ErrorKind); 9] = [
        ("SL-", |_| (), ErrorKind::Protocol),
        ("SP-", |_| (), ErrorKind::Protocol),
        ("SL", |options| options.verbose = true, ErrorKind::Helper),
        ("SW-", |_| (), ErrorKind::Protocol),
        ("M-", |options| options.jail.user_namespace = UserNamespace::Never, ErrorKind::Protocol),
        ("S-", |options| options.jail.user_namespace = UserNamespace::Single, ErrorKind::Protocol),
        ("S_L3-", |options| (options.list, options.limits.entries) = (true, 2), ErrorKind::Protocol),
        ("S_E3-", |options| options.limits.events = 2, ErrorKind::Protocol),
        ("S_P99-", |options| options.progress = true, ErrorKind::Protocol),
    ];
    for (frames, change, want) in rows {
        let error = said(frames, change).expect_err(frames);
        assert_eq!(error.kind(), want, "{frames}: {error:?}");
    }
}

/// Generous: it says that there is an end, not how soon.
const AN_END: Duration = Duration::from_secs(60);

#[test]
fn no_flood_outlasts_the_time_limit() {
    if !need_tool("python3") {
        return;
    }
    let hurried = |untar| {
        asking(untar, |options| {
            (options.list, options.progress) = (true, true);
            options.jail.limits.timeout = Some(std::time::Duration::from_secs(1));
            options.limits.entries = u64::MAX;
        })
    };
    for (wish, want) in [
        ("flood-listed", ErrorKind::Limit),
        ("flood-large-listed", ErrorKind::Limit),
        ("endless-stderr", ErrorKind::Limit),
        ("flood-progress", ErrorKind::Protocol),
        ("flood-events", ErrorKind::Protocol),
    ] {
        let scratch = Scratch::new();
        let (path, dest) = (fake(&scratch, wish), scratch.dir("dest"));
        let file = scratch.file("archive.tar", archive());
        let start = Instant::now();
        let untar = || hurried(Untar::open(&dest).expect("root").program(Program::at(&path)));
        for result in [apply(untar()), untar().apply_fd(fs::File::open(&file).expect("archive"))] {
            let error = result.expect_err(wish);
            assert_eq!(error.kind(), want, "{wish}: {error:?}");
        }
        assert!(start.elapsed() < AN_END, "{wish}: {:?}", start.elapsed());
    }
}

#[test]
fn a_flood_is_cancelled_from_elsewhere() {
    if !need_tool("python3") {
        return;
    }
    let scratch = Scratch::new();
    let (path, dest) = (fake(&scratch, "flood-listed"), scratch.dir("dest"));
    let (told, hears) = std::sync::mpsc::channel();
    let untar = asking(Untar::open(dest).expect("root").program(Program::at(path)), |options| {
        options.limits.entries = u64::MAX;
    });
    let untar = untar.on_listed(move |_| _ = told.send(()));
    let canceller = untar.canceller();
    let cancels = std::thread::spawn(move || {
        // It is under way.
        hears.iter().take(100).for_each(drop);
        canceller.cancel();
    });
    let start = Instant::now();
    assert_eq!(apply(untar).expect_err("cancelled").kind(), ErrorKind::Cancelled);
    assert!(start.elapsed() < AN_END);
    cancels.join().expect("it cancelled");
}

#[test]
fn a_helper_that_asks_for_maps_again_and_again_is_none() {
    if !need_tool("python3") {
        return;
    }
    // It asks once, before it is inside, if a user namespace is wanted at all.
    assert_eq!(misbehaving("wants-maps").kind(), ErrorKind::Protocol);
}

#[test]
fn standard_error_is_kept_to_its_last_bytes_and_never_blocks() {
    if !need_tool("python3") {
        return;
    }
    let error = misbehaving("flood-stderr");
    assert_eq!(error.kind(), ErrorKind::Helper);
    let kept = error.helper_stderr();
    assert!(kept.len() <= 8 << 10 && kept.ends_with(b"the end"), "{} bytes", kept.len());
}

#[test]
fn a_helper_that_hangs_up_and_stays_is_killed() {
    if !need_tool("python3") {
        return;
    }
    let error = misbehaving("closes-and-stays");
    assert_eq!(error.kind(), ErrorKind::Helper, "{error:?}");
}

#[test]
fn the_callers_own_reader_comes_before_the_helpers_error() {
    struct Fails(usize);
    impl std::io::Read for Fails {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| std::io::Error::other("the reader's own words"))?;
            buffer.fill(0xff);
            Ok(buffer.len().min(100))
        }
    }
    // What it gave is no archive: the helper fails, too.
    let scratch = Scratch::new();
    for reads in [0, 1] {
        let untar = with(&crate::support::run::program_path(), &scratch);
        let error = untar.apply(Fails(reads)).expect_err("the reader fails");
        assert_eq!(error.kind(), ErrorKind::Read, "{error:?}");
        assert!(error.to_string().contains("the reader's own words"), "{error}");
    }
    let error = error_of(Path::new("/bin/true"), |untar| untar.apply(Fails(0)));
    assert_eq!(error.kind(), ErrorKind::Read, "{error:?}");
}

#[test]
fn a_cancelled_run_is_cancelled_whatever_else_went_wrong() {
    let scratch = Scratch::new();
    let session = with(Path::new("/bin/true"), &scratch).spawn().expect("it starts");
    session.canceller().cancel();
    assert_eq!(session.finish().expect_err("cancelled").kind(), ErrorKind::Cancelled);
    let mut session = with(&crate::support::run::program_path(), &scratch).spawn().expect("helper");
    session.write_all(b"no archive at all").expect("room");
    session.canceller().cancel();
    let error = session.abandon(std::io::Error::other("reader"));
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn a_failure_comes_before_a_digest() {
    let scratch = Scratch::new();
    let untar = || with(&crate::support::run::program_path(), &scratch);
    let wrong = untar_in_root::Digest([7; 32]);
    let error = untar().expect_digest(wrong).apply(&b"no archive"[..]).expect_err("malformed");
    assert_eq!(error.kind(), ErrorKind::Archive);
    let good = archive();
    let error = untar().expect_digest(wrong).apply(&good[..]).expect_err("another digest");
    assert_eq!(error.kind(), ErrorKind::Digest, "{error:?}");
    assert!(error.to_string().contains(&wrong.to_string()), "both digests: {error}");
    assert!(error.report().is_some_and(|report| report.entries.files == 1));
    assert_eq!(untar().expect_diff_id(wrong).apply(&good[..]).expect_err("diff").kind(), ErrorKind::Digest);
    let report = untar().compute_digest().apply(&good[..]).expect("applied");
    untar()
        .expect_digest(report.digest.expect("digest"))
        .expect_diff_id(report.diff_id.expect("diff ID"))
        .apply(&good[..])
        .expect("right");
}
