//! Results in the making: beside their place, closed to others, renamed when whole, gone otherwise.
//!
//! A staging directory has a name that begins with [`PREFIX`], mode 0700, and is locked (`flock(2)`) for as long as
//! its process lives. Whoever makes one first removes those beside it that nobody holds any more: what a killed
//! process left is gone with the next run. Everything is done from open directories.

mod sweep;

use crate::{Error, ErrorKind, Program};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode as Bits, fchmod, fstat, fstatat, mkdirat};
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use sweep::{remove, sweep};

pub(crate) const PREFIX: &str = ".untar-in-root-staging-";
const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Where a result is to appear: a name in an open directory.
pub(crate) struct Place {
    parent: OwnedFd,
    name: OsString,
    path: PathBuf,
}

impl Place {
    /// The directory that it is in must exist; itself it must be missing or an empty directory, no symlink, nothing
    /// mounted on it.
    pub(crate) fn open(path: &Path) -> Result<Place, Error> {
        let failed = |errno: Errno| Error::io_at(ErrorKind::Root, "looking where to make", path, errno.into());
        let (Some(dir), Some(name)) = (parent(path), path.file_name()) else { return Err(failed(Errno::EINVAL)) };
        let parent = openat(AT_FDCWD, dir, DIRECTORY & !OFlag::O_NOFOLLOW, Bits::empty()).map_err(failed)?;
        let place = Place { parent, name: name.to_owned(), path: path.to_path_buf() };
        place.vacant().map_err(failed)?;
        Ok(place)
    }

    /// The empty directory that is there, if any.
    fn vacant(&self) -> Result<Option<FileStat>, Errno> {
        let there = match openat(&self.parent, &*self.name, DIRECTORY, Bits::empty()) {
            Ok(dir) => dir,
            Err(Errno::ENOENT) => return Ok(None),
            // O_NOFOLLOW at a symlink.
            Err(Errno::ELOOP | Errno::ENOTDIR) => return Err(Errno::EEXIST),
            Err(errno) => return Err(errno),
        };
        let stat = fstat(&there)?;
        if stat.st_dev != fstat(&self.parent)?.st_dev {
            return Err(Errno::EBUSY);
        }
        match Dir::from_fd(there)?.iter().flatten().all(|entry| is_dot(entry.file_name())) {
            true => Ok(Some(stat)),
            false => Err(Errno::ENOTEMPTY),
        }
    }
}

/// A directory of mode 0700 that is gone with the value.
pub(crate) struct Staging {
    parent: OwnedFd,
    path: PathBuf,
    lock: Flock<File>,
    program: Option<Program>,
}

impl Staging {
    /// In the directory that this place is in, its result an empty directory in it, open: with mode 0755, or owner
    /// and mode of the empty directory that it will take the place of.
    pub(crate) fn beside(place: &Place, program: Option<Program>) -> Result<(Staging, OwnedFd), Error> {
        let parent = place.parent.try_clone();
        let parent = parent.map_err(|error| Error::io(ErrorKind::Root, "duplicating a descriptor", error))?;
        let staging = Staging::make_in(parent, parent_name(&place.path), program)?;
        let failed = |errno: Errno| Error::io_at(ErrorKind::Root, "making", &place.path, errno.into());
        let there = place.vacant().map_err(failed)?;
        let made = staging.make("root").map_err(failed)?;
        if let Some(stat) = there {
            use nix::unistd::{Gid, Uid, fchown};
            let mine = fstat(&made).map_err(failed)?;
            if (mine.st_uid, mine.st_gid) != (stat.st_uid, stat.st_gid) {
                let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
                fchown(&made, Some(uid), Some(gid)).map_err(failed)?;
            }
            fchmod(&made, Bits::from_bits_truncate(stat.st_mode)).map_err(failed)?;
        }
        Ok((staging, made))
    }

    /// In this directory.
    #[cfg(any(test, feature = "image"))]
    pub(crate) fn inside(dir: &Path, program: Option<Program>) -> Result<Staging, Error> {
        let parent = openat(AT_FDCWD, dir, DIRECTORY & !OFlag::O_NOFOLLOW, Bits::empty());
        let parent = parent.map_err(|errno| failure(dir, errno))?;
        Staging::make_in(parent, dir, program)
    }

