//! What the program is given by name is opened once, into a value that is handed on in the name's place.
//!
//! The name stays beside it for messages, and for the one thing that only a name can do: a lower directory is cloned
//! by the helper in a mount namespace of its own, where no descriptor from outside counts. What the helper finds
//! there must be the inode that was opened here.

use crate::error::Error;
use crate::kind::ErrorKind;
use crate::wire::LowerName;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a directory is opened: for reading, never through a link at its end, never waiting.
pub(crate) const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

/// An open directory, and the name that it had then.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    dir: Arc<OwnedFd>,
    path: PathBuf,
}

impl Opened {
    /// The directory that a caller has named, for reading; links are the caller's business.
    pub(crate) fn named(path: &Path) -> Result<Opened, Errno> {
        let dir = openat(AT_FDCWD, path, DIRECTORY & !OFlag::O_NOFOLLOW, Mode::empty())?;
        Ok(Opened::new(dir, path))
    }

    /// A directory that is open already.
    pub(crate) fn new(dir: OwnedFd, path: impl Into<PathBuf>) -> Opened {
        Opened { dir: Arc::new(dir), path: path.into() }
    }

    /// The lower directory that a caller has named: its mount is not of this process's making, so it is only held.
    pub(crate) fn lower(path: &Path) -> Result<Opened, Error> {
        let failed = |error| Error::io_at(ErrorKind::Root, "opening the lower directory", path, error);
        // The helper's working directory is the root, so a relative name must not wait until then.
        let path = std::path::absolute(path).map_err(failed)?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = openat(AT_FDCWD, &path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        Ok(Opened::new(dir, path))
    }

    /// What the helper is told of it.
    pub(crate) fn as_lower(&self) -> Result<LowerName, Error> {
        let failed = |errno: Errno| Error::io_at(ErrorKind::Root, "looking at", &self.path, errno.into());
        let stat = fstat(&self.dir).map_err(failed)?;
        Ok(LowerName { path: self.path.clone(), device: stat.st_dev, inode: stat.st_ino })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    #[cfg(feature = "image")]
    pub(crate) fn dir(&self) -> &OwnedFd {
        &self.dir
    }
}

impl AsFd for Opened {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// A lower directory of an overlay, open: [`Overlay::over`](crate::Overlay::over) takes it.
///
/// The helper finds it by its name again, in a mount namespace of its own; what it finds must be the directory that was
/// opened here. Two are equal if one is a clone of the other.
#[derive(Clone, Debug)]
pub struct Lower(pub(crate) Opened);

impl Lower {
    /// Opens the directory of this name; a relative one is taken from the working directory as it is now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Root`] if it is missing or not a directory.
    pub fn open(path: impl AsRef<Path>) -> Result<Lower, Error> {
        Opened::lower(path.as_ref()).map(Lower)
    }

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
