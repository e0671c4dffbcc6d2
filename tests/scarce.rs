//! Little to be had: processes, threads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::layout::{Layout, Packing};
use crate::support::privilege::{need_root, skip};
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
        fs::write(self.0.join("pids.max"), most.to_string()).expect("a limit");
        self.run_within(words)
    }

    fn run_within(&self, words: &[&Path]) -> Output {
        // The shell that joins becomes the program.
        let mut shell = Command::new("timeout");
        shell.args(["120", "sh", "-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""]).arg(&self.0).arg(program_path());
        shell.args(words).output().expect("the program")
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
    let scratch = Scratch::new();
    let tar = Tarball::new().file("d/f", "hello");
    let layout = scratch.join("oci");
    Layout::new().layer(&tar, Packing::Gzip).write(&layout);
    let image = scratch.join("image.tar");
    let made = Command::new("tar").arg("-cf").arg(&image).arg("-C").arg(&layout).arg(".").status().expect("tar");
    assert!(made.success());
    let tree = scratch.dir("tree");
    scratch.file("tree/a", "a");
    let paths = [("OCI", &layout), ("IMAGE", &image), ("TREE", &tree)];
    for command in
        ["image OCI ROOT", "image OCI --layers ROOT", "image IMAGE ROOT", "inspect IMAGE", "pack -o ROOT/out TREE"]
    {
        let root = scratch.dir("made");
        let words = command.split(' ').map(|word| {
            let paths = paths.iter().copied().chain([("ROOT", &root)]);
            PathBuf::from(
                paths.fold(word.to_owned(), |word, (name, path)| word.replace(name, &path.display().to_string())),
            )
        });
        let words: Vec<PathBuf> = words.collect();
        let output = group.run(2, &words.iter().map(PathBuf::as_path).collect::<Vec<_>>());
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{command}: {err}");
        fs::remove_dir_all(&root).expect("scratch");
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
