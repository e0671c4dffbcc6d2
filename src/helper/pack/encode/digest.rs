//! The diff ID: SHA-256 of the archive's bytes, in a thread of its own once they are many.

use super::blocks::Block;
use crate::report::Digest;
use sha2::{Digest as _, Sha256};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};

/// Bytes before a thread is started: most of what a thread costs.
pub(super) const INLINE: usize = 1 << 20;
pub(super) const STACK: usize = 128 << 10;

pub(super) enum Digesting {
    Nobody,
    Here { hasher: Sha256, bytes: usize, threaded: bool, lacking: Option<i32> },
    Elsewhere { sender: Sender<Arc<Block>>, thread: JoinHandle<Sha256> },
}

impl Digesting {
    pub(super) fn new(threaded: bool) -> Digesting {
        Digesting::Here { hasher: Sha256::new(), bytes: 0, threaded, lacking: None }
    }

    pub(super) fn update(&mut self, block: &Arc<Block>) {
        match self {
            Digesting::Nobody => {}
            Digesting::Here { hasher, bytes, threaded, lacking } => {
                hasher.update(&***block);
                *bytes += block.len();
                if *threaded && *bytes >= INLINE {
                    *threaded = false;
                    match start(hasher.clone()) {
                        Ok(elsewhere) => *self = elsewhere,
                        Err(error) => *lacking = Some(error.raw_os_error().unwrap_or(0)),
                    }
                }
            }
            // It listens to the end.
            Digesting::Elsewhere { sender, .. } => drop(sender.send(Arc::clone(block))),
        }
    }

    pub(super) fn lacking(&self) -> Option<i32> {
        match self {
            Digesting::Here { lacking, .. } => *lacking,
            Digesting::Nobody | Digesting::Elsewhere { .. } => None,
        }
    }

    pub(super) fn finish(self) -> Option<Digest> {
        let hasher = match self {
            Digesting::Nobody => None,
            Digesting::Here { hasher, .. } => Some(hasher),
            Digesting::Elsewhere { sender, thread } => {
                drop(sender);
                // It cannot fail: a panic ends the process.
                thread.join().ok()
            }
        };
        hasher.map(|hasher| Digest(hasher.finalize().into()))
    }
}

fn start(mut hasher: Sha256) -> io::Result<Digesting> {
    let (sender, receiver) = channel::<Arc<Block>>();
    let digest = move || {
        receiver.iter().for_each(|block| hasher.update(&**block));
        hasher
    };
    let thread = Builder::new().stack_size(STACK).spawn(digest)?;
    Ok(Digesting::Elsewhere { sender, thread })
}
