//! Threads that write small files, in batches: a tree may have as many directories as files, and handing over costs the
//! same for one file as for many. The kernel locks a directory while a name is made in it, but not while the file is
//! written, dated and closed: writers share directories.

mod content;

pub(crate) use content::Content;

use super::files::Maker;
use super::made::Inherit;
use super::metadata::{Metadata, Softened};
use super::unchangeable;
use crate::helper::fault::{Fault, Result};
use crate::helper::read::entry::Region;
use crate::report::{EntryKind, EntryRef, EventKind};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A batch is handed over when it has so many bytes or files.
const BATCH_BYTES: usize = 128 << 10;
const BATCH_FILES: usize = 32;
/// Bytes waiting to be written; the reader waits while there are more. Most of them are lent by the pool, the rest is
/// held besides.
const QUEUE_BYTES: usize = 4 << 20;
const QUEUE_BATCHES: usize = 128;
/// Batches between two looks at whether the parent is still there: a few milliseconds.
const CHECK: u32 = 8;
const STACK: usize = 256 << 10;
/// Softened things kept between two settlements, in bytes: of their names most of all.
const KEPT_BYTES: usize = 2 << 20;

/// A small file, its content in memory.
pub(crate) struct FileJob {
    /// Where it goes: a directory is in use while a file waits for it.
    pub(crate) dir: Arc<OwnedFd>,
    pub(crate) inherit: Inherit,
    pub(crate) index: u64,
    pub(crate) offset: u64,
    /// The raw name in the archive; the file's own is part of it.
    pub(crate) path: Vec<u8>,
    pub(crate) name: Range<usize>,
    pub(crate) meta: Metadata,
    pub(crate) regions: Option<Vec<Region>>,
    pub(crate) size: u64,
    pub(crate) body: Content,
}

impl FileJob {
    /// What it holds in memory: a small file can have a megabyte of attributes, and an empty one a long name.
    fn bytes(&self) -> usize {
        let regions = self.regions.as_ref().map_or(0, Vec::capacity) * size_of::<Region>();
        size_of::<FileJob>() + self.body.bytes() + self.meta.attribute_bytes() + regions + self.path.capacity()
    }

    fn named(&self) -> EntryRef {
        EntryRef::new(self.index, self.offset, &self.path, EntryKind::File)
    }
}

/// Files in the order of the archive.
struct Batch {
    number: u32,
    jobs: Vec<FileJob>,
    bytes: usize,
}

/// The writers, as the one thread that reads the archive sees them.
pub(crate) struct Writers {
    shared: Arc<Shared>,
    maker: Maker,
    /// Being filled.
    open: RefCell<Option<Batch>>,
    next: RefCell<u32>,
    wanted: usize,
    started: Cell<usize>,
    /// Why one of them is lacking.
    lacking: Cell<Option<i32>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// A batch has come.
    work: Condvar,
    /// A batch is done.
    done: Condvar,
    failed: AtomicBool,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Batch>,
    /// Numbers of batches not done.
    pending: Vec<u32>,
    bytes: usize,
    /// Writers with nothing to do, and whether the reader waits: nobody else is woken, since each wake is a call.
    idle: usize,
    awaited: bool,
    settled: Settled,
}

/// What the writers did since they were last asked.
#[derive(Default)]
pub(crate) struct Settled {
    pub(crate) files: u64,
    /// Files left out, where something is mounted.
    pub(crate) skipped: u64,
    pub(crate) softened: Vec<(EntryRef, EventKind)>,
    bytes: usize,
    /// Softened too, but too much to keep.
    pub(crate) excess: u64,
    pub(crate) failure: Option<(EntryRef, Fault)>,
}

/// Marks a file as written by nobody else.
pub(crate) const NO_BATCH: u32 = 0;

impl Writers {
    /// Prepares for this many threads at most, started when they are first needed. Fewer than two are none.
    pub(crate) fn new(wanted: usize, maker: Maker) -> Writers {
        let wanted = if wanted < 2 { 0 } else { wanted };
        Writers {
            shared: Arc::default(),
            maker,
            open: RefCell::default(),
            next: RefCell::new(NO_BATCH),
            wanted,
            started: Cell::new(0),
            lacking: Cell::new(None),
        }
    }

