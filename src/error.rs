//! The one error type of the parent, and which of several errors is told.

use crate::wire::{Garbled, Reply};
use crate::{Cause, Digest, ErrorKind, Failure, LayerRef, Report, Stage};
use nix::errno::Errno;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Why a run failed. `Display` is one line for a person; the parts are there for programs.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    detail: Detail,
    report: Option<Box<Report>>,
    stderr: Vec<u8>,
    layer: Option<LayerRef>,
}

#[derive(Debug)]
pub(crate) enum Detail {
    None,
    Failure(Failure),
    /// The helper ended without a reply; `None`: its status could not be had.
    Died(Option<ExitStatus>),
    Garbled(Garbled),
    Io {
        doing: &'static str,
        path: Option<std::path::PathBuf>,
        error: io::Error,
    },
    DigestMismatch {
        which: &'static str,
        expected: Digest,
        actual: Option<Digest>,
    },
    Text(&'static str),
    #[cfg(feature = "image")]
    Image(Box<crate::image::Flaw>),
}

impl Error {
    pub(crate) fn of(kind: ErrorKind) -> Error {
        Error::new(kind, Detail::None)
    }

    pub(crate) fn new(kind: ErrorKind, detail: Detail) -> Error {
        Error(Box::new(Inner { kind, detail, report: None, stderr: Vec::new(), layer: None }))
    }

    pub(crate) fn io(kind: ErrorKind, doing: &'static str, error: impl Into<io::Error>) -> Error {
        Error::new(kind, Detail::Io { doing, path: None, error: error.into() })
    }

    pub(crate) fn io_at(kind: ErrorKind, doing: &'static str, path: &std::path::Path, error: io::Error) -> Error {
        Error::new(kind, Detail::Io { doing, path: Some(path.to_path_buf()), error })
    }

    pub(crate) fn with(mut self, report: Option<Box<Report>>, stderr: Vec<u8>) -> Error {
        self.0.report = report;
        self.0.stderr = stderr;
        self
    }

    #[cfg(feature = "image")]
    pub(crate) fn in_layer(mut self, layer: LayerRef) -> Error {
        self.0.layer = Some(layer);
        self
    }

    /// In which layer of an image, if one was being applied.
    #[must_use]
    pub fn layer(&self) -> Option<LayerRef> {
        self.0.layer
    }

