//! `/proc`, which is believed only where it is the kernel's: `proc(5)`.
//!
//! In a root that somebody else has filled its names may be anybody's, programs too.

use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};
use std::io;

pub(crate) fn is_mounted() -> bool {
    statfs("/proc").is_ok_and(|found| found.filesystem_type() == PROC_SUPER_MAGIC)
}

/// The program that runs.
pub(crate) fn this_program() -> io::Result<&'static str> {
    if is_mounted() { Ok("/proc/self/exe") } else { Err(io::Error::other("/proc is not mounted")) }
}

#[allow(clippy::disallowed_methods, reason = "nobody has named it")]
/// What the kernel says of this process; empty where there is nothing to be had.
pub(crate) fn status() -> String {
    let read = is_mounted().then(|| std::fs::read_to_string("/proc/self/status"));
    read.and_then(Result::ok).unwrap_or_default()
}
