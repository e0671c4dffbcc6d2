//! A copy: a helper that packs, joined to one that applies by a pipe that nobody reads here.

use super::pack::{PackRun, start_packing};
use super::root::Root;
use super::run::Run;
use super::source::start_fd;
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::plan::{PackPlan, Plan};
use crate::report::{Copied, Packed, Report};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;
use std::os::fd::AsFd;

/// Between two looks at both, in milliseconds: a time limit may have passed.
const LOOK: u16 = 100;

/// Copies, and waits for both.
pub(crate) fn copy(from: Root, pack: PackPlan, to: Root, plan: Plan) -> Result<Copied, Error> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(|e| Error::io(ErrorKind::Helper, "making a pipe", e))?;
    let mut untar = start_fd(to, plan, read)?;
    let mut pack = start_packing(from, pack, Some(write))?;
    wait(&mut pack, &mut untar);
    outcome(pack.finish(), untar.finish())
}

/// Hears both until each has said its last word: whoever is not heard is held up, and holds the other up.
fn wait(pack: &mut PackRun, untar: &mut Run) {
    loop {
        let (packing, applying) = (pack.check().is_ok(), untar.check().is_ok());
        if !packing && !applying {
            return;
        }
        let sockets = [(packing, pack.as_fd()), (applying, untar.as_fd())];
        let heard = sockets.into_iter().filter_map(|(goes_on, fd)| goes_on.then_some(fd));
        let mut fds: Vec<PollFd<'_>> = heard.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // Interrupted or not, both are looked at.
        let _ = poll(&mut fds, PollTimeout::from(LOOK));
    }
}

/// Of two errors that which led to the other: who applies ends when the archive is cut, who packs when nobody reads.
fn outcome(packed: Result<Packed, Error>, report: Result<Report, Error>) -> Result<Copied, Error> {
    match (packed, report) {
        (Ok(packed), Ok(report)) => Ok(Copied { packed, report }),
        (Err(unread), Err(error)) if unread.raw_os_error() == Some(Errno::EPIPE as i32) => Err(error),
        (Err(error), _) | (Ok(_), Err(error)) => Err(error),
    }
}
