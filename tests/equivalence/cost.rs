//! What markers cost: linear in their number, at most three times as many plain entries. System calls are
//! counted. `UNTAR_COST_TIMES=1` tells times, too, of many more entries.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::mount::{UnmountFlags, unmount};

use crate::support::privilege;
use crate::support::run::program_path;
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

#[derive(Clone, Copy, Debug)]
enum Mode {
    Layer,
    Overlay,
}

fn command(program: &mut Command, scratch: &Scratch, mode: Mode, lower: &[u8], tar: &[u8]) {
    // Fresh each time, and gone without a removal of each file.
    _ = unmount(scratch.join("memory"), UnmountFlags::DETACH);
    scratch.tmpfs("memory", 1 << 30).expect("tmpfs");
    let (below, root) = (scratch.dir("memory/lower"), scratch.dir("memory/root"));
    let archive = scratch.file("memory/layer.tar", tar);
    let lower = scratch.file("memory/lower.tar", lower);
    let start = if let Mode::Layer = mode { &root } else { &below };
    assert!(Command::new(program_path()).args([start, &lower]).status().expect("program").success());
    match mode {
        Mode::Layer => program.arg("--layer"),
        Mode::Overlay => program.arg("--overlay").arg("--lower").arg(&below),
    };
    program.arg(root).arg(archive).stdout(Stdio::null());
}

/// System calls that applying this archive takes.
fn calls(scratch: &Scratch, mode: Mode, lower: &[u8], tar: &[u8]) -> u64 {
    let counts = scratch.join("counts");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-o"]).arg(&counts).arg(program_path());
    command(&mut strace, scratch, mode, lower, tar);
    assert!(strace.status().expect("strace").success());
    total(&counts)
}

fn total(counts: &Path) -> u64 {
    let text = fs::read_to_string(counts).expect("counts");
    let line = text.lines().rfind(|line| line.ends_with("total")).expect("total");
    // Percent, seconds, microseconds a call, calls.
    line.split_whitespace().nth(3).and_then(|n| n.parse().ok()).expect("a number")
}

fn time(scratch: &Scratch, mode: Mode, lower: &[u8], tar: &[u8]) -> f32 {
    let mut program = Command::new(program_path());
    command(&mut program, scratch, mode, lower, tar);
    let started = Instant::now();
    assert!(program.status().expect("program").success());
    started.elapsed().as_secs_f32()
}

/// Counts at this size; the times, if they are wanted, are of `factor` times it.
pub fn at_most_thrice(factor: usize, archives: impl Fn(usize) -> [Vec<u8>; 3], size: usize) {
    if !privilege::need_root() || !privilege::need_tool("strace") {
        return;
    }
    let (scratch, test) = (Scratch::new(), privilege::test_name());
    for mode in [Mode::Layer, Mode::Overlay] {
        let [lower, markers, plain] = archives(size);
        let (many, few) = (calls(&scratch, mode, &lower, &markers), calls(&scratch, mode, &lower, &plain));
        println!("{test}, {mode:?}: {many} calls, plain {few}");
        if std::env::var_os("UNTAR_COST_TIMES").is_some() {
            let [lower, markers, plain] = archives(size * factor);
            let (slow, fast) = (time(&scratch, mode, &lower, &markers), time(&scratch, mode, &lower, &plain));
            println!("{test}, {mode:?}: {slow:.2} s for {factor} times as many, plain {fast:.2} s");
        }
        assert!(many <= 3 * few, "{test}, {mode:?}: {many} system calls, plain entries {few}");
    }
}

fn tar(entries: impl Iterator<Item = (String, bool)>) -> Vec<u8> {
    let add = |tar: Tarball, (name, dir): (String, bool)| if dir { tar.dir(name) } else { tar.file(name, b"x") };
    entries.fold(Tarball::new(), add).build()
}

fn files(names: impl Iterator<Item = String>) -> Vec<u8> {
    tar(names.map(|name| (name, false)))
}

#[test]
fn opaque_markers_between_files_of_one_directory_cost_no_more() {
    let archives = |n: usize| {
        let (one, other) = ((0..n).map(|i| format!("d/f{i}")), (0..n).map(|i| format!("d/g{i}")));
        let marked = one.clone().flat_map(|name| [name, "d/.wh..wh..opq".to_owned()]);
        [files(other.clone()), files(marked), files(one.zip(other).flat_map(|(a, b)| [a, b]))]
    };
    at_most_thrice(10, archives, 400);
}

#[test]
fn opaque_markers_of_many_directories_cost_no_more() {
    let archives = |n: usize| {
        let with = |last: &'static str| files((0..n).flat_map(move |i| [format!("d{i}/f"), format!("d{i}/{last}")]));
        [with("lower"), with(".wh..wh..opq"), with("g")]
    };
    at_most_thrice(10, archives, 400);
}

/// Every marker hides all that the others do.
#[test]
fn opaque_markers_of_a_deep_path_cost_no_more() {
    let archives = |n: usize| {
        let path = |depth: usize| "d/".repeat(depth % 64 + 1);
        let with = |last: &'static str| {
            files((0..n).rev().flat_map(move |i| [format!("{}f{i}", path(i)), format!("{}{}", path(i), last)]))
        };
        let plain = files((0..n).rev().flat_map(|i| [format!("{}f{i}", path(i)), format!("{}g{i}", path(i))]));
        [with("lower"), with(".wh..wh..opq"), plain]
    };
    at_most_thrice(10, archives, 400);
}

#[test]
fn whiteouts_in_one_directory_cost_no_more() {
    let archives = |n: usize| {
        let names = |prefix: &'static str| files((0..n).map(move |i| format!("d/{prefix}{i}")));
        [names("f"), names(".wh.f"), names("f")]
    };
    at_most_thrice(200, archives, 500);
}

#[test]
fn whiteouts_of_nothing_cost_no_more() {
    let archives = |n: usize| {
        let names = |prefix: &'static str| files((0..n).map(move |i| format!("d/{prefix}{i}")));
        [names("other"), names(".wh.f"), names("f")]
    };
    at_most_thrice(200, archives, 500);
}

#[test]
fn whiteouts_spread_over_directories_cost_no_more() {
    let archives = |n: usize| {
        // Each in another directory than the one before.
        let names = |prefix: &'static str| files((0..n).map(move |i| format!("d{}/e/{prefix}{i}", i % 100)));
        [names("f"), names(".wh.f"), names("f")]
    };
    at_most_thrice(200, archives, 500);
}

/// Each goes with all that the archive has put there.
#[test]
fn whiteouts_between_files_cost_no_more() {
    let archives = |n: usize| {
        let (one, other) = ((0..n).map(|i| format!("d/f{i}")), (0..n).map(|i| format!("d/g{i}")));
        let marked = one.clone().flat_map(|name| [name, ".wh.d".to_owned()]);
        [files(other.clone()), files(marked), files(one.zip(other).flat_map(|(a, b)| [a, b]))]
    };
    at_most_thrice(10, archives, 400);
}
