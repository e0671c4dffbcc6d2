//! What a store trusts, opened: from its own directory, never through a link, never waiting, and looked at.
//!
//! Each directory and file must belong to this user, and nobody else may be allowed to write to it. Whatever is not so
//! is refused by name, and nothing is made, read or removed there.

use super::storage;
use crate::error::Error;
use crate::image::MAX_DOCUMENT;
use crate::image::problem::Problem;
use crate::image::problem::StoreProblem;
use crate::image::staged::synchronise_names;
use crate::inode;
use crate::kind::ErrorKind;
use crate::linux::opened::DIRECTORY;
use crate::opened::Opened;
use crate::staging::unseen;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const FILE: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

/// The directory that a store is in: not looked at.
const AROUND: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// The store's own directory, if it is there. The one that it is in may be anybody's.
pub(super) fn top(path: &Path) -> Result<Option<OwnedFd>, Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return directory(AT_FDCWD, path.as_os_str(), path);
    };
    match openat(AT_FDCWD, parent, AROUND, Mode::empty()) {
        Ok(parent) => directory(parent.as_fd(), name, path),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(storage("opening", parent, errno.into())),
    }
}

/// Opens the store's own directory, and makes it where it is missing.
pub(super) fn make_top(path: &Path) -> Result<OwnedFd, Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(storage("making", path, Errno::EINVAL.into()));
    };
    let parent = openat(AT_FDCWD, parent, AROUND, Mode::empty());
    let parent = parent.map_err(|errno| unseen(ErrorKind::Storage, path, errno))?;
    make(parent.as_fd(), name, path)
}

/// One of a store's two directories.
pub(super) fn part(store: &Opened, name: &str) -> Result<OwnedFd, Error> {
    let path = store.path().join(name);
    let missing = || Problem::Store(StoreProblem::Incomplete).at(&path);
    directory(store.as_fd(), name.as_ref(), &path)?.ok_or_else(missing)
}

/// Opens a directory of the store, and makes it where it is missing.
pub(super) fn make_part(store: &Opened, name: &str) -> Result<OwnedFd, Error> {
    make(store.as_fd(), name.as_ref(), &store.path().join(name))
}

fn make(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<OwnedFd, Error> {
    match mkdirat(parent, name, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(storage("making", path, errno.into())),
    }
    directory(parent, name, path)?.ok_or_else(|| storage("making", path, Errno::ENOENT.into()))
}

/// A directory of ours, if there is anything of this name; `path` is for messages.
pub(super) fn directory(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Option<OwnedFd>, Error> {
    match openat(parent, name, DIRECTORY, Mode::empty()) {
        Ok(dir) => {
            own(&fstat(&dir).map_err(|errno| storage("looking at", path, errno.into()))?, path).map(|()| Some(dir))
        }
        Err(Errno::ENOENT) => Ok(None),
        Err(Errno::ELOOP | Errno::ENOTDIR) => Err(refused(StoreProblem::NotADirectory, path)),
        Err(errno) => Err(storage("opening", path, errno.into())),
    }
}

/// A layer's tree, which belongs to whom the layer says; in a directory of ours.
pub(super) fn tree(layer: &OwnedFd, path: &Path) -> Result<Option<OwnedFd>, Error> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(layer, "tree", flags, Mode::empty()) {
        Ok(tree) => Ok(Some(tree)),
        Err(Errno::ENOENT) => Ok(None),
        Err(Errno::ELOOP | Errno::ENOTDIR) => Err(refused(StoreProblem::NotADirectory, path)),
        Err(errno) => Err(storage("opening", path, errno.into())),
    }
}

/// Whether there is anything of this name in a directory of ours.
pub(super) fn is_there(dir: BorrowedFd<'_>, name: &str) -> bool {
    !matches!(fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW), Err(Errno::ENOENT))
}

/// What is in a small file of ours, if there is anything of this name.
pub(super) fn read(dir: BorrowedFd<'_>, name: &str, within: &Path) -> Result<Option<Vec<u8>>, Error> {
    let path = within.join(name);
    let Some(file) = file(dir, name, OFlag::O_RDONLY, &path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    // One more than allowed.
    file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).map_err(|error| storage("reading", &path, error))?;
    match bytes.len() as u64 {
        length if length > MAX_DOCUMENT => Err(Problem::DocumentSize(length).at(path)),
        _ => Ok(Some(bytes)),
    }
}

/// A small file, whole and on disk or not there. Only who has the lock writes, so what is left of an earlier try is
/// nobody's.
pub(super) fn write_whole(dir: BorrowedFd<'_>, name: &str, within: &Path, bytes: &[u8]) -> Result<(), Error> {
    let part = format!("{name}.part");
    let failed = |errno: Errno| storage("writing", &within.join(name), errno.into());
    match unlinkat(dir, &*part, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let flags = FILE | OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    let mut file = File::from(openat(dir, &*part, flags, PRIVATE).map_err(failed)?);
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|error| storage("writing", &within.join(name), error))?;
    renameat(dir, &*part, dir, name).map_err(failed)?;
    synchronise_names(dir, within)
}

/// The lock, unless another process has it.
pub(super) fn try_lock(store: &Opened) -> Result<Option<Flock<File>>, Error> {
    let path = store.path().join("lock");
    let made = FILE | OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    let file = loop {
        if let Some(file) = file(store.as_fd(), "lock", OFlag::O_RDWR, &path)? {
            break file;
        }
        match openat(store, "lock", made, PRIVATE) {
            Ok(file) => break File::from(file),
            // Somebody else has made it at the same moment.
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(storage("opening", &path, errno.into())),
        }
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => Ok(None),
        Err((_, errno)) => Err(storage("locking", &path, errno.into())),
    }
}

const PRIVATE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// A file of ours, if there is anything of this name.
fn file(dir: BorrowedFd<'_>, name: &str, how: OFlag, path: &Path) -> Result<Option<File>, Error> {
    let opened = match openat(dir, name, FILE | how, Mode::empty()) {
        Ok(opened) => opened,
        Err(Errno::ENOENT) => return Ok(None),
        Err(Errno::ELOOP | Errno::ENXIO) => return Err(refused(StoreProblem::NotAFile, path)),
        Err(errno) => return Err(storage("opening", path, errno.into())),
    };
    let stat = fstat(&opened).map_err(|errno| storage("looking at", path, errno.into()))?;
    if !inode::is_regular(&stat) {
        return Err(refused(StoreProblem::NotAFile, path));
    }
    own(&stat, path)?;
    match stat.st_nlink {
        1 => Ok(Some(File::from(opened))),
        _ => Err(refused(StoreProblem::Hardlinked, path)),
    }
}

/// Belongs to this user, and nobody else may write to it.
fn own(stat: &FileStat, path: &Path) -> Result<(), Error> {
    if stat.st_uid != geteuid().as_raw() {
        return Err(refused(StoreProblem::Owner { uid: stat.st_uid, user: geteuid().as_raw() }, path));
    }
    match stat.st_mode & 0o7777 {
        mode if mode & 0o022 != 0 => Err(refused(StoreProblem::Writable { mode }, path)),
        _ => Ok(()),
    }
}

fn refused(what: StoreProblem, path: &Path) -> Error {
    Problem::Store(what).at(path)
}

/// What is in a directory.
pub(super) fn names(dir: BorrowedFd<'_>, path: &Path) -> Result<Vec<OsString>, Error> {
    let failed = |errno: Errno| storage("reading", path, errno.into());
    let mut names = Vec::new();
    for entry in Dir::openat(dir, ".", DIRECTORY, Mode::empty()).map_err(failed)?.iter() {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}
