//! What kinds of error there are.

/// What kind of error, for a caller that decides what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The archive is malformed, damaged or cut short.
    Archive,
    /// An entry could not be applied: the kernel refused a call.
    Entry,
    /// An entry is refused: it escapes, crosses a mount, or a policy forbids it.
    Refused,
    /// A limit was reached.
    Limit,
    /// An image's layout, manifest or configuration is not what it should be.
    Image,
    /// A digest is not the expected one.
    Digest,
    /// The file system is full, over quota, read-only or failing.
    Storage,
    /// The archive could not be read: the caller's reader or the descriptor failed.
    Read,
    /// A packed archive could not be written: the caller's writer or the descriptor failed, or nobody reads it.
    Write,
    /// The root is missing, not a directory, or cannot be entered.
    Root,
    /// Confinement could not be had, or the helper was stopped for violating it.
    Confinement,
    /// The helper could not be started, died, or panicked.
    Helper,
    /// The other side is not a helper of this version.
    Protocol,
    /// The caller cancelled.
    Cancelled,
    /// [`Program::this`](crate::Program::this) was called without `helper::init()` or `helper_at_start!`.
    NotInitialised,
    /// The options contradict each other.
    Options,
    /// This system is not Linux.
    Unsupported,
}
