//! One zstd frame with a check sum, of jobs of one size, that the library's own threads compress.

use super::output::Output;
use nix::errno::Errno;
use std::io::{self, Write};
use std::{error, fmt, thread};
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation as _, OutBuffer};

/// Bytes of the archive in one job. Without jobs, or with others, the bytes of the frame are others.
const JOB: u32 = 2 << 20;
/// What the library recommends, and a little.
const ROOM: usize = 132 << 10;
/// Beyond it a window alone is more memory than a helper should have.
const HIGHEST: i32 = 19;

/// zstd makes its frame in threads, since it is another without; and there is none to be had.
#[derive(Debug)]
pub(crate) struct NoThread {
    /// Why not.
    pub(crate) errno: i32,
}

impl fmt::Display for NoThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "zstd needs a thread, and there is none to be had (error {})", self.errno)
    }
}

impl error::Error for NoThread {}

pub(super) struct Zstd {
    encoder: Encoder<'static>,
    level: i32,
    threads: usize,
    /// The threads are there.
    begun: bool,
    buffer: Vec<u8>,
}

impl Zstd {
    pub(super) fn new(level: i32, threads: usize) -> io::Result<Zstd> {
        if !(1..=HIGHEST).contains(&level) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "zstd has the levels 1 to 19"));
        }
        // Better now than when something has been written.
        lacking().map_or(Ok(()), Err)?;
        Ok(Zstd { encoder: encoder(level, threads)?, level, threads, begun: false, buffer: vec![0; ROOM] })
    }

    pub(super) fn push<W: Write>(&mut self, bytes: &[u8], last: bool, to: &mut Output<W>) -> io::Result<()> {
        let mut input = InBuffer::around(bytes);
        while input.pos() < bytes.len() {
            let mut output = OutBuffer::around(&mut self.buffer[..]);
            match self.encoder.run(&mut input, &mut output) {
                Ok(_) => self.begun = true,
                // Nothing has been taken.
                Err(error) if !self.begun => {
                    self.with_one_thread(error)?;
                    continue;
                }
                Err(error) => return Err(known(error)),
            }
            to.write(output.as_slice())?;
        }
        if last { self.end(to) } else { Ok(()) }
    }

    /// Where several cannot be had. The bytes are the same.
    fn with_one_thread(&mut self, error: io::Error) -> io::Result<()> {
        if self.threads == 1 {
            return Err(lacking().unwrap_or_else(|| known(error)));
        }
        self.threads = 1;
        self.encoder = encoder(self.level, 1)?;
        Ok(())
    }

    fn end<W: Write>(&mut self, to: &mut Output<W>) -> io::Result<()> {
        loop {
            let mut output = OutBuffer::around(&mut self.buffer[..]);
            let left = self.encoder.finish(&mut output, false).map_err(known)?;
            to.write(output.as_slice())?;
            if left == 0 {
                return Ok(());
            }
        }
    }
}

/// The library starts its threads with the first bytes.
fn encoder(level: i32, threads: usize) -> io::Result<Encoder<'static>> {
    let mut encoder = Encoder::new(level).map_err(known)?;
    let workers = u32::try_from(threads).unwrap_or(u32::MAX);
    for parameter in [CParameter::ChecksumFlag(true), CParameter::NbWorkers(workers), CParameter::JobSize(JOB)] {
        encoder.set_parameter(parameter).map_err(known)?;
    }
    Ok(encoder)
}

/// The library calls it a lack of memory; so a thread is tried here.
fn lacking() -> Option<io::Error> {
    let errno = thread::Builder::new().stack_size(64 << 10).spawn(|| ()).err()?.raw_os_error()?;
    Some(io::Error::other(NoThread { errno }))
}

/// The library tells its errors in words alone, which are those of `ZSTD_getErrorName`.
fn known(error: io::Error) -> io::Error {
    let memory = error.raw_os_error().is_none() && error.to_string().contains("not enough memory");
    if memory { io::Error::from_raw_os_error(Errno::ENOMEM as i32) } else { error }
}
