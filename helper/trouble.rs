//! What can go wrong for the command line: the library's errors and a few of its own.

use crate::{advice, exit, named};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use untar_in_root::{Advice, BadPattern, Cause, Error, ErrorKind, Escaped};

/// Why the program fails.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The run itself, of this subcommand if it is one's.
    Run(Error, &'static str),
    /// The archive could not be opened.
    Archive { path: PathBuf, error: io::Error },
    /// A list of patterns could not be read.
    Patterns { path: PathBuf, error: io::Error },
    /// A line of this list of patterns is none.
    Line { path: PathBuf, line: u64, what: BadPattern, error: Error },
    /// There is no directory to be the jail of a listing.
    Jail(io::Error),
    /// There is no directory for `check` to try things in.
    Scratch { dir: PathBuf, given: bool, error: io::Error },
    /// Standard output is full, or closed.
    Output(io::Error),
    /// A file that is to be made cannot be.
    Made { path: PathBuf, error: io::Error },
    /// Signals could not be set up.
    Signals(io::Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Run(error, "")
    }
}

impl Trouble {
    pub(crate) fn exit(&self) -> u8 {
        match self {
            Trouble::Run(error, _) | Trouble::Line { error, .. } => of_kind(error.kind()),
            _ if self.is_late() => exit::ARCHIVE,
            Trouble::Archive { .. } | Trouble::Made { .. } => exit::IO,
            Trouble::Patterns { .. } => exit::USAGE,
            Trouble::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 128 + nix::libc::SIGPIPE as u8,
            Trouble::Output(_) => exit::IO,
            Trouble::Jail(_) | Trouble::Scratch { .. } | Trouble::Signals(_) => exit::JAIL,
        }
    }

    /// The kind, as the library names it.
    pub(crate) fn kind(&self) -> String {
        match self {
            Trouble::Run(error, _) | Trouble::Line { error, .. } => format!("{:?}", error.kind()),
            _ if self.is_late() => "Limit".to_owned(),
            Trouble::Archive { .. } => "Read".to_owned(),
            Trouble::Patterns { .. } => "Options".to_owned(),
            Trouble::Output(_) | Trouble::Made { .. } => "Output".to_owned(),
            Trouble::Jail(_) | Trouble::Scratch { .. } => "Root".to_owned(),
            Trouble::Signals(_) => "Helper".to_owned(),
        }
    }

    /// The root is none, or cannot be opened.
    pub(crate) fn is_of_root(&self) -> bool {
        self.run_error().is_some_and(|error| error.kind() == ErrorKind::Root)
    }

    /// The time limit was reached while a file that the command line names was waited for.
    fn is_late(&self) -> bool {
        match self {
            Trouble::Archive { error, .. } | Trouble::Made { error, .. } | Trouble::Patterns { error, .. } => {
                named::is_late(error)
            }
            _ => false,
        }
    }

    pub(crate) fn raw_os_error(&self) -> Option<i32> {
        match self {
            Trouble::Run(error, _) | Trouble::Line { error, .. } => error.raw_os_error(),
            Trouble::Archive { error, .. }
            | Trouble::Made { error, .. }
            | Trouble::Patterns { error, .. }
            | Trouble::Jail(error)
            | Trouble::Scratch { error, .. }
            | Trouble::Output(error)
            | Trouble::Signals(error) => error.raw_os_error(),
        }
    }

    pub(crate) fn run_error(&self) -> Option<&Error> {
        match self {
            Trouble::Run(error, _) | Trouble::Line { error, .. } => Some(error),
            _ => None,
        }
    }

    /// The same, of a subcommand, which has options of its own.
    pub(crate) fn of(self, command: &'static str) -> Trouble {
        match self {
            Trouble::Run(error, _) => Trouble::Run(error, command),
            other => other,
        }
    }

    /// The same, where it is about a line of this file.
    pub(crate) fn of_line_in(self, path: Option<&Path>) -> Trouble {
        let line = self.run_error().and_then(Error::failure).and_then(|failure| match failure.cause {
            Cause::IgnoreLine { line, what } => Some((line, what)),
            _ => None,
        });
        match (self, path, line) {
            (Trouble::Run(error, _), Some(path), Some((line, what))) => {
                Trouble::Line { path: path.into(), line, what, error }
            }
            (other, ..) => other,
        }
    }

