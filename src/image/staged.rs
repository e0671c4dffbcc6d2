//! Staging as the image module uses it: errors that name the problem, results beneath names of their own.

use super::problem::Problem;
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::linux::emptier;
use crate::opened::Opened;
use crate::program::Program;
use crate::staging::{Made, Place, Staging, moving, unseen};
use nix::errno::Errno;
use nix::fcntl::renameat;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// A directory of mode 0700 that is gone with the value.
pub(super) struct Staged(Staging);

impl Staged {
    /// Makes it in the directory that this place is in; the place must be missing or an empty directory.
    pub(super) fn beside(place: &Path, program: Option<Program>) -> Result<(Staged, Place), Error> {
        let place = Place::look(place).map_err(|errno| match errno {
            Errno::ENOTEMPTY | Errno::EINVAL => Problem::Occupied.at(place),
            Errno::EEXIST | Errno::EBUSY => unseen(ErrorKind::Root, place, errno),
            _ => unseen(ErrorKind::Storage, place, errno),
        })?;
        Ok((Staged(Staging::near(&place, emptier(program))?), place))
    }

    /// Makes it in this directory.
    pub(super) fn inside(dir: &Opened, program: Option<Program>) -> Result<Staged, Error> {
        Staging::inside(dir, emptier(program)).map(Staged)
    }

    /// Its path, for messages and for what the helper opens by name.
    pub(super) fn path(&self) -> PathBuf {
        self.0.path()
    }

    /// A new directory in it, 0755, open.
    pub(super) fn make(&self, name: impl Into<String>) -> Result<Made, Error> {
        let name = name.into();
        let path = self.path().join(&name);
        self.0.make(name).map_err(|errno| Error::io_at(ErrorKind::Storage, "making", &path, errno.into()))
    }

    /// Makes the directory of a layer, which can be handed on as a lower directory as well.
    pub(super) fn make_layer(&self, name: String) -> Result<Opened, Error> {
        let path = self.path().join(&name);
        Ok(Opened::new(self.make(name)?.dir, path))
    }

    /// Writes everything to disk that is in its file system.
    pub(super) fn synchronise(&self) -> Result<(), Error> {
        let failed = |errno: Errno| Error::io_at(ErrorKind::Storage, "synchronising", &self.path(), errno.into());
        self.0.synchronise().map_err(failed)
    }

    /// Puts what was made in it to its place; durable before and after, if that is wanted.
    pub(super) fn commit(self, made: &Made, place: &Place, durable: bool) -> Result<(), Error> {
        if durable {
            self.synchronise()?;
        }
        self.0.put(made, place).map_err(|errno| unmoved(errno, place.path()))?;
        match durable {
            true => place.synchronise().map_err(|errno| unsynchronised(errno, place.path())),
            false => Ok(()),
        }
    }

    /// Puts one of several to a name in an open directory, not synchronised; `path` is for messages.
    pub(super) fn put(&self, name: &str, dir: BorrowedFd<'_>, to: &str, path: &Path) -> Result<(), Error> {
        renameat(&self.0, name, dir, to).map_err(|errno| unmoved(errno, path))
    }
}

impl AsFd for Staged {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Names made in this directory reach the disk.
pub(super) fn synchronise_names(dir: BorrowedFd<'_>, path: &Path) -> Result<(), Error> {
    nix::unistd::fsync(dir).map_err(|errno| unsynchronised(errno, path))
}

fn unsynchronised(errno: Errno, path: &Path) -> Error {
    Error::io_at(ErrorKind::Storage, "synchronising", path, errno.into())
}

fn unmoved(errno: Errno, path: &Path) -> Error {
    match errno {
        Errno::ENOTEMPTY | Errno::EEXIST => Problem::Occupied.at(path),
        _ => Error::io_at(ErrorKind::Storage, moving(errno), path, errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn place(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("untar-in-root-staged-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("scratch");
        dir
    }

    fn names(dir: &Path) -> usize {
        std::fs::read_dir(dir).expect("scratch").count()
    }

    #[test]
    fn whole_or_not_at_all() {
        let dir = place("whole");
        let result = dir.join("result");
        drop(Staged::beside(&result, None).and_then(|(staged, _)| staged.make("root")).expect("made"));
        assert_eq!(names(&dir), 0);
        let (staged, at) = Staged::beside(&result, None).expect("made");
        let made = staged.make("root").expect("made");
        staged.commit(&made, &at, true).expect("committed");
        assert_eq!(names(&dir), 1);
        // Empty: taken again. Not empty: refused, before anything is made.
        drop(Staged::beside(&result, None).expect("empty"));
        std::fs::write(result.join("file"), b"").expect("scratch");
        let error = Staged::beside(&result, None).err().expect("occupied");
        assert_eq!(error.image_problem(), Some(&Problem::Occupied));
        std::fs::remove_dir_all(dir).expect("scratch");
    }
}
