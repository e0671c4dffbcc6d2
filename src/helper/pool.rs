//! Buffers for the uncompressed stream that come back when nobody looks at their bytes any more.

use bytes::Bytes;
use std::sync::{Arc, Condvar, Mutex};

/// Bytes of one chunk: a multiple of the tar block, small enough for the cache.
const CHUNK: usize = 256 << 10;
/// Bytes of the first ones: a page is dear to a small archive, which takes no more. They are not used again.
const FIRST_CHUNKS: [usize; 2] = [12 << 10, 64 << 10];
/// Chunks out at once: 24 MiB. More wait until one comes back, which a writer brings about.
const OUT: usize = 96;
/// Where a chunk begins in memory: the kernel copies a page to a page several times as fast as to
/// what lies across two (docs/performance.md).
const PAGE: usize = 4096;

/// A pool of buffers.
#[derive(Clone, Default)]
pub(crate) struct Pool(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    free: Vec<Buffer>,
    out: usize,
    made: usize,
    /// The decoder waits for one to come back.
    awaited: bool,
}

/// Memory that begins at a page unless it is less than one, its content left over from before.
#[derive(Default)]
pub(crate) struct Buffer {
    memory: Vec<u8>,
    start: usize,
}

impl Buffer {
    pub(crate) fn new(length: usize) -> Buffer {
        if length < PAGE {
            return Buffer { memory: vec![0; length], start: 0 };
        }
        let mut memory = vec![0; length + PAGE];
        // Not found is no error here, only slow.
        let start = Some(memory.as_ptr().align_offset(PAGE)).filter(|start| *start < PAGE).unwrap_or(0);
        memory.truncate(start + length);
        Buffer { memory, start }
    }

    /// All of it.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..]
    }

    pub(crate) fn length(&self) -> usize {
        self.memory.len() - self.start
    }
}

impl Pool {
    /// A buffer that nobody else has.
    pub(crate) fn take(&self) -> Buffer {
        let Ok(state) = self.0.state.lock() else { return Buffer::new(CHUNK) };
        let full = |state: &mut State| {
            state.awaited = state.out >= OUT;
            state.awaited
        };
        let Ok(mut state) = self.0.returned.wait_while(state, full) else { return Buffer::new(CHUNK) };
        state.out += 1;
        state.free.pop().unwrap_or_else(|| {
            state.made += 1;
            Buffer::new(FIRST_CHUNKS.get(state.made - 1).copied().unwrap_or(CHUNK))
        })
    }

    /// Its first `filled` bytes; the buffer comes back with the last slice of them.
    pub(crate) fn lend(&self, buffer: Buffer, filled: usize) -> Bytes {
        Bytes::from_owner(Lent { buffer, filled, pool: self.clone() })
    }
}

struct Lent {
    buffer: Buffer,
    filled: usize,
    pool: Pool,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer.memory[self.buffer.start..][..self.filled]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Ok(mut state) = self.pool.0.state.lock() {
            if self.buffer.length() == CHUNK {
                state.free.push(std::mem::take(&mut self.buffer));
            }
            state.out -= 1;
            let awaited = state.awaited;
            drop(state);
            if awaited {
                self.pool.0.returned.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_its_last_slice() {
        let pool = Pool::default();
        drop([pool.lend(pool.take(), 1), pool.lend(pool.take(), 1)]);
        assert_eq!(pool.0.state.lock().unwrap().free.len(), 0, "small ones do not come back");
        let chunk = pool.lend(pool.take(), 100);
        let slice = chunk.slice(10..20);
        drop(chunk);
        assert_eq!(pool.0.state.lock().unwrap().free.len(), 0);
        drop(slice);
        assert_eq!(pool.0.state.lock().unwrap().free.len(), 1);
    }

    #[test]
    fn a_chunk_begins_at_a_page() {
        let mut buffer = Buffer::new(CHUNK);
        assert_eq!((buffer.bytes().as_ptr() as usize % PAGE, buffer.bytes().len()), (0, CHUNK));
    }
}
