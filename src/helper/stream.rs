//! The uncompressed stream as recycled, reference-counted chunks, counted, digested and bounded.

use super::decode::Decoder;
use super::entry::Source;
use super::fault::Result;
use crate::{Cause, Digest, Limit, Limits};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::sync::{Arc, Mutex};

/// Bytes of one chunk: a multiple of the tar block, small enough for the cache.
const CHUNK: usize = 256 << 10;
/// Uncompressed bytes below which a ratio says nothing.
const RATIO_FLOOR: u64 = 64 << 20;

/// Buffers that come back when nobody looks at their bytes any more.
#[derive(Clone, Default)]
struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

struct Pooled {
    buffer: Vec<u8>,
    filled: usize,
    pool: Pool,
}

impl Pool {
    fn take(&self) -> Vec<u8> {
        let reused = self.0.lock().ok().and_then(|mut free| free.pop());
        reused.unwrap_or_else(|| vec![0; CHUNK])
    }
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Ok(mut free) = self.pool.0.lock() {
            free.push(std::mem::take(&mut self.buffer));
        }
    }
}

/// Decodes into chunks.
pub(crate) struct Stream {
    decoder: Decoder,
    hasher: Option<Sha256>,
    pool: Pool,
    bytes: u64,
    limits: Limits,
}

/// What is known of the stream once it has ended, or so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) bytes_in: u64,
    pub(crate) bytes_tar: u64,
    pub(crate) diff_id: Option<Digest>,
}

impl Stream {
    pub(crate) fn new(decoder: Decoder, digest: bool, limits: Limits) -> Stream {
        Stream { decoder, hasher: digest.then(Sha256::new), pool: Pool::default(), bytes: 0, limits }
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            bytes_in: self.decoder.bytes_in(),
            bytes_tar: self.bytes,
            diff_id: self.hasher.clone().map(|hasher| Digest(hasher.finalize().into())),
        }
    }

    /// Bytes of the archive and of the uncompressed stream so far.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.decoder.bytes_in(), self.bytes)
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

impl Source for Stream {
    fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        let mut buffer = self.pool.take();
        let filled = self.decoder.fill(&mut buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..filled]);
        }
        self.bytes += filled as u64;
        self.bound()?;
        let chunk = Pooled { buffer, filled, pool: self.pool.clone() };
        Ok((filled > 0).then(|| Bytes::from_owner(chunk)))
    }
}
