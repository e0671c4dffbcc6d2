//! Buffers for the uncompressed stream that come back when nobody looks at their bytes any more.
//!
//! What is out is charged by the memory that it holds, and no more than `MOST` of it is out. So whoever takes a buffer may
//! have to wait, and it must never be for itself: see `Stream` for why it is not.

use bytes::Bytes;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes of one chunk: a multiple of the tar block, small enough for the cache.
pub(crate) const CHUNK: usize = 256 << 10;
/// Bytes of the first ones: a page is dear to a small archive, which takes no more. They are not used again.
const FIRST_CHUNKS: [usize; 2] = [12 << 10, 64 << 10];
/// Memory out at once; a decoder that wants more waits until some comes back, which a writer brings about. Enough for
/// the decoder to run ahead of the writers, and little enough for a container of 16 MiB.
pub(crate) const MOST: usize = 4 << 20;
/// Less of a buffer than this part is copied out of it, so that little that came holds little memory.
const WORTH_LENDING: usize = 8;
/// What lending costs besides, at least: the allocator's and the counter's.
const OVERHEAD: usize = 128;
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
    /// Chunks only.
    free: Vec<Buffer>,
    /// Bytes out.
    out: usize,
    made: usize,
    /// The decoder waits for some to come back.
    awaited: bool,
}

impl State {
    /// Whatever is lent next is at most a chunk.
    fn is_full(&self) -> bool {
        self.out + CHUNK > MOST
    }

    fn take(&mut self) -> Buffer {
        let buffer = self.free.pop().unwrap_or_else(|| {
            self.made += 1;
            Buffer::new(FIRST_CHUNKS.get(self.made - 1).copied().unwrap_or(CHUNK))
        });
        self.charge(buffer.length());
        buffer
    }

    /// Charges a buffer; what lies free makes room for it.
    fn charge(&mut self, length: usize) {
        self.out += length + OVERHEAD;
        while self.out + self.free.len() * CHUNK > MOST && self.free.pop().is_some() {}
    }
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

    /// A copy of these bytes, and no more.
    fn of(bytes: &[u8]) -> Buffer {
        Buffer { memory: bytes.to_vec(), start: 0 }
    }

    /// All of it.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..]
    }

    pub(crate) fn length(&self) -> usize {
        self.memory.len() - self.start
    }
}

impl Inner {
    /// Nobody panics with it in hand, and who would has ended the process.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// A buffer that nobody else has: the one that was kept, or another. If it must be waited for, `relieve` comes
    /// first: to give back what only the one who waits can give back.
    pub(crate) fn next(&self, kept: Option<Buffer>, relieve: impl FnOnce()) -> Buffer {
        let mut state = self.0.lock();
        if state.is_full() {
            drop(state);
            relieve();
            state = self.0.lock();
        }
        while state.is_full() {
            state.awaited = true;
            state = self.0.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.awaited = false;
        }
        kept.unwrap_or_else(|| state.take())
    }

    /// Gives out the first `filled` bytes, whose memory comes back with the last slice of them. The buffer itself stays
    /// where they are few of it.
    pub(crate) fn lend(&self, kept: &mut Option<Buffer>, filled: usize) -> Bytes {
        let copied = match kept {
            Some(buffer) if filled * WORTH_LENDING < buffer.length() => Buffer::of(&buffer.bytes()[..filled]),
            _ => return self.owned(kept.take().unwrap_or_default(), filled),
        };
        self.0.lock().charge(copied.length());
        self.owned(copied, filled)
    }

    fn owned(&self, buffer: Buffer, filled: usize) -> Bytes {
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
        let mut state = self.pool.0.lock();
        state.out -= self.buffer.length() + OVERHEAD;
        if self.buffer.length() == CHUNK {
            state.free.push(std::mem::take(&mut self.buffer));
        }
        let awaited = state.awaited;
        drop(state);
        if awaited {
            self.pool.0.returned.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buffer that is full.
    fn lend(pool: &Pool) -> Bytes {
        let mut buffer = pool.next(None, || ());
        let filled = buffer.bytes().len();
        pool.lend(&mut Some(buffer), filled)
    }

    fn free(pool: &Pool) -> usize {
        pool.0.lock().free.len()
    }

    fn full(pool: &Pool) -> bool {
        pool.0.lock().is_full()
    }

    fn out(pool: &Pool) -> usize {
        pool.0.lock().out
    }

    #[test]
    fn a_buffer_comes_back_with_its_last_slice() {
        let pool = Pool::default();
        drop([lend(&pool), lend(&pool)]);
        assert_eq!(free(&pool), 0, "small ones do not come back");
        let chunk = lend(&pool);
        let slice = chunk.slice(10..20);
        drop(chunk);
        assert_eq!((free(&pool), out(&pool)), (0, CHUNK + OVERHEAD));
        drop(slice);
        assert_eq!((free(&pool), out(&pool)), (1, 0));
    }

    #[test]
    fn little_of_a_buffer_holds_little_memory() {
        let pool = Pool::default();
        drop([lend(&pool), lend(&pool)]);
        let mut kept = Some(pool.next(None, || ()));
        let pieces: Vec<Bytes> = (0..100)
            .map(|i| {
                kept.as_mut().expect("the buffer").bytes()[..1000].fill(i);
                pool.lend(&mut kept, 1000)
            })
            .collect();
        assert_eq!(out(&pool), CHUNK + OVERHEAD + 100 * (1000 + OVERHEAD));
        for (i, piece) in (0..).zip(&pieces) {
            assert!(piece.iter().all(|byte| *byte == i) && piece.len() == 1000, "piece {i}");
        }
        drop(pieces);
        assert_eq!(out(&pool), CHUNK + OVERHEAD, "only what is kept");
    }

    #[test]
    fn memory_free_and_out_stays_below_the_bound() {
        let pool = Pool::default();
        let held = |pool: &Pool| out(pool) + free(pool) * CHUNK;
        let mut taken = Vec::new();
        while !full(&pool) {
            taken.push(lend(&pool));
        }
        assert!(held(&pool) > MOST - 2 * CHUNK && held(&pool) <= MOST, "{}", held(&pool));
        drop(taken);
        let (mut kept, mut pieces) = (None, Vec::new());
        while !full(&pool) {
            kept = Some(pool.next(kept, || ()));
            pieces.push(pool.lend(&mut kept, 100));
            assert!(held(&pool) <= MOST, "{}", held(&pool));
        }
        assert!(pieces.len() > 10_000, "{} small pieces", pieces.len());
    }

    #[test]
    fn who_must_wait_relieves_first() {
        let pool = Pool::default();
        let mut taken = Vec::new();
        while !full(&pool) {
            taken.push(lend(&pool));
        }
        // All that is out is the waiter's own.
        drop(pool.next(None, || taken.clear()));
    }

    #[test]
    fn a_chunk_begins_at_a_page() {
        let mut buffer = Buffer::new(CHUNK);
        assert_eq!((buffer.bytes().as_ptr() as usize % PAGE, buffer.bytes().len()), (0, CHUNK));
    }
}
