//! What `fuzz/` calls; not part of the interface. The tests replay its seeds, and mutations of them.

#[cfg(fuzzing)]
mod bench;
mod encode;
#[cfg(fuzzing)]
mod entries;
mod header;
mod ignore;
mod overlay;
pub(super) mod script;
mod stall;

#[cfg(fuzzing)]
pub use bench::{BenchDirs, BenchEntries, bench_reader};
pub use encode::fuzz_encode;
#[cfg(fuzzing)]
pub use entries::{Seen, fuzz_entries};
pub use header::fuzz_header;
#[cfg(test)]
pub(super) use header::reads_back;
pub use ignore::fuzz_ignore;
pub use overlay::fuzz_overlay;
pub use stall::fuzz_stall;
#[cfg(test)]
pub(super) use stall::same_decoded;

use crate::helper::apply::dirs::{Child, Dirs, Implied, Leaving, Missing, NodeId};
use crate::helper::apply::files::Maker;
use crate::helper::apply::made::{self, NewDirectory, Ours};
use crate::helper::apply::metadata::Setter;
use crate::helper::apply::remove::Remover;
use crate::helper::apply::writers::{NO_BATCH, Writers};
use crate::helper::fault::{Fault, Result};
use crate::helper::read::decode::Decoder;
use crate::helper::read::entry::{Entry, Reader, Source, Strictness};
use crate::helper::read::input::{Input, Watch};
use crate::options::{Compression, Limits};
use bytes::Bytes;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::cell::Cell;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

/// Reads `data` as an archive, twice in different chunks, and panics where the two differ.
///
/// The first byte chooses how; check sums are made right first, since no fuzzer guesses them.
pub fn fuzz_reader(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let bytes = sealed(data);
    let strictness = Strictness { sizes: choice & 1 != 0, pax_globals: choice & 2 != 0, ignore_zeros: choice & 4 != 0 };
    let whole = run(&bytes, usize::MAX, strictness);
    assert_eq!(whole, run(&bytes, 1 + usize::from(choice >> 2) * 7, strictness));
}

pub(super) fn sealed(data: &[u8]) -> Bytes {
    let mut bytes = data.to_vec();
    bytes.as_chunks_mut::<512>().0.iter_mut().for_each(seal);
    bytes.into()
}

/// Mends the check sums of blocks with a magic, so that bodies, the end and V7 headers stay as they are.
fn seal(block: &mut [u8; 512]) {
    if block[257..262] != *b"ustar" {
        return;
    }
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

pub(super) struct Pieces(pub(super) Bytes, pub(super) usize);

impl Source for Pieces {
    fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        let length = self.0.len().min(self.1);
        Ok((length > 0).then(|| self.0.split_to(length)))
    }
}

fn run(bytes: &Bytes, size: usize, strictness: Strictness) -> (Vec<Entry>, Vec<u8>, Option<Fault>) {
    let mut reader = Reader::new(Pieces(bytes.clone(), size), Limits::default(), strictness);
    let (mut entries, mut content) = (Vec::new(), Vec::new());
    let fault = read(&mut reader, &mut entries, &mut content).err();
    let _ = reader.current();
    (entries, content, fault)
}

fn read(reader: &mut Reader<Pieces>, entries: &mut Vec<Entry>, content: &mut Vec<u8>) -> Result<()> {
    while let Some(entry) = reader.next()? {
        while let Some(piece) = reader.body()? {
            content.extend_from_slice(&piece);
        }
        entries.push(entry);
    }
    reader.finish().map(drop)
}

/// Frames as a parent receives them from a helper that is not to be trusted.
pub fn fuzz_frames(data: &[u8]) {
    crate::wire::fuzz_frames(data);
}

const FORMATS: [Compression; 6] =
    [Compression::Detect, Compression::Gzip, Compression::Zstd, Compression::Xz, Compression::Bzip2, Compression::None];

/// Decodes `data` as the format that its first byte chooses, up to a bound on what comes out.
pub fn fuzz_decode(data: &[u8]) {
    const MOST: usize = 8 << 20;
    let Some((choice, data)) = data.split_first() else { return };
    let Ok((fd, control)) = memory_file(data).and_then(|fd| Ok((fd, memory_file(b"")?))) else { return };
    let input = Input::new(std::sync::Arc::new(fd), Watch::new(control, None));
    let format = FORMATS[usize::from(*choice) % FORMATS.len()];
    let Ok(mut decoder) = Decoder::open(input, format) else { return };
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0;
    while total < MOST {
        match decoder.fill(&mut buffer, || ()) {
            Ok(0) | Err(_) => break,
            Ok(filled) => total += filled,
        }
    }
    assert!(decoder.bytes_in() <= data.len() as u64);
}

fn memory_file(content: &[u8]) -> nix::Result<OwnedFd> {
    let fd = nix::sys::memfd::memfd_create(c"fuzz", nix::sys::memfd::MFdFlags::empty())?;
    nix::sys::uio::pwrite(&fd, content, 0)?;
    Ok(fd)
}

