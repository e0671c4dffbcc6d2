//! The helper ends with its parent, whatever its threads wait for: `F_SETSIG` in `fcntl(2)`.
//!
//! The parent holds the other end of standard error, a socket on which it never sends. The kernel kills this process
//! when that end is closed: there is no thread and no handler that could be held up itself. Descriptor 1 would not do,
//! since a signal also says that something has come there, or that there is room again.

use crate::helper::sys;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use std::os::fd::{AsFd, BorrowedFd};

/// Ties this process to its parent; once more when its ids have changed, which the kernel compares with those of now.
///
/// Where that is refused, the parent's end is noticed where the archive is read and nowhere else.
pub(crate) fn tie() {
    // A pipe, from a parent of another version, signals whenever it is read.
    if !sys::is_socket(2) {
        return;
    }
    let standard_error = std::io::stderr();
    let fd = standard_error.as_fd();
    let tied = sys::signal_me(fd, Signal::SIGKILL).and_then(|()| fcntl(fd, FcntlArg::F_SETFL(OFlag::O_ASYNC)));
    // The parent may have gone before.
    if tied.is_ok() && hung_up(fd) {
        sys::exit_now(1);
    }
}

fn hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).is_ok() && fds[0].any().unwrap_or(true)
}
