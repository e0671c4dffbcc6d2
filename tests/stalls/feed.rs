//! Sources that give their bytes in pieces and wait until each is read.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use untar_in_root::{Error, Report, Untar};

use super::archives::Archive;
use crate::support::process::{all_wait, my_helper_on};

/// By what way the bytes come.
#[derive(Clone, Copy, Debug)]
pub enum Door {
    Pipe,
    Socket,
    NonBlocking,
    /// As `io::Write`.
    Session,
    /// By `Untar::apply`, from a reader that gives a piece at a time.
    Reader,
    File,
}

impl Door {
    pub const ALL: [Door; 5] = [Door::Pipe, Door::Socket, Door::NonBlocking, Door::Session, Door::Reader];
}

/// How the bytes are cut.
#[derive(Clone, Debug)]
pub enum Pieces {
    /// This long, stalled after each of the first hundreds.
    Of(usize),
    /// This long, stalled after each.
    Each(usize),
    Random(u32),
    /// Where something ends, and a byte before and after.
    At(Vec<usize>),
}

/// Pieces that are waited for one by one; what follows comes as fast as it is read.
const STALLS: usize = 100;

impl Pieces {
    pub fn all(archive: &Archive) -> Vec<Pieces> {
        let mut all: Vec<Pieces> = [1, 7, 500, 512, 1000, 1448, 4096].into_iter().map(Pieces::Of).collect();
        all.push(Pieces::Random(11));
        if !archive.cuts.is_empty() {
            all.push(Pieces::At(archive.cuts.clone()));
            let around =
                archive.cuts.iter().flat_map(|cut| [cut - 1, cut + 1]).filter(|cut| *cut < archive.bytes.len());
            all.push(Pieces::At(around.collect()));
        }
        all
    }

    /// The pieces, and whether the source stalls after each.
    fn cut<'a>(&self, bytes: &'a [u8]) -> Vec<(&'a [u8], bool)> {
        let mut state = 0;
        let mut next = |at: usize, number: usize| match self {
            Pieces::Of(length) if number < STALLS => *length,
            // The rest in pieces of the same remainder, but fewer of them.
            Pieces::Of(length) => length.saturating_mul(64).max(4096),
            Pieces::Each(length) => *length,
            Pieces::At(cuts) => cuts.iter().find(|cut| **cut > at).map_or(usize::MAX, |cut| cut - at),
            Pieces::Random(seed) => {
                state = (state + seed).wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                1 + (state >> 8) as usize % [30, 3000, 100_000][state as usize % 3]
            }
        };
        let (mut at, mut pieces) = (0, Vec::new());
        while at < bytes.len() {
            let end = at.saturating_add(next(at, pieces.len())).min(bytes.len());
            let stall = pieces.len() < STALLS || matches!(self, Pieces::Each(_));
            pieces.push((&bytes[at..end], stall));
            at = end;
        }
        pieces
    }
}

/// How long a stall is: a moment, or until every thread of the helper sleeps, which only more bytes can end.
struct Stall<'a> {
    dest: &'a Path,
    thorough: bool,
    helper: OnceLock<Option<u32>>,
}

impl Stall<'_> {
    fn wait(&self) {
        std::thread::sleep(Duration::from_micros(50));
        if !self.thorough {
            return;
        }
        let begun = Instant::now();
        let Some(pid) = *self.helper.get_or_init(|| my_helper_on(self.dest)) else { return };
        let mut asleep = 0;
        while asleep < 3 && begun.elapsed() < Duration::from_secs(5) {
            asleep = if all_wait(pid) { asleep + 1 } else { 0 };
            std::thread::sleep(Duration::from_micros(300));
        }
    }
}

/// Applies the archive as it comes through this door.
pub fn feed(untar: Untar, dest: &Path, archive: &Archive, door: Door, pieces: &Pieces) -> Result<Report, Error> {
    // Few enough to wait long for each.
    let thorough = matches!(pieces, Pieces::At(cuts) if cuts.len() < 20);
    let stall = &Stall { dest, thorough, helper: OnceLock::new() };
    let pieces = pieces.cut(&archive.bytes);
    match door {
        Door::Pipe | Door::NonBlocking => {
            let (read, write) = std::io::pipe().expect("pipe");
            by_descriptor(untar, stall, read.into(), write, &pieces, matches!(door, Door::NonBlocking))
        }
        Door::Socket => {
            let (read, write) = UnixStream::pair().expect("sockets");
            by_descriptor(untar, stall, read.into(), write, &pieces, false)
        }
        Door::Session => {
            let mut session = untar.spawn()?;
            for (piece, stalls) in pieces {
                if session.write_all(piece).is_err() {
                    break;
                }
                if stalls {
                    stall.wait();
                }
            }
            session.finish()
        }
        Door::Reader => untar.apply(Slow(pieces.into_iter(), stall)),
        Door::File => {
            let mut file = tempfile::tempfile().expect("file");
            file.write_all(&archive.bytes).expect("room");
            std::io::Seek::rewind(&mut file).expect("rewind");
            untar.apply_fd(file)
        }
    }
}

fn by_descriptor(
    untar: Untar,
    stall: &Stall<'_>,
    read: OwnedFd,
    mut write: impl Write + Send,
    pieces: &[(&[u8], bool)],
    non_blocking: bool,
) -> Result<Report, Error> {
    if non_blocking {
        let flags = fcntl_getfl(&read).expect("flags");
        fcntl_setfl(&read, flags | OFlags::NONBLOCK).expect("flags");
    }
    let ours = File::from(read.try_clone().expect("descriptor"));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (piece, stalls) in pieces {
                if write.write_all(piece).is_err() {
                    return;
                }
                if *stalls {
                    until_read(ours.as_fd());
                    stall.wait();
                }
            }
            drop(write);
        });
        untar.apply_fd(read)
    })
}

/// Until nothing is left in the pipe or socket.
fn until_read(fd: BorrowedFd<'_>) {
    let begun = Instant::now();
    while rustix::io::ioctl_fionread(fd).is_ok_and(|left| left > 0) && begun.elapsed() < super::LONGEST {
        std::thread::sleep(Duration::from_micros(20));
    }
}

/// A reader that gives a piece at a time.
struct Slow<'a>(std::vec::IntoIter<(&'a [u8], bool)>, &'a Stall<'a>);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some((piece, stalls)) = self.0.next() else { return Ok(0) };
        // A piece is at most what is asked for, but for the last ones.
        let n = piece.len().min(buffer.len());
        buffer[..n].copy_from_slice(&piece[..n]);
        if n < piece.len() {
            let rest = std::iter::once((&piece[n..], false)).chain(self.0.by_ref()).collect::<Vec<_>>();
            self.0 = rest.into_iter();
        } else if stalls {
            // Before it is given: what came before has been taken by then.
            self.1.wait();
        }
        Ok(n)
    }
}
