//! How the program ends.

use crate::signals;
use nix::sys::signal::Signal;
use std::process::ExitCode;

/// Done.
pub(crate) const DONE: u8 = 0;
/// The archive, an entry, a policy or a limit.
pub(crate) const ARCHIVE: u8 = 1;
/// Wrong usage; clap's own number, too.
pub(crate) const USAGE: u8 = 2;
/// The root, the confinement, or the helper.
pub(crate) const JAIL: u8 = 3;
/// A digest is not the expected one.
pub(crate) const DIGEST: u8 = 4;
/// Input or output.
pub(crate) const IO: u8 = 5;

/// The table of `--help`.
pub(crate) const TABLE: &str = "\
Exit status:
  0    done
  1    the archive is damaged, an entry could not be applied or is refused, or a limit was reached
  2    wrong usage
  3    the root could not be entered, the helper not be confined, or the helper died
  4    a digest is not the expected one
  5    the disk is full, over quota, read-only or failing, or the archive could not be read or written
  128+N  ended by signal N";

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(u8),
    /// It ends as by this signal, after cleaning up.
    Signal(Signal),
}

impl Exit {
    /// The last thing done.
    pub(crate) fn leave(self) -> ExitCode {
        match self {
            Exit::Code(code) => ExitCode::from(code),
            Exit::Signal(signal) => {
                signals::die_of(signal);
                ExitCode::from(signals::status_of(signal))
            }
        }
    }
}
