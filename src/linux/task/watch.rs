//! What wakes the task: the helper's two sockets, and its time limit.

use super::{runtime, unheard};
use crate::error::Error;
use crate::linux::child::{Child, Ready};
use nix::poll::PollTimeout;
use std::future::Future;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};

pub(super) struct Watch {
    /// Where it was first polled.
    pub(super) runtime: Handle,
    control: UnixStream,
    stderr: Option<UnixStream>,
    /// The child's own clock decides what is late: this one may be a test's, which is paused.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Watch {
    pub(super) fn new(child: &mut Child) -> Result<Watch, Error> {
        let runtime = runtime()?;
        child.defer_answers();
        let control = register(child.socket()).map_err(unheard)?;
        let stderr = child.stderr().map(register).transpose().map_err(unheard)?;
        let deadline = child.deadline().map(|at| Box::pin(sleep_until(Instant::from_std(at))));
        Ok(Watch { runtime, control, stderr, deadline })
    }

    /// Ready when the child has been looked at, whatever that brought.
    pub(super) fn poll_hear(&mut self, child: &mut Child, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let control = self.control.poll_read_ready(cx)?;
        let stderr = self.stderr.as_ref().map_or(Poll::Pending, |stderr| stderr.poll_read_ready(cx))?;
        let late = self.deadline.as_mut().map_or(Poll::Pending, |deadline| deadline.as_mut().poll(cx));
        if control.is_pending() && stderr.is_pending() && late.is_pending() {
            return Poll::Pending;
        }
        drain(&self.control, || look(child).heard);
        if let Some(stderr) = &self.stderr {
            drain(stderr, || look(child).stderr);
        }
        if child.stderr().is_none() {
            self.stderr = None;
        }
        if late.is_ready() {
            look(child);
            self.wait_again(child);
        }
        Poll::Ready(Ok(()))
    }

    fn wait_again(&mut self, child: &Child) {
        let at = child.deadline().map(Instant::from_std);
        self.deadline = at.map(|at| Box::pin(sleep_until(at)));
    }
}

/// A handle of the reactor's own on a socket of the child's.
fn register(socket: BorrowedFd<'_>) -> io::Result<UnixStream> {
    let socket = unix::net::UnixStream::from(socket.try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}

/// A turn, after which the reactor is asked again only if nothing was found: what comes meanwhile is not lost.
fn drain(socket: &UnixStream, turn: impl FnOnce() -> bool) {
    let found = || if turn() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) };
    let _ = socket.try_io(Interest::READABLE, found);
}

fn look(child: &mut Child) -> Ready {
    child.pump(Ready::default(), None, PollTimeout::ZERO)
}
