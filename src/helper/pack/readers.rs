//! Threads that read small files before it is their turn.
//!
//! Work is handed out in batches of names of one directory, and taken back by the thread that writes when it comes to
//! them. A batch that nobody has begun with it reads itself, name by name; while it waits for one it reads another. So it
//! waits for nothing but what is being read at that moment, and what is read is the same whoever has done it. All that is
//! not as with most files is left to it: links, holes, what cannot be opened.

use super::attributes::{Attributes, Of, Reader};
use super::content::{self, SMALL};
use super::open::Opener;
use super::owners::Owners;
use super::walk::{Dir, Listing};
use crate::helper::look::{self, Seen};
use crate::helper::read::input::Watch;
use crate::options::PackOptions;
use crate::report::{Cause, SourceChange, UserNamespaceReport};
use rustix::fs::FileType;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Names in one batch.
const BATCH: usize = 16;
/// Steps that the walk goes ahead at most; each holds a directory.
const WINDOW: usize = 48;
/// Bytes of content after which a batch is left to the thread that writes.
const BYTES: usize = 512 << 10;
/// Names that are seen before there are threads: with fewer they cost more than they save.
const FEW: usize = 64;
/// Between two looks at the parent and the clock while a batch is waited for.
const LOOK: Duration = Duration::from_millis(100);
const STACK: usize = 128 << 10;

/// A small file, as it was between two looks.
pub(crate) struct Small {
    pub(crate) seen: Seen,
    pub(crate) attributes: Attributes,
    /// Where its content is in that of its batch.
    pub(crate) content: Range<usize>,
    pub(crate) change: Option<SourceChange>,
    pub(crate) now: Seen,
}

/// What was read of a batch.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) content: Vec<u8>,
    /// In the order of the names; none where it is left to the thread that writes.
    pub(crate) files: VecDeque<Option<Small>>,
}

/// Names of a directory that somebody may read.
pub(crate) struct Batch {
    pub(crate) dir: Arc<Dir>,
    pub(crate) names: Listing,
    state: Mutex<State>,
    done: Condvar,
}

enum State {
    Waiting,
    /// By a reader, or by the thread that writes.
    Begun,
    Done(Found),
}

/// By what is read.
pub(crate) struct Reading {
    pub(crate) options: PackOptions,
    pub(crate) namespace: Option<UserNamespaceReport>,
    pub(crate) opener: Opener,
}

/// The readers, as the one thread that walks and writes sees them.
pub(crate) struct Readers {
    shared: Arc<Shared>,
    reading: Option<Arc<Reading>>,
    /// Its own room for attributes.
    attributes: Reader,
    watch: Watch,
    wanted: usize,
    started: usize,
    /// Why one of them is lacking.
    lacking: Option<i32>,
    window: usize,
    /// Names that the walk has seen.
    names: usize,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
}

#[derive(Default)]
struct Queue {
    batches: VecDeque<Arc<Batch>>,
    /// Room for content that was written.
    spare: Vec<Vec<u8>>,
    idle: usize,
    ended: bool,
}

