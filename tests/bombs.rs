//! Memory under bombs: that of the helper and that of its caller stay flat, but for the trie of paths.
//!
//! Each bomb is written by a process of its own, whose memory is its own, too. What repeats is made once and
//! sent again and again: members, frames and streams may follow each other. `UNTAR_BOMB_SCALE=40` makes them
//! 40 times as large: 10 GiB of zeros, 8 million entries; `UNTAR_BOMB_ENTRIES` says how many entries at that.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use untar_in_root::{Options, Program, Untar};

use crate::support::child::Job;
use crate::support::privilege::need_mount;
use crate::support::process::my_helper_on;
use crate::support::scratch::Scratch;
use crate::support::tarball::{Tarball, bz2, gz, xz, zst};

/// The most that the helper may hold, with the default window of zstd, in KiB.
const HELPER: u64 = 48 << 10;
/// The most that its caller may grow by; five of the ten MiB are pages of the test program itself, which is not optimised.
const CALLER: u64 = 10 << 10;
/// Bytes of the trie for each entry.
const PER_ENTRY: u64 = 200;
/// Bytes of zeros in one member.
const ZEROS: usize = 64 << 20;

fn scale() -> usize {
    std::env::var("UNTAR_BOMB_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// What a bomb came to: KiB, and how the run ended.
struct Weighed {
    helper: u64,
    caller: u64,
    outcome: String,
}

/// Sends `piece` so often, in a process of its own; `kind` chooses options and what else is sent. Again if it was over
/// before the first look.
fn explode(kind: &str, piece: &[u8], times: usize) -> Weighed {
    let mut tries = (0..50).map(|_| once(kind, piece, times));
    tries.find(|weighed| weighed.helper > 0).expect("a look in one of fifty runs")
}

fn once(kind: &str, piece: &[u8], times: usize) -> Weighed {
    let scratch = Scratch::new();
    // Not every file system holds a megabyte of attributes for each inode.
    let dest = match kind {
        "large-attributes" => scratch.tmpfs("dest", 1 << 30).expect("tmpfs"),
        _ => scratch.dir("dest"),
    };
    let piece = scratch.file("piece", piece);
    let begun = Instant::now();
    let said = Job::new(&dest, &piece, &format!("bomb {kind} {times}")).run(&scratch);
    let number = |key: &str| said.get(key).parse().unwrap_or_else(|e| panic!("{key}: {e}: {}", said.0));
    let weighed =
        Weighed { helper: number("helper"), caller: number("caller"), outcome: said.get("outcome").to_owned() };
    println!(
        "bomb {kind} x {times}: helper {} KiB, caller grew by {} KiB, {:.1?}, {:.100}",
        weighed.helper,
        weighed.caller,
        begun.elapsed(),
        weighed.outcome
    );
    weighed
}

impl Weighed {
    /// It ended like this, and nobody held more than this, in KiB.
    #[track_caller]
    fn is(self, outcome: &str, helper: u64) {
        assert!(self.outcome.contains(outcome), "{outcome} is not in {}", self.outcome);
        assert!(self.helper <= helper, "the helper held {} KiB of {helper}", self.helper);
        assert!(self.caller <= CALLER, "the caller grew by {} KiB", self.caller);
    }
}

/// A file of zeros, without the end of the archive.
fn zeros() -> Vec<u8> {
    open_ended(Tarball::new().file("zeros", vec![0; ZEROS]))
}

fn open_ended(tar: Tarball) -> Vec<u8> {
    let mut bytes = tar.build();
    bytes.truncate(bytes.len() - 1024);
    bytes
}

#[test]
fn zeros_in_every_compression_cost_no_memory() {
    let zeros = zeros();
    type Packer = fn(&[u8]) -> Vec<u8>;
    let packers: [(&str, Packer); 4] = [("gzip", gz), ("zstd", zst), ("xz", xz), ("bzip2", bz2)];
    for (name, pack) in packers {
        explode(name, &pack(&zeros), 4 * scale()).is("ok", HELPER);
    }
}

#[test]
fn the_largest_window_costs_itself() {
    let mut out = zstd::Encoder::new(Vec::new(), 3).expect("encoder");
    out.set_parameter(zstd::zstd_safe::CParameter::WindowLog(27)).expect("window");
    (0..4).for_each(|_| out.write_all(&zeros()).expect("memory"));
    explode("zstd-long", &out.finish().expect("memory"), scale()).is("ok", HELPER + (136 << 10));
}

#[test]
fn an_endless_extended_header_is_refused_before_it_is_held() {
    let head = Tarball::new().entry("x", b'x', "").with(|e| _ = e.size(1 << 30)).build();
    explode("pax", &[&head[..512], &[b'x'; 512]].concat(), (1 << 30) >> 10).is("Limit", HELPER);
}

#[test]
fn many_extended_headers_are_held_one_at_a_time() {
    let comment = "x".repeat(900 << 10);
    let piece = open_ended(Tarball::new().file("f", "").with(|e| _ = e.pax("comment", &comment)));
    explode("headers", &piece, 200 * scale()).is("ok", HELPER);
}

#[test]
fn an_entry_costs_what_the_trie_says() {
    let all = std::env::var("UNTAR_BOMB_ENTRIES").ok().and_then(|text| text.parse().ok());
    let count: usize = all.unwrap_or(200_000 * scale());
    explode("entries", b"", count / 1000).is("ok", HELPER + count as u64 * PER_ENTRY / 1024);
}

#[test]
fn attributes_of_directories_are_let_go_of() {
    let count = 20_000;
    explode("attributes", b"", count / 100).is("ok", HELPER + count as u64 * PER_ENTRY / 1024);
}

/// Names count as they are long: what one more costs is what it says, and its name.
#[test]
fn an_entry_costs_its_name_once() {
    let weigh = |rounds| explode("long-names", b"", rounds).helper;
    let (few, many) = (weigh(5), weigh(55));
    // Two MiB for what differs from run to run.
    let each = (many.saturating_sub(few + (2 << 10)) << 10) / 50_000;
    println!("a directory with a name of 248 bytes costs {each} bytes");
    assert!(each <= PER_ENTRY + 248, "{each} bytes");
}

/// 480 KiB on each of 360.
#[test]
fn attributes_that_wait_are_bounded_in_bytes() {
    if need_mount() {
        explode("large-attributes", b"", 360).is("ok", HELPER + (8 << 10));
    }
}

#[test]
fn directories_that_no_entry_names_are_counted_as_entries() {
    explode("implied", b"", 40).is("Entries", HELPER + 16_384 * PER_ENTRY / 1024);
}

/// What the child does: writes the bomb, and looks at both sides.
pub fn child(dest: &Path, piece: &Path, words: &str, program: Program) -> String {
    let mut words = words.split(' ').skip(1);
    let kind = words.next().expect("kind");
    let times: usize = words.next().and_then(|text| text.parse().ok()).expect("how often");
    let piece = fs::read(piece).expect("piece");
    let before = peak(std::process::id());
    let mut untar = Untar::open(dest).expect("destination").program(program);
    configure(kind, untar.options_mut());
    let mut session = untar.spawn().expect("helper");
    let pid = my_helper_on(dest).expect("the helper");
    let (most, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(peak(pid), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        for round in 0..times {
            if session.write_all(&next(kind, &piece, round)).is_err() {
                break;
            }
        }
        let result = session.finish();
        over.store(true, Ordering::Relaxed);
        result
    });
    let outcome = match &result {
        Ok(report) => format!("ok, {} entries", report.entries.total()),
        Err(error) => format!("{error:?} {:?}", error.failure()),
    };
    let (helper, caller) = (most.into_inner(), peak(std::process::id()) - before);
    format!("helper: {helper}\ncaller: {caller}\noutcome: {outcome}")
}

fn configure(kind: &str, options: &mut Options) {
    options.limits.ratio = u64::MAX;
    options.limits.entries = 20_000_000;
    options.limits.total_bytes = u64::MAX;
    if kind == "implied" {
        options.limits.entries = 10;
    }
}

/// What is sent next: the piece, or entries with names of their own.
fn next(kind: &str, piece: &[u8], round: usize) -> Vec<u8> {
    let names = (0..1000).map(|i| format!("d{round}/name-{i}"));
    match kind {
        "entries" => {
            // Hardlinks: names, but no inodes, so that ten million of them fit into any file system.
            let file = format!("d{round}/f");
            let start = Tarball::new().file(&file, "");
            open_ended(names.fold(start, |tar, name| tar.hardlink(name, &file)))
        }
        "attributes" => {
            let value = "v".repeat(3500);
            let few = names.take(100);
            open_ended(few.fold(Tarball::new(), |tar, name| tar.dir(name).with(|e| _ = e.xattr("user.a", &value))))
        }
        "long-names" => {
            open_ended(names.fold(Tarball::new(), |tar, name| tar.dir(format!("{:n<248}", name.replace('/', "-")))))
        }
        "large-attributes" => {
            let value = vec![b'v'; 60 << 10];
            open_ended(Tarball::new().dir(format!("d{round}")).with(|e| {
                (0..8).for_each(|n| _ = e.xattr(&format!("user.a{n}"), &value));
            }))
        }
        "implied" => open_ended(Tarball::new().file(format!("d{round}/{}f", "x/".repeat(1000)), "")),
        "pax" if round > 0 => vec![b'x'; 1024],
        _ => piece.to_vec(),
    }
}

/// The most memory that a process has held so far, in KiB; 0 once it is gone.
pub fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    field.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}
