//! The stall matrix: the same bytes in one file, and through a pipe, a socket and a non-blocking descriptor in pieces,
//! with stalls between them, are the same tree, digest, counts and events.
//!
//! Every fixture and every made archive is fed in a fourth of the sizes of pieces; door and number of writers go round,
//! so that each pair of them is met. `UNTAR_STALL_ROUNDS=1` and more is every size, so many of the fifteen for each.
//! Stalls at every byte of a member are in `src/helper/read/decode/tests.rs`, where they take no process.

mod archives;
mod feed;

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use untar_in_root::{Options, Report};

use crate::support::privilege::need_root;
use crate::support::process::wait_until;
use crate::support::run::{layer, untar};
use crate::support::scratch::Scratch;
use crate::support::tarball::{Tarball, bz2, gz, xz, zst};
use crate::support::tree::{But, Tree, assert_same};
use archives::Archive;
use feed::{Door, Pieces, feed};

/// No run may take longer: a helper that hangs is ended, and the test fails.
const LONGEST: Duration = Duration::from_secs(60);

/// What a run came to.
struct Outcome {
    tree: Tree,
    told: String,
}

impl Outcome {
    fn new(place: &Scratch, report: &Report) -> Outcome {
        let Report { entries, bytes_in, bytes_tar, bytes_written, compression, diff_id, digest, events, .. } = report;
        let told = format!(
            "{entries:?} {bytes_in} {bytes_tar} {bytes_written} {compression:?} {diff_id:?} {digest:?} {events:?} {}",
            report.event_count
        );
        Outcome { tree: Tree::read(place.path()), told }
    }
}

/// All runs, and what was seen of them.
#[derive(Default)]
struct Tally {
    runs: usize,
    longest: Duration,
    slowest: String,
}

impl Tally {
    fn tell(&self, what: &str) {
        println!(
            "{what}: {} combinations, 0 differences, longest run {:.2?} ({:.100})",
            self.runs, self.longest, self.slowest
        );
    }

    /// One combination.
    #[track_caller]
    fn run(&mut self, archive: &Archive, want: &Outcome, door: Door, pieces: &Pieces, writers: u32) {
        let what = format!("{} by {door:?} in {pieces:?}, {writers} writers", archive.name);
        let place = Scratch::new();
        let begun = Instant::now();
        let options = |options: &mut Options| {
            (archive.options)(options);
            options.writers = std::num::NonZeroU32::new(writers);
            options.jail.limits.timeout = Some(LONGEST);
        };
        let result = feed(untar(place.path(), options).compute_digest(), place.path(), archive, door, pieces);
        let took = begun.elapsed();
        let report = result.unwrap_or_else(|error| panic!("{what}: {error:?} {:?}", error.failure()));
        let got = Outcome::new(&place, &report);
        // Of directories that nobody lists the time is the run's.
        assert_same(&what, &got.tree, &want.tree, &[But::Of("dir", "mtime")]);
        assert_eq!(got.told, want.told, "{what}");
        assert!(took < LONGEST, "{what}: {took:?}");
        self.runs += 1;
        if took > self.longest {
            (self.longest, self.slowest) = (took, what);
        }
    }
}

/// The same bytes in one file.
fn in_one_file(archive: &Archive) -> Outcome {
    let (place, file) = (Scratch::new(), Scratch::new());
    let path = file.file("archive", &archive.bytes);
    let untar = untar(place.path(), archive.options).compute_digest();
    let report = untar
        .apply_fd(File::open(path).expect("archive"))
        .unwrap_or_else(|error| panic!("{}: {error:?}", archive.name));
    Outcome::new(&place, &report)
}

/// How many of the doors and writers each archive and size meets, if somebody says so.
fn rounds() -> Option<usize> {
    std::env::var("UNTAR_STALL_ROUNDS").ok().map(|text| text.parse().expect("a number"))
}

const WRITERS: [u32; 3] = [1, 2, 8];

type Pack = fn(&[u8]) -> Vec<u8>;
const PACKED: [(&str, Pack); 5] = [("plain", <[u8]>::to_vec), ("gzip", gz), ("zstd", zst), ("xz", xz), ("bzip2", bz2)];

