//! Programs that are no helpers, and helpers that have been taken over: each gives its own error at once.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use untar_in_root::{Error, ErrorKind, Program, Report, Untar};

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
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}: {error:?}", start.elapsed());
    let text = error.to_string();
    assert!(!text.is_empty() && !text.contains('\n'), "one line: {text:?}");
    assert_eq!(fs::read_dir(scratch.path()).expect("root").count(), 0);
    error
}

fn apply(untar: Untar) -> Result<Report, Error> {
    untar.apply(&archive()[..])
}

/// A copy of the fake under the name of its misbehaviour.
fn fake(scratch: &Scratch, wish: &str) -> PathBuf {
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
    if !need_tool("deaths_are_told_by_their_status", "python3") {
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
    assert_eq!(misbehaving("progress-then-dies").kind(), ErrorKind::Helper);
}

#[test]
fn what_no_helper_says_is_a_protocol_error() {
    if !need_tool("what_no_helper_says_is_a_protocol_error", "python3") {
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

#[test]
fn a_helper_that_asks_for_maps_again_and_again_is_none() {
    if !need_tool("a_helper_that_asks_for_maps_again_and_again_is_none", "python3") {
        return;
    }
    // It asks once, before it is inside, if a user namespace is wanted at all.
    assert_eq!(misbehaving("wants-maps").kind(), ErrorKind::Protocol);
}

#[test]
fn standard_error_is_kept_to_its_last_bytes_and_never_blocks() {
    if !need_tool("standard_error_is_kept_to_its_last_bytes_and_never_blocks", "python3") {
        return;
    }
    let error = misbehaving("flood-stderr");
    assert_eq!(error.kind(), ErrorKind::Helper);
    let kept = error.helper_stderr();
    assert!(kept.len() <= 8 << 10 && kept.ends_with(b"the end"), "{} bytes", kept.len());
}

#[test]
fn a_helper_that_hangs_up_and_stays_is_killed() {
    if !need_tool("a_helper_that_hangs_up_and_stays_is_killed", "python3") {
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
    for reads in [0, 1, 50] {
        let untar = with(&crate::support::run::program_path(), &scratch);
        let error = untar.apply(Fails(reads)).expect_err("the reader fails");
        // If the helper ended first, the reader was never asked again.
        if reads < 50 {
            assert_eq!(error.kind(), ErrorKind::Read, "{error:?}");
            assert!(error.to_string().contains("the reader's own words"), "{error}");
        }
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
    let error = session.abandon(std::io::Error::other("reader")).expect_err("cancelled");
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
