//! The library's interface: what a caller writes, and what that means.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use untar_in_root::image::{
    BadJson, Contents, Description, Difference, Execution, Flattened, Form, History, Image, Layer, LayerDir, Layers,
    LeftOut, Opener, ParsePlatformError, Platform, Problem, Removed, Source, Step, Store, StoreProblem, Unpack,
    Verified, What, Why,
};
use untar_in_root::{
    Advice, BadPattern, Call, Canceller, Cause, Compression, Confinement, Copied, Copy, Damage, Descriptor,
    DeviceNumber, Devices, Diff, Digest, Durability, Encoding, EntryCounts, EntryKind, EntryRef, Error, ErrorKind,
    Escaped, EscapingNames, Event, EventKind, Failure, Fallback, IdRange, Isolation, Jail, LayerRef, Limit, Limits,
    Listed, LooksLike, Lower, Malformed, MapRefusal, MarkProblem, Mode, Mounts, MountsBelow, Namespace, Operand,
    Operation, Options, Overlay, OverlayPrefix, Owner, Pack, PackOptions, PackOwner, PackParts, PackXattrs, Packed,
    Packing, ParseDigestError, Parts, Pending, PendingPack, ProcessLimits, Program, Progress, Purpose, Refusal, Report,
    RootSwitch, Running, Sandbox, Session, SourceChange, Stage, Times, Tolerance, UnmappedIds, Untar, UserNamespace,
    UserNamespaceReport, Wall, Xattrs,
};

use crate::support::run::{line, program};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;
use crate::support::tree::Tree;

fn open(scratch: &Scratch) -> Untar {
    Untar::open(scratch.dir("dest")).expect("destination").program(program())
}

/// Two files, and a digest of the archive as another run computed it.
fn archive(scratch: &Scratch) -> (Vec<u8>, Digest) {
    let bytes = Tarball::new().file("a", "1").file("b", "22").build();
    let done = Untar::open(scratch.dir("first")).expect("first").program(program()).compute_digest().apply(&bytes[..]);
    let digest = done.expect("applied").digest.expect("a digest");
    (bytes, digest)
}

fn moved<T: Send + Debug>() {}
fn shared<T: Send + Sync + Debug>() {}

macro_rules! all {
    ($check:ident: $($kind:ty)*) => { $($check::<$kind>();)* };
}

/// What holds a callback, and what waits for a process.
#[test]
fn what_runs_is_moved_to_other_threads() {
    all!(moved: Copy Diff Pack Packing PackParts Pending PendingPack Running Parts Session Untar);
}

#[test]
fn what_is_told_and_asked_for_is_shared_between_threads() {
    all!(shared: Advice BadPattern Call Canceller Cause Compression Confinement Copied Damage Descriptor DeviceNumber Devices
        Digest Durability Encoding EntryCounts EntryKind EntryRef Error ErrorKind Escaped<'_> EscapingNames Event EventKind Failure
        Fallback IdRange Isolation Jail LayerRef Limit Limits Listed LooksLike Lower Malformed MapRefusal MarkProblem Mode Mounts MountsBelow Namespace
        Operand Operation Options Overlay OverlayPrefix Owner PackOptions PackOwner PackXattrs Packed ParseDigestError ProcessLimits Program Progress Purpose
        Refusal Report RootSwitch Sandbox SourceChange Stage Times Tolerance UnmappedIds UserNamespace UserNamespaceReport Wall Xattrs);
}

