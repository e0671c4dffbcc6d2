//! The one error type of the parent.

use crate::kind::ErrorKind;
use crate::report::{Advice, Digest, Failure, LayerRef, Report};
use std::io;
use std::process::ExitStatus;

/// Why a run failed. `Display` is one line for a person; the parts are there for programs.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    detail: Detail,
    report: Option<Box<Report>>,
    stderr: Vec<u8>,
    layer: Option<LayerRef>,
    /// The directory for staging that has no room.
    staging: Option<Box<std::path::Path>>,
    advice: Option<Advice>,
}

#[derive(Debug)]
pub(crate) enum Detail {
    None,
    Failure(Failure),
    /// The helper ended without a reply; `None`: its status could not be had.
    Died(Option<Death>),
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
    Advised(&'static str, Advice),
    /// What a part of the crate that stands on this one has to say, in its own words.
    #[cfg(feature = "image")]
    Part(Box<dyn std::error::Error + Send + Sync>),
}

/// How a helper ended that gave no reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death {
    pub(crate) status: ExitStatus,
    /// The signal that killed it: its number, and its name if it has one.
    pub(crate) signal: Option<(i32, Option<&'static str>)>,
    /// If that was SIGSYS.
    pub(crate) filtered: Filtered,
}

/// A filter on system calls has killed the helper.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Filtered {
    /// The helper's own was in force by then; `None` if nobody knows.
    pub(crate) own: Option<bool>,
    /// This process is under one, and so the helper.
    pub(crate) around: bool,
    /// The number of the call, and its name, where the kernel has told them.
    pub(crate) call: Option<(i32, Option<&'static str>)>,
}

/// How a peer can fail to speak the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Garbled {
    Magic,
    Version(u32),
    /// A frame over the limit, both in bytes.
    Length {
        bytes: u32,
        most: usize,
    },
    Content,
    /// The peer closed in the middle of a frame.
    Cut,
    /// A frame that may not come now, or too many of them.
    Unexpected,
}

impl Error {
    pub(crate) fn of(kind: ErrorKind) -> Error {
        Error::new(kind, Detail::None)
    }

    pub(crate) fn new(kind: ErrorKind, detail: Detail) -> Error {
        Error(Box::new(Inner {
            kind,
            detail,
            report: None,
            stderr: Vec::new(),
            layer: None,
            staging: None,
            advice: None,
        }))
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

    /// Says what may help, where the failure itself does not.
    pub(crate) fn advised(mut self, advice: Advice) -> Error {
        self.0.advice = Some(advice);
        self
    }

    #[cfg(feature = "image")]
    pub(crate) fn in_layer(mut self, layer: LayerRef) -> Error {
        self.0.layer = Some(layer);
        self
    }

    /// The same, if room was what lacked while an archive was unpacked in this directory.
    #[cfg(feature = "image")]
    pub(crate) fn in_staging(mut self, dir: &std::path::Path) -> Error {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let kind = self.raw_os_error().map(|errno| io::Error::from_raw_os_error(errno).kind());
        if matches!(kind, Some(StorageFull | QuotaExceeded | FileTooLarge | ReadOnlyFilesystem)) {
            self.0.staging = Some(dir.into());
        }
        self
    }

    pub(crate) fn staging(&self) -> Option<&std::path::Path> {
        self.0.staging.as_deref()
    }

    /// The layer of an image that was being applied, if one was.
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

    /// What may help, where that is known: [`Failure::advice`], in the light of how the helper was confined.
    #[must_use]
    pub fn advice(&self) -> Option<Advice> {
        if self.staging().is_some() {
            return Some(Advice::StagingElsewhere);
        }
        match &self.0.detail {
            Detail::Failure(failure) => failure.advice_within(self.report().map(|report| &report.confinement)),
            Detail::Io { error, .. } => Advice::of_parent(error, self.0.kind).or(self.0.advice),
            #[cfg(feature = "image")]
            Detail::Advised(_, advice) => Some(*advice),
            _ => self.0.advice,
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
            Detail::Died(death) => death.as_ref().map(|death| death.status),
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
            Detail::Failure(failure) => failure.cause.raw_os_error(),
            Detail::Io { error, .. } => error.raw_os_error(),
            _ => None,
        }
    }

    pub(crate) fn detail(&self) -> &Detail {
        &self.0.detail
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.detail {
            Detail::Failure(failure) => Some(failure),
            Detail::Io { error, .. } => Some(error),
            #[cfg(feature = "image")]
            Detail::Part(part) => Some(&**part),
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
