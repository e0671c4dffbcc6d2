//! Faults: a full disk, a read-only root, a reader that fails or panics, truncation, stalls; nothing leaks.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_remount};
use untar_in_root::{Cause, ErrorKind, Limit, Stage};

use crate::support::child::Job;
use crate::support::privilege::{need_mount, need_root, need_tool, need_tools};
use crate::support::process::{is_gone, my_helper_on};
use crate::support::run::{apply, literal, untar};
use crate::support::scratch::Scratch;
use crate::support::tarball::{Tarball, bz2, gz, xz, zst};
use crate::support::tree::Tree;

fn noise(len: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn a_full_disk_is_a_storage_error_that_names_the_entry() {
    if !need_mount() {
        return;
    }
    let small = (0..20).fold(Tarball::new(), |tar, i| tar.file(format!("f{i}"), noise(100_000)));
    let large = Tarball::new().file("a", "1").file("large", noise(3 << 20));
    for (archive, name) in [(small, &b"f"[..]), (large, b"large")] {
        let scratch = Scratch::new();
        let dest = scratch.tmpfs("dest", 1 << 20).expect("tmpfs");
        let error = apply(&dest, &archive.build(), literal).expect_err("full");
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Storage, Some(28)), "{error:?}");
        let entry = error.failure().and_then(|f| f.entry.as_ref()).expect("the entry");
        assert!(entry.path.starts_with(name), "{entry:?}");
        assert!(error.report().is_some_and(|report| report.entries.files > 0));
    }
}

/// What is wrong with a file that a writer would have made is found before, with its name at hand.
#[test]
fn a_small_file_among_many_that_is_damaged_is_named() {
    let many = || (0..100).fold(Tarball::new(), |tar, i| tar.file(format!("f{i}"), "x"));
    let no_acl = many().file("d/bad", "x").with(|e| _ = e.pax("SCHILY.acl.access", "nobody knows"));
    for (archive, what) in
        [(no_acl, "an ACL that is none"), (many().file("d/bad", "xyz").cut_at(100 * 1024 + 512 + 1), "cut")]
    {
        for writers in [1, 4] {
            let scratch = Scratch::new();
            let change = |o: &mut untar_in_root::Options| o.writers = std::num::NonZeroU32::new(writers);
            let error = apply(scratch.path(), &archive.build(), change).expect_err("damaged");
            let entry = error.failure().and_then(|f| f.entry.as_ref()).expect("the entry");
            assert_eq!(entry.path, b"d/bad", "{what}, {writers} writers: {error}");
        }
    }
}

#[test]
fn no_inodes_left_is_a_storage_error() {
    if !need_mount() {
        return;
    }
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    mount("tmpfs", &dest, "tmpfs", MountFlags::empty(), Some(c"nr_inodes=10")).expect("tmpfs");
    let archive = (0..20).fold(Tarball::new(), |tar, i| tar.dir(format!("d{i}"))).build();
    let error = apply(&dest, &archive, literal).expect_err("full");
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Storage, Some(28)), "{error:?}");
}

#[test]
fn a_read_only_root_is_a_storage_error() {
    if !need_mount() {
        return;
    }
    let scratch = Scratch::new();
    let dest = scratch.tmpfs("dest", 1 << 20).expect("tmpfs");
    fs::write(dest.join("old"), "1").expect("file");
    mount_remount(&dest, MountFlags::RDONLY, "").expect("remount");
    for archive in [Tarball::new().file("f", "1"), Tarball::new().dir("."), Tarball::new().symlink("old", "x")] {
        let error = apply(&dest, &archive.build(), literal).expect_err("read-only");
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Storage, Some(30)), "{error:?}");
    }
    apply(&dest, &Tarball::new().build(), literal).expect("nothing to write");
    assert_eq!(Tree::read(&dest).get("old", "content"), "1");
}

#[test]
fn a_quota_is_a_storage_error() {
    if !need_root() || !need_tools(&["mkfs.btrfs", "btrfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let dest = scratch.with_quota("dest", 4 << 20);
    let archive = Tarball::new().file("a", "1").file("large", noise(8 << 20)).build();
    let error = apply(&dest, &archive, literal).expect_err("over quota");
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Storage, Some(122)), "{error:?}");
    let entry = error.failure().and_then(|f| f.entry.as_ref()).expect("the entry");
    assert_eq!(entry.path, b"large", "{error:?}");
    assert!(error.to_string().contains("quota is used up"), "{error}");
    // What was there before is whole.
    assert_eq!(fs::read(dest.join("a")).expect("file"), b"1");
}