#[test]
fn an_image_is_shared_between_threads() {
    all!(shared: BadJson Contents Description Difference Execution Flattened Form History Image Layer LayerDir Layers LeftOut Opener ParsePlatformError Platform Problem
        Removed Source Step Store StoreProblem Unpack<'_> Verified What Why);
}

/// What the source calls public, but for the helper's side, where nothing is.
#[test]
fn every_public_type_is_in_the_tests_above() {
    let mine: Vec<&str> = include_str!("api.rs").split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let mut public = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../src")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).expect("source").map(|entry| entry.expect("entry").path()) {
            if path.is_dir() && !path.ends_with("src/helper") {
                folders.push(path);
            } else if path.is_file() && !path.ends_with("src/elsewhere.rs") {
                let text = std::fs::read_to_string(path).expect("source");
                let types = text.lines().filter_map(|line| {
                    let words = line.trim_start();
                    words.strip_prefix("pub struct ").or_else(|| words.strip_prefix("pub enum "))
                });
                let name = |rest: &str| rest.split(|c: char| !c.is_ascii_alphanumeric()).next().map(str::to_owned);
                public.extend(types.filter_map(name));
            }
        }
    }
    let lacking: Vec<String> = public.iter().filter(|name| !mine.contains(&name.as_str())).cloned().collect();
    assert_eq!(lacking, Vec::<String>::new());
    assert!(public.len() > 70, "{}", public.len());
}

#[test]
fn setters_in_a_chain_say_what_the_options_say() {
    let scratch = Scratch::new();
    let bytes = Tarball::new().file("d/.wh.x", "").file("f", "1").build();
    let untar = open(&scratch).mode(Mode::Layer).timeout(Duration::from_secs(600));
    let shown = format!("{untar:?}");
    assert!(shown.contains("mode: Layer") && shown.contains("timeout: Some(600s)"), "{shown}");
    let report = untar.apply(&bytes[..]).expect("applied");
    assert_eq!((report.entries.whiteouts, line(&Tree::read(&scratch.join("dest")))), (1, "f=1".to_owned()));
}

#[test]
fn no_time_is_a_limit_and_not_none() {
    let scratch = Scratch::new();
    let (read, _write) = io::pipe().expect("pipe");
    let error = open(&scratch).timeout(Duration::ZERO).apply_fd(OwnedFd::from(read)).expect_err("no time");
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
}

#[test]
fn a_callback_turns_on_what_it_is_told() {
    let scratch = Scratch::new();
    let (names, told) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (into, heard) = (Arc::clone(&names), Arc::clone(&told));
    let untar = open(&scratch).on_listed(move |entry: Listed| into.lock().expect("names").push(entry.path));
    let untar = untar.on_progress(move |progress: Progress| heard.lock().expect("told").push(progress));
    let mut session = untar.spawn().expect("helper");
    // More than a batch, so that the writers' work is told.
    let bytes = (0..300).fold(Tarball::new(), |tar, i| tar.file(format!("f{i}"), "x")).build();
    session.write_all(&bytes[..bytes.len() - 2048]).expect("room");
    let begun = Instant::now();
    while told.lock().expect("told").is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(30), "no progress is told");
        session.check().expect("the helper is there");
        std::thread::sleep(Duration::from_millis(5));
    }
    session.write_all(&bytes[bytes.len() - 2048..]).expect("room");
    assert_eq!(session.finish().expect("applied").entries.files, 300);
    assert_eq!(names.lock().expect("names").len(), 300);
}

