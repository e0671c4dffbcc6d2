//! Little to be had: processes, threads, open files, random numbers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::libc;

use crate::support::container::{Contained, with_nothing_in};
use crate::support::layout::{Layout, Packing};
use crate::support::privilege::{need_root, need_tools, skip};
use crate::support::run::program_path;
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;
use crate::support::tree::Tree;

/// A control group of its own.
struct Group(PathBuf);

impl Group {
    /// In version 1 or 2 of the interface, wherever this process may make one; else the test is skipped.
    fn of(controller: &str, name: &str) -> Option<Group> {
        let places = [Path::new("/sys/fs/cgroup").join(controller), "/sys/fs/cgroup".into()];
        let place = places.into_iter().find(|place| {
            let text = |file| fs::read_to_string(place.join(file)).unwrap_or_default();
            place.join("tasks").exists()
                || text("cgroup.subtree_control").split_whitespace().any(|word| word == controller)
        });
        let group = place.map(|place| place.join(format!("untar-in-root-{name}-{}", std::process::id())));
        match group.filter(|group| need_root() && fs::create_dir(group).is_ok()) {
            Some(group) => Some(Group(group)),
            None => {
                skip(&format!("no control group of {controller} can be made"));
                None
            }
        }
    }

    fn of_processes(name: &str) -> Option<Group> {
        Group::of("pids", name)
    }

    /// The program in it, with room for so many processes and threads.
    fn run(&self, most: u32, words: &[&Path]) -> Output {
        self.run_on(most, words, Stdio::null())
    }