    /// Which options may help.
    pub(crate) fn options(&self) -> Option<String> {
        match self {
            Trouble::Run(error, command) => error.advice().and_then(|advice| advice::options(advice, command)),
            _ => None,
        }
    }

    /// What may help, by the error number alone, where the program itself met it.
    fn scarcity(&self) -> Option<Advice> {
        match self {
            Trouble::Run(..) => None,
            _ => self.raw_os_error().and_then(Advice::of_open_files),
        }
    }

    /// Nobody reads what we write: nothing to say, and nobody to say it to.
    pub(crate) fn is_quiet(&self) -> bool {
        matches!(self, Trouble::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// The exit status of each kind; see [`exit::TABLE`].
fn of_kind(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Options => exit::USAGE,
        ErrorKind::Digest => exit::DIGEST,
        ErrorKind::Storage | ErrorKind::Read | ErrorKind::Write => exit::IO,
        ErrorKind::Root
        | ErrorKind::Confinement
        | ErrorKind::Helper
        | ErrorKind::Protocol
        | ErrorKind::NotInitialised
        | ErrorKind::Unsupported => exit::JAIL,
        _ => exit::ARCHIVE,
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.happened(f)?;
        self.scarcity().map_or(Ok(()), |advice| write!(f, ": {advice}"))
    }
}

impl Trouble {
    fn happened(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Run(error, _) => match self.options() {
                Some(options) => write!(f, "{error}: {options}"),
                None => write!(f, "{error}"),
            },
            Trouble::Archive { path, error } => {
                write!(f, "opening the archive {:?}: {error}", Escaped(path.as_os_str().as_bytes()))
            }
            Trouble::Patterns { path, error } => {
                write!(f, "reading the patterns in {:?}: {error}", Escaped(path.as_os_str().as_bytes()))
            }
            Trouble::Line { path, line, what, .. } => {
                write!(f, "reading the patterns in {:?}: line {line}: {what}", Escaped(path.as_os_str().as_bytes()))
            }
            Trouble::Jail(error) => write!(
                f,
                "making an empty directory in {:?} (TMPDIR) to read the archive in: {error}; name one: untar-in-root --list ROOT \
                 ARCHIVE",
                Escaped(std::env::temp_dir().as_os_str().as_bytes())
            ),
            Trouble::Scratch { dir, given, error } => {
                let dir = Escaped(dir.as_os_str().as_bytes());
                write!(f, "making a directory in {dir:?} to try things in: {error}")?;
                match (*given, error.kind()) {
                    (false, _) => f.write_str("; name another: untar-in-root check DIR"),
                    (true, io::ErrorKind::NotFound) => f.write_str("; make it first (mkdir -p)"),
                    (true, _) => Ok(()),
                }
            }
            Trouble::Made { path, error } => {
                write!(f, "writing {:?}: {error}", Escaped(path.as_os_str().as_bytes()))
            }
            Trouble::Output(error) => write!(f, "writing to standard output: {error}"),
            Trouble::Signals(error) => write!(f, "setting signals up: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_exit_status() {
        for (kind, want) in [
            (ErrorKind::Archive, 1),
            (ErrorKind::Entry, 1),
            (ErrorKind::Refused, 1),
            (ErrorKind::Limit, 1),
            (ErrorKind::Options, 2),
            (ErrorKind::Root, 3),
            (ErrorKind::Confinement, 3),
            (ErrorKind::Helper, 3),
            (ErrorKind::Protocol, 3),
            (ErrorKind::NotInitialised, 3),
            (ErrorKind::Unsupported, 3),
            (ErrorKind::Digest, 4),
            (ErrorKind::Storage, 5),
            (ErrorKind::Read, 5),
            (ErrorKind::Write, 5),
        ] {
            assert_eq!(of_kind(kind), want, "{kind:?}");
        }
    }
}
