//! Each fault once, against `docs/faults.md`: kind and text there are those that really come, and none takes long.
//!
//! `UNTAR_WRITE_FAULTS=1` writes the table anew.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::mount_remount;
use untar_in_root::{Digest, Error, Options, Program, Report, Untar};

use crate::support::privilege::{need_root, need_tools};
use crate::support::run::{literal, program_path, untar};
use crate::support::scratch::Scratch;
use crate::support::tarball::{Tarball, gz, xz};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/faults.md");
const BEGIN: &str = "| fault | kind | text | test |\n|---|---|---|---|\n";
/// What takes longer hangs; a loaded machine takes its time to start a process under strace.
const SOON: Duration = Duration::from_secs(60);

struct Row {
    fault: String,
    kind: String,
    text: String,
    test: &'static str,
    took: Duration,
}

#[derive(Default)]
struct Rows(Vec<Row>);

impl Rows {
    /// Through the library.
    #[track_caller]
    fn library(&mut self, fault: &str, test: &'static str, run: impl FnOnce(&Scratch) -> Result<Report, Error>) {
        let scratch = Scratch::new();
        let start = Instant::now();
        let error = run(&scratch).err().unwrap_or_else(|| panic!("{fault}: no error"));
        self.add(fault, test, format!("{:?}", error.kind()), &error.to_string(), &scratch, start.elapsed());
    }

    /// On the command line behind these words, into `dest`; the kind is the exit status.
    #[track_caller]
    fn command(&mut self, fault: &str, test: &'static str, words: &[&str], archive: &Tarball) {
        let scratch = Scratch::new();
        let archive = scratch.file("archive.tar", archive.build());
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(program_path());
        // strace puts another call in place, which the filter would see.
        command.args(words.contains(&"strace").then_some("--seccomp=off"));
        command.arg(scratch.dir("dest")).arg(archive);
        let start = Instant::now();
        let output = command.stdin(Stdio::null()).output().expect("a command");
        let took = start.elapsed();
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().find_map(|line| line.strip_prefix("untar-in-root: ")).unwrap_or_else(|| {
            panic!("{fault}: {:?}, {said}", output.status);
        });
        let status = output.status.code().expect("a status");
        self.add(fault, test, format!("exit status {status}"), line, &scratch, took);
    }

    fn add(&mut self, fault: &str, test: &'static str, kind: String, text: &str, scratch: &Scratch, took: Duration) {
        let text = text.replace(&scratch.path().display().to_string(), "…").replace('|', "\\|");
        let text = without_version(&without_size(&text));
        self.0.push(Row { fault: fault.to_owned(), kind, text, test, took });
    }

    fn table(&self) -> String {
        self.0.iter().fold(BEGIN.to_owned(), |mut table, row| {
            writeln!(table, "| {} | {} | {} | `{}` |", row.fault, row.kind, row.text, row.test).expect("a line");
            table
        })
    }
}

/// How much one write takes is how much of the archive had come.
fn without_size(text: &str) -> String {
    let write = "write(<file>, <data>, ";
    match text.split_once(write).and_then(|(before, rest)| Some((before, rest.split_once(')')?.1))) {
        Some((before, after)) => format!("{before}{write}…){after}"),
        None => text.to_owned(),
    }
}

/// Which version is derived from what is sent.
fn without_version(text: &str) -> String {
    let speaks = "speaks protocol ";
    match text.split_once(speaks).and_then(|(before, rest)| Some((before, rest.split_once(' ')?.1))) {
        Some((before, after)) => format!("{before}{speaks}… {after}"),
        None => text.to_owned(),
    }
}

fn sample() -> Tarball {
    Tarball::new().file("a", "1").dir("d").file("d/large", vec![7; 3 << 20])
}

fn apply(root: &Path, change: impl FnOnce(&mut Options)) -> Result<Report, Error> {
    untar(root, change).apply(&sample().build()[..])
}

fn with(program: &Path, scratch: &Scratch) -> Result<Report, Error> {
    Untar::open(scratch.dir("dest")).expect("root").program(Program::at(program)).apply(&sample().build()[..])
}