#[test]
fn a_file_size_limit_of_the_process_is_an_error_not_a_death() {
    if !need_tool("prlimit") {
        return;
    }
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    let archive = scratch.file("archive.tar", Tarball::new().file("a", "1").file("f", noise(100_000)).build());
    let job = Job::new(&dest, &archive, "").behind(&["prlimit", "--fsize=20000"]);
    // The binaries are copied before the limit is there.
    job.run(&scratch).fails(ErrorKind::Entry).because(Errno::FBIG);
}

#[test]
fn a_reader_that_fails_is_told_with_its_own_error() {
    struct Fails<'a>(&'a [u8]);
    impl Read for Fails<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::new(io::ErrorKind::ConnectionReset, "the registry hung up")),
                n => Ok(n),
            }
        }
    }
    let bytes = Tarball::new().file("a", "1").file("f", noise(100_000)).build();
    for cut in [0, 100, 1024, 50_000] {
        let scratch = Scratch::new();
        let error = untar(scratch.path(), literal).apply(Fails(&bytes[..cut])).expect_err("the reader fails");
        assert_eq!(error.kind(), ErrorKind::Read, "{error:?}");
        assert!(error.to_string().contains("the registry hung up"), "{error}");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Other);
    }
}

#[test]
fn a_reader_that_panics_leaves_no_helper() {
    struct Panics<'a>(&'a Path, &'a mut Option<u32>);
    impl Read for Panics<'_> {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            *self.1 = my_helper_on(self.0);
            panic!("on purpose");
        }
    }
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    let mut pid = None;
    let reader = AssertUnwindSafe(Panics(&dest, &mut pid));
    let run = untar(&dest, literal);
    let result = std::panic::catch_unwind(AssertUnwindSafe(move || {
        let reader = reader;
        run.apply(reader.0)
    }));
    assert!(result.is_err());
    assert!(is_gone(pid.expect("a helper")));
}

#[test]
fn a_descriptor_that_cannot_be_read_is_a_read_error() {
    let scratch = Scratch::new();
    let directory = File::open(scratch.path()).expect("directory");
    let error = untar(&scratch.dir("dest"), literal).apply_fd(directory).expect_err("a directory");
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Read, Some(21)), "{error:?}");
    assert_eq!(error.failure().map(|f| f.stage), Some(Stage::Read));
    let write_only = fs::OpenOptions::new().write(true).open(scratch.file("w", "")).expect("file");
    let error = untar(&scratch.dir("dest"), literal).apply_fd(write_only).expect_err("write-only");
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Read, Some(9)), "{error:?}");
    // With a digest the parent reads, too.
    let directory = File::open(scratch.path()).expect("directory");
    let error = untar(&scratch.dir("dest"), literal).compute_digest().apply_fd(directory).expect_err("a directory");
    assert_eq!(error.kind(), ErrorKind::Read, "{error:?}");
}

#[test]
fn every_way_of_giving_the_archive_leads_to_the_same() {
    let bytes = gz(&Tarball::new().dir("d").file("d/f", noise(200_000)).file("z", "1").build());
    let scratch = Scratch::new();
    let file = scratch.file("archive.tar.gz", &bytes);
    let outcomes = [true, false].map(|digest| {
        let run = |name: &str| {
            let untar = untar(&scratch.dir(name), literal);
            if digest { untar.compute_digest() } else { untar }
        };
        let pipe = || {
            let (read, mut write) = io::pipe().expect("pipe");
            let bytes = bytes.clone();
            std::thread::spawn(move || write.write_all(&bytes));
            OwnedFd::from(read)
        };
        let mut session = run("a").spawn().expect("helper");
        session.write_all(&bytes).expect("written");
        let from_session = session.finish().expect("applied");
        let reports = [
            from_session,
            run("b").apply(&bytes[..]).expect("applied"),
            run("c").apply_fd(File::open(&file).expect("file")).expect("applied"),
            run("d").apply_fd(pipe()).expect("applied"),
        ];
        for report in &reports {
            assert_eq!((report.bytes_in, report.digest), (reports[0].bytes_in, reports[0].digest));
            assert_eq!((report.diff_id, report.entries.files), (reports[0].diff_id, 2));
            assert_eq!(report.digest.is_some(), digest);
        }
        reports[0].bytes_in
    });
    assert_eq!(outcomes, [bytes.len() as u64; 2]);
    for name in ["b", "c", "d"] {
        assert_eq!(
            Tree::read(&scratch.join("a")).get("d/f", "content"),
            Tree::read(&scratch.join(name)).get("d/f", "content")
        );
    }
}

