//! Why a run failed, as a test expects it: by the types that an importer has, never by their debug text.

use rustix::io::Errno;
use untar_in_root::{Call, Cause, Damage, Error, Failure, Limit, LooksLike, Malformed, Refusal};

/// A cause. What depends on where the archive is (an offset, a name, the value of a limit) is left out, unless it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The kernel's answer, whatever the call.
    Os(Errno),
    /// The kernel's answer to this call.
    Call(Call, Errno),
    /// The kernel's answer to an attribute that must be set.
    Attribute(Errno),
    Refused(Refusal),
    Limit(Limit),
    Malformed(Malformed),
    /// At this byte of the uncompressed stream.
    MalformedAt(Malformed, u64),
    Compressed(Damage),
    NotTar(LooksLike),
    PathEscapes,
    LinkEscapes,
    LinkTargetMissing,
}

impl Expected {
    /// Is it why this failed?
    pub fn is_of(self, failure: &Failure) -> bool {
        match (self, &failure.cause) {
            (Expected::Os(want), Cause::Os(told)) => want.raw_os_error() == *told,
            (Expected::Call(call, want), Cause::Os(told)) => {
                want.raw_os_error() == *told && failure.operation.as_ref().is_some_and(|made| made.call == call)
            }
            (Expected::Attribute(want), Cause::Attribute { errno, .. }) => want.raw_os_error() == *errno,
            (Expected::Refused(want), Cause::Refused(told)) => want == *told,
            (Expected::Limit(want), Cause::Limit { limit, .. }) => want == *limit,
            (Expected::Malformed(want), Cause::Malformed { what, .. }) => want == *what,
            (Expected::MalformedAt(want, at), Cause::Malformed { what, offset }) => (want, at) == (*what, *offset),
            (Expected::Compressed(want), Cause::Compressed { what, .. }) => want == *what,
            (Expected::NotTar(want), Cause::NotTar { looks_like, .. }) => want == *looks_like,
            (Expected::PathEscapes, Cause::PathEscapes) => true,
            (Expected::LinkEscapes, Cause::LinkEscapes) => true,
            (Expected::LinkTargetMissing, Cause::LinkTargetMissing { .. }) => true,
            _ => false,
        }
    }

    /// This error is of that cause.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn assert_of(self, error: &Error) {
        let failure =
            error.failure().unwrap_or_else(|| panic!("wanted {self:?}, and the helper told nothing: {error:?}"));
        assert!(self.is_of(failure), "wanted {self:?}, got {failure:?}");
    }
}

impl From<Errno> for Expected {
    fn from(errno: Errno) -> Expected {
        Expected::Os(errno)
    }
}

impl From<(Call, Errno)> for Expected {
    fn from((call, errno): (Call, Errno)) -> Expected {
        Expected::Call(call, errno)
    }
}

impl From<Refusal> for Expected {
    fn from(refusal: Refusal) -> Expected {
        Expected::Refused(refusal)
    }
}

impl From<Limit> for Expected {
    fn from(limit: Limit) -> Expected {
        Expected::Limit(limit)
    }
}

impl From<Malformed> for Expected {
    fn from(malformed: Malformed) -> Expected {
        Expected::Malformed(malformed)
    }
}

impl From<(Malformed, u64)> for Expected {
    fn from((malformed, offset): (Malformed, u64)) -> Expected {
        Expected::MalformedAt(malformed, offset)
    }
}

impl From<LooksLike> for Expected {
    fn from(looks_like: LooksLike) -> Expected {
        Expected::NotTar(looks_like)
    }
}

impl From<Damage> for Expected {
    fn from(damage: Damage) -> Expected {
        Expected::Compressed(damage)
    }
}
