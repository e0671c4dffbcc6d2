//! Where the archive comes from: the caller's writes, a reader, a descriptor.

use super::child::Ready;
use super::root::Root;
use super::run::Run;
use super::start::{spawn, start};
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::plan::{Demand, PIECE, Plan};
use crate::report::Report;
use nix::errno::Errno;
use nix::poll::PollTimeout;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// Starts to apply what an open file, pipe or socket gives, without waiting.
pub(crate) fn start_fd(root: Root, plan: Plan, archive: OwnedFd) -> Result<Run, Error> {
    if matches!(plan.digest, Demand::None) {
        return start(root, plan, archive, None);
    }
    let mut run = spawn(root, plan)?;
    run.feed(archive).map_err(|e| Error::io(ErrorKind::Helper, "starting a thread", e))?;
    Ok(run)
}

/// `each` is called whenever the helper has been heard.
pub(crate) fn run(root: Root, plan: Plan, archive: OwnedFd, each: &mut dyn FnMut()) -> Result<Report, Error> {
    let archive = File::from(archive);
    if matches!(plan.digest, Demand::None) {
        let mut run = start(root, plan, archive.into(), None)?;
        while !run.child.over() {
            run.child.pump(Ready::default(), None, PollTimeout::NONE);
            each();
        }
        return run.finish();
    }
    match archive.metadata().ok().filter(|m| m.is_file()).and_then(|_| position(&archive)) {
        Some(begin) => read_beside(root, plan, archive, begin, each),
        None => pump(root, plan, archive, each),
    }
}

/// The helper reads the file; the parent reads it too, for the digest.
fn read_beside(root: Root, plan: Plan, archive: File, begin: u64, each: &mut dyn FnMut()) -> Result<Report, Error> {
    let beside = archive.try_clone().map_err(|e| Error::io(ErrorKind::Read, "duplicating a descriptor", e))?;
    let mut run = start(root, plan, archive.into(), None)?;
    let mut buffer = vec![0; PIECE];
    let mut at = begin;
    loop {
        match beside.read_at(&mut buffer, at) {
            Ok(0) => return run.finish(),
            Ok(n) => run.count(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(run.abandon(e)),
        }
        at = begin + run.bytes_in;
        run.child.pump(Ready::default(), None, PollTimeout::ZERO);
        each();
        if run.child.failed() {
            return run.finish();
        }
    }
}

/// The parent reads and writes on, awake to the helper's end while the source is stalled.
fn pump(root: Root, plan: Plan, archive: File, each: &mut dyn FnMut()) -> Result<Report, Error> {
    let mut run = spawn(root, plan)?;
    let mut buffer = vec![0; PIECE];
    loop {
        let ready = run.child.pump(Ready::SOURCE, Some(archive.as_fd()), PollTimeout::NONE);
        each();
        if run.child.over() {
            return run.finish();
        }
        if !ready.source {
            continue;
        }
        match nix::unistd::read(&archive, &mut buffer) {
            Ok(0) => return run.finish(),
            Ok(n) if run.write_all(&buffer[..n]).is_err() => return run.finish(),
            Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(e) => return Err(run.abandon(e.into())),
        }
    }
}

fn position(file: &File) -> Option<u64> {
    u64::try_from(nix::unistd::lseek(file, 0, nix::unistd::Whence::SeekCur).ok()?).ok()
}