#[test]
fn a_file_is_read_from_its_position_on() {
    use std::io::Seek;
    let scratch = Scratch::new();
    let bytes = [&b"something else"[..], &Tarball::new().file("f", "1").build()].concat();
    let path = scratch.file("archive", bytes);
    for digest in [false, true] {
        let mut file = File::open(&path).expect("file");
        file.seek(io::SeekFrom::Start(14)).expect("seek");
        let run = untar(&scratch.dir("dest"), literal);
        let run = if digest { run.compute_digest() } else { run };
        assert_eq!(run.apply_fd(file).expect("applied").entries.files, 1);
    }
}

#[test]
fn truncation_in_every_compression_at_many_lengths() {
    let plain = Tarball::new().file("a", "1").file("f", noise(3000)).file("z", "2").build();
    type Packer = fn(&[u8]) -> Vec<u8>;
    let packers: [Packer; 4] = [gz, zst, xz, bz2];
    for pack in packers {
        let whole = pack(&plain);
        for length in (1..whole.len()).step_by(whole.len() / 40 + 1) {
            let scratch = Scratch::new();
            let error = apply(scratch.path(), &whole[..length], literal).expect_err("truncated");
            assert_eq!(error.kind(), ErrorKind::Archive, "{length} of {}: {error:?}", whole.len());
            assert!(!error.to_string().is_empty());
        }
    }
}

#[test]
fn a_header_that_does_not_come_is_no_entry() {
    let cut = |entries: usize| {
        let tar = (0..entries).fold(Tarball::new(), |tar, i| tar.file(format!("f{i}"), "1"));
        let mut bytes = tar.build();
        bytes.truncate(entries * 1024);
        [&bytes[..], b"x", &[0; 99]].concat()
    };
    let error = |bytes: &[u8]| apply(Scratch::new().path(), bytes, literal).expect_err("cut short");
    // There is none before it.
    let first = error(&cut(0));
    assert_eq!(
        first.to_string(),
        "reading tar headers: malformed at byte 100 of the uncompressed stream: the stream ends in the middle of a \
         header or a body: the download or copy was cut short; get the archive again"
    );
    let later = error(&cut(2));
    let failure = later.failure().expect("failure");
    assert_eq!((failure.entry.as_ref(), failure.after.as_ref().and_then(|e| e.index)), (None, Some(1)));
    let begins = "reading tar headers: where a header was due, after file \"f1\" (entry 1, at byte 1024): malformed at \
                  byte 2148 of the uncompressed stream: the stream ends";
    assert!(later.to_string().starts_with(begins), "{later}");
    // The same if the compressed stream ends there, or the header is a bad one.
    let packed = gz(&cut(2));
    let later = error(&packed[..packed.len() - 9]).to_string();
    assert!(later.starts_with("decompressing: where a header was due, after file \"f1\""), "{later}");
    let mut bad = cut(2);
    bad.extend([b'x'; 412]);
    let later = error(&bad).to_string();
    assert!(later.starts_with("reading tar headers: where a header was due, after file \"f1\""), "{later}");
    // What an extended header has named is the entry, of a type that is not known.
    let mut named = Tarball::new().file("f", "1").with(|e| _ = e.pax("path", "long")).build();
    named.truncate(1024 + 100);
    let later = error(&named).to_string();
    assert!(later.starts_with("reading tar headers: entry \"long\" (entry 0, at byte 1024): malformed"), "{later}");
}

