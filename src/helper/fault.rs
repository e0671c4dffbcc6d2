//! The helper's error: an operation and its cause; the stage and the entry are added where they are known.

use crate::report::{Cause, Operation};
use crate::text::Escaped;
use nix::errno::Errno;
use std::fmt;

/// Something failed; not yet a [`Failure`](crate::Failure).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) operation: Option<Operation>,
    pub(crate) cause: Cause,
}

pub(crate) type Result<T, E = Fault> = std::result::Result<T, E>;

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Fault {
        Fault { operation: None, cause }
    }
}

impl Fault {
    /// A call that failed.
    pub(crate) fn os(errno: Errno, call: &'static str, arguments: impl fmt::Display) -> Fault {
        Fault { operation: Some(Operation::new(call, arguments)), cause: Cause::Os(errno as i32) }
    }

    /// Makes the same fault, where the descriptor alone would not say what it is of.
    pub(crate) fn on(mut self, path: &[u8]) -> Fault {
        if let Some(operation) = &mut self.operation {
            operation.arguments = operation.arguments.replacen("fd", &quoted(path), 1);
        }
        self
    }

    pub(crate) fn errno(&self) -> Option<Errno> {
        match self.cause {
            Cause::Os(errno) => Some(Errno::from_raw(errno)),
            _ => None,
        }
    }
}

/// Names the call that failed; its arguments are put together only then.
pub(crate) trait Call<T> {
    fn call<D: fmt::Display>(self, call: &'static str, arguments: impl FnOnce() -> D) -> Result<T>;
}

impl<T> Call<T> for Result<T, Errno> {
    fn call<D: fmt::Display>(self, call: &'static str, arguments: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|errno| Fault::os(errno, call, arguments()))
    }
}

impl<T> Call<T> for Result<T, rustix::io::Errno> {
    fn call<D: fmt::Display>(self, call: &'static str, arguments: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|errno| Fault::os(Errno::from_raw(errno.raw_os_error()), call, arguments()))
    }
}

/// A file name as strace prints it.
pub(crate) fn quoted(name: &[u8]) -> String {
    format!("{:?}", Escaped(name))
}
