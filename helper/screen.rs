//! Standard error and standard output, which may be closed, full, slow, or one terminal with a bar on it.

use crate::patient::{self, Patient};
use crate::progress::Bar;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use untar_in_root::Progress;

/// What every line of ours begins with.
const NAME: &str = "untar-in-root";

/// Everything that is shown goes through here, so that lines and the bar do not overwrite each other.
pub(crate) struct Screen {
    out: BufWriter<Patient<Stdout>>,
    out_is_terminal: bool,
    /// The first error of standard output.
    failed: Option<io::Error>,
    bar: Option<Bar>,
}

impl Screen {
    pub(crate) fn new() -> Screen {
        let out_is_terminal = io::stdout().is_terminal();
        Screen { out: BufWriter::with_capacity(64 << 10, patient::output()), out_is_terminal, failed: None, bar: None }
    }

    pub(crate) fn set_bar(&mut self, bar: Bar) {
        self.bar = Some(bar);
    }

    /// A line on standard output; false once that has failed.
    pub(crate) fn print(&mut self, line: &dyn Display) -> bool {
        if self.failed.is_none() {
            if self.out_is_terminal {
                self.clear();
            }
            let written = writeln!(self.out, "{line}").and_then(|()| match self.out_is_terminal {
                true => self.out.flush(),
                false => Ok(()),
            });
            self.failed = written.err();
        }
        self.failed.is_none()
    }

    /// A line on standard error; if nobody reads that, there is nothing to be done about it.
    pub(crate) fn note(&mut self, line: &dyn Display) {
        self.clear();
        // One write: standard error is not buffered.
        let _ = patient::errors().write_all(format!("{line}\n").as_bytes());
    }

    /// A line on standard error that says who speaks.
    pub(crate) fn say(&mut self, line: &dyn Display) {
        self.note(&format_args!("{NAME}: {line}"));
    }

    pub(crate) fn progress(&mut self, progress: Progress) {
        if let Some(bar) = &mut self.bar {
            bar.update(progress);
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = &mut self.bar {
            bar.clear();
        }
    }

    /// The bar for good.
    pub(crate) fn end_progress(&mut self) {
        if let Some(mut bar) = self.bar.take() {
            bar.end();
        }
    }

    /// Flushes standard output, and tells how that went from the beginning.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.failed.take().map_or(flushed, Err)
    }
}
