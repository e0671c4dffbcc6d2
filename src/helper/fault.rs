//! The helper's error: an operation and its cause; the stage and the entry are added where they are known.

use crate::report::{Call, Cause, Descriptor, EntryRef, Namespace, Operand, Operation, Purpose};
use crate::text::Strace;
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
    pub(crate) fn os(errno: Errno, call: Call, arguments: impl Into<Arguments>) -> Fault {
        let Arguments { on, rest } = arguments.into();
        Fault { operation: Some(Operation::new(call, on, rest)), cause: Cause::Os(errno as i32) }
    }

    /// What no call has said, but comes to the same as one that answers with this number.
    pub(crate) fn as_if(errno: Errno) -> Fault {
        Cause::Os(errno as i32).into()
    }

    /// Another file has come to this name or path.
    pub(crate) fn exchanged(name: &[u8]) -> Fault {
        Cause::Exchanged { name: shown(name) }.into()
    }

    /// An attribute that must be set and cannot be.
    pub(crate) fn attribute(name: &[u8], errno: Errno) -> Fault {
        Cause::Attribute { name: shown(name), errno: errno as i32 }.into()
    }

    /// Makes the same fault, where the descriptor alone would not say what it is of.
    pub(crate) fn of(mut self, path: &[u8]) -> Fault {
        if let Some(Operation { on: Operand::Descriptor(of @ (Descriptor::File | Descriptor::Directory)), .. }) =
            &mut self.operation
        {
            *of = Descriptor::Path(shown(path));
        }
        self
    }

    /// Makes the same fault, of a call that was for this.
    pub(crate) fn meant(mut self, purpose: Purpose) -> Fault {
        if let Some(operation) = &mut self.operation {
            operation.purpose = purpose;
        }
        self
    }

    /// Makes the same fault, of a call that was for this, if it was for anything.
    pub(crate) fn meant_if(self, purpose: Option<Purpose>) -> Fault {
        match purpose {
            Some(purpose) => self.meant(purpose),
            None => self,
        }
    }

    /// Makes the same fault, of a call that wants what the new user namespace gives, if it is for nothing else.
    pub(crate) fn in_new_namespace(mut self) -> Fault {
        if let Some(Operation { purpose: purpose @ Purpose::Usual, .. }) = &mut self.operation {
            *purpose = Purpose::InNewNamespace;
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

/// What a call was given: see [`Operation`].
pub(crate) struct Arguments {
    on: Operand,
    rest: String,
}

/// On what is open.
pub(crate) fn on(descriptor: Descriptor) -> Arguments {
    Arguments { on: Operand::Descriptor(descriptor), rest: String::new() }
}

/// On a name in an open directory.
pub(crate) fn at(dir: Descriptor, name: impl AsRef<[u8]>) -> Arguments {
    Arguments { on: Operand::Name { dir, name: shown(name.as_ref()) }, rest: String::new() }
}

fn shown(name: &[u8]) -> Vec<u8> {
    name[..name.len().min(EntryRef::MAX_PATH)].to_vec()
}

impl Arguments {
    /// And the rest.
    pub(crate) fn with(self, rest: impl fmt::Display) -> Arguments {
        Arguments { rest: rest.to_string(), ..self }
    }
}

impl From<Namespace> for Arguments {
    fn from(new: Namespace) -> Arguments {
        Arguments { on: Operand::Namespace(new), rest: String::new() }
    }
}

impl From<&str> for Arguments {
    fn from(rest: &str) -> Arguments {
        Arguments { on: Operand::Nothing, rest: rest.to_owned() }
    }
}

impl From<String> for Arguments {
    fn from(rest: String) -> Arguments {
        Arguments { on: Operand::Nothing, rest }
    }
}

/// Names the call that failed; its arguments are put together only then.
pub(crate) trait Attempt<T> {
    fn call<A: Into<Arguments>>(self, call: Call, arguments: impl FnOnce() -> A) -> Result<T>;
}

impl<T> Attempt<T> for Result<T, Errno> {
    fn call<A: Into<Arguments>>(self, call: Call, arguments: impl FnOnce() -> A) -> Result<T> {
        self.map_err(|errno| Fault::os(errno, call, arguments()))
    }
}

impl<T> Attempt<T> for Result<T, rustix::io::Errno> {
    fn call<A: Into<Arguments>>(self, call: Call, arguments: impl FnOnce() -> A) -> Result<T> {
        self.map_err(|errno| Fault::os(Errno::from_raw(errno.raw_os_error()), call, arguments()))
    }
}

/// A name among the rest, as strace prints it.
pub(crate) fn quoted(name: &[u8]) -> String {
    Strace(name).to_string()
}

/// A mode as strace prints it.
pub(crate) struct Octal(pub(crate) u32);

impl std::fmt::Display for Octal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 < 0o100 { write!(f, "{:03o}", self.0) } else { write!(f, "0{:o}", self.0) }
    }
}
