//! Results in the making: beside their place, closed to others, renamed when whole, gone otherwise.
//!
//! A staging directory has a name that begins with [`PREFIX`], mode 0700, a mark in it (`staging/mark.rs`), and is
//! locked (`flock(2)`) for as long as its process lives. Whoever makes one first removes those beside it that nobody
//! holds any more: what a killed process left is gone with the next run. The directory that they are in may belong to
//! somebody who exchanges names in it all the time, so everything is done from open directories, and what was opened
//! is looked at.

mod mark;
mod sweep;
#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::kind::ErrorKind;
use crate::linux::opened::DIRECTORY;
use crate::opened::Opened;
use crate::report::Advice;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OpenHow, ResolveFlag, openat, openat2, renameat};
use nix::sys::stat::{FileStat, Mode as Bits, fchmod, fstat, fstatat, mkdirat};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use sweep::{remove, sweep};

pub(crate) const PREFIX: &str = ".untar-in-root-staging-";
/// Removes these names, and all that is below them, from a directory where that takes the rights of a user namespace's
/// root. It may do nothing.
pub(crate) type Emptier = Arc<dyn Fn(OwnedFd, &[CString]) + Send + Sync>;

/// Names that are tried before somebody who takes each of them away is told of.
const TRIES: u32 = 16;

/// Where a result is to appear: a name in an open directory.
pub(crate) struct Place {
    parent: Opened,
    name: OsString,
    path: PathBuf,
}

impl Place {
    /// The directory that it is in must exist; itself it must be missing or an empty directory, no symlink, nothing
    /// mounted on it.
    pub(crate) fn open(path: &Path) -> Result<Place, Error> {
        Place::look(path).map_err(|errno| unseen(ErrorKind::Root, path, errno))
    }

    pub(crate) fn look(path: &Path) -> Result<Place, Errno> {
        let (Some(dir), Some(name)) = (parent(path), path.file_name()) else { return Err(Errno::EINVAL) };
        let place = Place { parent: Opened::named(dir)?, name: name.to_owned(), path: path.to_path_buf() };
        place.vacant()?;
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
        if is_empty(there)? { Ok(Some(stat)) } else { Err(Errno::ENOTEMPTY) }
    }

    #[cfg(feature = "image")]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The name reaches the disk.
    pub(crate) fn synchronise(&self) -> Result<(), Errno> {
        nix::unistd::fsync(&self.parent)
    }
}

/// A directory of mode 0700 that is gone with the value.
pub(crate) struct Staging {
    parent: Opened,
    name: OsString,
    lock: Flock<File>,
    /// `None` on file systems that cannot have one: what is left there is nobody's to remove.
    mark: Option<OsString>,
    emptier: Emptier,
}

/// A directory in a staging directory.
pub(crate) struct Made {
    name: String,
    pub(crate) dir: OwnedFd,
}

/// A locked directory, and what it was when it was opened.
struct Taken {
    lock: Flock<File>,
    stat: FileStat,
}

impl Staging {
    /// Makes one in the directory that this place is in, with an empty directory as its result: with mode 0755, or owner and
    /// mode of the empty directory that it will take the place of.
    pub(crate) fn beside(place: &Place, emptier: Emptier) -> Result<(Staging, Made), Error> {
        let staging = Staging::inside(&place.parent, emptier)?;
        let failed = |errno: Errno| Error::io_at(ErrorKind::Root, "making", &place.path, errno.into());
        let there = place.vacant().map_err(failed)?;
        let made = staging.make("root").map_err(failed)?;
        if let Some(stat) = there {
            use nix::unistd::{Gid, Uid, fchown};
            let mine = fstat(&made.dir).map_err(failed)?;
            if (mine.st_uid, mine.st_gid) != (stat.st_uid, stat.st_gid) {
                let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
                fchown(&made.dir, Some(uid), Some(gid)).map_err(failed)?;
            }
            fchmod(&made.dir, Bits::from_bits_truncate(stat.st_mode)).map_err(failed)?;
        }
        Ok((staging, made))
    }

