//! The archive in the making: entries one after the other, and never whole after a failure (rule 25).

use super::encode::{Encoder, Sums};
use super::header::{self, Header, Unwritable};
use super::output::{Ending, Output};
use crate::cut;
use crate::helper::fault::{Fault, Result};
use crate::helper::read::input::fault_in;
use crate::report::{Cause, Limit};
use nix::errno::Errno;
use std::io::{self, Write};

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
const BLOCK: u64 = 512;

/// An error on the way to the parent, or one of what is packed.
pub(crate) enum Failed {
    Walking(Fault),
    Writing(Fault),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Failed {
        Failed::Walking(fault)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        not_written(error)
    }
}

impl From<Cause> for Failed {
    fn from(cause: Cause) -> Failed {
        Failed::Walking(cause.into())
    }
}

/// Dropped before it is finished it ends so that nobody takes it for whole.
pub(crate) struct Archive {
    /// Until its end.
    encoder: Option<Encoder<Output>>,
    /// Bytes that have come so far.
    position: u64,
    most: u64,
    /// Bytes of the entry at hand that are still to come, without its padding.
    body: u64,
    /// And of its padding.
    padding: usize,
    headers: Vec<u8>,
    ending: Ending,
}

impl Archive {
    pub(crate) fn new(encoder: Encoder<Output>, ending: Ending, most: u64) -> Archive {
        Archive { encoder: Some(encoder), position: 0, most, body: 0, padding: 0, headers: Vec::new(), ending }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes of the archive, and bytes as they went out.
    pub(crate) fn progress(&self) -> (u64, u64) {
        self.encoder.as_ref().map_or((0, 0), Encoder::progress)
    }

    /// The error number for want of which there were fewer threads than were wanted.
    pub(crate) fn lacking(&self) -> Option<i32> {
        self.encoder.as_ref()?.lacking()
    }

    /// Writes an entry's headers, of which as many bytes of content follow. Returns where its own header begins.
    pub(crate) fn begin(&mut self, header: &Header<'_>, body: u64) -> Result<u64, Failed> {
        let mut headers = std::mem::take(&mut self.headers);
        headers.clear();
        header.write(&mut headers).map_err(unwritable)?;
        let own = self.position + extended(&headers);
        self.put(&headers)?;
        self.headers = headers;
        (self.body, self.padding) = (body, header::padding(body));
        self.pad()?;
        Ok(own)
    }

    /// Writes of its content.
    pub(crate) fn body(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        debug_assert!(bytes.len() as u64 <= self.body, "more than was promised");
        self.put(bytes)?;
        self.body = self.body.saturating_sub(bytes.len() as u64);
        self.pad()
    }

    /// Has what comes next of its content read where it belongs, so many bytes of it at most. Returns how many came.
    pub(crate) fn body_from(
        &mut self,
        most: u64,
        read: impl FnOnce(&mut Vec<u8>) -> Result<usize, Fault>,
    ) -> Result<usize, Failed> {
        let most = most.min(self.body);
        self.check(most)?;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let came = self.encoder()?.fill(most, |room| read(room).map_err(Failed::Walking))?;
        self.position += came as u64;
        self.body -= came as u64;
        self.pad()?;
        Ok(came)
    }

    /// Writes zeros in place of content.
    pub(crate) fn zeros(&mut self, mut length: u64) -> Result<(), Failed> {
        while length > 0 {
            let piece = length.min(ZEROS.len() as u64);
            self.body(ZEROS.get(..usize::try_from(piece).unwrap_or(0)).unwrap_or_default())?;
            length -= piece;
        }
        Ok(())
    }

    fn pad(&mut self) -> Result<(), Failed> {
        if self.body == 0 && self.padding > 0 {
            self.put(&ZEROS[..self.padding])?;
            self.padding = 0;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        self.check(bytes.len() as u64)?;
        self.encoder()?.write_all(bytes).map_err(not_written)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// So many bytes more are not too many.
    fn check(&self, more: u64) -> Result<(), Failed> {
        if self.position.saturating_add(more) > self.most {
            return Err(Cause::Limit { limit: Limit::TotalBytes, value: self.most }.into());
        }
        Ok(())
    }

    /// The end.
    pub(crate) fn finish(mut self) -> Result<Sums, Failed> {
        self.put(&header::END)?;
        let encoder = self.encoder.take().ok_or_else(ended)?;
        encoder.finish().map(|(_, sums)| sums).map_err(not_written)
    }

    fn encoder(&mut self) -> Result<&mut Encoder<Output>, Failed> {
        self.encoder.as_mut().ok_or_else(ended)
    }
}

impl Drop for Archive {
    /// Ends it inside an entry, as it stands, or with the beginning of one.
    fn drop(&mut self) {
        let Some(mut encoder) = self.encoder.take() else { return };
        self.ending.begin();
        let mut last = Vec::new();
        if self.body == 0 {
            // Many miss no padding.
            last.extend_from_slice(&ZEROS[..self.padding]);
            last.extend_from_slice(&cut::TAR);
        }
        // If that fails it is cut where it stands.
        let _ = encoder.write_all(&last);
        encoder.break_off();
    }
}

/// Only its end takes the encoder.
#[cold]
fn ended() -> Failed {
    Failed::Writing(Fault::as_if(Errno::EPIPE))
}

/// The bytes of an extended header, with which an entry begins if it has one.
fn extended(headers: &[u8]) -> u64 {
    let Some((b'x', size)) = headers.get(156).copied().zip(headers.get(124..135)) else { return 0 };
    let size = size.iter().fold(0, |size, digit| size << 3 | u64::from(digit & 7));
    BLOCK + size + header::padding(size) as u64
}

fn not_written(error: io::Error) -> Failed {
    let errno = error.raw_os_error().unwrap_or(Errno::EIO as i32);
    Failed::Writing(fault_in(&error).unwrap_or_else(|| Cause::Os(errno).into()))
}

fn unwritable(why: Unwritable) -> Failed {
    match why {
        Unwritable::Records(_) | Unwritable::MapBytes(_) => {
            Cause::Limit { limit: Limit::ExtendedHeaderBytes, value: header::MOST as u64 }.into()
        }
        // No kernel has such a name, link or number.
        _ => Fault::as_if(Errno::EINVAL).into(),
    }
}