    /// Whether files can be handed over.
    pub(crate) fn available(&self) -> bool {
        self.wanted > 0
    }

    /// The batch that the next file goes into.
    pub(crate) fn batch(&self) -> u32 {
        let new = || Batch { number: self.number(), jobs: Vec::with_capacity(BATCH_FILES), bytes: 0 };
        self.open.borrow_mut().get_or_insert_with(new).number
    }

    /// Hands a file over, into the batch that it was told.
    pub(crate) fn push(&self, job: FileJob) {
        let mut open = self.open.borrow_mut();
        let Some(batch) = open.as_mut() else { return };
        batch.bytes += job.bytes();
        batch.jobs.push(job);
        if batch.bytes >= BATCH_BYTES || batch.jobs.len() >= BATCH_FILES {
            self.submit(open.take());
        }
    }

    /// Hands over what is there, without waiting for more: whoever is about to wait for what it holds does so first.
    pub(crate) fn flush(&self) {
        self.submit(self.open.borrow_mut().take());
    }

    /// Numbers wrap around long after a batch is done; `NO_BATCH` is never one. One in which nothing is ever written tells
    /// a file from all others.
    pub(crate) fn number(&self) -> u32 {
        let mut next = self.next.borrow_mut();
        *next = next.wrapping_add(1).max(1);
        *next
    }

    /// Waits while much is to be written, for the writers alone: they wait for the kernel, and for nobody here.
    fn submit(&self, batch: Option<Batch>) {
        let Some(batch) = batch else { return };
        let full = |state: &State| state.bytes >= QUEUE_BYTES || state.pending.len() >= QUEUE_BATCHES;
        let mut state = self.shared.wait_until(|state| !full(state));
        state.bytes += batch.bytes;
        state.pending.push(batch.number);
        state.queue.push_back(batch);
        let (waiting, idle) = (state.queue.len(), state.idle);
        drop(state);
        if idle > 0 {
            self.shared.work.notify_one();
        }
        self.start_one_for(waiting);
    }

    /// The error number for want of which there are fewer writers than were wanted.
    pub(crate) fn lacking(&self) -> Option<i32> {
        self.lacking.get()
    }

    /// One thread more while there is more to do than those that run have taken, until there is none to be had.
    fn start_one_for(&self, waiting: usize) {
        let started = self.started.get();
        let enough = started >= self.wanted || (started > 0 && waiting < 2);
        if !enough && self.lacking.get().is_none() {
            self.start_one();
        }
        if self.started.get() == 0 {
            self.shared.work_off(&self.maker);
        }
    }

    fn start_one(&self) {
        let (shared, maker) = (Arc::clone(&self.shared), self.maker.clone());
        match std::thread::Builder::new().stack_size(STACK).spawn(move || shared.work(&maker)) {
            Ok(_) => self.started.set(self.started.get() + 1),
            Err(error) => self.lacking.set(Some(error.raw_os_error().unwrap_or(0))),
        }
    }

    /// Waits until the files of a batch are written.
    pub(crate) fn wait(&self, number: u32) {
        if number == NO_BATCH || !self.available() {
            return;
        }
        let mut open = self.open.borrow_mut();
        if open.as_ref().is_some_and(|batch| batch.number == number) {
            self.submit(open.take());
        }
        drop(self.shared.wait_until(|state| !state.pending.contains(&number)));
    }

    /// Waits until every file is written, and tells what happened since the last time.
    pub(crate) fn drain(&self) -> Settled {
        self.submit(self.open.borrow_mut().take());
        let mut state = self.shared.wait_until(|state| state.pending.is_empty());
        std::mem::take(&mut state.settled)
    }

    /// Waits until every file is written; what happened is still to be asked for.
    pub(crate) fn rest(&self) {
        self.submit(self.open.borrow_mut().take());
        drop(self.shared.wait_until(|state| state.pending.is_empty()));
    }

    /// Waits until half of what is on its way is written; false if nothing was. The directories that they had in hand are
    /// then free, and they go on with the rest meanwhile.
    pub(crate) fn halve(&self) -> bool {
        self.submit(self.open.borrow_mut().take());
        let pending = self.shared.lock().pending.len();
        drop(self.shared.wait_until(|state| state.pending.len() <= pending / 2));
        pending > 0
    }

