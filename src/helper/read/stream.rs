//! The uncompressed stream as recycled, reference-counted chunks, counted, digested and bounded; decoded in one
//! thread and digested in another once the archive proves to be large.
//!
//! The decoder waits for memory (`pool.rs`), and what it waits for comes back by itself:
//!
//! - Chunks on their way to the reader are taken by it, those on their way to the digest by that thread; both threads wait for nothing else of the decoder's.
//! - The reader holds the chunk at hand and the body at hand, which is far less than there is (`Content`).
//! - What the reader holds back to make a batch of is handed over to the writers before the decoder waits, for the source
//!   too: `relieve`. Called where the decoder is in the reader's thread, sent to it after the last chunk where it is not.
//! - The writers have the rest. They wait for the kernel only.

use super::decode::Decoder;
use super::entry::Source;
use super::pool::{Buffer, Pool};
use crate::helper::fault::{Fault, Result};
use crate::options::Limits;
use crate::report::{Cause, Digest, Limit};
use bytes::Bytes;
use nix::errno::Errno;
use sha2::{Digest as _, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

/// Uncompressed bytes below which a ratio says nothing.
const RATIO_FLOOR: u64 = 64 << 20;
/// Bytes decoded before a thread is started: most of what a thread costs.
const INLINE: u64 = 1 << 20;
/// Chunks waiting between the decoder and the reader.
const QUEUE: usize = 24;
/// The decoders' own state is on the heap, but for zstd's Huffman tables.
const STACK: usize = 1 << 20;

const HASHING_STACK: usize = 128 << 10;

/// What is known of the stream at its end, or so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) bytes_in: u64,
    pub(crate) bytes_tar: u64,
    /// Once the stream has ended.
    pub(crate) diff_id: Option<Digest>,
}

/// What the decoding side tells the other.
#[derive(Default)]
struct Told {
    bytes_tar: AtomicU64,
    diff_id: Mutex<Option<Digest>>,
}

impl Told {
    fn digest(&self, hasher: Sha256) {
        if let Ok(mut digest) = self.diff_id.lock() {
            *digest = Some(Digest(hasher.finalize().into()));
        }
    }
}

/// Decodes into chunks.
pub(crate) struct Stream {
    work: Work,
    bytes_in: Arc<AtomicU64>,
    told: Arc<Told>,
    threaded: bool,
    /// Why a thread is lacking that was wanted.
    lacking: Option<i32>,
    /// The thread that digests; it has ended when the digest is told.
    hashing: Option<JoinHandle<()>>,
    relieve: Relieve,
}

enum Work {
    Here(Box<Decoding>),
    Elsewhere(Receiver<Sent>),
    Ended,
}

/// What the decoder's thread has to say.
enum Sent {
    Chunk(Bytes),
    /// It is about to wait, for memory or for the source.
    Waits,
    /// The end of the stream is said, not concluded from silence.
    End,
    Failed(Fault),
}

/// Hands over what the reader would hold back.
pub(crate) type Relieve = Box<dyn Fn()>;

/// Who digests the chunks.
enum Digesting {
    Nobody,
    Here(Sha256),
    Elsewhere(SyncSender<Bytes>),
}

impl Stream {
    /// `threaded`: large archives are decoded in a thread.
    pub(crate) fn new(decoder: Decoder, digest: bool, limits: Limits, threaded: bool, relieve: Relieve) -> Stream {
        let told = Arc::<Told>::default();
        let bytes_in = decoder.counter();
        let pool = Pool::default();
        let digesting = if digest { Digesting::Here(Sha256::new()) } else { Digesting::Nobody };
        let decoding = Decoding { decoder, digesting, pool, kept: None, bytes: 0, limits, told: Arc::clone(&told) };
        Stream { work: Work::Here(Box::new(decoding)), bytes_in, told, threaded, lacking: None, hashing: None, relieve }
    }

    pub(crate) fn totals(&self) -> Totals {
        let (bytes_in, bytes_tar) = self.progress();
        Totals { bytes_in, bytes_tar, diff_id: self.told.diff_id.lock().ok().and_then(|digest| *digest) }
    }

    /// Bytes of the archive and of the uncompressed stream so far.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.bytes_in.load(Ordering::Relaxed), self.told.bytes_tar.load(Ordering::Relaxed))
    }

    /// The archive is large: its decoding, and all else that can be, is done in threads.
    pub(crate) fn is_large(&self) -> bool {
        matches!(self.work, Work::Elsewhere(_) | Work::Ended)
    }

    /// All of it has been decoded.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(&self.work, Work::Here(decoding) if decoding.decoder.ended())
    }

    /// The error number for want of which work is done here that was to be done in a thread.
    pub(crate) fn lacking(&self) -> Option<i32> {
        self.lacking
    }

    /// Tried once. Where no thread can be had, all stays here.
    fn move_to_thread(&mut self) {
        self.threaded = false;
        let (sender, receiver) = sync_channel(QUEUE);
        // Handed over to a thread that is there: what one that is not was given would be lost.
        let (hand_over, given) = sync_channel::<Box<Decoding>>(1);
        let decode = move || given.iter().for_each(|decoding| decoding.run(&sender));
        if let Err(errno) = start(STACK, decode) {
            self.lacking = Some(errno);
            return;
        }
        let Work::Here(mut decoding) = std::mem::replace(&mut self.work, Work::Elsewhere(receiver)) else { return };
        match decoding.digest_elsewhere() {
            Ok(hashing) => self.hashing = hashing,
            Err(errno) => self.lacking = Some(errno),
        }
        // It listens.
        let _ = hand_over.send(decoding);
    }

    /// It may be asked for again.
    fn note_end(&mut self) {
        if self.is_large() {
            self.work = Work::Ended;
        }
    }

    /// At the end of the stream the digest is only as far away as the chunks that are still queued for it.
    fn wait_for_digest(&mut self) {
        if let Some(hashing) = self.hashing.take() {
            // It cannot fail: a panic ends the process.
            let _ = hashing.join();
        }
    }
}