fn storage(rows: &mut Rows) {
    rows.library("no space", "faults::a_full_disk_is_a_storage_error_that_names_the_entry", |scratch| {
        apply(&scratch.tmpfs("dest", 1 << 20).expect("tmpfs"), literal)
    });
    rows.library("read-only file system", "faults::a_read_only_root_is_a_storage_error", |scratch| {
        let root = scratch.tmpfs("dest", 1 << 20).expect("tmpfs");
        mount_remount(&root, rustix::mount::MountFlags::RDONLY, "").expect("remount");
        apply(&root, literal)
    });
    rows.library("over quota", "faults::a_quota_is_a_storage_error", |scratch| {
        let root = scratch.with_quota("dest", 4 << 20);
        let mut filler = File::create(root.join("filler")).expect("file");
        let full = std::iter::repeat_n([7; 4096], 2000).find_map(|block| filler.write_all(&block).err());
        assert_eq!(full.and_then(|error| error.raw_os_error()), Some(122));
        apply(&root, literal)
    });
    for (fault, call, errno) in [
        ("a device that fails (injected)", "utimensat", "EIO"),
        ("the kernel is out of memory (injected)", "mkdirat", "ENOMEM"),
        ("too many open files in the system (injected)", "mkdirat", "ENFILE"),
    ] {
        let inject = format!("inject={call}:error={errno}");
        let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &*inject];
        rows.command(fault, "fault_table::faults_are_told_as_the_table_says", &words, &sample());
    }
    let words = ["prlimit", "--fsize=20000"];
    let test = "faults::a_file_size_limit_of_the_process_is_an_error_not_a_death";
    rows.command("the caller's limit on file sizes", test, &words, &sample());
    let test = "fault_table::faults_are_told_as_the_table_says";
    // Whatever descriptors this test was started with.
    const FEW: &str = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec prlimit --nofile=\"$@\"";
    let few = |limit: &'static str| ["bash", "-c", FEW, "bash", limit];
    rows.command("no descriptors left in the caller", test, &few("4"), &sample());
    let deep = Tarball::new().dir("d/".repeat(30));
    rows.command("no descriptors left in the helper", test, &few("16"), &deep);
    rows.library("the root is missing", "cli::exits::failures_of_the_root_and_of_the_helper_are_3", |scratch| {
        Untar::open(scratch.join("missing")).and_then(|untar| untar.apply(io::empty()))
    });
}

struct Fails;

impl Read for Fails {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(io::ErrorKind::ConnectionReset, "the registry hung up"))
    }
}

fn sources(rows: &mut Rows) {
    let bytes = sample().build();
    let zipped = gz(&bytes);
    rows.library("the caller's reader fails", "faults::a_reader_that_fails_is_told_with_its_own_error", |scratch| {
        untar(scratch.path(), literal).apply((&bytes[..700]).chain(Fails))
    });
    let test = "faults::a_descriptor_that_cannot_be_read_is_a_read_error";
    rows.library("the archive is a directory", test, |scratch| {
        untar(scratch.path(), literal).apply_fd(File::open("/").expect("directory"))
    });
    rows.library("reading the archive fails: EIO", "fault_table::faults_are_told_as_the_table_says", |scratch| {
        untar(scratch.path(), literal).apply_fd(File::open("/proc/self/mem").expect("memory"))
    });
    let test = "faults::truncation_in_every_compression_at_many_lengths";
    rows.library("a plain archive is cut short", test, |scratch| {
        untar(scratch.path(), literal).apply(&bytes[..bytes.len() / 2])
    });
    rows.library("a gzip archive is cut short", test, |scratch| {
        untar(scratch.path(), literal).apply(&zipped[..zipped.len() / 2])
    });
    rows.library("a source that stalls, time limit 200 ms", "faults::a_stalled_source_ends_at_the_time_limit", |s| {
        let (read, write) = io::pipe().expect("pipe");
        let result = untar(s.path(), |o| o.jail.limits.timeout = Some(std::time::Duration::from_millis(200)))
            .apply_fd(OwnedFd::from(read));
        drop(write);
        result
    });
    let test = "fault_table::faults_are_told_as_the_table_says";
    rows.library("a source without an end, time limit 200 ms", test, |scratch| {
        untar(scratch.path(), |o| o.jail.limits.timeout = Some(std::time::Duration::from_millis(200)))
            .apply_fd(File::open("/dev/zero").expect("zeros"))
    });
    rows.library("a source without an end, 64 MiB allowed", test, |scratch| {
        untar(scratch.path(), |o| o.limits.total_bytes = 64 << 20).apply(io::repeat(0))
    });
    rows.library("another archive than was meant", "bad_helpers::a_failure_comes_before_a_digest", |scratch| {
        untar(scratch.path(), literal).expect_digest(Digest([7; 32])).apply(&bytes[..])
    });
    rows.library("cancelled", "deaths::cancelling_ends_a_run_whose_source_is_stalled", |scratch| {
        let session = untar(scratch.path(), literal).spawn()?;
        session.canceller().cancel();
        session.finish()
    });
}

