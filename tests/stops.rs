//! `stop_at_end`: a run returns at the archive's end marker, although its source stays open.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use untar_in_root::{Digest, ErrorKind, Options, Report};

use crate::support::run::{Run, program_path, untar};
use crate::support::scratch::Scratch;
use crate::support::tarball::{self, Tarball};

/// Small, and larger than what is decoded before there are threads.
fn archives() -> [Vec<u8>; 2] {
    let many = (0..300).fold(Tarball::new(), |tar, i| tar.file(format!("d/{i}"), vec![b'x'; 10 << 10]));
    [Tarball::new().file("f", "1").build(), many.file("f", "1").build()]
}

/// In every form that it can come in.
fn forms(tar: &[u8]) -> Vec<Vec<u8>> {
    vec![tar.to_vec(), tarball::gz(tar), tarball::zst(tar), tarball::xz(tar), tarball::bz2(tar)]
}

fn stop(options: &mut Options) {
    options.stop_at_end = true;
}

/// A pipe that somebody writes an archive to, and never closes: the writer is the value.
struct Open {
    pipe: Option<io::PipeReader>,
    writer: std::thread::JoinHandle<io::PipeWriter>,
}

impl Open {
    fn with(archive: Vec<u8>) -> Open {
        let (pipe, mut writer) = io::pipe().expect("a pipe");
        let write = move || {
            // Who reads may stop before all of it is read.
            drop(writer.write_all(&archive));
            writer
        };
        Open { pipe: Some(pipe), writer: std::thread::spawn(write) }
    }

    fn source(&mut self) -> io::PipeReader {
        self.pipe.take().expect("once")
    }

    /// It was open all the time.
    fn close(self) {
        drop(self.writer.join().expect("the writer"));
    }
}

#[track_caller]
fn stopped(scratch: &Scratch, report: &Report) {
    assert!(report.stopped_at_end && report.diff_id.is_none() && report.digest.is_none(), "{report:?}");
    assert_eq!((report.event_count, fs::read(scratch.join("root/f")).expect("f")), (0, b"1".to_vec()));
}

#[test]
fn rule_14_a_descriptor_that_stays_open_is_left_at_the_end_marker() {
    for form in archives().iter().flat_map(|tar| forms(tar)) {
        let (scratch, mut open) = (Scratch::new(), Open::with(form));
        let report = untar(&scratch.dir("root"), stop).apply_fd(OwnedFd::from(open.source())).expect("applied");
        stopped(&scratch, &report);
        open.close();
    }
}

#[test]
fn rule_14_a_reader_that_stays_open_is_left_at_the_end_marker() {
    for form in archives().iter().flat_map(|tar| forms(tar)) {
        let (scratch, mut open) = (Scratch::new(), Open::with(form));
        let report = untar(&scratch.dir("root"), stop).apply(open.source()).expect("applied");
        stopped(&scratch, &report);
        open.close();
    }
}

#[test]
fn a_reader_of_crumbs_is_not_asked_for_more_than_there_is() {
    /// One byte at a time; a panic where a blocking source would block for ever.
    struct Crumbs(Vec<u8>, usize);
    impl Read for Crumbs {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let byte = self.0.get(self.1).expect("asked for more than the archive");
            self.1 += 1;
            buffer[0] = *byte;
            Ok(1)
        }
    }
    for form in forms(&archives()[0]) {
        let scratch = Scratch::new();
        let report = untar(&scratch.dir("root"), stop).apply(Crumbs(form, 0)).expect("applied");
        stopped(&scratch, &report);
    }
}

#[test]
fn a_session_says_when_it_wants_no_more() {
    let scratch = Scratch::new();
    let mut session = untar(&scratch.dir("root"), stop).spawn().expect("started");
    session.write_all(&archives()[0]).expect("written");
    while session.check().is_ok() {
        std::thread::yield_now();
    }
    stopped(&scratch, &session.finish().expect("applied"));
}

#[test]
fn the_command_line_leaves_a_pipe_that_stays_open() {
    for form in archives().iter().flat_map(|tar| forms(tar)) {
        let (scratch, mut open) = (Scratch::new(), Open::with(form));
        let mut command = Command::new(program_path());
        command.arg("--stop-at-end").arg("--json").arg(scratch.dir("root"));
        let output = command.stdin(Stdio::from(OwnedFd::from(open.source()))).output().expect("the program");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(text.contains("\"stopped_at_end\":true") && text.contains("\"diff_id\":null"), "{text}");
        open.close();
    }
}

#[test]
fn what_is_behind_the_end_marker_is_nobodys_business() {
    let tar = archives()[0].clone();
    let mut garbage = tar.clone();
    garbage.extend_from_slice(b"not a tar header");
    for (archive, told) in [(&tar, 0), (&garbage, 1)] {
        let run = |stop_at_end| {
            let scratch = Scratch::new();
            let run = untar(&scratch.dir("root"), |o| o.stop_at_end = stop_at_end).apply(&archive[..]);
            run.expect("applied")
        };
        assert_eq!(run(true).event_count, 0);
        let whole = run(false);
        assert_eq!((whole.event_count, whole.stopped_at_end, whole.diff_id.is_some()), (told, false, true));
    }
}

#[test]
fn without_an_end_marker_the_stream_must_end() {
    let mut tar = archives()[0].clone();
    tar.truncate(1024);
    let scratch = Scratch::new();
    let report = untar(&scratch.dir("root"), stop).apply(&tar[..]).expect("applied");
    assert!(!report.stopped_at_end && report.diff_id.is_none(), "{report:?}");
    assert_eq!(report.event_count, 1, "no end marker: {report:?}");
}

#[test]
fn an_error_comes_although_the_source_stays_open() {
    let (scratch, mut open) = (Scratch::new(), Open::with(Tarball::new().file("../x", "").build()));
    let error = untar(&scratch.dir("root"), stop).apply(open.source()).expect_err("it climbs");
    assert_eq!(error.kind(), ErrorKind::Refused);
    open.close();
}

#[test]
fn digests_are_refused_with_it() {
    let scratch = Scratch::new();
    let run = || untar(scratch.path(), stop);
    let zero = Digest([0; 32]);
    for untar in [run().compute_digest(), run().expect_digest(zero), run().expect_diff_id(zero)] {
        let error = untar.apply(&archives()[0][..]).expect_err("no digest");
        assert_eq!(error.kind(), ErrorKind::Options, "{error:?}");
    }
    Run::of(&[Tarball::new()], stop).report();
}
