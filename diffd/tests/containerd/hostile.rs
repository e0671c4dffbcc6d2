//! The library's hostile archives as layers of images that a containerd imports: each with the differ and with nothing
//! else, on a layer that must stay as it is.

use crate::chroots::Release;
use crate::machine::{Differ, Machine, Running, put, words};
use crate::support::layout::{Layout, Packing, pack};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;
use crate::support::tree::{Tree, compare_all};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// The same archives that the library has.
#[path = "../../../tests/hostile"]
#[allow(dead_code)]
mod table {
    pub mod archives;
    pub mod case;
}

const AROUND: &str = "/var/d/guarded";
const SNAPSHOTS: &str = "/var/d/c/root/io.containerd.snapshotter.v1.overlayfs/snapshots";

/// What no layer may change: canaries that the archives aim at, the root of the machine, and snapshots of before.
fn outside(machine: &Machine) -> Vec<(&'static str, Tree)> {
    let root = Tree::read(&machine.path("/var/changed"));
    let base = Tree::read(&machine.path(&format!("{SNAPSHOTS}/1/fs")));
    let tmp = Tree::read(&machine.path("/tmp"));
    vec![("canaries", Tree::read(&machine.path(AROUND))), ("the root", root), ("the layer below", base), ("/tmp", tmp)]
}

fn set_out(machine: &Machine) {
    for name in ["victim", "etc/passwd", "dest-and-more/victim"] {
        let path = machine.path(&format!("{AROUND}/{name}"));
        fs::create_dir_all(path.parent().expect("a directory")).expect("directory");
        fs::write(path, format!("canary of {name}\n")).expect("canary");
    }
}

fn import(machine: &Machine, name: &str, layers: &[Vec<u8>]) -> bool {
    let layout = layers.iter().fold(Layout::new(), |layout, tar| layout.bytes(tar, Packing::Plain));
    let scratch = Scratch::new();
    layout.write(&scratch.join("oci"));
    let archive = put(machine, "hostile.tar", &pack(&scratch.join("oci")).build());
    let command = machine.ctr("c", "hostile", &["images", "import", "--base-name", name, &archive]);
    machine.output(&words(&command)).status.success()
}

/// A snapshot has its own directory and overlayfs' working directory, and nothing beside them.
fn beside_snapshots(machine: &Machine) -> Vec<PathBuf> {
    let all = fs::read_dir(machine.path(SNAPSHOTS)).expect("snapshots").flatten().map(|entry| entry.path());
    let (numbers, others): (Vec<PathBuf>, Vec<PathBuf>) =
        all.partition(|path| path.file_name().is_some_and(|name| name.to_string_lossy().parse::<u64>().is_ok()));
    let inside = |path: &PathBuf| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let known = |path: &PathBuf| path.ends_with("fs") || (path.ends_with("work") && empty(path));
    numbers.iter().flat_map(inside).filter(|path| !known(path)).chain(others).collect()
}

fn empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut all| all.next().is_none())
}

fn machine(release: Release) -> Option<(Machine, [Running; 2])> {
    let machine = Machine::start(release)?;
    let running = [machine.differ("c", &[]), machine.containerd("c", Differ::Ours)];
    set_out(&machine);
    Some((machine, running))
}

/// What has become of the top layer: `applied`, the code by which the differ has refused it, or containerd's own failure
/// with a layer that was applied.
fn outcome(fine: bool, log: &str) -> &str {
    let refusals: Vec<_> = log.lines().filter_map(|line| line.split(" not applied ").nth(1)).collect();
    match (fine, &refusals[..]) {
        (true, []) => "applied",
        (false, [line]) => line.split("code=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or(line),
        (false, []) if log.contains(" applied ") => "containerd's own failure",
        _ => panic!("import {}, and the differ says: {log}", if fine { "done" } else { "failed" }),
    }
}

/// What the differ has logged from there on. A refusal's line may come a moment after containerd has its answer.
fn said_by(machine: &Machine, from: usize, fine: bool) -> String {
    let log = || machine.log("differ").split_off(from);
    let looks = if fine { 0 } else { 50 };
    for _ in 0..looks {
        if log().contains(" not applied ") {
            break;
        }
        sleep(Duration::from_millis(20));
    }
    log()
}

/// It measures a snapshot by paths, and none is so long.
const TOO_DEEP_FOR_CONTAINERD: [&str; 3] = [
    "deeper than PATH_MAX",
    "a link that a realpath gives up on (CVE-2025-4517)",
    "a directory deeper than any path is removed",
];

/// How many archives end how; with another archive in the table these change, and docs/containerd.md.
const OUTCOMES: [(&str, usize); 4] =
    [("DataLoss", 142), ("FailedPrecondition", 104), ("applied", 160), ("containerd's own failure", 3)];

fn nothing_outside(release: Release) {
    let Some((machine, running)) = machine(release) else { return };
    let base = Tarball::new().dir("d/").file("d/victim", b"canary").file("victim", b"canary").symlink("l", "d").build();
    assert!(import(&machine, "localhost/base", std::slice::from_ref(&base)), "the layer below");
    let (before, mounts) = (outside(&machine), machine.mounts());
    let mut ends: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (number, case) in table::archives::all().iter().enumerate() {
        let mut layers = vec![base.clone()];
        layers.extend(case.lowers().iter().map(Tarball::build));
        layers.push(case.archive(Path::new(AROUND)));
        let (name, logged) = (case.name, machine.log("differ").len());
        let fine = import(&machine, &format!("localhost/h{number}"), &layers);
        let log = said_by(&machine, logged, fine);
        ends.entry(outcome(fine, &log).to_owned()).or_default().push(name);
        assert_eq!(beside_snapshots(&machine), Vec::<PathBuf>::new(), "{name}");
        assert_eq!((running[0].helpers().len(), machine.mounts()), (0, mounts), "helpers and mounts after {name}");
        for ((what, now), (_, then)) in outside(&machine).iter().zip(&before) {
            let damage = compare_all(now, then, &[]);
            assert_eq!(damage, Vec::<String>::new(), "{name} changed {what}");
        }
    }
    let counts: Vec<_> = ends.iter().map(|(end, names)| (end.as_str(), names.len())).collect();
    println!("HOSTILE | {} | {counts:?} | nothing outside |", machine.version());
    assert_eq!(counts, OUTCOMES, "{ends:#?}");
    assert_eq!(ends["containerd's own failure"], TOO_DEEP_FOR_CONTAINERD);
    assert_eq!(machine.walked("c"), 0);
}

#[test]
fn hostile_layers_change_nothing_outside_under_1_7() {
    nothing_outside(Release::Trixie);
}

#[test]
fn hostile_layers_change_nothing_outside_under_2() {
    nothing_outside(Release::Forky);
}
