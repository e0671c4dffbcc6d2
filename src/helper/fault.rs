//! The helper's error: an operation and its cause; the stage and the entry are added where they are known.

use crate::{Cause, Operation};

/// Something failed; not yet a [`Failure`](crate::Failure).
#[derive(Debug, PartialEq, Eq)]
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
