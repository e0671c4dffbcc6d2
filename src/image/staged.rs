//! Staging as the image module uses it: errors that name the problem, results beneath names of their own.

use super::problem::Problem;
use crate::staging::{Staging, moving};
use crate::{Error, ErrorKind, Program};
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

/// A directory of mode 0700 that is gone with the value.
pub(super) struct Staged(Staging);

impl Staged {
    /// In the directory that this place is in; the place must be missing or an empty directory.
    pub(super) fn beside(place: &Path, program: Option<Program>) -> Result<Staged, Error> {
        vacant(place)?;
        Staged::inside(parent(place)?, program)
    }

    /// In this directory.
    pub(super) fn inside(dir: &Path, program: Option<Program>) -> Result<Staged, Error> {
        Staging::inside(dir, program).map(Staged)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A new directory in it, 0755, open.
    pub(super) fn make(&self, name: &str) -> Result<OwnedFd, Error> {
        let failed = |errno: Errno| Error::io_at(ErrorKind::Storage, "making", &self.path().join(name), errno.into());
        self.0.make(name).map_err(failed)
    }

    /// Writes everything to disk that is in its file system.
    pub(super) fn synchronise(&self) -> Result<(), Error> {
        let failed = |errno: Errno| Error::io_at(ErrorKind::Storage, "synchronising", self.path(), errno.into());
        self.0.synchronise().map_err(failed)
    }

    /// Puts what is in it under this name to its place; durable before and after, if that is wanted.
    pub(super) fn commit(self, name: &str, place: &Path, durable: bool) -> Result<(), Error> {
        if durable {
            self.synchronise()?;
        }
        self.put(name, place)?;
        if durable { synchronise_names(parent(place)?) } else { Ok(()) }
    }

    /// The same for one of several, not synchronised.
    pub(super) fn put(&self, name: &str, place: &Path) -> Result<(), Error> {
        self.0.put(name, AT_FDCWD, place).map_err(|errno| match errno {
            Errno::ENOTEMPTY | Errno::EEXIST => Problem::Occupied.at(place),
            _ => Error::io_at(ErrorKind::Storage, moving(errno), place, errno.into()),
        })
    }
}

/// Names made in this directory reach the disk.
pub(super) fn synchronise_names(dir: &Path) -> Result<(), Error> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| Error::io_at(ErrorKind::Storage, "synchronising", dir, error))
}

/// The directory that holds this place.
fn parent(place: &Path) -> Result<&Path, Error> {
    match (place.parent(), place.file_name()) {
        (Some(parent), Some(_)) if parent.as_os_str().is_empty() => Ok(Path::new(".")),
        (Some(parent), Some(_)) => Ok(parent),
        _ => Err(Problem::Occupied.at(place)),
    }
}

fn vacant(place: &Path) -> Result<(), Error> {
    vacant_but(place, &[])
}

/// Missing, or a directory with none but these names.
pub(super) fn vacant_but(place: &Path, but: &[&str]) -> Result<(), Error> {
    let foreign = |entry: std::fs::DirEntry| !but.iter().any(|name| entry.file_name() == *name);
    match std::fs::read_dir(place).map(|names| !names.flatten().any(foreign)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Problem::Occupied.at(place)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io_at(ErrorKind::Root, "looking into", place, error)),
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
        drop(Staged::beside(&result, None).and_then(|staged| staged.make("root")).expect("made"));
        assert_eq!(names(&dir), 0);
        let staged = Staged::beside(&result, None).expect("made");
        staged.make("root").expect("made");
        staged.commit("root", &result, true).expect("committed");
        assert_eq!(names(&dir), 1);
        // Empty: taken again. Not empty: refused, before anything is made.
        drop(Staged::beside(&result, None).expect("empty"));
        std::fs::write(result.join("file"), b"").expect("scratch");
        let error = Staged::beside(&result, None).err().expect("occupied");
        assert_eq!(error.image_problem(), Some(&Problem::Occupied));
        std::fs::remove_dir_all(dir).expect("scratch");
    }
}
