//! What a machine's speed has no part in: `count PART ENTRIES` does one part's work so often, within the function `counted`,
//! for callgrind to count (`--toggle-collect`); `count bytes WHAT ENTRIES` says how many bytes of memory each takes.
//! `.ci/speed` calls it.

use std::error::Error;
use std::hint::black_box;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use untar_in_root::helper::{BenchDirs, BenchEntries, bench_reader};

// As in the helper.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

type Outcome = Result<(), Box<dyn Error>>;

/// Directories above the one that is resolved.
const DEPTH: usize = 8;
const TABLES: u32 = 10;

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["bytes", what, entries] => bytes(what, entries.parse()?),
        [part, entries] => part_of(part, entries.parse()?),
        _ => Err("usage: count reader|pax|resolver|trie|policy ENTRIES, count bytes name|directory ENTRIES".into()),
    }
}

fn part_of(part: &str, entries: u32) -> Outcome {
    let scratch = Scratch::new()?;
    match part {
        "reader" | "pax" => {
            let tar = archive(entries, part == "pax")?;
            assert_eq!(counted(|| bench_reader(tar)), entries as usize);
        }
        "policy" => {
            let mut read = BenchEntries::read(archive(entries, true)?);
            assert_eq!(counted(|| read.rule_on()), 0);
        }
        "resolver" => {
            let mut dirs = BenchDirs::new(&scratch.0, DEPTH);
            let names: Vec<String> = (0..DEPTH).map(|number| format!("d{number}")).collect();
            let parts: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
            counted(|| (0..entries).for_each(|_| assert!(dirs.resolve(black_box(&parts)))));
        }
        "trie" => {
            // Each has seeds of its own: where names meet in a table is luck, and several have less of it.
            let mut several: Vec<BenchDirs> = (0..TABLES).map(|_| BenchDirs::new(&scratch.0, 0)).collect();
            counted(|| several.iter_mut().for_each(|dirs| dirs.note_files(entries / TABLES)));
        }
        _ => return Err(format!("no such part: {part}").into()),
    }
    Ok(())
}

/// What callgrind looks at.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

fn bytes(what: &str, entries: u32) -> Outcome {
    let scratch = Scratch::new()?;
    let mut dirs = BenchDirs::new(&scratch.0, 0);
    let before = resident()?;
    match what {
        "name" => dirs.note_files(entries),
        "directory" => dirs.make(entries),
        _ => return Err(format!("no such thing: {what}").into()),
    }
    let each = (resident()? - before).div_ceil(u64::from(entries));
    writeln!(std::io::stdout(), "{each}")?;
    Ok(())
}

/// Bytes of memory that this process holds.
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

/// Small files, with the two PAX records that most archives have, or without.
fn archive(entries: u32, pax: bool) -> Result<&'static [u8], Box<dyn Error>> {
    let mut tar = tar::Builder::new(Vec::new());
    for number in 0..entries {
        if pax {
            let records = [("mtime", &b"1700000000.123456789"[..]), ("path", b"usr/share/doc/package/file")];
            tar.append_pax_extensions(records)?;
        }
        let mut header = tar::Header::new_ustar();
        header.set_size(100);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        tar.append_data(&mut header, format!("usr/share/doc/package-{number:08}"), &[7; 100][..])?;
    }
    Ok(tar.into_inner()?.leak())
}

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Scratch> {
        let place = Path::new("/dev/shm").join(format!("untar-in-root-count-{}", std::process::id()));
        std::fs::create_dir(&place)?;
        Ok(Scratch(place))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
