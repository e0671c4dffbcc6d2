//! How directories are opened and looked at.

use crate::error::Error;
use crate::kind::ErrorKind;
use crate::opened::Opened;
use crate::wire::LowerName;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// How a directory is opened: for reading, never through a link at its end, never waiting.
pub(crate) const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);
/// Only held, not read.
pub(super) const HELD: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

impl Opened {
    /// The directory that a caller has named, for reading; links are the caller's business.
    pub(crate) fn named(path: &Path) -> Result<Opened, Errno> {
        let dir = openat(AT_FDCWD, path, DIRECTORY & !OFlag::O_NOFOLLOW, Mode::empty())?;
        Ok(Opened::new(dir, path))
    }
}

impl AsFd for Opened {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir().as_fd()
    }
}

/// The lower directory that a caller has named: its mount is not of this process's making, so it is only held.
pub(crate) fn open_lower(path: &Path) -> Result<Opened, Error> {
    let failed = |error| Error::io_at(ErrorKind::Root, "opening the lower directory", path, error);
    // The helper's working directory is the root, so a relative name must not wait until then.
    let path = std::path::absolute(path).map_err(failed)?;
    let dir = openat(AT_FDCWD, &path, HELD, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    Ok(Opened::new(dir, path))
}

/// What the helper is told of a lower directory.
pub(super) fn name_of_lower(lower: &Opened) -> Result<LowerName, Error> {
    let failed = |errno: Errno| Error::io_at(ErrorKind::Root, "looking at", lower.path(), errno.into());
    let stat = fstat(lower).map_err(failed)?;
    Ok(LowerName { path: lower.path().to_path_buf(), device: stat.st_dev, inode: stat.st_ino })
}
