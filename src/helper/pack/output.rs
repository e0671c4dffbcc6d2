//! Descriptor 0: the archive as it goes, written only while the parent is there.

use crate::helper::fault::{Fault, on};
use crate::helper::read::input::{Watch, carried};
use crate::report::{Call, Descriptor};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Between two looks at the parent and the clock.
const PIECE: usize = 1 << 20;

/// Once nothing is waited for any more: after the time limit too, what there is goes to whoever still takes it.
const LAST: u16 = 100;

/// What a pipe that has room takes without waiting: `pipe(7)`, PIPE_BUF.
const AT_ONCE: usize = 4096;

/// Where the archive goes: a pipe, a file, a socket, blocking or not.
pub(crate) struct Output {
    fd: Arc<OwnedFd>,
    watch: Watch,
    ending: Ending,
}

/// Says that what is written from now on is the rest of an archive that was given up.
#[derive(Clone, Default)]
pub(crate) struct Ending(Arc<AtomicBool>);

impl Ending {
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Output {
    pub(crate) fn new(fd: Arc<OwnedFd>, watch: Watch) -> Output {
        Output { fd, watch, ending: Ending::default() }
    }

    /// Of an archive that never began.
    pub(crate) fn last(fd: Arc<OwnedFd>, watch: Watch) -> Output {
        let output = Output::new(fd, watch);
        output.ending.begin();
        output
    }

    pub(crate) fn ending(&self) -> Ending {
        self.ending.clone()
    }

    /// How much is to be written now.
    fn room(&self) -> io::Result<usize> {
        if !self.ending.0.load(Ordering::Relaxed) {
            return self.watch.wait_for_room(&self.fd).map(|()| PIECE).map_err(|cause| carried(cause.into()));
        }
        match poll(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLOUT)], LAST) {
            Ok(1..) => Ok(AT_ONCE),
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let piece = &bytes[..bytes.len().min(self.room()?)];
            match nix::unistd::write(&self.fd, piece) {
                Ok(n) => return Ok(n),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(errno) => {
                    let arguments = on(Descriptor::Archive).with(format_args!("<data>, {}", piece.len()));
                    return Err(carried(Fault::os(errno, Call::Write, arguments)));
                }
            }
        }
    }

    /// There is no buffer here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
