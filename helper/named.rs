//! Files that the command line names. The other end of a FIFO, or what is to come through it, may never come: meanwhile a
//! signal ends the program as it ends any, and the time limit holds.

use crate::signals;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two tries to open what nobody reads yet.
const PAUSE: Duration = Duration::from_millis(20);

/// Until when others are waited for.
#[derive(Clone, Copy)]
pub(crate) struct Until(Option<Instant>);

impl Until {
    /// A time that is so long from now on; without a limit it never comes.
    pub(crate) fn after(limit: Option<Duration>) -> Until {
        Until(limit.and_then(|limit| Instant::now().checked_add(limit)))
    }

    fn left(self) -> io::Result<Option<Duration>> {
        let left = self.0.map(|end| end.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) { Err(late()) } else { Ok(left) }
    }
}

fn late() -> io::Error {
    let words = "the time limit is reached, and nobody is at its other end, or nothing comes; raise --timeout";
    io::Error::new(io::ErrorKind::TimedOut, words)
}

/// The time limit is reached; not what a file system answers.
pub(crate) fn is_late(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none()
}

/// Opens what a helper reads. Without a limit a writer is waited for, who need not have written yet; with one, what he writes.
#[allow(clippy::disallowed_methods, reason = "a signal ends it")]
pub(crate) fn open(path: &Path, until: Until) -> io::Result<File> {
    signals::let_through(|| {
        if until.0.is_none() {
            return File::open(path);
        }
        let file = opened(OpenOptions::new().read(true), path, until)?;
        // Without a writer it would have come to its end already.
        if file.metadata()?.file_type().is_fifo() {
            wait(&file, PollFlags::POLLIN, until)?;
        }
        waiting(file)
    })
}

/// Opens what is there, to be written to by a helper.
pub(crate) fn open_to_write(path: &Path, until: Until) -> io::Result<File> {
    signals::let_through(|| opened(OpenOptions::new().write(true), path, until).and_then(waiting))
}

/// What is in a file, up to so many bytes; `-` is standard input.
pub(crate) fn read(path: &Path, most: u64, until: Until) -> io::Result<Vec<u8>> {
    signals::let_through(|| {
        let mut bytes = Vec::new();
        if path.as_os_str() == "-" {
            Waited { file: io::stdin(), until }.take(most).read_to_end(&mut bytes)?;
        } else {
            let file = opened(OpenOptions::new().read(true), path, until)?;
            Waited { file, until }.take(most).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    })
}

/// Makes a file of this content, or writes it to what is there.
pub(crate) fn write(path: &Path, content: &[u8], until: Until) -> io::Result<()> {
    signals::let_through(|| {
        let file = opened(OpenOptions::new().write(true).create(true).truncate(true), path, until)?;
        Waited { file, until }.write_all(content)
    })
}

/// Opened so that nothing is waited for but here.
#[allow(clippy::disallowed_methods, reason = "this is where")]
fn opened(options: &mut OpenOptions, path: &Path, until: Until) -> io::Result<File> {
    options.custom_flags(nix::libc::O_NONBLOCK);
    loop {
        match options.open(path) {
            Err(error) if may_come(&error, path) => {
                let left = until.left()?;
                sleep(left.map_or(PAUSE, |left| left.min(PAUSE)));
            }
            opened => return opened,
        }
    }
}

/// Nobody reads it yet, or who holds a lease on it has not given that up.
fn may_come(error: &io::Error, path: &Path) -> bool {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENXIO) => fs::metadata(path).is_ok_and(|there| there.file_type().is_fifo()),
        errno => errno == Some(Errno::EWOULDBLOCK),
    }
}

/// As a helper takes it. The flag is of this opening alone, whatever the name leads to.
fn waiting(file: File) -> io::Result<File> {
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(file)
}

fn wait(file: &impl AsFd, events: PollFlags, until: Until) -> io::Result<()> {
    loop {
        let left = until.left()?;
        let timeout = left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        match poll(&mut [PollFd::new(file.as_fd(), events)], timeout) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// What never waits without a look at the time.
struct Waited<F> {
    file: F,
    until: Until,
}

impl<F: AsFd> Read for Waited<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            wait(&self.file, PollFlags::POLLIN, self.until)?;
            match nix::unistd::read(&self.file, buffer) {
                Err(Errno::EAGAIN) => {}
                read => return Ok(read?),
            }
        }
    }
}

impl<F: AsFd> Write for Waited<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            wait(&self.file, PollFlags::POLLOUT, self.until)?;
            match nix::unistd::write(&self.file, bytes) {
                Err(Errno::EAGAIN) => {}
                written => return Ok(written?),
            }
        }
    }

    /// There is no buffer here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