/// Makes directories and symlinks in any order, then compares where paths lead with what the kernel says of
/// the same directory as a root (`RESOLVE_IN_ROOT`).
pub fn fuzz_resolver(data: &[u8]) {
    let Ok(place) = nix::unistd::mkdtemp("/dev/shm/fuzz-resolver-XXXXXX") else { return };
    let root = open_directory(&place);
    let mut known = dirs_of(&root);
    let mut steps = Steps(data);
    let mut paths: Vec<Vec<&'static [u8]>> = Vec::new();
    for _ in 0..24 {
        let Some(choice) = steps.byte() else { break };
        let path = steps.path();
        match choice % 4 {
            0 => drop(known.resolve(NodeId::ROOT, &path, Missing::Make, &mut make, &mut leave)),
            1 | 2 => put(&mut known, &path, Some(&steps.target())),
            _ => put(&mut known, &path, None),
        }
        paths.push(path);
    }
    let mut fresh = dirs_of(&root);
    for path in &paths {
        let want = kernel(&root, path);
        for dirs in [&mut known, &mut fresh] {
            let found = dirs.resolve(NodeId::ROOT, path, Missing::Nothing, &mut make, &mut leave);
            let got = found.map(|id| id.map(|id| identity(&dirs.handle(id, &mut leave).expect("handle"))));
            match (&want, got) {
                (Ok(want), Ok(Some(got))) if *want == got => {}
                (Err(Errno::ENOENT | Errno::ENOTDIR), Ok(None)) => {}
                (Err(Errno::ELOOP), Err(fault)) if fault.errno() == Some(Errno::ELOOP) => {}
                (want, got) => panic!("{:?}: the kernel has {want:?}, we have {got:?}", path.join(&b'/')),
            }
        }
    }
    let _ = std::fs::remove_dir_all(&place);
}

/// A symlink, or a file, as the applier makes it.
fn put(dirs: &mut Dirs, path: &[&[u8]], target: Option<&[u8]>) {
    let Some((name, parents)) = path.split_last() else { return };
    let Ok(Some(parent)) = dirs.resolve(NodeId::ROOT, parents, Missing::Make, &mut make, &mut leave) else { return };
    let Ok(handle) = dirs.handle(parent, &mut leave) else { return };
    dirs.forget(parent, name);
    remover().remove(&handle, name).expect("removal");
    let made = match target {
        Some(target) => nix::unistd::symlinkat(OsStr::from_bytes(target), &handle, OsStr::from_bytes(name)),
        None => made::file(&handle, name, 0o600).map(drop).map_err(|_| Errno::EIO),
    };
    if made.is_ok() {
        dirs.set_leaf(parent, name, Child::Leaf(NO_BATCH)).expect("room");
    }
}

fn remover() -> Remover {
    let mounts = crate::options::Mounts::Cross;
    Remover {
        watch: watch(),
        mounts,
        held: 256,
        puts_times_back: false,
        marks: None,
        untimed: Cell::default(),
        own: None,
    }
}

fn watch() -> Watch {
    Watch::new(memory_file(b"").expect("memory"), None)
}

pub(super) fn make(implied: Implied<'_>) -> Result<NewDirectory> {
    let own = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let ours = Ours { own, group_from_directory: false };
    made::directory(implied.dir, implied.name, 0o700, ours, implied.inherit)
}

/// Nothing waits until a directory is left.
pub(super) fn leave(_: Leaving<'_>) -> Result<()> {
    Ok(())
}

pub(super) fn dirs_of(root: &OwnedFd) -> Dirs {
    let setter = Setter {
        own: (0, 0),
        ignore_chown_errors: false,
        xattrs: crate::options::Xattrs::None,
        group_from_directory: false,
        sync: false,
        beneath: false,
    };
    let maker = Maker { setter, remover: remover(), no_overwrite_dir_nondir: false };
    Dirs::new(root.try_clone().expect("descriptor"), true, None, Rc::new(Writers::new(0, maker)), watch())
        .expect("root")
}

pub(super) fn open_directory(path: &std::path::Path) -> OwnedFd {
    nix::fcntl::open(path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty()).expect("directory")
}

fn kernel(root: &OwnedFd, path: &[&[u8]]) -> nix::Result<(u64, u64)> {
    let how = OpenHow::new().flags(OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let path = [&b"./"[..], &path.join(&b'/')].concat();
    loop {
        match openat2(root, OsStr::from_bytes(&path), how) {
            // Something was renamed meanwhile, anywhere on the system, and `..` was in the way.
            Err(Errno::EAGAIN) => {}
            result => return result.map(|fd| identity(&fd)),
        }
    }
}

fn identity(fd: &OwnedFd) -> (u64, u64) {
    let stat = nix::sys::stat::fstat(fd).expect("fstat");
    (stat.st_dev, stat.st_ino)
}

/// Bytes as small choices.
struct Steps<'a>(&'a [u8]);

