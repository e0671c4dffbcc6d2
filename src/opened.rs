//! What the program is given by name is opened once, into a value that is handed on in the name's place.
//!
//! The name stays beside it for messages, and for the one thing that only a name can do: a lower directory is cloned
//! by the helper in a mount namespace of its own, where no descriptor from outside counts. What the helper finds
//! there must be the inode that was opened here.

use crate::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open directory, and the name that it had then.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    dir: Arc<OwnedFd>,
    path: PathBuf,
}

impl Opened {
    /// A directory that is open already.
    pub(crate) fn new(dir: OwnedFd, path: impl Into<PathBuf>) -> Opened {
        Opened { dir: Arc::new(dir), path: path.into() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn dir(&self) -> &OwnedFd {
        &self.dir
    }
}

/// A lower directory of an overlay, open: [`Overlay::over`](crate::Overlay::over) takes it.
///
/// The helper finds it by its name again, in a mount namespace of its own; what it finds must be the directory that was
/// opened here. Two are equal if one is a clone of the other.
#[derive(Clone, Debug)]
pub struct Lower(pub(crate) Opened);

impl Lower {
    /// The name that it was opened by, made absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl PartialEq for Lower {
    fn eq(&self, other: &Lower) -> bool {
        Arc::ptr_eq(&self.0.dir, &other.0.dir)
    }
}

impl Eq for Lower {}