    fn make_in(parent: OwnedFd, dir: &Path, program: Option<Program>) -> Result<Staging, Error> {
        sweep(parent.as_fd(), program.as_ref());
        loop {
            let name = format!("{PREFIX}{:016x}", RandomState::new().build_hasher().finish());
            match mkdirat(&parent, &*name, Bits::S_IRWXU) {
                Err(Errno::EEXIST) => continue,
                made => made.map_err(|errno| failure(dir, errno))?,
            }
            match take(parent.as_fd(), &name) {
                Ok(lock) if is_at(&lock, parent.as_fd(), &name) => {
                    return Ok(Staging { parent, path: dir.join(name), lock, program });
                }
                // Another process took it for a dead one's before it was locked.
                Ok(_) | Err(Errno::ENOENT | Errno::EWOULDBLOCK) => {}
                Err(errno) => return Err(failure(dir, errno)),
            }
        }
    }

    #[cfg(any(test, feature = "image"))]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A new directory in it, 0755 whatever the umask, open.
    pub(crate) fn make(&self, name: &str) -> Result<OwnedFd, Errno> {
        mkdirat(&*self.lock, name, Bits::S_IRWXU)?;
        let made = openat(&*self.lock, name, DIRECTORY, Bits::empty())?;
        fchmod(&made, Bits::from_bits_truncate(0o755))?;
        Ok(made)
    }

    /// Writes everything to disk that is in its file system.
    #[cfg(feature = "image")]
    pub(crate) fn synchronise(&self) -> Result<(), Errno> {
        nix::unistd::syncfs(&*self.lock)
    }

    /// Puts what is in it under this name to a name in a directory, where nothing or an empty directory is.
    pub(crate) fn put(&self, name: &str, dir: BorrowedFd<'_>, to: &Path) -> Result<(), Errno> {
        match renameat(&*self.lock, name, dir, to) {
            // A directory that its owner may not write to cannot change its parent, unless by root.
            Err(Errno::EACCES) => {
                let moved = openat(&*self.lock, name, DIRECTORY, Bits::empty())?;
                let bits = Bits::from_bits_truncate(fstat(&moved)?.st_mode);
                fchmod(&moved, bits | Bits::S_IRWXU).map_err(|_| Errno::EACCES)?;
                let renamed = renameat(&*self.lock, name, dir, to);
                fchmod(&moved, bits).and(renamed)
            }
            result => result,
        }
    }

    /// Puts the result to its place; with all of it on disk, the name gets there too if that is wanted.
    pub(crate) fn commit(self, place: &Place, durable: bool) -> Result<(), Error> {
        let failed = |doing, errno: Errno| {
            let kind = match errno {
                Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR | Errno::EBUSY => ErrorKind::Root,
                _ => ErrorKind::Storage,
            };
            Error::io_at(kind, doing, &place.path, errno.into())
        };
        self.put("root", place.parent.as_fd(), Path::new(&place.name)).map_err(|errno| failed(moving(errno), errno))?;
        match durable {
            true => nix::unistd::fsync(&place.parent).map_err(|errno| failed("synchronising the name of", errno)),
            false => Ok(()),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let name = self.path.file_name().unwrap_or_default();
        remove(self.parent.as_fd(), name, self.lock.as_fd(), self.program.as_ref());
    }
}

/// What moving a result to its place is called when it fails. To another parent a directory is moved only by who may
/// write to it: not by a user whose archive gave it to another id of a range.
pub(crate) fn moving(errno: Errno) -> &'static str {
    match errno {
        Errno::EACCES => {
            "moving the result, whose owner is another id (run it in `unshare --map-root-user --map-auto`), to"
        }
        _ => "moving the result to",
    }
}

fn failure(dir: &Path, errno: Errno) -> Error {
    Error::io_at(ErrorKind::Storage, "making a staging directory in", dir, errno.into())
}

/// The directory that this is in, by name.
fn parent(path: &Path) -> Option<&Path> {
    path.parent().map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir })
}

fn parent_name(path: &Path) -> &Path {
    parent(path).unwrap_or(Path::new("."))
}

fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// Opens and locks, without waiting.
fn take(parent: BorrowedFd<'_>, name: impl AsRef<OsStr>) -> Result<Flock<File>, Errno> {
    let opened = openat(parent, name.as_ref(), DIRECTORY, Bits::empty())?;
    Flock::lock(File::from(opened), FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)
}