impl<'a> Steps<'a> {
    /// So many, or as many as there are.
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Up to eight bytes, with their number in front.
    fn number(&mut self) -> u64 {
        let length = usize::from(self.byte().unwrap_or_default() % 9);
        let bytes = self.take(length);
        bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Any bytes, with their number in front.
    fn text(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte().unwrap_or_default());
        self.take(length).to_vec()
    }

    fn path(&mut self) -> Vec<&'static [u8]> {
        const NAMES: [&[u8]; 4] = [b"a", b"b", b"c", b"..."];
        let Some(byte) = self.byte() else { return vec![b"a"] };
        (0..=byte % 3).map(|i| NAMES[usize::from(byte >> (2 + 2 * i)) % 4]).collect()
    }

    fn target(&mut self) -> Vec<u8> {
        const PIECES: [&[u8]; 8] = [b"a", b"b", b"c", b"..", b"../..", b".", b"", b"a/.."];
        let (Some(first), Some(second)) = (self.byte(), self.byte()) else { return b"a".to_vec() };
        let piece = |n: u8| PIECES[usize::from(n) % 8];
        let start: &[u8] = if first & 0x80 != 0 { b"/" } else { b"" };
        let text = [piece(first), piece(first >> 3), piece(second)].join(&b'/');
        let text = [start, &text].concat();
        if text.is_empty() { b".".to_vec() } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::Rng;
    use proptest::test_runner::{RngAlgorithm, TestRng};

    /// The stored inputs of a target: seeds, and what was found once.
    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let files = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let mut paths: Vec<_> = files.map(|file| file.expect("entry").path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{}", dir.display());
        paths.iter().map(|path| std::fs::read(path).expect("seed")).collect()
    }

    /// Every seed as it is, then `rounds` mutations; always the same ones. `UNTAR_FUZZ_ROUNDS` multiplies them.
    fn replay(target: &str, rounds: usize, run: impl Fn(&[u8])) {
        let times: usize = std::env::var("UNTAR_FUZZ_ROUNDS").map_or(1, |text| text.parse().expect("a number"));
        let seeds = seeds(target);
        seeds.iter().for_each(|seed| run(seed));
        let mut random = TestRng::deterministic_rng(RngAlgorithm::XorShift);
        let mut below = |n: usize| random.next_u64() as usize % n.max(1);
        for _ in 0..rounds * times {
            let mut data = seeds[below(seeds.len())].clone();
            for _ in 0..=below(6) {
                let (at, other) = (below(data.len()), below(data.len()));
                match below(6) {
                    0 if !data.is_empty() => data[at] ^= 1 << below(8),
                    1 if !data.is_empty() => data[at] = [0, b' ', b'0', b'7', b'9', 0x80, 0xff][below(7)],
                    2 => data.truncate(at),
                    3 => data.insert(at.min(data.len()), below(256) as u8),
                    4 => drop(data.drain(at.min(other)..(at.min(other) + below(600)).min(data.len()))),
                    // A block of one archive in another.
                    _ => {
                        let from = &seeds[below(seeds.len())];
                        let start = below(from.len()) / 512 * 512;
                        let piece = from[start.min(from.len())..(start + 512).min(from.len())].to_vec();
                        let at = at.min(data.len());
                        data.splice(at..at, piece).for_each(drop);
                    }
                }
            }
            run(&data);
        }
    }

    #[test]
    fn the_reader_takes_its_seeds_and_mutations_of_them() {
        replay("reader", 4000, fuzz_reader);
    }

    #[test]
    fn the_decoders_take_their_seeds_and_mutations_of_them() {
        replay("decode", 3000, fuzz_decode);
    }

    #[test]
    fn what_comes_in_stalled_pieces_is_decoded_as_in_one_go() {
        replay("stall", 3000, fuzz_stall);
    }

    #[test]
    fn headers_are_read_as_they_were_written() {
        replay("header", 20_000, fuzz_header);
    }

    #[test]
    fn what_is_compressed_is_the_same_with_any_threads_and_comes_back() {
        replay("encode", 300, fuzz_encode);
    }

    #[test]
    fn what_is_not_listed_holds_nothing_that_is_wanted() {
        replay("ignore", 20_000, fuzz_ignore);
    }

    #[test]
    fn marks_of_overlays_lead_to_nothing_that_they_forbid() {
        replay("overlay", 20_000, fuzz_overlay);
    }

    #[test]
    fn the_parent_takes_frames_and_mutations_of_them() {
        replay("frame", 20_000, fuzz_frames);
    }

    #[test]
    fn the_resolver_agrees_with_the_kernel_on_its_seeds_and_mutations_of_them() {
        replay("resolver", 400, fuzz_resolver);
    }
}