/// Every size of pieces; the rest goes round.
fn matrix(archives: &[Archive], test: &str) {
    let (mut tally, mut turn) = (Tally::default(), 0);
    for (number, archive) in archives.iter().enumerate() {
        let want = in_one_file(archive);
        for (size, pieces) in Pieces::all(archive).into_iter().enumerate() {
            // Otherwise each size meets every fourth archive.
            let times = rounds().unwrap_or(usize::from((number + size) % 4 == 0));
            for _ in 0..times {
                let (door, writers) =
                    (Door::ALL[turn % Door::ALL.len()], WRITERS[turn / Door::ALL.len() % WRITERS.len()]);
                tally.run(archive, &want, door, &pieces, writers);
                turn += 1;
            }
        }
        // So that an archive does not always begin with the same.
        turn += 1;
    }
    tally.tell(test);
}

#[test]
fn every_fixture_in_stalled_pieces_is_as_in_one_file() {
    if need_root() {
        matrix(&archives::fixtures(), "fixtures");
    }
}

#[test]
fn every_compression_in_stalled_pieces_is_as_in_one_file() {
    if need_root() {
        matrix(&archives::compressed(), "compressions");
    }
}

/// What is out of the decoder's memory only the reader could give back: small files that wait to be a batch.
#[test]
fn no_memory_is_waited_for_that_the_waiter_holds() {
    let archive = archives::interleaved();
    let want = in_one_file(&archive);
    let mut tally = Tally::default();
    for writers in WRITERS {
        for (door, pieces) in
            [(Door::File, Pieces::Of(usize::MAX)), (Door::Session, Pieces::Of(60_000)), (Door::Pipe, Pieces::Random(5))]
        {
            tally.run(&archive, &want, door, &pieces, writers);
        }
    }
    tally.tell("small files between large ones");
}

/// Each piece holds as much memory as it is long, and not a whole buffer.
#[test]
fn a_source_that_trickles_is_read_to_its_end() {
    let archive = archives::many();
    let want = in_one_file(&archive);
    let mut tally = Tally::default();
    for length in [500, 1000, 1448] {
        for (door, writers) in [(Door::Pipe, 2), (Door::Socket, 8), (Door::NonBlocking, 1)] {
            tally.run(&archive, &want, door, &Pieces::Each(length), writers);
        }
    }
    tally.tell("300 files that trickle");
}

/// What is waiting to be written with more is written when there is no more.
#[test]
fn before_the_source_stalls_its_last_file_is_on_disk() {
    if !need_root() {
        return;
    }
    // Decoded in the reader's thread, and in one of its own.
    for size in [100, 20_000] {
        let files = |from: usize| {
            let files = (from..from + 101).fold(Tarball::new(), |tar, i| tar.file(format!("d/{i}"), vec![b'x'; size]));
            files.no_end().build()
        };
        for (format, pack) in PACKED {
            let place = Scratch::new();
            let (read, mut write) = std::io::pipe().expect("pipe");
            let untar = untar(place.path(), |options| options.writers = std::num::NonZeroU32::new(2));
            let (first, rest) = (pack(&files(0)), pack(&[files(101), vec![0; 1024]].concat()));
            // What fails drops the pipe, so that the run ends.
            std::thread::scope(move |scope| {
                let run = scope.spawn(|| untar.apply_fd(std::os::fd::OwnedFd::from(read)));
                write.write_all(&first).expect("the first half");
                let last = place.join("d/100");
                let there = || std::fs::metadata(&last).is_ok_and(|file| file.len() == size as u64);
                wait_until(&format!("{format}, {size} bytes: the last file"), there);
                write.write_all(&rest).expect("the rest");
                drop(write);
                let report = run.join().expect("the run").expect("applied");
                assert_eq!(report.entries.files, 202, "{format}");
            });
        }
    }
}

#[test]
fn a_real_root_in_stalled_pieces_is_as_in_one_file() {
    let Some(debian) = need_root().then(crate::support::debian::debian).flatten() else { return };
    let rounds = rounds().unwrap_or(1);
    let suffixes: &[&str] = if rounds > 1 { &["tar", "tar.gz", "tar.zst", "tar.xz"] } else { &["tar.zst"] };
    let mut tally = Tally::default();
    for suffix in suffixes {
        let bytes = std::fs::read(debian.root(suffix)).expect("archive");
        let archive = Archive { name: (*suffix).to_owned(), bytes, cuts: Vec::new(), options: layer };
        let want = in_one_file(&archive);
        for (door, writers) in [(Door::Pipe, 2), (Door::NonBlocking, 8)].into_iter().take(rounds) {
            tally.run(&archive, &want, door, &Pieces::Random(7), writers);
        }
    }
    tally.tell("a Debian root");
}
