//! Files below a directory that is not trusted: nothing outside it, regular files only, never waiting.

use super::MAX_DOCUMENT;
use super::problem::{BadJson, Problem};
use crate::error::Error;
use crate::inode;
use crate::kind::ErrorKind;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fstat};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

const LOOK: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);
const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

/// An open directory.
#[derive(Debug)]
pub(super) struct Beneath {
    dir: OwnedFd,
    /// The name that it was called by, for messages.
    name: PathBuf,
    /// Files that were made without their content, by device and inode, with the size that they have in the archive.
    hollow: BTreeMap<(u64, u64), u64>,
}

impl Beneath {
    pub(super) fn open(path: &Path) -> Result<Beneath, Error> {
        Beneath::look(path).map_err(|errno| Error::io_at(ErrorKind::Read, "opening the image", path, errno.into()))
    }

    pub(super) fn look(path: &Path) -> Result<Beneath, Errno> {
        Ok(Beneath::of(open(path, LOOK | OFlag::O_DIRECTORY, Mode::empty())?, path))
    }

    /// An open one, called by an archive's name and not by that of where it has been unpacked.
    pub(super) fn of(dir: OwnedFd, name: &Path) -> Beneath {
        Beneath { dir, name: name.to_path_buf(), hollow: BTreeMap::new() }
    }

    /// Told which files have what size in the archive, remembers it of those that were made without their content.
    pub(super) fn with_sizes(mut self, sizes: BTreeMap<String, u64>) -> Beneath {
        for (file, size) in sizes {
            let Ok(stat) = self.resolve(&file, LOOK).and_then(fstat) else { continue };
            if inode::is_regular(&stat) && stat.st_size == 0 {
                self.hollow.insert((stat.st_dev, stat.st_ino), size);
            }
        }
        self
    }

    pub(super) fn name(&self) -> &Path {
        &self.name
    }

    /// Is there anything of this name, as far as it can be looked for?
    pub(super) fn has(&self, file: &str) -> Result<bool, Error> {
        match self.resolve(file, LOOK) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV) => Ok(false),
            Err(errno) => Err(self.refusal(file, errno)),
        }
    }

    /// There is nothing of this name: not what is there and may not be read.
    pub(super) fn lacks(&self, file: &str) -> bool {
        matches!(self.resolve(file, LOOK), Err(Errno::ENOENT | Errno::ENOTDIR))
    }

    /// A regular file, and its size.
    pub(super) fn file(&self, file: &str) -> Result<(File, u64), Error> {
        // A look first: even opening a device may have consequences.
        let looked = self.resolve(file, LOOK).and_then(fstat).map_err(|errno| self.refusal(file, errno))?;
        if !inode::is_regular(&looked) {
            return Err(Problem::NotAFile.at(file));
        }
        let opened = self.resolve(file, READ).map_err(|errno| self.refusal(file, errno))?;
        let stat = fstat(&opened).map_err(|errno| self.refusal(file, errno))?;
        if !inode::is_regular(&stat) {
            return Err(Problem::NotAFile.at(file));
        }
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let size = self.hollow.get(&(stat.st_dev, stat.st_ino)).copied().unwrap_or(size);
        Ok((File::from(opened), size))
    }

    /// A small file, whole.
    pub(super) fn document(&self, file: &str) -> Result<Vec<u8>, Error> {
        let (opened, size) = self.file(file)?;
        let mut bytes = Vec::new();
        // One more than allowed: it may grow while it is read.
        let read = opened.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes);
        read.map_err(|error| Error::io_at(ErrorKind::Read, "reading", &self.name.join(file), error))?;
        match bytes.len() as u64 {
            length if length.max(size) > MAX_DOCUMENT => Err(Problem::DocumentSize(size.max(length)).at(file)),
            // It was left out since it does not begin as a document does.
            0 if size > 0 => Err(Problem::Json { line: 1, column: 1, what: BadJson::Syntax }.at(file)),
            _ => Ok(bytes),
        }
    }

    fn refusal(&self, file: &str, errno: Errno) -> Error {
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => Problem::Missing.at(file),
            // O_NOFOLLOW, or too many links; RESOLVE_BENEATH.
            Errno::ELOOP | Errno::EXDEV => Problem::Leaves.at(file),
            Errno::ENXIO => Problem::NotAFile.at(file),
            errno => Error::io_at(ErrorKind::Read, "opening", &self.name.join(file), errno.into()),
        }
    }

    fn resolve(&self, file: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        if file.is_empty() || file.len() > 4096 {
            return Err(Errno::ENOENT);
        }
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        match openat2(self.dir.as_fd(), file, OpenHow::new().flags(flags).resolve(resolve)) {
            // Before Linux 5.6, or under a filter that does not know the call.
            Err(Errno::ENOSYS | Errno::EPERM) => step_by_step(self.dir.as_fd(), Path::new(file), flags),
            result => result,
        }
    }
}