    /// Beside this place, for results of any form.
    #[cfg(feature = "image")]
    pub(crate) fn near(place: &Place, emptier: Emptier) -> Result<Staging, Error> {
        Staging::inside(&place.parent, emptier)
    }

    /// Makes it in this directory.
    pub(crate) fn inside(dir: &Opened, emptier: Emptier) -> Result<Staging, Error> {
        sweep(dir.as_fd(), &emptier);
        for _ in 0..TRIES {
            match Staging::try_in(dir, emptier.clone()) {
                // Another process took it for a dead one's before it was locked.
                Err(Errno::ENOENT | Errno::EWOULDBLOCK | Errno::EEXIST) => {}
                made => return made.map_err(|errno| failure(dir.path(), errno)),
            }
        }
        Err(failure(dir.path(), Errno::ESTALE))
    }

    fn try_in(dir: &Opened, emptier: Emptier) -> Result<Staging, Errno> {
        let begun = Instant::now();
        let name = another_name();
        mkdirat(dir, &*name, Bits::S_IRWXU)?;
        let taken = take(dir.as_fd(), &name).map_err(exchanged)?;
        if !is_at(&taken, dir.as_fd(), &name) {
            return Err(Errno::ENOENT);
        }
        let mark = taken.claim(&name, begun)?;
        Ok(Staging { parent: dir.clone(), name, lock: taken.lock, mark, emptier })
    }

    /// Where it was made: for messages, and for what the helper opens by name.
    #[cfg(any(test, feature = "image"))]
    pub(crate) fn path(&self) -> PathBuf {
        self.parent.path().join(&self.name)
    }

    /// A new directory in it, 0755 whatever the umask; or in one that was made there. Nobody else can change names there.
    pub(crate) fn make(&self, name: impl Into<String>) -> Result<Made, Errno> {
        let name = name.into();
        mkdirat(&*self.lock, &*name, Bits::S_IRWXU)?;
        let dir = openat(&*self.lock, &*name, DIRECTORY, Bits::empty())?;
        fchmod(&dir, Bits::from_bits_truncate(0o755))?;
        Ok(Made { name, dir })
    }

    /// Writes everything to disk that is in its file system.
    #[cfg(feature = "image")]
    pub(crate) fn synchronise(&self) -> Result<(), Errno> {
        nix::unistd::syncfs(&*self.lock)
    }

    /// Puts what was made in it to its place, where nothing or an empty directory is.
    pub(crate) fn put(&self, made: &Made, place: &Place) -> Result<(), Errno> {
        let rename = || renameat(&*self.lock, &*made.name, &place.parent, &*place.name);
        match rename() {
            // A directory that its owner may not write to cannot change its parent, unless by root.
            Err(Errno::EACCES) => {
                let bits = Bits::from_bits_truncate(fstat(&made.dir)?.st_mode);
                fchmod(&made.dir, bits | Bits::S_IRWXU).map_err(|_| Errno::EACCES)?;
                let renamed = rename();
                fchmod(&made.dir, bits).and(renamed)
            }
            result => result,
        }
    }

    /// Puts the result to its place; with all of it on disk, the name gets there too if that is wanted.
    pub(crate) fn commit(self, made: &Made, place: &Place, durable: bool) -> Result<(), Error> {
        let failed = |doing, errno: Errno| {
            let kind = match errno {
                Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR | Errno::EBUSY => ErrorKind::Root,
                _ => ErrorKind::Storage,
            };
            Error::io_at(kind, doing, &place.path, errno.into())
        };
        self.put(made, place).map_err(|errno| failed(moving(errno), errno))?;
        match durable {
            true => place.synchronise().map_err(|errno| failed("synchronising the name of", errno)),
            false => Ok(()),
        }
    }
}

impl AsFd for Staging {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        remove(self.parent.as_fd(), &self.name, self.lock.as_fd(), self.mark.as_deref(), &self.emptier);
    }
}

