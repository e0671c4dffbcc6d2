//! Where the bytes go: a plain archive's in a thread of its own once they are many, so that reading does not wait for it.

use super::blocks::Block;
use super::digest::{INLINE, STACK};
use super::output::Output;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};

pub(super) struct Sink<W> {
    place: Place<W>,
    /// Bytes that the thread has written.
    written: Arc<AtomicU64>,
    /// Bytes before there is a thread; none if there is to be none.
    left: Option<usize>,
    lacking: Option<i32>,
}

enum Place<W> {
    Here(Output<W>),
    Elsewhere {
        sender: Sender<Arc<Block>>,
        thread: JoinHandle<io::Result<Output<W>>>,
    },
    /// It has failed, and that was told.
    Nowhere,
}

impl<W: Write + Send + 'static> Sink<W> {
    pub(super) fn new(output: Output<W>, threaded: bool) -> Sink<W> {
        Sink { place: Place::Here(output), written: Arc::default(), left: threaded.then_some(INLINE), lacking: None }
    }

    /// Writes a block, or has it written in its order; then it may be a later one that tells what has failed.
    pub(super) fn put(&mut self, block: &Arc<Block>) -> io::Result<()> {
        if let Place::Elsewhere { sender, .. } = &self.place {
            return match sender.send(Arc::clone(block)) {
                Ok(()) => Ok(()),
                // It listens to the end, unless it fails.
                Err(_) => self.here().and(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        self.here()?.write(block)?;
        self.left = self.left.map(|left| left.saturating_sub(block.len()));
        if self.left == Some(0) {
            self.left = None;
            self.leave();
        }
        Ok(())
    }

    fn leave(&mut self) {
        let Place::Here(output) = std::mem::replace(&mut self.place, Place::Nowhere) else { return };
        // What cannot be handed over must not be lost: the thread gets it when it is there.
        let (give, take) = channel::<Output<W>>();
        let (sender, receiver) = channel::<Arc<Block>>();
        let written = Arc::clone(&self.written);
        let write = move || {
            let mut output = take.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            for block in receiver {
                output.write(&block)?;
                written.store(output.bytes(), Ordering::Relaxed);
            }
            Ok(output)
        };
        self.written.store(output.bytes(), Ordering::Relaxed);
        self.place = match Builder::new().stack_size(STACK).spawn(write) {
            Ok(thread) => {
                // It waits for it.
                let _ = give.send(output);
                Place::Elsewhere { sender, thread }
            }
            Err(error) => {
                self.lacking = Some(error.raw_os_error().unwrap_or(0));
                Place::Here(output)
            }
        };
    }

    /// Once all is written that was to be.
    pub(super) fn here(&mut self) -> io::Result<&mut Output<W>> {
        if let Place::Elsewhere { .. } = self.place
            && let Place::Elsewhere { sender, thread } = std::mem::replace(&mut self.place, Place::Nowhere)
        {
            drop(sender);
            // It cannot panic: that ends the process.
            let output = thread.join().map_err(|_| io::ErrorKind::Other)??;
            self.place = Place::Here(output);
        }
        match &mut self.place {
            Place::Here(output) => Ok(output),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    pub(super) fn into_output(mut self) -> io::Result<Output<W>> {
        self.here()?;
        match self.place {
            Place::Here(output) => Ok(output),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// How many bytes are written.
    pub(super) fn bytes(&self) -> u64 {
        match &self.place {
            Place::Here(output) => output.bytes(),
            _ => self.written.load(Ordering::Relaxed),
        }
    }

    pub(super) fn lacking(&self) -> Option<i32> {
        self.lacking
    }
}