    /// And with this as its input.
    fn run_on(&self, most: u32, words: &[&Path], input: Stdio) -> Output {
        fs::write(self.0.join("pids.max"), most.to_string()).expect("a limit");
        // The shell that joins becomes the program.
        let mut shell = Command::new("timeout");
        shell.args(["120", "sh", "-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""]).arg(&self.0).arg(program_path());
        shell.args(words).stdin(input).output().expect("the program")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn many_files() -> Tarball {
    (0..900).fold(Tarball::new(), |tar, i| tar.file(format!("d{}/f{i}", i % 20), vec![b'x'; 3000]))
}

const NAMED: &str = "the limit of processes and threads (`ulimit -u`, pids.max)";

#[test]
fn where_there_is_room_for_the_helper_alone_it_does_all_in_one_thread_and_names_the_limit() {
    let Some(group) = Group::of_processes("threads") else { return };
    let scratch = Scratch::new();
    let archive = scratch.file("archive.tar", many_files().build());
    // The helper; a thread for signals; a thread of the helper's; all that it wants.
    for most in [2, 3, 4, 100] {
        let dest = scratch.dir(format!("dest{most}"));
        let output = group.run(most, &[&dest, &archive]);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{most}: {err}");
        let tree = Tree::read(&dest);
        assert_eq!(tree.paths().iter().filter(|path| path.contains("/f")).count(), 900, "{most}");
        assert_eq!(err.contains(NAMED), most < 100, "{most}: {err}");
    }
}

#[test]
fn every_command_gives_the_place_of_its_own_threads_to_the_helper() {
    let Some(group) = Group::of_processes("commands") else { return };
    let place = Place::new();
    for command in
        COMMANDS.iter().chain(&["image - ROOT < IMAGE", "image - --store ROOT/s < IMAGE", "inspect - < IMAGE"])
    {
        let words = place.words(command);
        let (words, input) = words.split_at(words.iter().position(|word| word == "<").unwrap_or(words.len()));
        let words: Vec<&Path> = words.iter().map(Path::new).collect();
        let input = || input.get(1).map_or_else(Stdio::null, |path| fs::File::open(path).expect("input").into());
        // This process, and its helper or two.
        let least = if command.starts_with("copy") { 3 } else { 2 };
        for most in [1, least] {
            let output = group.run_on(most, &words, input());
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.status.code(), Some(if most == 1 { 3 } else { 0 }), "{most}, {command}: {said}");
            assert!(most > 1 || said.contains(NAMED), "{command}: {said}");
        }
    }
    let words = ["check".as_ref(), place.scratch.path()];
    let said = String::from_utf8_lossy(&group.run(1, &words).stdout).into_owned();
    assert!(said.contains("to have it: more processes and threads: `ulimit -u`, and pids.max of the cgroup"), "{said}");
}

/// Looking after a store takes no helper, unless what is to be removed resists.
#[test]
fn a_store_is_looked_after_where_there_is_room_for_no_helper() {
    let Some(group) = Group::of_processes("store") else { return };
    let place = Place::new();
    let made = Command::new(program_path()).args(place.words("image OCI --store STORE --name app")).output();
    assert!(made.expect("the program").status.success());
    for command in ["store list STORE", "store verify STORE", "store forget STORE app", "store gc STORE"] {
        let words = place.words(command);
        let output = group.run(1, &words.iter().map(Path::new).collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(0), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// One of each thing that commands are about.
struct Place {
    scratch: Scratch,
}

impl Place {
    fn new() -> Place {
        let scratch = Scratch::new();
        let tar = Tarball::new().file("d/f", "hello").hardlink("d/h", "d/f").symlink("l", "d").file("l/g", "1");
        scratch.file("archive.tar", tar.build());
        let layout = scratch.join("oci");
        Layout::new().layer(&tar, Packing::Gzip).write(&layout);
        let made = Command::new("tar").arg("-cf").arg(scratch.join("image")).arg("-C").arg(&layout).arg(".").status();
        assert!(made.expect("tar").success());
        scratch.dir("tree");
        fs::hard_link(scratch.file("tree/a", "a"), scratch.join("tree/b")).expect("scratch");
        Place { scratch }
    }

    /// A command line in which words in capitals stand for paths; ROOT is a directory that is new each time.
    fn words(&self, command: &str) -> Vec<String> {
        let root = self.scratch.join("made");
        let _ = fs::remove_dir_all(&root);
        self.scratch.dir("made");
        let at = |name| self.scratch.join(name);
        let paths = [
            ("ARCHIVE", at("archive.tar")),
            ("OCI", at("oci")),
            ("IMAGE", at("image")),
            ("TREE", at("tree")),
            ("STORE", at("store")),
        ];
        let paths: Vec<_> = paths.into_iter().chain([("ROOT", root)]).collect();
        let word = |word: &str| {
            paths.iter().fold(word.to_owned(), |word, (name, path)| word.replace(name, &path.display().to_string()))
        };
        command.split(' ').map(word).collect()
    }
}

const COMMANDS: [&str; 12] = [
    "ROOT ARCHIVE",
    "--layer ROOT ARCHIVE",
    "--atomic ROOT/new ARCHIVE",
    "-t ARCHIVE",
    "pack -o ROOT/out TREE",
    "diff -o ROOT/out TREE OCI",
    "copy TREE:a ROOT:a",
    "image OCI ROOT",
    "image IMAGE --layers ROOT",
    "image OCI --store ROOT/store",
    "inspect IMAGE",
    "check ROOT",
];

/// Whether it does its work with so many descriptors; else it names the limit, or the loader of shared libraries does.
fn does_with(limit: u32, place: &Place, command: &str) -> bool {
    let mut prlimit = Command::new("prlimit");
    prlimit.arg(format!("--nofile={limit}")).arg(program_path()).args(place.words(command));
    let output = prlimit.output().expect("prlimit");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let named = said.contains("RLIMIT_NOFILE") || said.contains("error while loading shared libraries");
    assert!(output.status.success() || named, "{limit}, {command}: {said}");
    output.status.success()
}

/// From as few as the loader of shared libraries needs. What is enough is enough with more, too.
#[test]
fn below_a_number_of_descriptors_every_command_names_the_limit_and_from_it_on_does_its_work() {
    if !need_tools(&["prlimit"]) {
        return;
    }
    let place = Place::new();
    for command in COMMANDS {
        let done: Vec<bool> = (4..=20).chain([24, 28, 32, 64]).map(|limit| does_with(limit, &place, command)).collect();
        assert!(done.is_sorted() && done.first() == Some(&false) && done.last() == Some(&true), "{command}: {done:?}");
    }
}

/// The standard library ends a program that wants a table and has neither `getrandom` nor /dev/urandom for its keys.
#[test]
fn where_no_random_numbers_are_to_be_had_every_command_does_without() {
    if !need_root() || !need_tools(&["unshare", "mount", "setpriv"]) {
        return;
    }
    let place = Place::new();
    for errno in [libc::EPERM, libc::ENOSYS] {
        for command in COMMANDS {
            let words = place.words(command);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let inside = Contained::answering(errno, &[libc::SYS_getrandom]).command(&place.scratch, &words);
            let output = with_nothing_in("/dev", &inside).output().expect("the program");
            let err = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{command}: {err}");
            assert!(!err.contains("panicked"), "{command}: {err}");
        }
    }
}

/// Each layer needs those below it, so that its helper waits for them.
#[test]
fn layers_side_by_side_are_done_with_whatever_processes_there_are() {
    let Some(group) = Group::of_processes("layers") else { return };
    let scratch = Scratch::new();
    let layers = (1..=12).fold(Layout::new(), |layout, i| {
        let tar = Tarball::new().file(format!("d/{i}"), vec![b'x'; 100_000]).whiteout(format!("d/{}", i - 1));
        layout.layer(&tar, Packing::Gzip)
    });
    let layout = scratch.join("oci");
    layers.write(&layout);
    let args = |words: &[&str]| words.iter().map(PathBuf::from).collect::<Vec<_>>();
    // This process; its thread for signals; from then on threads for layers and their helpers, one after the other or not.
    for most in 3..=24 {
        let place = scratch.join("layers");
        let mut words = args(&["image", "--jobs", "6"]);
        words.extend([layout.clone(), "--layers".into(), place.clone()]);
        let output = group.run(most, &words.iter().map(PathBuf::as_path).collect::<Vec<_>>());
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{most}: {err}");
        for i in 1..=12 {
            assert!(place.join(format!("{i}/d/{i}")).exists(), "{most}: layer {i}");
        }
        fs::remove_dir_all(place).expect("scratch");
    }
}

/// Without a thread its bytes are others; gzip does without.
#[test]
fn packing_with_zstd_names_the_thread_that_it_lacks() {
    let Some(group) = Group::of_processes("zstd") else { return };
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.file("root/a", "a");
    let archive = scratch.join("archive");
    let words = |encoding: &'static str| ["pack", encoding, "-o"].map(PathBuf::from);
    for (encoding, status) in [("--zstd", 5), ("--gzip", 0)] {
        let mut words: Vec<PathBuf> = words(encoding).into();
        words.extend([archive.clone(), root.clone()]);
        let output = group.run(3, &words.iter().map(PathBuf::as_path).collect::<Vec<_>>());
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{encoding}: {err}");
        assert_eq!(archive.exists(), status == 0, "{encoding}");
        let named = err.contains("zstd needs a thread") && err.contains(NAMED);
        assert_eq!(named, status != 0, "{encoding}: {err}");
    }
}

#[test]
fn where_there_is_room_for_no_helper_the_limit_is_named() {
    let Some(group) = Group::of_processes("helper") else { return };
    let scratch = Scratch::new();
    let archive = scratch.file("archive.tar", many_files().build());
    let output = group.run(1, &[&scratch.dir("dest"), &archive]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(err.contains("starting the helper") && err.contains(NAMED), "{err}");
}
