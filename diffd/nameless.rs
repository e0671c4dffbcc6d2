//! The answer to whoever asks for a layer and does not say in whose name: containerd 1.7, so that it asks the next differ,
//! and `check`, which is told what it looks at.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tonic::Status;
use tonic::metadata::MetadataValue;

const WORDS: &str = "untar-in-root-diffd makes layers for containerd 2.0 and later, which says in which namespace: name walking \
                     after it in the list of differs";

/// What the service works with; beside the status, which alone goes on to who asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// Where it looks for blobs.
    pub(crate) content_root: Option<PathBuf>,
    /// Where it finds containerd.
    pub(crate) containerd: Option<PathBuf>,
}

const CONTENT_ROOT: &str = "content-root-bin";
const CONTAINERD: &str = "containerd-address-bin";

/// The diff service falls through to the next differ on this code and on no other.
pub(crate) fn answer(content_root: &Path, containerd: &Path) -> Status {
    let mut status = Status::unimplemented(WORDS);
    for (key, path) in [(CONTENT_ROOT, content_root), (CONTAINERD, containerd)] {
        status.metadata_mut().insert_bin(key, MetadataValue::from_bytes(path.as_os_str().as_bytes()));
    }
    status
}

/// What it says, if it is the answer of a service like this one, of this version or another.
pub(crate) fn understood(status: &Status) -> Option<Places> {
    let ours = status.code() == tonic::Code::Unimplemented && status.message().starts_with("untar-in-root-diffd ");
    let path = |key: &'static str| {
        let bytes = status.metadata().get_bin(key)?.to_bytes().ok()?;
        Some(PathBuf::from(OsStr::from_bytes(&bytes)))
    };
    ours.then(|| Places { content_root: path(CONTENT_ROOT), containerd: path(CONTAINERD) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood_and_others_words_are_not() {
        let places = |root: Option<&str>, at: Option<&str>| {
            Some(Places { content_root: root.map(Into::into), containerd: at.map(Into::into) })
        };
        assert_eq!(understood(&answer(Path::new("/c"), Path::new("/s"))), places(Some("/c"), Some("/s")));
        let earlier = Status::unimplemented("untar-in-root-diffd applies layers and makes none");
        assert_eq!(understood(&earlier), places(None, None));
        assert_eq!(understood(&Status::unimplemented("another")), None);
        assert_eq!(understood(&Status::internal("untar-in-root-diffd ")), None);
    }
}
