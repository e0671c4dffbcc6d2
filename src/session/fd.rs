//! What is waited for by descriptor: the control socket.

use super::{Pending, Session};
use std::os::fd::{AsFd, BorrowedFd};

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.run.as_fd()
    }
}

impl AsFd for Pending {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.run.as_fd()
    }
}