#[test]
fn a_digest_that_nobody_could_compute_is_refused_at_once() {
    let scratch = Scratch::new();
    let run = || untar(scratch.path(), literal);
    for run in [run().compute_digest(), run().expect_digest(untar_in_root::Digest([7; 32]))] {
        let error = run.spawn().expect("helper").into_parts().expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Options, "{error:?}");
        assert!(error.to_string().contains("digest") && error.to_string().contains("diff ID"), "{error}");
    }
    // The diff ID is the helper's to compute.
    let bytes = Tarball::new().file("f", "1").build();
    let diff_id = run().apply(&bytes[..]).expect("applied").diff_id.expect("diff ID");
    for (expected, right) in [(diff_id, true), (untar_in_root::Digest([7; 32]), false)] {
        let parts = run().expect_diff_id(expected).spawn().expect("helper").into_parts().expect("parts");
        File::from(parts.pipe).write_all(&bytes).expect("room");
        assert_eq!(
            parts.pending.wait().map(drop).map_err(|error| error.kind()),
            if right { Ok(()) } else { Err(ErrorKind::Digest) }
        );
    }
}

#[test]
fn a_stalled_source_ends_at_the_time_limit() {
    let scratch = Scratch::new();
    let (read, write) = io::pipe().expect("pipe");
    let start = Instant::now();
    let error = untar(scratch.path(), |o| o.jail.limits.timeout = Some(std::time::Duration::from_millis(200)))
        .apply_fd(OwnedFd::from(read))
        .expect_err("stalled");
    assert!(start.elapsed() >= Duration::from_millis(190));
    assert_eq!(error.kind(), ErrorKind::Limit);
    let cause = error.failure().map(|failure| failure.cause.clone());
    assert_eq!(cause, Some(Cause::Limit { limit: Limit::Timeout, value: 200 }));
    drop(write);
}

#[test]
fn a_slow_source_is_waited_for() {
    let scratch = Scratch::new();
    let bytes = Tarball::new().file("a", "1").file("b", "2").build();
    let mut session = untar(scratch.path(), literal).spawn().expect("helper");
    for piece in bytes.chunks(700) {
        session.write_all(piece).expect("written");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(session.finish().expect("applied").entries.files, 2);
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("proc").count()
}

#[test]
fn no_descriptor_and_no_zombie_is_left() {
    // In a process of its own: other tests open and close beside this one.
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    let archive = scratch.file("archive.tar", Tarball::new().file("f", "1").build());
    let said = Job::new(&dest, &archive, "leaks").run(&scratch);
    said.begins("leaks", "none");
}

/// What the child of the test above does.
pub fn leaks(dest: &Path, program: &untar_in_root::Program) -> String {
    use rustix::process::{WaitOptions, wait};
    let good = Tarball::new().file("f", "1").build();
    let run =
        |program: &untar_in_root::Program| untar_in_root::Untar::open(dest).expect("root").program(program.clone());
    let before = descriptors();
    for turn in 0..12 {
        let bad = untar_in_root::Program::at(["/bin/true", "/bin/cat", "/missing"][turn % 3]);
        _ = run(&bad).apply(&good[..]);
        _ = run(program).apply(&good[..]).expect("applied");
        _ = run(program).apply(&good[..400]).expect_err("truncated");
        _ = run(program).compute_digest().apply(io::empty());
        drop(run(program).spawn());
        let parts = run(program).spawn().expect("helper").into_parts().expect("parts");
        drop(parts.pipe);
        _ = parts.pending.wait();
    }
    let zombies = wait(WaitOptions::NOHANG);
    match (descriptors() - before, zombies) {
        (0, Err(Errno::CHILD)) => "none".into(),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_helper_ends_by_itself_when_standard_input_is_closed_at_once() {
    let scratch = Scratch::new();
    let report = untar(scratch.path(), literal).spawn().expect("helper").finish().expect("an empty archive");
    assert_eq!((report.entries.total(), report.event_count), (0, 1));
}

#[test]
fn the_archives_descriptor_is_not_given_to_a_file() {
    // The decoder is done long before the files are written; seccomp kills whoever writes to descriptor 0.
    let archive = (0..3000).fold(Tarball::new(), |tar, i| tar.file(format!("{}/f{i}", i % 30), "content"));
    for bytes in [gz(&archive.build()), zst(&archive.build()), archive.build()] {
        let scratch = Scratch::new();
        assert_eq!(apply(scratch.path(), &bytes, literal).expect("applied").entries.files, 3000);
    }
}
