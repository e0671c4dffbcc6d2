//! No helper outlives its parent: in every mode, from every kind of source, in the middle of an image and a store.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::child::Job;
use crate::support::doomed::{Doomed, ENDS, Feeder, Pace, Tally, feed, random, sleep_up_to, word};
use crate::support::layout::{Layout, Packing};
use crate::support::privilege::{has_capability, in_user_namespace, is_root, need_root, need_userns};
use crate::support::run::{copy_program, program_path};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

/// The right to enter a root, or a user namespace that gives it.
pub(super) fn can_run() -> bool {
    has_capability(21) || need_userns()
}

/// Who can become another user.
fn is_host_root() -> bool {
    is_root() && !in_user_namespace()
}

/// Small files first: they are what several threads make.
pub(super) fn archive() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let tar = (0..700).fold(Tarball::new().dir("d"), |tar, i| tar.file(format!("d/{i}"), vec![b'x'; 3900]));
        tar.file("big", vec![7; 1 << 20]).whiteout("none").build()
    })
}

/// Where the archive comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// A part of it, and then nothing.
    Stalled,
    /// A little now and then.
    Trickling,
    /// All of it before long, but not its end.
    Endless,
    /// A FIFO in which nobody ever writes.
    Fifo,
    File,
}

const SOURCES: [Source; 5] = [Source::Stalled, Source::Trickling, Source::Endless, Source::Fifo, Source::File];