impl Batch {
    pub(crate) fn new(dir: Arc<Dir>, names: Listing) -> Batch {
        Batch { dir, names, state: Mutex::new(State::Waiting), done: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True for the one who is to read it.
    fn begin(&self) -> bool {
        let mut state = self.state();
        let waits = matches!(*state, State::Waiting);
        if waits {
            *state = State::Begun;
        }
        waits
    }

    /// What was read of it; `None` while it is being read.
    fn take(&self) -> Option<Found> {
        match std::mem::replace(&mut *self.state(), State::Begun) {
            State::Waiting => Some(Found::default()),
            State::Done(found) => Some(found),
            State::Begun => None,
        }
    }

    fn read(&self, reading: &Reading, attributes: &mut Reader, mut content: Vec<u8>) {
        let owners = Owners::new(&reading.options.owner, reading.options.unmapped_ids, reading.namespace.as_ref());
        let mut files = VecDeque::with_capacity(self.names.len());
        for name in (0..self.names.len()).filter_map(|at| self.names.get(at)) {
            let start = content.len();
            let wanted = name.kind == FileType::RegularFile && start < BYTES;
            let name = self.names.bytes(name);
            let file = wanted.then(|| reading.small(&self.dir, name, &owners, attributes, &mut content)).flatten();
            content.truncate(file.as_ref().map_or(start, |file| file.content.end));
            files.push_back(file);
        }
        *self.state() = State::Done(Found { content, files });
        self.done.notify_all();
    }

    /// Waits a while for whoever reads it.
    fn wait(&self) {
        let reads = |state: &mut State| matches!(state, State::Begun);
        drop(self.done.wait_timeout_while(self.state(), LOOK, reads).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Reading {
    /// Appends the content of a file. Nothing where anything is not as with most: whoever writes then sees for itself.
    fn small(
        &self,
        dir: &Dir,
        name: &[u8],
        owners: &Owners<'_>,
        attributes: &mut Reader,
        content: &mut Vec<u8>,
    ) -> Option<Small> {
        let file = self.opener.file_at_once(&dir.fd, name).ok()?;
        let seen = look::of(&file).ok()?;
        let few = seen.links < 2 && seen.size <= SMALL as u64;
        if seen.kind != FileType::RegularFile || !few || content::may_have_holes(&seen, &self.options) {
            return None;
        }
        let attributes = attributes.read(Of::Open(&file), &self.options, owners).ok()?;
        let start = content.len();
        let change = content::append(&file, usize::try_from(seen.size).ok()?, content).ok()?;
        let now = look::of(&file).ok()?;
        Some(Small { seen, attributes, content: start..content.len(), change, now })
    }
}

impl Readers {
    /// So many threads besides the one that calls, once they are worth it; of so many directories that may be open they
    /// take some.
    pub(crate) fn new(wanted: usize, directories: usize, reading: impl FnOnce() -> Reading, watch: Watch) -> Readers {
        Readers {
            shared: Arc::default(),
            reading: (wanted > 0).then(|| Arc::new(reading())),
            attributes: Reader::new(None),
            watch,
            wanted,
            started: 0,
            lacking: None,
            window: if wanted > 0 { WINDOW.min(directories / 4).max(1) } else { 1 },
            names: 0,
        }
    }

    /// How many directories steps hold that wait for their turn.
    pub(crate) fn directories(&self) -> usize {
        self.window - 1
    }

    /// The walk has seen so many names more.
    pub(crate) fn saw(&mut self, names: usize) {
        self.names = self.names.saturating_add(names);
    }

    /// How many steps the walk goes ahead, the one that is taken next included.
    pub(crate) fn window(&self) -> usize {
        if self.are_there().is_some() { self.window } else { 1 }
    }

    /// How many names are handed out at once.
    pub(crate) fn batch(&self) -> usize {
        if self.are_there().is_some() { BATCH } else { 1 }
    }

    fn are_there(&self) -> Option<&Arc<Reading>> {
        let none = self.started == 0 && self.lacking.is_some();
        self.reading.as_ref().filter(|_| !none && self.names >= FEW)
    }

    /// The error number for want of which there are fewer than were wanted.
    pub(crate) fn lacking(&self) -> Option<i32> {
        self.lacking
    }

    /// True if somebody may read it.
    pub(crate) fn hand_out(&mut self, batch: &Arc<Batch>) -> bool {
        let Some(reading) = self.are_there().map(Arc::clone) else { return false };
        if !batch.names.iter().any(|name| name.kind == FileType::RegularFile) {
            return false;
        }
        let mut queue = self.shared.lock();
        queue.batches.push_back(Arc::clone(batch));
        let (waiting, idle) = (queue.batches.len(), queue.idle);
        drop(queue);
        if idle > 0 {
            self.shared.more.notify_one();
        } else if self.started < self.wanted && self.lacking.is_none() && (self.started == 0 || waiting > 1) {
            self.start_one(reading);
        }
        true
    }

    fn start_one(&mut self, reading: Arc<Reading>) {
        let shared = Arc::clone(&self.shared);
        let work = move || shared.work(&reading);
        match std::thread::Builder::new().stack_size(STACK).spawn(work) {
            Ok(_) => self.started += 1,
            Err(error) => self.lacking = Some(error.raw_os_error().unwrap_or(0)),
        }
    }

    /// What was read of a batch that was handed out; another is read in place of waiting for it.
    pub(crate) fn take_back(&mut self, batch: &Batch) -> Result<Found, Cause> {
        loop {
            if let Some(found) = batch.take() {
                return Ok(found);
            }
            let other = self.shared.lock().next();
            match (other, &self.reading) {
                (Some((other, room)), Some(reading)) => other.read(reading, &mut self.attributes, room),
                _ => {
                    batch.wait();
                    self.watch.check()?;
                }
            }
        }
    }

    /// What was read is written.
    pub(crate) fn give_back(&mut self, mut content: Vec<u8>) {
        if content.capacity() > 0 {
            content.clear();
            self.shared.lock().spare.push(content);
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.more.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's life: until there is nothing more to read, or the process ends.
    fn work(&self, reading: &Reading) {
        let mut attributes = Reader::new(None);
        while let Some((batch, room)) = self.wait_for_more() {
            batch.read(reading, &mut attributes, room);
        }
    }

    fn wait_for_more(&self) -> Option<(Arc<Batch>, Vec<u8>)> {
        let mut queue = self.lock();
        loop {
            match queue.next() {
                None if queue.ended => return None,
                None => {
                    queue.idle += 1;
                    queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
                    queue.idle -= 1;
                }
                next => return next,
            }
        }
    }
}

impl Queue {
    /// The first batch that nobody has begun with, and room for it.
    fn next(&mut self) -> Option<(Arc<Batch>, Vec<u8>)> {
        let batch = loop {
            let batch = self.batches.pop_front()?;
            if batch.begin() {
                break batch;
            }
        };
        Some((batch, self.spare.pop().unwrap_or_default()))
    }
}