fn helpers(rows: &mut Rows) {
    let test = "bad_helpers::a_program_that_cannot_be_started";
    rows.library("the helper is missing", test, |scratch| with(&scratch.join("missing"), scratch));
    rows.library("the helper is not executable", test, |scratch| with(&scratch.file("plain", "#!/bin/sh\n"), scratch));
    let test = "bad_helpers::a_program_that_ends_without_a_word";
    rows.library("`/bin/true`", test, |scratch| with(Path::new("/bin/true"), scratch));
    rows.library("`/bin/false`", test, |scratch| with(Path::new("/bin/false"), scratch));
    rows.library("`/bin/cat`", "bad_helpers::a_program_that_echoes", |scratch| with(Path::new("/bin/cat"), scratch));
    let (deaths, protocol) =
        ("bad_helpers::deaths_are_told_by_their_status", "bad_helpers::what_no_helper_says_is_a_protocol_error");
    for (fault, wish, test) in [
        ("a helper of another version", "wrong-version", protocol),
        ("a frame of 4 GiB", "long", protocol),
        ("an unknown tag", "unknown-tag", protocol),
        ("half a frame", "half-frame", protocol),
        ("a flood of garbage", "flood-garbage", protocol),
        ("a flood of events", "flood-events", protocol),
        (
            "a flood on standard error",
            "flood-stderr",
            "bad_helpers::standard_error_is_kept_to_its_last_bytes_and_never_blocks",
        ),
        ("it hangs up and stays", "closes-and-stays", "bad_helpers::a_helper_that_hangs_up_and_stays_is_killed"),
        ("it exits with a status", "exit-3", deaths),
        ("it crashes", "segfault", deaths),
        ("it makes a system call that it may not", "sigsys", deaths),
    ] {
        rows.library(fault, test, |scratch| {
            let path = scratch.file(format!("{wish}.py"), include_str!("support/fake_helper.py"));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
            with(&path, scratch)
        });
    }
    rows.library("the helper is out of memory", "fault_table::faults_are_told_as_the_table_says", |scratch| {
        let bytes = xz(&sample().build());
        untar(scratch.path(), |o| o.jail.limits.memory_bytes = Some(8 << 20)).apply(&bytes[..])
    });
}

#[test]
fn faults_are_told_as_the_table_says() {
    if !need_root() || !need_tools(&["strace", "prlimit", "python3", "mkfs.btrfs", "btrfs"]) {
        return;
    }
    let mut rows = Rows::default();
    storage(&mut rows);
    sources(&mut rows);
    helpers(&mut rows);
    let longest = rows.0.iter().max_by_key(|row| row.took).expect("rows");
    println!("longest: {:?}, {}", longest.took, longest.fault);
    assert!(longest.took < SOON, "{}: {:?}", longest.fault, longest.took);
    let document = fs::read_to_string(TABLE).expect("docs/faults.md");
    let (before, rest) = document.split_once(BEGIN).expect("a table");
    let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
    if std::env::var_os("UNTAR_WRITE_FAULTS").is_some() {
        fs::write(TABLE, format!("{before}{}\n{after}", rows.table())).expect("written");
        return;
    }
    for line in rows.table().lines() {
        assert!(
            document.lines().any(|told| told == line),
            "docs/faults.md lacks this line (or says it otherwise):\n{line}"
        );
    }
}

/// A line that nobody hears changes nothing.
#[test]
fn a_full_standard_error_changes_no_status() {
    let scratch = Scratch::new();
    let broken = scratch.file("broken.tar", &sample().build()[..4000]);
    let run = |stderr: Stdio| {
        let mut command = Command::new(program_path());
        command.arg("--verbose").arg(scratch.dir("dest")).arg(&broken);
        command.stdin(Stdio::null()).stderr(stderr).status().expect("the program").code()
    };
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("full");
    let (read, write) = io::pipe().expect("pipe");
    drop(read);
    assert_eq!(run(Stdio::null()), Some(1));
    assert_eq!(run(full.into()), Some(1));
    assert_eq!(run(write.into()), Some(1));
}

/// A bounded number of descriptors is enough for any archive: directories that are open are given up.
#[test]
fn few_descriptors_are_enough_or_the_error_says_so() {
    if !need_tools(&["prlimit"]) {
        return;
    }
    let tar = (0..300).fold(Tarball::new(), |tar, i| tar.file(format!("d{i}/e/f"), "1"));
    for (limit, enough) in [(6, false), (8, false), (12, false), (16, false), (32, true), (64, true), (256, true)] {
        let scratch = Scratch::new();
        let archive = scratch.file("archive.tar", tar.build());
        let start = Instant::now();
        let output = Command::new("prlimit")
            .arg(format!("--nofile={limit}"))
            .arg(program_path())
            .arg(scratch.dir("dest"))
            .arg(&archive)
            .output()
            .expect("the program");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.success(), said.contains("RLIMIT_NOFILE")), (enough, !enough), "{limit}: {said}");
        assert!(start.elapsed() < SOON);
    }
}
