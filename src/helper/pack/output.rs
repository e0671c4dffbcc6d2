//! Descriptor 0: the archive as it goes, written only while the parent is there.

use crate::helper::fault::{Fault, on};
use crate::helper::read::input::{Watch, carried};
use crate::report::{Call, Descriptor};
use nix::errno::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Between two looks at the parent and the clock.
const PIECE: usize = 1 << 20;

/// Where the archive goes: a pipe, a file, a socket, blocking or not.
pub(crate) struct Output {
    fd: Arc<OwnedFd>,
    watch: Watch,
}

impl Output {
    pub(crate) fn new(fd: Arc<OwnedFd>, watch: Watch) -> Output {
        Output { fd, watch }
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        loop {
            self.watch.wait_for_room(&self.fd).map_err(|cause| carried(cause.into()))?;
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