/// Applied, listed and passed over: the archive is one file, of which the last piece has not come.
#[test]
fn progress_is_told_in_the_middle_of_a_file() {
    type Change = fn(&mut Options);
    let wishes: [Change; 3] = [|_| (), |options| options.list = true, |options| options.exclude = vec!["f".into()]];
    for wish in wishes {
        let scratch = Scratch::new();
        let mut untar = open(&scratch);
        wish(untar.options_mut());
        untar.options_mut().progress = true;
        let mut session = untar.spawn().expect("helper");
        let bytes = Tarball::new().file("f", vec![7; 8 << 20]).build();
        let mut seen = 0;
        // The last of it never comes.
        for piece in bytes[..bytes.len() - 2048].chunks(8 << 10) {
            session.write_all(piece).expect("room");
            session.check().expect("the helper is there");
            let now = session.progress().bytes_tar;
            if seen > 0 && now > seen {
                seen = u64::MAX;
                break;
            }
            seen = now;
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(seen, u64::MAX, "nothing is told after the beginning");
    }
}

#[test]
fn a_list_is_told_in_this_thread_and_applies_nothing() {
    let scratch = Scratch::new();
    let (bytes, digest) = archive(&scratch);
    for demand in [|untar: Untar, _| untar, Untar::expect_digest] {
        let path = scratch.file("archive.tar", &bytes);
        let mut names = Vec::new();
        let untar = demand(open(&scratch), digest);
        let report = untar.list(File::open(path).expect("archive"), |entry| names.push(entry.path)).expect("listed");
        assert_eq!(names, [b"a".to_vec(), b"b".to_vec()]);
        assert_eq!((report.entries.total(), line(&Tree::read(&scratch.join("dest")))), (2, String::new()));
    }
}

/// The archive in a regular file, and in a pipe.
fn sources(scratch: &Scratch, bytes: &[u8]) -> [OwnedFd; 2] {
    let path = scratch.file("archive.tar", bytes);
    let (read, mut write) = io::pipe().expect("pipe");
    write.write_all(bytes).expect("room");
    [File::open(path).expect("archive").into(), read.into()]
}

fn outcome(mut pending: Pending) -> Result<Report, Error> {
    let begun = Instant::now();
    while !pending.is_over() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is never over");
        std::thread::sleep(Duration::from_millis(1));
    }
    pending.wait()
}

#[test]
fn what_is_started_on_a_descriptor_is_digested_too() {
    let scratch = Scratch::new();
    let (bytes, digest) = archive(&scratch);
    for source in sources(&scratch, &bytes) {
        let report = outcome(open(&scratch).expect_digest(digest).start_fd(source).expect("started")).expect("applied");
        assert_eq!((report.digest, report.bytes_in), (Some(digest), bytes.len() as u64));
        assert_eq!(line(&Tree::read(&scratch.join("dest"))), "a=1 b=22");
    }
    for source in sources(&scratch, &bytes) {
        let wrong = open(&scratch).expect_digest(Digest([7; 32])).start_fd(source).expect("started");
        assert_eq!(outcome(wrong).expect_err("another digest").kind(), ErrorKind::Digest);
    }
    for source in sources(&scratch, &bytes) {
        let report = outcome(open(&scratch).start_fd(source).expect("started")).expect("applied");
        assert_eq!((report.digest, report.entries.files), (None, 2));
    }
}

#[test]
fn a_bad_archive_ends_what_was_started_while_its_source_is_stalled() {
    let scratch = Scratch::new();
    let (read, mut write) = io::pipe().expect("pipe");
    write.write_all(&[b'x'; 1024]).expect("room");
    let pending = open(&scratch).compute_digest().start_fd(OwnedFd::from(read)).expect("started");
    assert_eq!(outcome(pending).expect_err("no archive").kind(), ErrorKind::Archive);
    drop(write);
}

#[test]
fn a_source_that_cannot_be_read_is_told_before_all_else() {
    let scratch = Scratch::new();
    // EISDIR.
    let directory = File::open(scratch.path()).expect("a directory");
    let pending = open(&scratch).compute_digest().start_fd(directory).expect("started");
    let error = outcome(pending).expect_err("no file");
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Read, Some(21)), "{error}");
}

#[test]
fn what_is_abandoned_tells_why() {
    let scratch = Scratch::new();
    let session = open(&scratch).spawn().expect("helper");
    let error: Error = session.abandon(io::Error::other("the download broke off"));
    assert_eq!(error.kind(), ErrorKind::Read);
    assert!(error.to_string().contains("the download broke off"), "{error}");
}

#[test]
fn parts_are_a_pipe_and_an_outcome() {
    let scratch = Scratch::new();
    let (bytes, _) = archive(&scratch);
    let parts = open(&scratch).spawn().expect("helper").into_parts().expect("parts");
    File::from(parts.pipe).write_all(&bytes).expect("room");
    assert_eq!(outcome(parts.pending).expect("applied").entries.files, 2);
    let mut rest = Vec::new();
    File::open(scratch.join("dest/b")).and_then(|mut file| file.read_to_end(&mut rest)).expect("file");
    assert_eq!(rest, b"22");
}
