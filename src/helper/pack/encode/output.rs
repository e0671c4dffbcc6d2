//! What the encoder writes: counted and digested.

use crate::report::Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, Write};

pub(super) struct Output<W> {
    out: W,
    bytes: u64,
    hasher: Option<Sha256>,
}

impl<W: Write> Output<W> {
    pub(super) fn new(out: W, digest: bool) -> Output<W> {
        Output { out, bytes: 0, hasher: digest.then(Sha256::new) }
    }

    pub(super) fn skip_digest(&mut self) {
        self.hasher = None;
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn into_parts(self) -> (W, u64, Option<Digest>) {
        (self.out, self.bytes, self.hasher.map(|hasher| Digest(hasher.finalize().into())))
    }
}