/// A thread, or the error number.
fn start(stack: usize, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, i32> {
    Builder::new().stack_size(stack).spawn(run).map_err(|error| error.raw_os_error().unwrap_or(0))
}

impl Source for Stream {
    fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        if self.threaded && matches!(&self.work, Work::Here(decoding) if decoding.bytes >= INLINE) {
            self.move_to_thread();
        }
        let chunk = match &mut self.work {
            Work::Here(decoding) => decoding.next(&self.relieve),
            Work::Elsewhere(receiver) => received(receiver, &self.relieve),
            Work::Ended => Ok(None),
        };
        if let Ok(None) = chunk {
            self.note_end();
            self.wait_for_digest();
        }
        chunk
    }
}

fn received(receiver: &Receiver<Sent>, relieve: &Relieve) -> Result<Option<Bytes>> {
    loop {
        match receiver.recv() {
            Ok(Sent::Chunk(chunk)) => return Ok(Some(chunk)),
            Ok(Sent::Waits) => relieve(),
            Ok(Sent::End) => return Ok(None),
            Ok(Sent::Failed(fault)) => return Err(fault),
            Err(_) => return Err(gone()),
        }
    }
}

/// Nobody asks again after an error.
fn gone() -> Fault {
    Fault::as_if(Errno::EPIPE)
}

/// The decoder and what is done with each chunk.
struct Decoding {
    decoder: Decoder,
    digesting: Digesting,
    pool: Pool,
    /// What the last fill has left of its buffer, since little had come.
    kept: Option<Buffer>,
    bytes: u64,
    limits: Limits,
    told: Arc<Told>,
}

impl Decoding {
    fn next(&mut self, relieve: impl Fn()) -> Result<Option<Bytes>> {
        if self.decoder.ended() {
            self.end();
            return Ok(None);
        }
        let kept = self.kept.take();
        let buffer = self.kept.insert(self.pool.next(kept, &relieve));
        let filled = self.decoder.fill(buffer.bytes(), &relieve)?;
        self.bytes += filled as u64;
        self.told.bytes_tar.store(self.bytes, Ordering::Relaxed);
        self.bound()?;
        if filled == 0 {
            self.end();
            return Ok(None);
        }
        let chunk = self.pool.lend(&mut self.kept, filled);
        match &mut self.digesting {
            Digesting::Nobody => {}
            Digesting::Here(hasher) => hasher.update(&chunk),
            // It listens to the end.
            Digesting::Elsewhere(sender) => drop(sender.send(chunk.clone())),
        }
        Ok(Some(chunk))
    }

    fn end(&mut self) {
        if let Digesting::Here(hasher) = std::mem::replace(&mut self.digesting, Digesting::Nobody) {
            self.told.digest(hasher);
        }
    }

    /// Digests in a thread of its own from now on: decoding and digesting take turns on no core.
    fn digest_elsewhere(&mut self) -> Result<Option<JoinHandle<()>>, i32> {
        let Digesting::Here(hasher) = &self.digesting else { return Ok(None) };
        let (sender, receiver) = sync_channel::<Bytes>(QUEUE);
        let (mut hasher, told) = (hasher.clone(), Arc::clone(&self.told));
        let hash = move || {
            receiver.iter().for_each(|chunk| hasher.update(&chunk));
            told.digest(hasher);
        };
        let hashing = start(HASHING_STACK, hash)?;
        self.digesting = Digesting::Elsewhere(sender);
        Ok(Some(hashing))
    }

    /// Decodes until the end, an error, or nobody listens any more.
    fn run(mut self: Box<Self>, sender: &SyncSender<Sent>) {
        loop {
            let (sent, last) = match self.next(|| drop(sender.send(Sent::Waits))) {
                Ok(Some(chunk)) => (Sent::Chunk(chunk), false),
                Ok(None) => (Sent::End, true),
                Err(fault) => (Sent::Failed(fault), true),
            };
            if sender.send(sent).is_err() || last {
                return;
            }
        }
    }

    fn bound(&self) -> Result<(), Cause> {
        if self.bytes > self.limits.total_bytes {
            return Err(Cause::Limit { limit: Limit::TotalBytes, value: self.limits.total_bytes });
        }
        let allowed = self.decoder.bytes_in().saturating_mul(self.limits.ratio).max(RATIO_FLOOR);
        if self.bytes > allowed {
            return Err(Cause::Limit { limit: Limit::Ratio, value: self.limits.ratio });
        }
        Ok(())
    }
}