    /// Whether one of them has failed: then what came of them is worth asking for.
    pub(crate) fn failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// A writer that panicked has ended the process already.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reader waits, alone.
    fn wait_until(&self, settled: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while !settled(&state) {
            state.awaited = true;
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.awaited = false;
        }
        state
    }

    /// A thread's life: until the process ends.
    fn work(&self, maker: &Maker) {
        loop {
            let mut state = self.lock();
            let batch = loop {
                if let Some(batch) = state.queue.pop_front() {
                    break batch;
                }
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            };
            drop(state);
            self.write(batch, maker);
        }
    }

    /// What is waiting, in this thread.
    fn work_off(&self, maker: &Maker) {
        loop {
            let Some(batch) = self.lock().queue.pop_front() else { return };
            self.write(batch, maker);
        }
    }

    fn write(&self, batch: Batch, maker: &Maker) {
        let mut settled = Settled::default();
        let (number, bytes) = (batch.number, batch.bytes);
        // What is queued is up to thousands of files: nobody wants them once the parent is gone.
        if number.is_multiple_of(CHECK)
            && let (Some(first), Err(cause)) = (batch.jobs.first(), maker.remover.watch.goes_on())
        {
            settled.failure = Some((first.named(), cause.into()));
            self.failed.store(true, Ordering::Relaxed);
        }
        for job in batch.jobs {
            if self.failed.load(Ordering::Relaxed) {
                break;
            }
            match maker.write_file(&job) {
                Ok(softened) => {
                    settled.files += 1;
                    settled.softened.extend(softened.into_iter().map(|what| (job.named(), what)));
                }
                Err(fault) if maker.remover.leaves(&fault) => {
                    settled.skipped += 1;
                    settled.softened.extend(maker.remover.told().map(|what| (job.named(), what)));
                }
                Err(fault) => {
                    settled.failure = Some((job.named(), fault));
                    self.failed.store(true, Ordering::Relaxed);
                }
            }
        }
        // With the files their directories were given back, before anybody hears that the batch is done.
        let mut state = self.lock();
        state.settled.add(settled);
        state.bytes -= bytes;
        state.pending.retain(|pending| *pending != number);
        // This writer takes what is next; another is needed only if there is more than that.
        let (awaited, more) = (state.awaited, state.idle > 0 && state.queue.len() > 1);
        drop(state);
        if awaited {
            self.done.notify_all();
        }
        if more {
            self.work.notify_one();
        }
    }
}

impl Settled {
    /// Puts two of them together. Of several failures, the first in the archive counts.
    fn add(&mut self, other: Settled) {
        self.files += other.files;
        self.skipped += other.skipped;
        self.excess += other.excess;
        for (entry, what) in other.softened {
            // An attribute's name is at most 255 bytes.
            let bytes = size_of::<(EntryRef, EventKind)>() + entry.path.len() + 255;
            if self.bytes + bytes > KEPT_BYTES {
                self.excess += 1;
                continue;
            }
            self.bytes += bytes;
            self.softened.push((entry, what));
        }
        let earlier = |a: &(EntryRef, Fault), b: &(EntryRef, Fault)| a.0.index < b.0.index;
        match (&self.failure, other.failure) {
            (_, None) => {}
            (Some(mine), Some(theirs)) if earlier(mine, &theirs) => {}
            (_, theirs) => self.failure = theirs,
        }
    }
}

impl Maker {
    /// A small file, from nothing to its times.
    fn write_file(&self, job: &FileJob) -> Result<Softened> {
        let name = &job.path[job.name.clone()];
        self.write_named(name, job).map_err(|fault| unchangeable::told(fault, &job.dir, Some(name)))
    }

    fn write_named(&self, name: &[u8], job: &FileJob) -> Result<Softened> {
        let mut file = self.create(&job.dir, name, job.meta.mode, job.regions.clone())?;
        for bytes in job.body.pieces() {
            file.write(&bytes)?;
        }
        file.finish(job.size, &job.meta, job.inherit, &self.setter)
    }
}
