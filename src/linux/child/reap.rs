//! A helper's end: an honest one is on its way out, any other is killed.

use super::{Child, GRACE, filtered, until};
use crate::linux::verdict::{Known, Outcome};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::os::fd::AsFd;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// How long it may take from closing its descriptors to being gone before whoever waits sleeps: a sleep is as long.
const SOON: Duration = Duration::from_micros(100);

impl Child {
    /// Reaps the helper: an honest one is on its way out, any other is killed.
    pub(in crate::linux) fn end(mut self) -> Outcome {
        self.pipe = None;
        let status = self.reap();
        while self.stderr.is_some() && self.stderr_has_more() {
            self.read_stderr();
        }
        if self.reply.is_some() {
            self.hear_nothing_more();
        }
        Outcome {
            cancelled: self.cancelled(),
            expired: self.terms.jail.limits.timeout_ms().filter(|_| self.expired),
            memory: self.terms.jail.limits.memory_bytes,
            reply: self.reply.take(),
            status,
            filtered: self.filtered.unwrap_or_default(),
            garbled: self.garbled,
            stderr: std::mem::take(&mut self.tail),
            known: Known {
                events: std::mem::take(&mut self.kept.events),
                dropped: self.kept.dropped,
                confinement: self.kept.take_confinement(),
                ..Known::default()
            },
            ..Outcome::default()
        }
    }

    fn stderr_has_more(&self) -> bool {
        let Some(stderr) = &self.stderr else { return false };
        let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(n) if n > 0)
    }

    /// The status of a helper that ended by itself; `None` for one that had to be killed.
    fn reap(&mut self) -> Option<ExitStatus> {
        let leaving = if self.cancelled() { self.terms.cuts } else { self.closed || self.reply.is_some() };
        let deadline = Instant::now() + if leaving { GRACE } else { Duration::ZERO };
        let mut pause = SOON;
        self.wait_for_hang_up(deadline);
        let soon = Instant::now() + SOON;
        loop {
            self.see_who_killed_it();
            match self.process.try_wait() {
                Ok(Some(status)) => {
                    self.reaped = true;
                    return Some(status);
                }
                Ok(None) if Instant::now() >= deadline => {
                    self.kill();
                    return None;
                }
                Ok(None) if Instant::now() < soon => std::thread::yield_now(),
                Ok(None) => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(10));
                }
                // SIGCHLD is ignored in this program: the status is unknown, which is no failure.
                Err(_) => {
                    self.reaped = true;
                    return None;
                }
            }
        }
    }

    /// What the kernel says of a process goes when it is reaped.
    fn see_who_killed_it(&mut self) {
        if self.reply.is_some() || self.filtered.is_some() {
            return;
        }
        let pid = self.process.id();
        let id = Id::Pid(Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX)));
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        if let Ok(WaitStatus::Signaled(_, Signal::SIGSYS, _)) = waitid(id, flags) {
            let told = self.kept.confinement.is_some();
            self.filtered = Some(filtered::look(pid, self.protocol.age(), told));
        }
    }

    /// A process that ends closes its descriptors shortly before it can be reaped.
    fn wait_for_hang_up(&mut self, deadline: Instant) {
        while let Some(stderr) = &self.stderr
            && Instant::now() < deadline
        {
            let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, until(deadline)).is_ok() {
                self.read_stderr();
            }
        }
    }

    /// Without waiting for its end.
    pub(in crate::linux) fn signal_end(&mut self) {
        let _ = self.process.kill();
    }

    pub(super) fn kill(&mut self) {
        self.signal_end();
        let _ = self.process.wait();
        self.reaped = true;
    }
}
