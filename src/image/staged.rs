//! Results in the making: beside their place, closed to others, renamed when whole, gone otherwise.
//!
//! A staging directory is locked (`flock(2)`) for as long as its process lives. Whoever makes one removes those
//! beside it that nobody holds any more: what a killed process left is gone with the next run.

use super::problem::Problem;
use crate::{Error, ErrorKind, Mode, Program, Untar};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::sys::stat::{Mode as Bits, fstat, mkdirat, stat};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const PREFIX: &str = ".untar-in-root-image-";
const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// A directory of mode 0700 that is gone with the value.
pub(super) struct Staged {
    path: PathBuf,
    lock: Flock<File>,
    program: Option<Program>,
}

impl Staged {
    /// In the directory that this place is in; the place must be missing or an empty directory.
    pub(super) fn beside(place: &Path, program: Option<Program>) -> Result<Staged, Error> {
        vacant(place)?;
        Staged::inside(parent(place)?, program)
    }

    /// In this directory.
    pub(super) fn inside(dir: &Path, program: Option<Program>) -> Result<Staged, Error> {
        sweep(dir, program.as_ref());
        let failed =
            |error: std::io::Error| Error::io_at(ErrorKind::Storage, "making a staging directory in", dir, error);
        loop {
            let path = nix::unistd::mkdtemp(&dir.join(format!("{PREFIX}XXXXXX"))).map_err(|e| failed(e.into()))?;
            let opened = open(&path, DIRECTORY, Bits::empty());
            let locked = opened.and_then(|fd| {
                Flock::lock(File::from(fd), FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)
            });
            match locked {
                Ok(lock) if is_at(&lock, &path) => return Ok(Staged { path, lock, program }),
                // Another process took it for a dead one's before it was locked.
                Ok(_) | Err(Errno::ENOENT | Errno::EWOULDBLOCK) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A new directory in it, 0755, open.
    pub(super) fn make(&self, name: &str) -> Result<OwnedFd, Error> {
        let failed = |errno: Errno| Error::io_at(ErrorKind::Storage, "making", &self.path.join(name), errno.into());
        mkdirat(&*self.lock, name, Bits::S_IRWXU).map_err(failed)?;
        let made = nix::fcntl::openat(&*self.lock, name, DIRECTORY, Bits::empty()).map_err(failed)?;
        // Whatever the umask.
        nix::sys::stat::fchmod(&made, Bits::from_bits_truncate(0o755)).map_err(failed)?;
        Ok(made)
    }

    /// Writes everything to disk that is in its file system.
    pub(super) fn synchronise(&self) -> Result<(), Error> {
        let failed = |errno: Errno| Error::io_at(ErrorKind::Storage, "synchronising", &self.path, errno.into());
        nix::unistd::syncfs(&*self.lock).map_err(failed)
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
        std::fs::rename(self.path.join(name), place).map_err(|error| {
            match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
                Errno::ENOTEMPTY | Errno::EEXIST => Problem::Occupied.at(place),
                _ => Error::io_at(ErrorKind::Storage, "moving the result to", place, error),
            }
        })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        remove(&self.path, self.program.as_ref());
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

fn is_at(lock: &Flock<File>, path: &Path) -> bool {
    match (fstat(&**lock), stat(path)) {
        (Ok(held), Ok(named)) => (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino),
        _ => false,
    }
}

/// Removes what dead processes have left here.
fn sweep(dir: &Path, program: Option<&Program>) {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in names.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())) {
        let Ok(opened) = open(&entry.path(), DIRECTORY, Bits::empty()) else { continue };
        if let Ok(lock) = Flock::lock(File::from(opened), FlockArg::LockExclusiveNonblock) {
            remove(&entry.path(), program);
            drop(lock);
        }
    }
}

/// Removes a tree. What only a user namespace's root may remove, a helper empties first, as a layer that hides it.
/// A helper whose parent was killed may still be writing for a moment.
pub(super) fn remove(path: &Path, program: Option<&Program>) {
    for attempt in 0..20 {
        match std::fs::remove_dir_all(path) {
            Ok(()) => return,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && attempt == 0 => empty(path, program),
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(50)),
        }
    }
}

fn empty(path: &Path, program: Option<&Program>) {
    let (Ok(mut untar), Some(program)) = (Untar::open(path), program.cloned().or_else(|| Program::this().ok())) else {
        return;
    };
    untar.options_mut().mode = Mode::Layer;
    // Whatever comes of it, the removal is tried again.
    let _ = untar.program(program).apply(&hide_all()[..]);
}

/// An archive of one entry, an opaque marker at the top.
fn hide_all() -> Vec<u8> {
    let mut block = [0_u8; 512];
    for (at, text) in [(0, &b".wh..wh..opq"[..]), (100, b"0000600"), (108, b"0000000"), (116, b"0000000")] {
        block[at..at + text.len()].copy_from_slice(text);
    }
    for (at, text) in
        [(124, &b"00000000000"[..]), (136, b"00000000000"), (148, b"        "), (156, b"0"), (257, b"ustar\x0000")]
    {
        block[at..at + text.len()].copy_from_slice(text);
    }
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    [&block[..], &[0; 1024]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn what_dead_processes_left_goes_and_what_live_ones_hold_stays() {
        let dir = place("sweep");
        std::fs::create_dir_all(dir.join(format!("{PREFIX}dead00/deep"))).expect("scratch");
        let alive = Staged::inside(&dir, None).expect("made");
        assert_eq!(names(&dir), 1);
        let other = Staged::inside(&dir, None).expect("made");
        assert!(alive.path().exists() && other.path().exists());
        drop((alive, other));
        assert_eq!(names(&dir), 0);
        std::fs::remove_dir_all(dir).expect("scratch");
    }
}