/// Without `openat2`: one component at a time, following no link at all.
fn step_by_step(dir: impl AsFd, file: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
    let mut at = openat(dir.as_fd(), ".", LOOK | OFlag::O_DIRECTORY, Mode::empty())?;
    let mut parts = file.components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else { return Err(Errno::EXDEV) };
        let last = parts.peek().is_none();
        let step = if last { flags } else { LOOK | OFlag::O_DIRECTORY };
        at = openat(&at, name, step | OFlag::O_NOFOLLOW, Mode::empty())?;
        // With O_PATH a link is not refused but opened.
        if last && inode::kind(&fstat(&at)?) == SFlag::S_IFLNK {
            return Err(Errno::ELOOP);
        }
    }
    Ok(at)
}

/// Opens a file that the caller named: symlinks are the caller's business, FIFOs and devices are refused.
pub(super) fn named_file(path: &Path) -> Result<(File, u64), Error> {
    let failed = |errno: Errno| Error::io_at(ErrorKind::Read, "opening the image", path, errno.into());
    let opened = openat(AT_FDCWD, path, READ, Mode::empty()).map_err(failed)?;
    let stat = fstat(&opened).map_err(failed)?;
    if !inode::is_regular(&stat) {
        return Err(Problem::NotAFile.at(path));
    }
    Ok((File::from(opened), u64::try_from(stat.st_size).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn place(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("untar-in-root-beneath-{name}-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("in/blobs")).expect("scratch");
        std::fs::write(dir.join("outside"), b"secret").expect("scratch");
        std::fs::write(dir.join("in/blobs/file"), b"inside").expect("scratch");
        symlink("../outside", dir.join("in/out")).expect("scratch");
        symlink("blobs/file", dir.join("in/link")).expect("scratch");
        symlink("/proc/self/root", dir.join("in/magic")).expect("scratch");
        nix::unistd::mkfifo(&dir.join("in/fifo"), Mode::from_bits_truncate(0o600)).expect("scratch");
        dir
    }

    #[test]
    fn only_regular_files_below() {
        let dir = place("regular");
        let beneath = Beneath::open(&dir.join("in")).expect("directory");
        assert_eq!(beneath.document("blobs/file").expect("inside"), b"inside");
        assert_eq!(beneath.document("link").expect("a link that stays inside"), b"inside");
        for (file, want) in [
            ("out", Problem::Leaves),
            ("../outside", Problem::Leaves),
            ("/etc/passwd", Problem::Leaves),
            ("magic/etc/passwd", Problem::Leaves),
            ("fifo", Problem::NotAFile),
            ("blobs", Problem::NotAFile),
            ("no", Problem::Missing),
            ("blobs/file/x", Problem::Missing),
            ("", Problem::Missing),
        ] {
            let error = beneath.document(file).expect_err(file);
            assert_eq!(error.image_problem(), Some(&want), "{file}: {error}");
        }
        std::fs::remove_dir_all(dir).expect("scratch");
    }

    #[test]
    fn without_openat2_no_link_is_followed() {
        let dir = place("steps");
        let beneath = Beneath::open(&dir.join("in")).expect("directory");
        let step = |file: &str, flags| step_by_step(&beneath.dir, Path::new(file), flags).map(drop);
        for flags in [LOOK, READ] {
            assert_eq!(step("blobs/file", flags), Ok(()));
            assert_eq!(step("link", flags), Err(Errno::ELOOP));
            assert_eq!(step("../outside", flags), Err(Errno::EXDEV));
            assert_eq!(step("/etc/passwd", flags), Err(Errno::EXDEV));
            assert!(step("magic/etc/passwd", flags).is_err());
        }
        std::fs::remove_dir_all(dir).expect("scratch");
    }

    #[test]
    fn documents_are_bounded() {
        let dir = place("bounded");
        File::create(dir.join("in/large")).and_then(|f| f.set_len(MAX_DOCUMENT + 1)).expect("scratch");
        File::create(dir.join("in/fits")).and_then(|f| f.set_len(MAX_DOCUMENT)).expect("scratch");
        let beneath = Beneath::open(&dir.join("in")).expect("directory");
        let error = beneath.document("large").expect_err("too large");
        assert_eq!(error.image_problem(), Some(&Problem::DocumentSize(MAX_DOCUMENT + 1)));
        assert_eq!(beneath.document("fits").expect("fits").len() as u64, MAX_DOCUMENT);
        std::fs::remove_dir_all(dir).expect("scratch");
    }
}
