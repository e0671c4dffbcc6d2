//! What an archive costs at least: `floors ARCHIVE DIRECTORY [ROUNDS]` prints a line of JSON, seconds each; what packing a
//! tree costs, `floors --pack TREE ARCHIVE`.
//!
//! `decode`: the decoder in use, the file read in the pieces that the helper reads. `hash`: SHA-256 of the
//! uncompressed stream, warm. `create1`, `create2`: every entry made from memory with the fewest calls (open,
//! write, times, close), by one thread and by two that share the directories. `write`: the content into one
//! file. `f2`: max(decode, hash, (decode + hash + create1) / 2), what two cores cannot beat.
//!
//! Of packing, `read`: every name with the fewest calls (list; open, look, read, close; look, read a link), in one thread;
//! `write`: as many bytes into one file; `hash` of so many; `f2`: (read + write) / 2.

use rustix::fs::{
    AtFlags, Mode, OFlags, Timespec, Timestamps, futimens, linkat, mkdirat, openat, symlinkat, utimensat,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// As in the helper.
const INPUT: usize = 256 << 10;
const CHUNK: usize = 256 << 10;

fn main() -> Outcome<()> {
    // `cargo bench` adds an option that says so.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [pack, tree, archive] = &args[..]
        && pack == "--pack"
    {
        return floors_of_packing(Path::new(tree), Path::new(archive));
    }
    let [archive, directory, rest @ ..] = &args[..] else {
        // `cargo test --benches` runs it with nothing.
        writeln!(io::stdout(), "usage: floors ARCHIVE DIRECTORY [ROUNDS]")?;
        return Ok(());
    };
    let rounds = rest.first().map_or(Ok(3), |n| n.parse())?;
    let (archive, directory) = (Path::new(archive), Path::new(directory));
    let tar = whole(archive)?;
    let entries = entries(&tar)?;

    let decode = median(rounds, || decode(archive))?;
    let hash = median(rounds, || {
        std::hint::black_box(Sha256::digest(&tar));
        Ok(())
    })?;
    let create1 = median_in(rounds, directory, |dir| create(dir, &entries, 1))?;
    let create2 = median_in(rounds, directory, |dir| create(dir, &entries, 2))?;
    let write = median_in(rounds, directory, |dir| write(dir, &entries))?;
    let f2 = decode.max(hash).max((decode + hash + create1) / 2.0);
    writeln!(
        io::stdout(),
        "{{\"entries\":{},\"bytes\":{},\"decode\":{decode:.4},\"hash\":{hash:.4},\"create1\":{create1:.4},\
         \"create2\":{create2:.4},\"write\":{write:.4},\"f2\":{f2:.4}}}",
        entries.all.len(),
        tar.len()
    )?;
    Ok(())
}

fn floors_of_packing(tree: &Path, archive: &Path) -> Outcome<()> {
    let bytes = std::cell::Cell::new(0);
    let read = median(3, || {
        bytes.set(0);
        read(&rustix::fs::open(tree, DIRECTORY.difference(OFlags::PATH), Mode::empty())?, &mut vec![0; CHUNK], &bytes)
    })?;
    let chunk = vec![7; CHUNK];
    let pieces = bytes.get().div_ceil(CHUNK);
    let write = median(3, || {
        let mut file = File::create(archive)?;
        (0..pieces).try_for_each(|_| file.write_all(&chunk))?;
        Ok(fs::remove_file(archive)?)
    })?;
    let hash = median(3, || {
        let mut hasher = Sha256::new();
        (0..pieces).for_each(|_| hasher.update(&chunk));
        std::hint::black_box(hasher.finalize());
        Ok(())
    })?;
    let f2 = (read + write) / 2.0;
    writeln!(
        io::stdout(),
        "{{\"read\":{read:.4},\"write\":{write:.4},\"hash\":{hash:.4},\"f2\":{f2:.4},\"bytes\":{}}}",
        bytes.get()
    )?;
    Ok(())
}

/// Counts the bytes of content, and a block for each name.
fn read(dir: &OwnedFd, buffer: &mut [u8], bytes: &std::cell::Cell<usize>) -> Outcome<()> {
    let mut names: Vec<_> = rustix::fs::Dir::read_from(dir)?.collect::<Result<_, _>>()?;
    names.sort_by(|a, b| a.file_name().cmp(b.file_name()));
    for entry in names.iter().filter(|entry| !matches!(entry.file_name().to_bytes(), b"." | b"..")) {
        let (name, nofollow) = (entry.file_name(), OFlags::NOFOLLOW | OFlags::CLOEXEC);
        bytes.set(bytes.get() + 512);
        match entry.file_type() {
            rustix::fs::FileType::Directory => {
                read(&openat(dir, name, nofollow | OFlags::DIRECTORY, Mode::empty())?, buffer, bytes)?;
            }
            rustix::fs::FileType::RegularFile => {
                let mut file = File::from(openat(dir, name, nofollow, Mode::empty())?);
                std::hint::black_box(rustix::fs::fstat(&file)?);
                loop {
                    let n = file.read(buffer)?;
                    bytes.set(bytes.get() + n);
                    if n < buffer.len() {
                        break;
                    }
                }
            }
            rustix::fs::FileType::Symlink => {
                std::hint::black_box(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?);
                std::hint::black_box(rustix::fs::readlinkat(dir, name, Vec::new())?);
            }
            _ => {
                std::hint::black_box(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?);
            }
        }
    }
    Ok(())
}

fn median(rounds: usize, mut run: impl FnMut() -> Outcome<()>) -> Outcome<f64> {
    let mut times = Vec::new();
    for _ in 0..=rounds {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    // The first one warms up.
    times.remove(0);
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// Each time in an empty directory; making and removing it are not counted.
fn median_in(rounds: usize, directory: &Path, run: impl Fn(&Path) -> Outcome<()>) -> Outcome<f64> {
    let mut times = Vec::new();
    for _ in 0..=rounds {
        let scratch = directory.join("floors");
        fs::create_dir(&scratch)?;
        let start = Instant::now();
        run(&scratch)?;
        times.push(start.elapsed().as_secs_f64());
        fs::remove_dir_all(&scratch)?;
    }
    times.remove(0);
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn open(archive: &Path) -> Outcome<Box<dyn Read>> {
    let input = BufReader::with_capacity(INPUT, File::open(archive)?);
    Ok(match archive.extension().and_then(|e| e.to_str()) {
        Some("gz") => Box::new(flate2::bufread::GzDecoder::new(input)),
        Some("zst") => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        _ => Box::new(input.into_inner()),
    })
}

fn whole(archive: &Path) -> Outcome<Vec<u8>> {
    let mut tar = Vec::new();
    open(archive)?.read_to_end(&mut tar)?;
    Ok(tar)
}

fn decode(archive: &Path) -> Outcome<()> {
    let mut decoder = open(archive)?;
    let mut chunk = vec![0; CHUNK];
    while decoder.read(&mut chunk)? > 0 {}
    Ok(())
}

struct Entry<'t> {
    path: PathBuf,
    what: What<'t>,
    time: Timespec,
}

enum What<'t> {
    File(&'t [u8]),
    Symlink(PathBuf),
    Hardlink(PathBuf),
}

struct Entries<'t> {
    directories: Vec<PathBuf>,
    all: Vec<Entry<'t>>,
}

fn entries(tar: &[u8]) -> Outcome<Entries<'_>> {
    let mut found = Entries { directories: Vec::new(), all: Vec::new() };
    for entry in tar::Archive::new(tar).entries()? {
        let entry = entry?;
        let path: PathBuf =
            entry.path()?.components().filter(|c| matches!(c, std::path::Component::Normal(_))).collect();
        let header = entry.header();
        let link = || Ok::<_, io::Error>(entry.link_name()?.unwrap_or_default().into_owned());
        let what = match header.entry_type() {
            tar::EntryType::Directory => {
                found.directories.push(path);
                continue;
            }
            tar::EntryType::Symlink => What::Symlink(link()?),
            tar::EntryType::Link => What::Hardlink(link()?.strip_prefix(".").map_or(link()?, Path::to_path_buf)),
            tar::EntryType::Regular => {
                let start = usize::try_from(entry.raw_file_position())?;
                What::File(&tar[start..start + usize::try_from(entry.size())?])
            }
            _ => continue,
        };
        let time = Timespec { tv_sec: i64::try_from(header.mtime()?)?, tv_nsec: 0 };
        found.all.push(Entry { path, what, time });
    }
    Ok(found)
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW);

fn create(dir: &Path, entries: &Entries<'_>, threads: usize) -> Outcome<()> {
    let root = rustix::fs::open(dir, DIRECTORY, Mode::empty())?;
    let mut handles = BTreeMap::from([(PathBuf::new(), openat(&root, ".", DIRECTORY, Mode::empty())?)]);
    for path in &entries.directories {
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else { continue };
        let parent = handles.get(parent).ok_or("a directory without its parent")?;
        mkdirat(parent, name, Mode::from(0o755))?;
        let opened = openat(parent, name, DIRECTORY, Mode::empty())?;
        handles.insert(path.clone(), opened);
    }
    let mut shares: Vec<BTreeMap<&Path, Vec<&Entry<'_>>>> = (0..threads).map(|_| BTreeMap::new()).collect();
    let mut links = Vec::new();
    for (index, entry) in entries.all.iter().enumerate() {
        let parent = entry.path.parent().unwrap_or(Path::new(""));
        if let What::Hardlink(_) = entry.what {
            links.push(entry);
            continue;
        }
        let home = shares.iter().position(|share| share.contains_key(parent)).unwrap_or(index % threads);
        shares[home].entry(parent).or_default().push(entry);
    }
    let handles = &handles;
    std::thread::scope(|scope| {
        let running: Vec<_> = shares.iter().map(|share| scope.spawn(move || make(share, handles))).collect();
        running.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })?;
    for entry in links {
        let What::Hardlink(target) = &entry.what else { continue };
        linkat(&root, target, &root, &entry.path, AtFlags::empty())?;
    }
    Ok(())
}

fn make(share: &BTreeMap<&Path, Vec<&Entry<'_>>>, handles: &BTreeMap<PathBuf, OwnedFd>) -> Outcome<()> {
    for (parent, entries) in share {
        let dir = handles.get(*parent).ok_or("an entry without its directory")?;
        for entry in entries {
            let name = entry.path.file_name().ok_or("an entry without a name")?;
            let times = Timestamps { last_access: entry.time, last_modification: entry.time };
            match &entry.what {
                What::File(content) => {
                    let file = File::from(openat(dir, name, FILE, Mode::from(0o644))?);
                    (&file).write_all(content)?;
                    futimens(&file, &times)?;
                }
                What::Symlink(target) => {
                    symlinkat(target, dir, name)?;
                    utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
                }
                What::Hardlink(_) => {}
            }
        }
    }
    Ok(())
}

fn write(dir: &Path, entries: &Entries<'_>) -> Outcome<()> {
    let mut file = File::create(dir.join("content"))?;
    for entry in &entries.all {
        if let What::File(content) = entry.what {
            file.write_all(content)?;
        }
    }
    Ok(())
}
