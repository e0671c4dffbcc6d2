//! What stands in for the work on systems other than Linux: the same functions, and one answer.
//!
//! Compiled for the tests on Linux too, which is where it is tested.
#![cfg_attr(test, allow(dead_code))]
// What nobody uses here is what nobody uses on Linux either.
#![cfg_attr(not(test), warn(dead_code))]

use crate::canceller::Canceller;
use crate::error::Error;
use crate::fd::OwnedFd;
use crate::kind::ErrorKind;
use crate::opened::Opened;
use crate::plan::{PackPlan, Plan};
use crate::program::Program;
use crate::report::{Copied, Packed, Progress, Report};
use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
#[cfg(feature = "tokio")]
use std::{
    pin::Pin,
    task::{Context, Poll},
};
#[cfg(feature = "tokio")]
use tokio::io::ReadBuf;

/// The child side.
#[cfg(all(feature = "helper", not(target_os = "linux")))]
pub mod helper {
    /// Returns at once: on this system no process is a helper.
    pub fn init() {}
}

/// Nothing: on this system no process is a helper.
#[cfg(all(feature = "helper", not(target_os = "linux")))]
#[macro_export]
macro_rules! helper_at_start {
    () => {};
}

fn unsupported<T>() -> Result<T, Error> {
    Err(Error::of(ErrorKind::Unsupported))
}

pub(crate) fn this_program() -> Result<Program, Error> {
    unsupported()
}

pub(crate) fn open_lower(_path: &Path) -> Result<Opened, Error> {
    unsupported()
}

pub(crate) fn spawn(_root: Root, _plan: Plan) -> Result<Run, Error> {
    unsupported()
}

pub(crate) fn start_fd(_root: Root, _plan: Plan, _archive: OwnedFd) -> Result<Run, Error> {
    unsupported()
}

pub(crate) fn run(_root: Root, _plan: Plan, _archive: OwnedFd, _each: &mut dyn FnMut()) -> Result<Report, Error> {
    unsupported()
}

#[cfg(feature = "tokio")]
pub(crate) async fn apply_async<A>(_root: Root, _plan: Plan, _archive: A) -> Result<Report, Error> {
    unsupported()
}

pub(crate) fn start_packing(_root: Root, _plan: PackPlan, _archive: Option<OwnedFd>) -> Result<PackRun, Error> {
    unsupported()
}

pub(crate) fn copy(_from: Root, _pack: PackPlan, _to: Root, _plan: Plan) -> Result<Copied, Error> {
    unsupported()
}

pub(crate) struct Root;

impl Root {
    pub(crate) fn there(_dir: OwnedFd) -> Root {
        Root
    }

    pub(crate) fn source(_path: &Path) -> Result<Root, Error> {
        unsupported()
    }

    pub(crate) fn open(_path: &Path) -> Result<Root, Error> {
        unsupported()
    }

    pub(crate) fn made_at(_path: &Path) -> Result<Root, Error> {
        unsupported()
    }
}

/// No value: nothing runs.
#[derive(Debug)]
pub(crate) enum Run {}

impl Run {
    pub(crate) fn check(&mut self) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn progress(&self) -> Progress {
        match *self {}
    }

    pub(crate) fn canceller(&self) -> Canceller {
        match *self {}
    }

    pub(crate) fn wait_until_hungry(&mut self) -> bool {
        match *self {}
    }

    pub(crate) fn finish(self) -> Result<Report, Error> {
        match self {}
    }

    pub(crate) fn abandon(self, _error: io::Error) -> Error {
        match self {}
    }

    pub(crate) fn into_parts(self) -> Result<(OwnedFd, Run), Error> {
        match self {}
    }
}

impl io::Write for Run {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match *self {}
    }
}

#[cfg(unix)]
impl AsFd for Run {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

/// No value either.
#[derive(Debug)]
pub(crate) enum PackRun {}

impl PackRun {
    pub(crate) fn progress(&self) -> Progress {
        match *self {}
    }

    pub(crate) fn canceller(&self) -> Canceller {
        match *self {}
    }

    pub(crate) fn check(&mut self) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn take_pipe(&mut self) -> Option<OwnedFd> {
        match *self {}
    }

    pub(crate) fn finish(self) -> Result<Packed, Error> {
        match self {}
    }
}

/// No value either.
#[cfg(feature = "tokio")]
#[derive(Debug)]
pub(crate) enum Task {}

#[cfg(feature = "tokio")]
impl Task {
    pub(crate) fn new(run: Run) -> Task {
        match run {}
    }

    pub(crate) fn progress(&self) -> Progress {
        match *self {}
    }

    pub(crate) fn canceller(&self) -> Canceller {
        match *self {}
    }
}

/// No value either.
#[cfg(feature = "tokio")]
#[derive(Debug)]
pub(crate) enum PackTask {}

#[cfg(feature = "tokio")]
impl PackTask {
    pub(crate) fn new(run: PackRun) -> Box<PackTask> {
        match run {}
    }

    pub(crate) fn progress(&self) -> Progress {
        match *self {}
    }

    pub(crate) fn canceller(&self) -> Canceller {
        match *self {}
    }

    pub(crate) fn poll_read(
        &mut self,
        _cx: &mut Context<'_>,
        _buffer: &mut ReadBuf<'_>,
    ) -> Poll<Option<Result<Packed, Error>>> {
        match *self {}
    }
}

#[cfg(feature = "tokio")]
impl Future for Task {
    type Output = Result<Report, Error>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn whatever_can_fail_answers_unsupported() {
        let file = || OwnedFd::from(File::open("/").expect("a directory"));
        let (root, plan) = (|| Root::there(file()), Plan::default);
        let errors = [
            this_program().err(),
            open_lower("/".as_ref()).err(),
            Root::open("/".as_ref()).err(),
            Root::made_at("/new".as_ref()).err(),
            spawn(root(), plan()).err(),
            start_fd(root(), plan(), file()).err(),
            run(root(), plan(), file(), &mut || ()).err(),
            start_packing(root(), PackPlan::default(), None).err(),
            copy(root(), PackPlan::default(), root(), plan()).err(),
        ];
        for error in errors {
            let error = error.expect("an error");
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().starts_with("untar-in-root works on Linux only, and this is "), "{error}");
            assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Unsupported);
        }
    }
}
