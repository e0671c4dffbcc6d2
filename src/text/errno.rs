//! Error numbers as `strace(1)` prints them.

#[cfg(target_os = "linux")]
use nix::errno::Errno;
use std::fmt;

/// `ENOSPC (No space left on device)`.
pub(super) struct Number(pub(super) i32);

impl fmt::Display for Number {
    #[cfg(target_os = "linux")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Errno::from_raw(self.0) {
            Errno::UnknownErrno => write!(f, "error {}", self.0),
            errno => write!(f, "{errno:?} ({})", errno.desc()),
        }
    }

    /// Reports come from Linux, whose numbers mean something else on other systems.
    #[cfg(not(target_os = "linux"))]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux error {}", self.0)
    }
}

/// Prints errors of the standard library, which need not have a number.
pub(super) struct Io<'a>(pub(super) &'a std::io::Error);

impl fmt::Display for Io<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.raw_os_error() {
            Some(number) => Number(number).fmt(f),
            None => super::Tame(&self.0.to_string()).fmt(f),
        }
    }
}
