//! What becomes of a failure: a gRPC status with one line for the person at the pull.
//!
//! containerd repeats nothing, whatever the code, so a code is for people, metrics and clients of the CRI. ALREADY_EXISTS
//! is never answered: containerd takes it for success. What the host's directories are called stays in the log.

use crate::blob::Lacking;
use crate::mounts::Unusable;
use std::io;
use tonic::{Code, Status};
use untar_in_root::{Error, ErrorKind};

/// Why a layer was not applied.
#[derive(Debug)]
pub(crate) enum Trouble {
    NoDescriptor,
    MediaType(String),
    Mounts(Unusable),
    Blob(Lacking),
    Apply(Error),
    InUserNamespace,
    /// The thread that waits for the helper has panicked.
    Bug,
}

impl From<Lacking> for Trouble {
    fn from(lacking: Lacking) -> Trouble {
        Trouble::Blob(lacking)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Apply(error)
    }
}

impl From<Unusable> for Trouble {
    fn from(unusable: Unusable) -> Trouble {
        Trouble::Mounts(unusable)
    }
}

impl From<&Trouble> for Status {
    fn from(trouble: &Trouble) -> Status {
        Status::new(code(trouble), text(trouble))
    }
}

/// The code, also the label of the metric.
pub(crate) fn code(trouble: &Trouble) -> Code {
    match trouble {
        Trouble::NoDescriptor | Trouble::Mounts(Unusable::Bad(_)) | Trouble::Blob(Lacking::Digest(_)) => {
            Code::InvalidArgument
        }
        Trouble::MediaType(_) | Trouble::Mounts(Unusable::NotOurs(_)) | Trouble::InUserNamespace => Code::Unimplemented,
        Trouble::Blob(Lacking::Missing(_)) => Code::NotFound,
        Trouble::Blob(Lacking::Size { .. }) => Code::DataLoss,
        Trouble::Blob(Lacking::NoFile(_) | Lacking::Io(_)) | Trouble::Bug => Code::Internal,
        Trouble::Apply(error) => of_error(error),
    }
}

fn of_error(error: &Error) -> Code {
    match error.kind() {
        ErrorKind::Archive | ErrorKind::Digest => Code::DataLoss,
        ErrorKind::Refused | ErrorKind::Limit => Code::FailedPrecondition,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Root if error.raw_os_error() == Some(nix::libc::ENOENT) => Code::NotFound,
        _ if error.raw_os_error().is_some_and(is_full) => Code::ResourceExhausted,
        _ => Code::Internal,
    }
}

fn is_full(errno: i32) -> bool {
    use nix::libc::{EDQUOT, EMFILE, ENFILE, ENOMEM, ENOSPC};
    [ENOSPC, EDQUOT, ENOMEM, EMFILE, ENFILE].contains(&errno)
}

fn text(trouble: &Trouble) -> String {
    match trouble {
        Trouble::NoDescriptor => "the request has no descriptor".into(),
        Trouble::MediaType(media_type) => format!("a layer of media type {:?} is not applied here", start(media_type)),
        Trouble::Mounts(Unusable::NotOurs(what)) => format!("not applied here: {what}"),
        Trouble::Mounts(Unusable::Bad(what)) => format!("the mounts are of no use: {what}"),
        Trouble::InUserNamespace => "not in a user namespace: devices could not be made here".into(),
        Trouble::Bug => "a thread of untar-in-root-diffd has panicked; its log says where".into(),
        Trouble::Blob(lacking) => of_blob(lacking),
        Trouble::Apply(error) => of_apply(error),
    }
}

/// Others' words, which may be megabytes.
pub(crate) fn start(text: &str) -> String {
    text.chars().take(256).collect()
}

fn of_blob(lacking: &Lacking) -> String {
    match lacking {
        Lacking::Digest(text) => format!("{:?} is no SHA-256 digest", start(text)),
        Lacking::Missing(digest) => format!("the content store has no {digest}"),
        Lacking::Size { expected, actual } => {
            format!("the blob has {actual} bytes, and its descriptor says {expected}")
        }
        Lacking::NoFile(digest) => format!("{digest} is no regular file in the content store"),
        Lacking::Io(error) => format!("opening the blob: {}", bare(error)),
    }
}

/// The helper's own words know names inside the snapshot alone; the parent's may name directories of the host.
fn of_apply(error: &Error) -> String {
    match (error.kind(), error.failure(), error.raw_os_error()) {
        (_, Some(failure), _) => failure.to_string(),
        (ErrorKind::Root, _, Some(errno)) => {
            format!("a directory of the snapshot cannot be entered: {}", bare(&io::Error::from_raw_os_error(errno)))
        }
        (_, _, Some(errno)) => bare(&io::Error::from_raw_os_error(errno)),
        (_, _, None) => error.to_string(),
    }
}

/// Without a path, which `io::Error` has only where std was given one.
fn bare(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.kind().to_string(), |n| io::Error::from_raw_os_error(n).to_string())
}
