//! Options about what is shown.

use super::values::{self, Word};
use clap::error::ErrorKind;
use untar_in_root::Options;

pub(super) const WHENS: &[Word<When>] = &[
    ("auto", "a bar, if standard error is a terminal", When::Auto),
    ("always", "a bar, or a line a second where there is no terminal", When::Always),
    ("never", "nothing", When::Never),
];

/// When something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Auto,
    Always,
    /// Always, and never in another form.
    Lines,
    Never,
}

/// What is shown.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// List the archive and write nothing; ROOT can be left out
    ///
    /// Lines are those of `TZ=UTC tar -tv --numeric-owner`. The archive is read in the same confinement.
    #[arg(long, short = 't')]
    pub(crate) list: bool,

    /// Write one JSON object to standard output: the report, or what failed
    ///
    /// Its fields: ok, exit, report, error. What may help against an error is its field advice: name, limit, text, and
    /// the options of this program as text, or null where nothing is known. Names are text; one that is not UTF-8 has its bytes in base64 in a
    /// second field, NAME_base64. With --list there is one object {"entry": …} on a line for each entry, and
    /// this one is the last line.
    #[arg(long)]
    pub(crate) json: bool,

    /// Write the name of each entry to standard error before it is unpacked
    #[arg(long, short)]
    pub(crate) verbose: bool,

    /// No warnings, no notes, no bar; errors only
    #[arg(long, short, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Show how far it has come, on standard error
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_value = "auto",
          default_missing_value = "always", value_parser = values::words(WHENS))]
    pub(crate) progress: When,
}

impl Output {
    pub(super) fn check(&self) -> Result<(), (ErrorKind, String)> {
        if self.quiet && self.progress == When::Always {
            let words = "--quiet shows no progress; leave it or --progress out";
            return Err((ErrorKind::ArgumentConflict, words.into()));
        }
        Ok(())
    }

    pub(super) fn set(&self, options: &mut Options) {
        options.list = self.list;
        options.verbose = self.verbose && !self.list;
    }
}
