//! What an open file turns into on each system: the type that callers hand over.

#[cfg(not(any(unix, windows)))]
pub(crate) use std::fs::File as OwnedFd;
#[cfg(unix)]
pub(crate) use std::os::fd::OwnedFd;
#[cfg(windows)]
pub(crate) use std::os::windows::io::OwnedHandle as OwnedFd;