/// A mode of the program: its name here, and its options.
pub(super) type ModeWords = (&'static str, &'static [&'static str]);

pub(super) const MODES: [ModeWords; 8] = [
    ("literal", &[]),
    ("layer", &["--layer"]),
    ("overlay", &["--overlay", "--lower", "LOWER"]),
    ("list", &["-t"]),
    ("atomic", &["--atomic"]),
    ("chroot", &["--isolation", "chroot"]),
    ("user namespace", &["--userns", "single"]),
    ("plain user", &[]),
];

const AS_NOBODY: &[&str] = &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// Where runs are made, and what they are made from.
pub(super) struct Place {
    scratch: Scratch,
    program: PathBuf,
    file: PathBuf,
    fifo: PathBuf,
    /// So that opening the FIFO does not wait.
    _writer: fs::File,
    runs: usize,
}

impl Place {
    pub(super) fn new() -> Place {
        let scratch = Scratch::new();
        let program = scratch.join("untar-in-root");
        copy_program(&program_path(), &program);
        let file = scratch.file("archive.tar", archive());
        let fifo = scratch.join("fifo");
        mkfifo(&fifo, Mode::from_bits_truncate(0o644)).expect("FIFO");
        let writer = fs::OpenOptions::new().read(true).write(true).open(&fifo).expect("FIFO");
        scratch.dir("lower/d");
        Place { scratch, program, file, fifo, _writer: writer, runs: 0 }
    }

    /// Starts a run that is not going to end by itself, unless it reads a file.
    pub(super) fn start(&mut self, (name, options): ModeWords, source: Source) -> (Doomed, Feeder) {
        let ((stdin, feeder), archive) = self.open(source);
        let root = self.destination(name);
        let lower = self.scratch.join("lower");
        let mut words = vec!["setsid"];
        if name == "plain user" && is_host_root() {
            words.extend(AS_NOBODY);
        }
        words.push(word(&self.program));
        words.extend(options.iter().map(|option| if *option == "LOWER" { word(&lower) } else { option }));
        words.extend((name != "list").then_some(word(&root)));
        words.push(archive.as_deref().map_or("-", word));
        // What is killed leaves the empty directory in which it lists.
        let mut command = command(&words);
        let command = command.stdin(stdin).env("TMPDIR", self.scratch.path());
        (Doomed::of(format!("{name}, {source:?}"), command), feeder)
    }

    fn open(&self, source: Source) -> ((Stdio, Feeder), Option<PathBuf>) {
        match source {
            Source::Stalled => {
                let part = random(60_000) as usize;
                (feed(&archive()[..part], 60_000, Pace::Steady), None)
            }
            Source::Trickling => (feed(archive(), 1448, Pace::Drained), None),
            Source::Endless => (feed(archive(), 20_000, Pace::Steady), None),
            Source::Fifo => (feed(&[], 1, Pace::Steady), Some(self.fifo.clone())),
            Source::File => (feed(&[], 1, Pace::Steady), Some(self.file.clone())),
        }
    }

    fn destination(&mut self, mode: &str) -> PathBuf {
        self.runs += 1;
        let dir = self.scratch.dir(format!("dest-{}", self.runs));
        if mode == "plain user" && is_host_root() {
            chown(&dir, Some(65534), Some(65534)).expect("owner");
        }
        if mode == "atomic" { dir.join("root") } else { dir }
    }
}

/// These words, with nothing to read and nobody who listens.
pub(super) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn no_helper_outlives_its_parent_in_any_mode() {
    if !can_run() {
        return;
    }
    let (mut place, mut tally) = (Place::new(), Tally::default());
    for mode in MODES {
        for source in SOURCES {
            for end in ENDS {
                let (mut doomed, _feeder) = place.start(mode, source);
                // Mostly in the middle, sometimes before there is a helper.
                if random(5) > 0 {
                    doomed.helper_or_end();
                }
                sleep_up_to(100);
                tally.kill(doomed, end);
            }
        }
    }
    tally.assert_none_left("modes and sources");
}

#[test]
fn no_helper_outlives_its_parent_who_is_a_program_of_the_librarys() {
    if !can_run() {
        return;
    }
    let (scratch, mut tally) = (Scratch::new(), Tally::default());
    let file = scratch.file("archive.tar", archive());
    for options in ["stall", "stall-fd", "stall layer", "stall-fd chroot", "stall single"] {
        for end in ENDS {
            let dest = scratch.dir(format!("{options} {end:?}"));
            let job = Job::new(&dest, &file, options).behind(&["setsid"]);
            let mut doomed = Doomed::of(options, &mut job.command(&scratch));
            doomed.helper();
            sleep_up_to(60);
            tally.kill(doomed, end);
        }
    }
    tally.assert_none_left("the library's callers");
}

/// What is left of the result goes with the next run.
#[test]
fn no_helper_outlives_its_parent_in_the_middle_of_an_image_or_a_store() {
    if !need_root() {
        return;
    }
    let (scratch, mut tally) = (Scratch::new(), Tally::default());
    let (oci, docker) = images(&scratch);
    let program = program_path();
    // A result is found by another name the next time, but a store is the same.
    for (source, option, next) in [
        (&oci, None, "next"),
        (&docker, None, "next"),
        (&oci, Some("--layers"), "next"),
        (&oci, Some("--store"), "root"),
    ] {
        let run = |place: &Path, root: &str| {
            let words = ["setsid", word(&program), "image", source];
            let mut command = command(&words);
            command.args(option).arg(place.join(root));
            command
        };
        let begun = Instant::now();
        let place = scratch.dir(format!("alone {source} {option:?}"));
        assert!(run(&place, "root").status().expect("the program").success(), "{source} {option:?}");
        let alone = u64::try_from(begun.elapsed().as_millis()).expect("a moment") + 1;
        for (number, end) in [ENDS; 2].concat().into_iter().enumerate() {
            let place = scratch.dir(format!("{number} {source} {option:?}"));
            let mut doomed = Doomed::of(format!("{source} {option:?}"), &mut run(&place, "root"));
            if number > 1 {
                doomed.helper_or_end();
            }
            sleep_up_to(if number > 1 { 20 } else { alone });
            tally.kill(doomed, end);
            assert!(run(&place, next).status().expect("the program").success(), "{source} {option:?} after a kill");
            let left: Vec<String> = hidden(&place).into_iter().chain(hidden(&place.join(next))).collect();
            assert_eq!(left, Vec::<String>::new(), "{source} {option:?}");
        }
    }
    tally.assert_none_left("images and stores");
}

/// Four layers as a layout and as an archive.
fn images(scratch: &Scratch) -> (String, String) {
    let layer =
        |i: usize| (0..40).fold(Tarball::new().dir("d"), |tar, n| tar.file(format!("d/{i}-{n}"), vec![7; 3900]));
    let layout = (0..4).fold(Layout::new(), |layout, i| layout.layer(&layer(i), Packing::Gzip));
    layout.write(&scratch.join("oci"));
    let docker = scratch.file("docker.tar", layout.docker_archive("a:b").build());
    (format!("oci:{}", scratch.join("oci").display()), format!("docker-archive:{}", docker.display()))
}

/// Names of what is staged there.
fn hidden(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).expect("directory").flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with('.')).collect()
}