    /// What kind of error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What went wrong in the helper: stage, entry, operation, cause.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match &self.0.detail {
            Detail::Failure(failure) => Some(failure),
            _ => None,
        }
    }

    /// How far the run came; boxed with the error. `None` if the helper did not live to tell.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        self.0.report.as_deref()
    }

    /// The helper's exit status, if it died without a word.
    #[must_use]
    pub fn status(&self) -> Option<ExitStatus> {
        match &self.0.detail {
            Detail::Died(status) => *status,
            _ => None,
        }
    }

    /// The last bytes that the helper wrote to its standard error, at most 8 KiB.
    #[must_use]
    pub fn helper_stderr(&self) -> &[u8] {
        &self.0.stderr
    }

    /// The error number, where a system call failed.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match &self.0.detail {
            Detail::Failure(Failure { cause: Cause::Os(errno), .. }) => Some(*errno),
            Detail::Io { error, .. } => error.raw_os_error(),
            _ => None,
        }
    }

    pub(crate) fn detail(&self) -> &Detail {
        &self.0.detail
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Error");
        // What `main` prints of an error that it returns: for people too.
        fields.field("kind", &self.0.kind).field("message", &self.to_string());
        fields.field("detail", &self.0.detail).finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.detail {
            Detail::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match (error.raw_os_error(), error.kind()) {
            (Some(errno), _) => io::Error::from_raw_os_error(errno).kind(),
            (None, ErrorKind::Archive | ErrorKind::Image | ErrorKind::Digest | ErrorKind::Limit) => {
                io::ErrorKind::InvalidData
            }
            (None, ErrorKind::Refused) => io::ErrorKind::PermissionDenied,
            (None, ErrorKind::Cancelled) => io::ErrorKind::Interrupted,
            (None, ErrorKind::Options) => io::ErrorKind::InvalidInput,
            (None, ErrorKind::Unsupported | ErrorKind::NotInitialised) => io::ErrorKind::Unsupported,
            (None, _) => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// The kind that a helper's failure is to the caller.
fn kind_of(failure: &Failure) -> ErrorKind {
    const FULL: [i32; 4] = [Errno::ENOSPC as i32, Errno::EDQUOT as i32, Errno::EROFS as i32, Errno::EIO as i32];
    match (&failure.cause, failure.stage) {
        (Cause::Panic { .. }, _) => ErrorKind::Helper,
        (Cause::Cancelled, _) => ErrorKind::Cancelled,
        (Cause::Limit { .. }, _) => ErrorKind::Limit,
        (_, Stage::Enter) => ErrorKind::Root,
        (_, Stage::Confine) => ErrorKind::Confinement,
        (_, Stage::Request) => ErrorKind::Protocol,
        (Cause::Os(_), Stage::Read) => ErrorKind::Read,
        // A pattern that does not parse: see `Selection`.
        (Cause::Os(_), _) if failure.operation.as_ref().is_some_and(|o| o.call == "glob") => ErrorKind::Options,
        (Cause::Os(errno), _) if FULL.contains(errno) => ErrorKind::Storage,
        (Cause::Os(_), _) => ErrorKind::Entry,
        (Cause::Malformed { .. } | Cause::Compressed { .. }, _) => ErrorKind::Archive,
        (Cause::LinkTargetMissing { .. }, _) => ErrorKind::Entry,
        (Cause::PathEscapes | Cause::LinkEscapes | Cause::CrossesMount | Cause::Refused(_), _) => ErrorKind::Refused,
    }
}

/// Everything known when a run is over.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) cancelled: bool,
    /// The helper outlived its time limit, in milliseconds.
    pub(crate) expired: Option<u64>,
    /// The helper's memory was limited to so many bytes.
    pub(crate) memory: Option<u64>,
    /// The caller's own reader failed.
    pub(crate) reader: Option<io::Error>,
    pub(crate) reply: Option<Reply>,
    /// How the helper ended; `None` if its status could not be had.
    pub(crate) status: Option<ExitStatus>,
    /// What it said that no helper says.
    pub(crate) garbled: Option<Garbled>,
    pub(crate) stderr: Vec<u8>,
    /// What the parent knows itself: merged into the helper's report.
    pub(crate) known: Known,
    pub(crate) expected_digest: Option<Digest>,
    pub(crate) expected_diff_id: Option<Digest>,
}

/// What the parent does not ask the helper.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) bytes_in: Option<u64>,
    pub(crate) digest: Option<Digest>,
    pub(crate) events: Vec<crate::Event>,
    pub(crate) confinement: Option<crate::Confinement>,
    pub(crate) total_us: u64,
}

/// Decides what is told when several things went wrong: cancelled, the caller's own reader, the helper's
/// failure, its death by signal or exit code, the protocol, then digests.
pub(crate) fn verdict(outcome: Outcome) -> Result<Report, Error> {
    let Outcome {
        cancelled,
        expired,
        memory,
        reader,
        reply,
        status,
        garbled,
        stderr,
        known,
        expected_digest,
        expected_diff_id,
    } = outcome;
    let (report, failure) = match reply {
        Some(reply) => (Some(merge(reply.report, known)), reply.failure),
        None => (known.confinement.is_some().then(|| merge(Report::default(), known)), None),
    };
    let limit = |limit, value| Failure {
        stage: Stage::Read,
        entry: None,
        operation: None,
        cause: Cause::Limit { limit, value },
    };
    let expired = expired.map(|value| limit(crate::Limit::Timeout, value));
    let starved = memory.filter(|_| starved(failure.as_ref(), status, &stderr));
    let starved = starved.map(|value| match &failure {
        Some(failure) => Failure { cause: limit(crate::Limit::Memory, value).cause, ..failure.clone() },
        None => limit(crate::Limit::Memory, value),
    });
    let fail = |error: Error, report: Option<Report>| Err(error.with(report.map(Box::new), stderr));
    if cancelled {
        return fail(Error::of(ErrorKind::Cancelled), report);
    }
    if let Some(error) = reader {
        return fail(Error::io(ErrorKind::Read, "reading the archive", error), report);
    }
    if let Some(failure) = starved.or(failure).or(expired) {
        return fail(Error::new(kind_of(&failure), Detail::Failure(failure)), report);
    }
    if status.is_some_and(|s| !s.success()) || (report.is_none() && garbled.is_none()) {
        return fail(Error::new(kind_of_death(status), Detail::Died(status)), report);
    }
    if let Some(garbled) = garbled {
        return fail(Error::new(ErrorKind::Protocol, Detail::Garbled(garbled)), report);
    }
    let Some(report) = report else {
        return fail(Error::new(ErrorKind::Helper, Detail::Died(status)), None);
    };
    let wrong = mismatch("digest", expected_digest, report.digest)
        .or_else(|| mismatch("diff ID", expected_diff_id, report.diff_id));
    match wrong {
        Some(detail) => fail(Error::new(ErrorKind::Digest, detail), Some(report)),
        None => Ok(report),
    }
}

/// Did the helper run out of memory? A call then fails, or the allocator's last words say so.
fn starved(failure: Option<&Failure>, status: Option<ExitStatus>, stderr: &[u8]) -> bool {
    const WORDS: &[u8] = b"memory allocation of";
    match failure {
        Some(Failure { cause: Cause::Os(errno), operation, .. }) => {
            // clone(2) of a thread without room for its stack: pthread_create(3).
            let clone = operation.as_ref().is_some_and(|operation| operation.call == "clone");
            *errno == Errno::ENOMEM as i32 || clone && *errno == Errno::EAGAIN as i32
        }
        Some(_) => false,
        None => status.is_some_and(|s| s.signal().is_some()) && stderr.windows(WORDS.len()).any(|words| words == WORDS),
    }
}

fn kind_of_death(status: Option<ExitStatus>) -> ErrorKind {
    match status.and_then(|s| s.signal()) {
        Some(signal) if signal == nix::sys::signal::Signal::SIGSYS as i32 => ErrorKind::Confinement,
        _ => ErrorKind::Helper,
    }
}

fn mismatch(which: &'static str, expected: Option<Digest>, actual: Option<Digest>) -> Option<Detail> {
    let expected = expected?;
    (actual != Some(expected)).then_some(Detail::DigestMismatch { which, expected, actual })
}

fn merge(mut report: Report, known: Known) -> Report {
    report.bytes_in = known.bytes_in.unwrap_or(report.bytes_in);
    report.digest = known.digest;
    report.event_count = report.event_count.max(known.events.len() as u64);
    report.events = known.events;
    report.times.total_us = known.total_us;
    if let Some(confinement) = known.confinement {
        report.confinement = confinement;
    }
    report
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::text::error(f, self)
    }
}