fn is_at(held: &Flock<File>, parent: BorrowedFd<'_>, name: impl AsRef<OsStr>) -> bool {
    match (fstat(&**held), fstatat(parent, name.as_ref(), AtFlags::AT_SYMLINK_NOFOLLOW)) {
        (Ok(held), Ok(named)) => (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("untar-in-root-staging-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("scratch");
        dir
    }

    fn names(dir: &Path) -> usize {
        std::fs::read_dir(dir).expect("scratch").count()
    }

    fn dead(dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(format!("{PREFIX}{name}"));
        std::fs::DirBuilder::new().mode(0o700).create(&path).expect("scratch");
        path
    }

    #[test]
    fn whole_or_not_at_all() {
        let dir = scratch("whole");
        let place = Place::open(&dir.join("result")).expect("vacant");
        drop(Staging::beside(&place, None).expect("made"));
        assert_eq!(names(&dir), 0);
        let (staging, root) = Staging::beside(&place, None).expect("made");
        assert_eq!(std::fs::metadata(staging.path()).expect("there").mode() & 0o777, 0o700);
        fchmod(&root, Bits::from_bits_truncate(0o750)).expect("mine");
        staging.commit(&place, true).expect("committed");
        assert_eq!(names(&dir), 1);
        // Empty: its mode is kept. Filled in between: refused at the end, and nothing left.
        let (staging, _) = Staging::beside(&place, None).expect("empty");
        staging.commit(&place, false).expect("committed");
        assert_eq!(std::fs::metadata(dir.join("result")).expect("there").mode() & 0o777, 0o750);
        let (staging, _) = Staging::beside(&place, None).expect("empty");
        std::fs::write(dir.join("result/file"), b"").expect("scratch");
        assert_eq!(staging.commit(&place, false).expect_err("filled").kind(), ErrorKind::Root);
        assert_eq!(names(&dir), 1);
        std::fs::remove_dir_all(dir).expect("scratch");
    }

    #[test]
    fn places_that_are_taken() {
        let dir = scratch("taken");
        std::fs::create_dir_all(dir.join("full/x")).expect("scratch");
        std::fs::create_dir_all(dir.join("empty")).expect("scratch");
        std::fs::write(dir.join("file"), b"").expect("scratch");
        symlink("empty", dir.join("link")).expect("scratch");
        symlink("nowhere", dir.join("dangling")).expect("scratch");
        for (name, errno) in [
            ("full", Errno::ENOTEMPTY),
            ("file", Errno::EEXIST),
            ("link", Errno::EEXIST),
            ("dangling", Errno::EEXIST),
            ("missing/place", Errno::ENOENT),
            ("file/place", Errno::ENOTDIR),
            ("..", Errno::EINVAL),
        ] {
            let error = Place::open(&dir.join(name)).err().expect(name);
            assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Root, Some(errno as i32)), "{name}");
        }
        for path in [Path::new("/"), Path::new("."), Path::new(""), Path::new("/proc")] {
            assert_eq!(Place::open(path).err().expect("no place").kind(), ErrorKind::Root);
        }
        for name in ["empty", "new", "new/"] {
            Place::open(&dir.join(name)).expect(name);
        }
        std::fs::remove_dir_all(dir).expect("scratch");
    }

    #[test]
    fn what_dead_processes_left_goes_and_what_live_ones_hold_stays() {
        let dir = scratch("sweep");
        std::fs::create_dir_all(dead(&dir, "dead").join("deep/er")).expect("scratch");
        let alive = Staging::inside(&dir, None).expect("made");
        assert_eq!(names(&dir), 1);
        let other = Staging::inside(&dir, None).expect("made");
        assert!(alive.path().exists() && other.path().exists());
        drop((alive, other));
        assert_eq!(names(&dir), 0);
        std::fs::remove_dir_all(dir).expect("scratch");
    }

    #[test]
    fn a_name_alone_is_no_reason_to_remove() {
        let dir = scratch("names");
        let open = dead(&dir, "open");
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).expect("scratch");
        std::fs::create_dir(dir.join("treasure")).expect("scratch");
        symlink("treasure", dir.join(format!("{PREFIX}link"))).expect("scratch");
        std::fs::write(dir.join(format!("{PREFIX}file")), b"").expect("scratch");
        drop(Staging::inside(&dir, None).expect("made"));
        assert_eq!(names(&dir), 4);
        std::fs::remove_dir_all(dir).expect("scratch");
    }

    #[test]
    fn removal_needs_no_more_the_deeper_it_is_and_follows_no_link() {
        let dir = scratch("deep");
        std::fs::write(dir.join("treasure"), b"").expect("scratch");
        let left = dead(&dir, "deep");
        // Of an earlier removal that was interrupted.
        std::fs::create_dir_all(left.join("away-0/x")).expect("scratch");
        std::fs::write(left.join("away-1"), b"").expect("scratch");
        let mut at = openat(AT_FDCWD, &left, DIRECTORY, Bits::empty()).expect("scratch");
        for _ in 0..5000 {
            nix::unistd::symlinkat(&*dir, &at, "link").expect("scratch");
            mkdirat(&at, "d", Bits::S_IRWXU).expect("scratch");
            at = openat(&at, "d", DIRECTORY, Bits::empty()).expect("scratch");
        }
        drop(Staging::inside(&dir, None).expect("made"));
        assert_eq!(names(&dir), 1);
        std::fs::remove_dir_all(dir).expect("scratch");
    }
}
