//! The uncompressed stream as recycled, reference-counted chunks, counted, digested and bounded; decoded in a
//! thread of its own once the archive proves to be large.

use super::decode::Decoder;
use super::entry::Source;
use super::fault::{Call, Result};
use super::pool::Pool;
use crate::{Cause, Digest, Limit, Limits};
use bytes::Bytes;
use nix::errno::Errno;
use sha2::{Digest as _, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};

/// Uncompressed bytes below which a ratio says nothing.
const RATIO_FLOOR: u64 = 64 << 20;
/// Chunks decoded before a thread is started: 1 MiB, most of what a thread costs.
const INLINE: u32 = 4;
/// Chunks waiting between the decoder and the reader.
const QUEUE: usize = 24;
/// The decoders' own state is on the heap, but for zstd's Huffman tables.
const STACK: usize = 1 << 20;

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

/// Decodes into chunks.
pub(crate) struct Stream {
    work: Work,
    bytes_in: Arc<AtomicU64>,
    told: Arc<Told>,
    threaded: bool,
    decoded: u32,
}

enum Work {
    Here(Box<Decoding>),
    Elsewhere(Receiver<Result<Bytes>>),
    /// The thread could not be started or is gone.
    Gone,
}

impl Stream {
    /// `threaded`: large archives are decoded in a thread.
    pub(crate) fn new(decoder: Decoder, digest: bool, limits: Limits, threaded: bool) -> Stream {
        let told = Arc::<Told>::default();
        let bytes_in = decoder.counter();
        let pool = Pool::default();
        let hasher = digest.then(Sha256::new);
        let decoding = Decoding { decoder, hasher, pool, bytes: 0, limits, told: Arc::clone(&told) };
        Stream { work: Work::Here(Box::new(decoding)), bytes_in, told, threaded, decoded: 0 }
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
        matches!(self.work, Work::Elsewhere(_))
    }

    fn move_to_thread(&mut self) -> Result<()> {
        let Work::Here(decoding) = std::mem::replace(&mut self.work, Work::Gone) else { return Ok(()) };
        let (sender, receiver) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || decoding.run(&sender))
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
            .call("clone", || "CLONE_THREAD")?;
        self.work = Work::Elsewhere(receiver);
        Ok(())
    }
}

impl Source for Stream {
    fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        if self.threaded && self.decoded == INLINE {
            self.move_to_thread()?;
        }
        self.decoded = self.decoded.saturating_add(1);
        match &mut self.work {
            Work::Here(decoding) => decoding.next(),
            Work::Elsewhere(receiver) => receiver.recv().ok().transpose(),
            Work::Gone => Ok(None),
        }
    }
}

/// The decoder and what is done with each chunk while it is in the cache.
struct Decoding {
    decoder: Decoder,
    hasher: Option<Sha256>,
    pool: Pool,
    bytes: u64,
    limits: Limits,
    told: Arc<Told>,
}

impl Decoding {
    fn next(&mut self) -> Result<Option<Bytes>> {
        let mut buffer = self.pool.take();
        let filled = self.decoder.fill(&mut buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..filled]);
        }
        self.bytes += filled as u64;
        self.told.bytes_tar.store(self.bytes, Ordering::Relaxed);
        self.bound()?;
        if filled == 0 {
            self.end();
        }
        let chunk = self.pool.lend(buffer, filled);
        Ok((filled > 0).then_some(chunk))
    }

    fn end(&mut self) {
        if let (Some(hasher), Ok(mut digest)) = (self.hasher.take(), self.told.diff_id.lock()) {
            *digest = Some(Digest(hasher.finalize().into()));
        }
    }

    /// Until the end, an error, or nobody listens any more.
    fn run(mut self: Box<Self>, sender: &std::sync::mpsc::SyncSender<Result<Bytes>>) {
        while let Some(result) = self.next().transpose() {
            let failed = result.is_err();
            if sender.send(result).is_err() || failed {
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
