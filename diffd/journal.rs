//! How grave a line is, where it goes to the journal: `sd-daemon(3)`, so that `journalctl -p err` shows errors.

use crate::patient::{self, Patient};
use nix::sys::stat::fstat;
use std::io::{self, Stderr, Write};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Standard error.
#[derive(Clone, Copy)]
pub(crate) struct Writer {
    journal: bool,
}

/// One record, which is written at once.
pub(crate) struct Record {
    to: Patient<Stderr>,
    prefix: &'static str,
}

impl Writer {
    /// Whether it is the journal is told by `JOURNAL_STREAM`; who has redirected it since has another file.
    pub(crate) fn new() -> Writer {
        let stream = fstat(io::stderr()).map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
        Writer { journal: std::env::var("JOURNAL_STREAM").ok().is_some_and(|told| stream.as_ref() == Ok(&told)) }
    }

    pub(crate) fn at(self, level: Level) -> Record {
        Record { to: patient::errors(), prefix: if self.journal { priority(level) } else { "" } }
    }
}

/// Of syslog(3).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

impl MakeWriter<'_> for Writer {
    type Writer = Record;

    fn make_writer(&self) -> Record {
        self.at(Level::INFO)
    }

    fn make_writer_for(&self, metadata: &Metadata<'_>) -> Record {
        self.at(*metadata.level())
    }
}

impl Write for Record {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let prefix = std::mem::take(&mut self.prefix);
        if !prefix.is_empty() {
            // With the line itself in one call, so that lines of threads do not mix.
            self.to.write_all(&[prefix.as_bytes(), bytes].concat())?;
            return Ok(bytes.len());
        }
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
