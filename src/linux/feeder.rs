//! A thread that reads an archive for its digest, and hands it on to the helper.

use crate::plan::PIECE;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown};
use sha2::{Digest as _, Sha256};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread::JoinHandle;

/// The thread; it ends with the archive, or when nobody reads the pipe any more.
pub(super) struct Feeder(JoinHandle<Fed>);

/// What has been read.
pub(super) struct Fed {
    pub(super) hasher: Sha256,
    pub(super) bytes: u64,
    pub(super) error: Option<io::Error>,
}

impl Feeder {
    /// `control` is hung up on if the archive cannot be read, so that what is cut short does not pass for whole.
    pub(super) fn start(archive: OwnedFd, pipe: OwnedFd, control: OwnedFd) -> io::Result<Feeder> {
        let feed = move || {
            let mut fed = Fed { hasher: Sha256::new(), bytes: 0, error: None };
            if let Err(errno) = feed(&archive, &pipe, &mut fed) {
                fed.error = Some(errno.into());
                let _ = shutdown(control.as_raw_fd(), Shutdown::Both);
            }
            fed
        };
        std::thread::Builder::new().name("untar-in-root".into()).spawn(feed).map(Feeder)
    }

    /// After the helper has ended, which the thread does not outlive by more than one read.
    pub(super) fn join(self) -> Fed {
        let lost = || io::Error::other("the thread that reads the archive has panicked");
        self.0.join().unwrap_or_else(|_| Fed { hasher: Sha256::new(), bytes: 0, error: Some(lost()) })
    }
}

/// All of the archive; only an error of its own is one.
fn feed(archive: &OwnedFd, pipe: &OwnedFd, fed: &mut Fed) -> Result<(), Errno> {
    let mut buffer = vec![0; PIECE];
    loop {
        if !wait(Some(archive), pipe, PollFlags::empty()) {
            return Ok(());
        }
        match nix::unistd::read(archive, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                if !write_all(pipe, &buffer[..n]) {
                    return Ok(());
                }
                fed.hasher.update(&buffer[..n]);
                fed.bytes += n as u64;
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// False once nobody reads any more.
fn write_all(pipe: &OwnedFd, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match nix::unistd::write(pipe, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if wait(None, pipe, PollFlags::POLLOUT) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Waits for the archive, or for room in the pipe; false once nobody reads that any more.
fn wait(archive: Option<&OwnedFd>, pipe: &OwnedFd, room: PollFlags) -> bool {
    loop {
        let mut fds = vec![PollFd::new(pipe.as_fd(), room)];
        fds.extend(archive.map(|archive| PollFd::new(archive.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            polled => return polled.is_ok() && !fds[0].revents().is_some_and(|told| told.contains(PollFlags::POLLERR)),
        }
    }
}