impl Taken {
    /// Marks a directory that must be the one that has just been made: empty, and not older than the run by the clock
    /// of its own file system. Only who may write to it could change that, and it is closed to others.
    fn claim(&self, name: &OsStr, begun: Instant) -> Result<Option<OsString>, Errno> {
        if !is_empty(openat(&*self.lock, ".", DIRECTORY, Bits::empty())?)? {
            return Err(Errno::ESTALE);
        }
        let Some((mark, now)) = mark::make(self.lock.as_fd(), name, &self.stat)? else { return Ok(None) };
        // Times may be kept in steps of two seconds.
        let most = begun.elapsed() + Duration::from_secs(2);
        let age = now.st_mtime.saturating_sub(self.stat.st_mtime);
        if u64::try_from(age).unwrap_or_default() > most.as_secs() + 1 {
            mark::remove(self.lock.as_fd(), &mark)?;
            return Err(Errno::ESTALE);
        }
        Ok(Some(mark))
    }
}

/// Nobody can see where a result is to go.
pub(crate) fn unseen(kind: ErrorKind, path: &Path, errno: Errno) -> Error {
    let error = Error::io_at(kind, "looking where to make", path, errno.into());
    if errno == Errno::ENOENT { error.advised(Advice::MakeParent) } else { error }
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

pub(crate) fn failure(dir: &Path, errno: Errno) -> Error {
    let doing = match errno {
        Errno::ESTALE => {
            "making a staging directory (what is at its name is not what was made, with mode 0700: somebody exchanges \
             it, or the file system has no modes) in"
        }
        _ => "making a staging directory in",
    };
    Error::io_at(ErrorKind::Storage, doing, dir, errno.into())
}

/// Another each time, in each process. Nothing rests on its being hard to guess: what has it already is never taken.
fn another_name() -> OsString {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let mut hasher = DefaultHasher::new();
    (SystemTime::now(), std::process::id(), MADE.fetch_add(1, Ordering::Relaxed)).hash(&mut hasher);
    format!("{PREFIX}{:016x}", hasher.finish()).into()
}

/// The directory that this is in, by name.
fn parent(path: &Path) -> Option<&Path> {
    path.parent().map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir })
}

fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

fn is_empty(dir: OwnedFd) -> Result<bool, Errno> {
    for entry in Dir::from_fd(dir)?.iter() {
        if !is_dot(entry?.file_name()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Opens and locks, without waiting, a directory that this user owns and has closed to others, on the same mount as
/// the one that it is in.
fn take(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Taken, Errno> {
    let opened = open_here(parent, name)?;
    let stat = fstat(&opened)?;
    let own = stat.st_uid == nix::unistd::geteuid().as_raw() && stat.st_mode & 0o777 == 0o700;
    if !own || stat.st_dev != fstat(parent)?.st_dev {
        return Err(Errno::ESTALE);
    }
    let lock = Flock::lock(File::from(opened), FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)?;
    Ok(Taken { lock, stat })
}

/// A directory in this one, nothing that is mounted on it.
fn open_here(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new().flags(DIRECTORY).resolve(ResolveFlag::RESOLVE_NO_XDEV);
    match openat2(parent, name, how) {
        // Before Linux 5.6, or under a filter that does not know the call.
        Err(Errno::ENOSYS | Errno::EPERM) => openat(parent, name, DIRECTORY, Bits::empty()),
        result => result,
    }
}

/// What cannot be where a directory has just been made.
fn exchanged(errno: Errno) -> Errno {
    match errno {
        Errno::ELOOP | Errno::ENOTDIR | Errno::EXDEV => Errno::ESTALE,
        errno => errno,
    }
}

fn is_at(held: &Taken, parent: BorrowedFd<'_>, name: &OsStr) -> bool {
    let named = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    named.is_ok_and(|named| (held.stat.st_dev, held.stat.st_ino) == (named.st_dev, named.st_ino))
}
