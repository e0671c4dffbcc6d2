//! One gzip member, of blocks that are compressed each by itself: primed with what comes before it, and ended by a sync
//! flush, the last by the end of the stream. So its bytes do not depend on who compresses which block.

use super::blocks::{BLOCK, Block, Blocks};
use super::output::Output;
use crate::cut;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

/// What deflate can look back.
const WINDOW: usize = 32 << 10;
/// Room for a block that does not compress. zlib-rs has panicked with little room: it has far more than enough.
const ROOM: usize = BLOCK / 4 * 5 + 1024;
/// The compressor's state is on the heap.
const STACK: usize = 256 << 10;

/// How many blocks are compressed, or wait for it, at once.
pub(super) fn waiting(threads: usize) -> usize {
    2 * threads
}

pub(super) struct Gzip {
    level: u32,
    threads: usize,
    workers: Workers,
    /// In order.
    done: VecDeque<Receiver<Done>>,
    outputs: Blocks,
    before: Option<Arc<Block>>,
    content: Crc,
    lacking: Option<i32>,
}

enum Workers {
    /// One block needs none.
    NotYet,
    There(Sender<Job>),
    Here,
}

/// A block to compress.
struct Job {
    level: u32,
    block: Arc<Block>,
    before: Option<Arc<Block>>,
    last: bool,
    output: Block,
    done: SyncSender<Done>,
}

/// What came of it, and the check sum of what went in.
type Done = io::Result<(Block, Crc)>;

impl Gzip {
    pub(super) fn new(level: u32, threads: usize) -> io::Result<Gzip> {
        if !(1..=9).contains(&level) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "gzip has the levels 1 to 9"));
        }
        Ok(Gzip {
            level,
            threads,
            workers: Workers::NotYet,
            done: VecDeque::new(),
            outputs: Blocks::new(ROOM, waiting(threads) + 1),
            before: None,
            content: Crc::new(),
            lacking: None,
        })
    }

    pub(super) fn lacking(&self) -> Option<i32> {
        self.lacking
    }

    pub(super) fn push<W: Write>(&mut self, block: Arc<Block>, last: bool, to: &mut Output<W>) -> io::Result<()> {
        if let Workers::NotYet = self.workers {
            to.write(&cut::GZIP)?;
            self.start(last);
        }
        while self.done.len() >= waiting(self.threads) {
            self.write_next(to)?;
        }
        let before = self.before.replace(Arc::clone(&block));
        let (done, receiver) = sync_channel(1);
        let job = Job { level: self.level, block, before, last, output: self.outputs.take(), done };
        self.done.push_back(receiver);
        match &self.workers {
            // They listen to the end.
            Workers::There(sender) => drop(sender.send(job)),
            Workers::Here | Workers::NotYet => {
                run(job);
                self.drain(to)?;
            }
        }
        if last { self.end(to) } else { Ok(()) }
    }

    /// Writes all that is compressed, and waits for it.
    pub(super) fn drain<W: Write>(&mut self, to: &mut Output<W>) -> io::Result<()> {
        while !self.done.is_empty() {
            self.write_next(to)?;
        }
        Ok(())
    }

    fn write_next<W: Write>(&mut self, to: &mut Output<W>) -> io::Result<()> {
        let Some(next) = self.done.pop_front() else { return Ok(()) };
        let (output, content) =
            next.recv().unwrap_or_else(|_| Err(io::Error::other("a thread has ended too early")))?;
        self.content.combine(&content);
        to.write(&output)
    }

    fn end<W: Write>(&mut self, to: &mut Output<W>) -> io::Result<()> {
        self.drain(to)?;
        to.write(&self.content.sum().to_le_bytes())?;
        to.write(&self.content.amount().to_le_bytes())
    }

    fn start(&mut self, alone: bool) {
        self.workers = if alone || self.threads == 1 { Workers::Here } else { self.start_threads() };
    }

    /// As many as can be had.
    fn start_threads(&mut self) -> Workers {
        let (sender, receiver) = channel();
        let jobs = Arc::new(Mutex::new(receiver));
        for started in 0..self.threads {
            let jobs = Arc::clone(&jobs);
            if let Err(error) = Builder::new().stack_size(STACK).spawn(move || work(&jobs)) {
                self.lacking = Some(error.raw_os_error().unwrap_or(0));
                if started == 0 {
                    return Workers::Here;
                }
                break;
            }
        }
        Workers::There(sender)
    }
}

/// Until there are no more.
fn work(jobs: &Mutex<Receiver<Job>>) {
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(job) = next() {
        run(job);
    }
}

fn run(job: Job) {
    let Job { level, block, before, last, mut output, done } = job;
    let deflated = deflate(level, &block, before.as_deref().map_or(&[][..], |before| before), last, output.bytes());
    let mut content = Crc::new();
    content.update(&block);
    // They come back before it is known that it is done: who waits for that has them then.
    drop((block, before));
    // There is room, and where nobody waits nobody wants it.
    let _ = done.send(deflated.map(|()| (output, content)));
}

/// Into the room that `output` has. A compressor is not used twice: zlib-rs 0.6.8 finds other matches after a reset.
fn deflate(level: u32, block: &[u8], before: &[u8], last: bool, output: &mut Vec<u8>) -> io::Result<()> {
    let mut compress = Compress::new(Compression::new(level), false);
    let window = &before[before.len().saturating_sub(WINDOW)..];
    if !window.is_empty() {
        compress.set_dictionary(window).map_err(io::Error::other)?;
    }
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
    let status = compress.compress_vec(block, output, flush).map_err(io::Error::other)?;
    let has_ended = if last { status == Status::StreamEnd } else { output.len() < output.capacity() };
    if compress.total_in() == block.len() as u64 && has_ended {
        return Ok(());
    }
    Err(io::Error::other("a compressed block is longer than can be"))
}

/// Compresses a block by itself, and panics where that cannot be undone.
#[cfg(any(fuzzing, test))]
pub(in crate::helper) fn deflated(level: u32, before: &[u8], block: &[u8], last: bool) {
    let mut output = Vec::with_capacity(block.len() / 4 * 5 + 1024);
    deflate(level, block, before, last, &mut output).expect("there is room");
    let mut inflate = flate2::Decompress::new(false);
    let window = &before[before.len().saturating_sub(WINDOW)..];
    if !window.is_empty() {
        inflate.set_dictionary(window).expect("a dictionary");
    }
    let mut inflated = Vec::with_capacity(block.len() + 1);
    let status = inflate.decompress_vec(&output, &mut inflated, flate2::FlushDecompress::Sync).expect("deflate");
    assert!(inflated == block, "level {level}: {} of {} bytes", inflated.len(), block.len());
    assert!(!last || status == Status::StreamEnd);
}
