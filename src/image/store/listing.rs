//! A tree as one digest: every name with its type, owner, mode, time, size, link, device, attributes and content.
//!
//! Each directory is a sequence of records in the order of names, each field preceded by its length, so no two trees
//! share a listing. Change times, access times, link counts and inode numbers are left out: they are not the
//! layer's. Which names share an inode is told by the first of them.

use super::storage;
use crate::error::Error;
use crate::inode;
use crate::proc;
use crate::report::Digest;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const FILE: OFlag = OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

/// The listing of the tree at this open directory; `path` is for messages.
pub(super) fn digest(root: &OwnedFd, path: &Path) -> Result<Digest, Error> {
    let mut walk =
        Walk { hasher: Sha256::new(), inodes: BTreeMap::new(), buffer: vec![0; 1 << 20], list: vec![0; 64 << 10] };
    walk.all(root).map_err(|(inside, errno)| storage("reading", &path.join(inside), errno.into()))?;
    Ok(Digest(walk.hasher.finalize().into()))
}

struct Walk {
    hasher: Sha256,
    /// The first path of each inode with several names.
    inodes: BTreeMap<(u64, u64), PathBuf>,
    buffer: Vec<u8>,
    /// Names of attributes.
    list: Vec<u8>,
}

/// Directories on the way down that are held open; those above are opened again, as `..` and only if they are the same.
const HELD: usize = 64;

/// A directory whose names are still to be visited, the next one last.
struct Level {
    dir: Option<OwnedFd>,
    /// Device and inode.
    identity: (u64, u64),
    names: Vec<OsString>,
}

impl Level {
    fn new(dir: OwnedFd) -> Result<Level, Errno> {
        let stat = fstat(&dir)?;
        let names = names(&dir)?;
        Ok(Level { dir: Some(dir), identity: (stat.st_dev, stat.st_ino), names })
    }
}

impl Walk {
    /// Lists all of it without recursion: trees may be deeper than the stack, and than a process may have descriptors.
    fn all(&mut self, root: &OwnedFd) -> Result<(), (PathBuf, Errno)> {
        let mut path = PathBuf::new();
        self.below(root, &mut path).map_err(|errno| (path, errno))
    }

    /// `path` is where it is, or where it failed.
    fn below(&mut self, root: &OwnedFd, path: &mut PathBuf) -> Result<(), Errno> {
        let root = openat(root, ".", DIRECTORY, Mode::empty())?;
        let stat = fstatat(&root, ".", AtFlags::AT_SYMLINK_NOFOLLOW)?;
        self.entry(&root, OsStr::new("."), path, &stat)?;
        let mut levels = vec![Level::new(root)?];
        while let Some(here) = levels.last_mut() {
            let Some(name) = here.names.pop() else {
                self.field(b"up");
                go_up(&mut levels)?;
                path.pop();
                continue;
            };
            let Some(dir) = &here.dir else { return Err(Errno::EBADF) };
            path.push(&name);
            let stat = fstatat(dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
            self.entry(dir, &name, path, &stat)?;
            if inode::is_directory(&stat) {
                let below = Level::new(openat(dir, name.as_os_str(), DIRECTORY, Mode::empty())?)?;
                levels.push(below);
                let far = levels.len().saturating_sub(HELD);
                levels[..far].last_mut().map(|level| level.dir.take());
            } else {
                path.pop();
            }
        }
        Ok(())
    }

    fn entry(&mut self, dir: &OwnedFd, name: &OsStr, path: &Path, stat: &FileStat) -> Result<(), Errno> {
        self.field(name.as_bytes());
        let several = !inode::is_directory(stat) && stat.st_nlink > 1;
        if several && let Some(first) = self.inodes.get(&(stat.st_dev, stat.st_ino)) {
            let first = first.clone();
            self.field(b"link");
            self.field(first.as_os_str().as_bytes());
            return Ok(());
        }
        if several {
            self.inodes.insert((stat.st_dev, stat.st_ino), path.to_path_buf());
        }
        for number in
            [i64::from(stat.st_mode), i64::from(stat.st_uid), i64::from(stat.st_gid), stat.st_mtime, stat.st_mtime_nsec]
        {
            self.field(&number.to_le_bytes());
        }
        match inode::kind(stat) {
            SFlag::S_IFREG => {
                let file = openat(dir, name, FILE, Mode::empty())?;
                self.content(&file, stat)?;
                return self.attributes(&Attributed::Open(&file));
            }
            SFlag::S_IFLNK => {
                let target = readlinkat(dir, name)?;
                self.field(target.as_bytes());
            }
            SFlag::S_IFCHR | SFlag::S_IFBLK => self.field(&stat.st_rdev.to_le_bytes()),
            _ => {}
        }
        // Links, devices and FIFOs are not opened.
        let place = proc::name_of(dir).map_err(|_| Errno::ENOENT)?.join(name);
        self.attributes(&Attributed::Named(place))
    }

    fn content(&mut self, file: &OwnedFd, stat: &FileStat) -> Result<(), Errno> {
        let mut left = stat.st_size.cast_unsigned();
        self.hasher.update(left.to_le_bytes());
        // As many as the length says, so that a file that grows does not run into the next field.
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            match nix::unistd::read(file, &mut self.buffer[..want]) {
                Ok(0) => return Err(Errno::EIO),
                Ok(n) => {
                    self.hasher.update(&self.buffer[..n]);
                    left -= n as u64;
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Sorted, with their values. SELinux labels are the host's and left out.
    fn attributes(&mut self, of: &Attributed<'_>) -> Result<(), Errno> {
        // Most have none: the room is made once.
        let mut list = std::mem::take(&mut self.list);
        let result = self.listed(of, &mut list);
        self.list = list;
        result
    }

    fn listed(&mut self, of: &Attributed<'_>, list: &mut [u8]) -> Result<(), Errno> {
        let length = match of.list(list) {
            Ok(length) => length,
            Err(Errno::EOPNOTSUPP) => 0,
            Err(errno) => return Err(errno),
        };
        let mut found: Vec<&[u8]> = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
        found.retain(|name| *name != b"security.selinux");
        found.sort_unstable();
        for attribute in found {
            let mut value = vec![0_u8; 64 << 10];
            let length = of.get(OsStr::from_bytes(attribute), &mut value)?;
            self.field(attribute);
            self.field(&value[..length]);
        }
        self.field(b"");
        Ok(())
    }

    fn field(&mut self, bytes: &[u8]) {
        self.hasher.update((bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
    }
}

/// Ends the last level; the one above is open then.
fn go_up(levels: &mut Vec<Level>) -> Result<(), Errno> {
    let done = levels.pop();
    if let (Some(Level { dir: Some(below), .. }), Some(above @ Level { dir: None, .. })) = (done, levels.last_mut()) {
        let dir = openat(below, "..", DIRECTORY, Mode::empty())?;
        let stat = fstat(&dir)?;
        if (stat.st_dev, stat.st_ino) != above.identity {
            return Err(Errno::ESTALE);
        }
        above.dir = Some(dir);
    }
    Ok(())
}

/// What has attributes.
enum Attributed<'a> {
    Open(&'a OwnedFd),
    Named(PathBuf),
}

impl Attributed<'_> {
    fn list(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let listed = match self {
            Attributed::Open(file) => rustix::fs::flistxattr(file, buffer),
            Attributed::Named(place) => rustix::fs::llistxattr(place, buffer),
        };
        listed.map_err(raw)
    }

    fn get(&self, name: &OsStr, buffer: &mut [u8]) -> Result<usize, Errno> {
        let value = match self {
            Attributed::Open(file) => rustix::fs::fgetxattr(file, name, buffer),
            Attributed::Named(place) => rustix::fs::lgetxattr(place, name, buffer),
        };
        value.map_err(raw)
    }
}

fn raw(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

/// The names in a directory, in descending order since they are taken from the end.
fn names(dir: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let again = openat(dir.as_fd(), ".", DIRECTORY, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::from_fd(again)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(OsStr::from_bytes(name.to_bytes()).to_owned());
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn of(dir: &Path) -> Digest {
        digest(&crate::linux::open_root(dir).expect("directory"), dir).expect("listing")
    }

    #[test]
    fn every_change_shows() {
        let dir = std::env::temp_dir().join(format!("untar-in-root-listing-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("a/b")).expect("scratch");
        std::fs::write(dir.join("a/file"), b"content").expect("scratch");
        symlink("file", dir.join("a/link")).expect("scratch");
        std::fs::hard_link(dir.join("a/file"), dir.join("a/b/other")).expect("scratch");
        let first = of(&dir);
        assert_eq!(first, of(&dir));
        let time = std::fs::metadata(dir.join("a")).and_then(|m| m.modified()).expect("time");
        let keep_time = |path: &str| File::open(dir.join(path)).and_then(|f| f.set_modified(time)).expect("time");
        use std::fs::File;
        let mut seen = vec![first];
        let mut changed = |what: &str| {
            let now = of(&dir);
            assert!(!seen.contains(&now), "{what}");
            seen.push(now);
        };
        std::fs::write(dir.join("a/file"), b"Content").expect("scratch");
        keep_time("a/file");
        changed("content");
        std::fs::set_permissions(dir.join("a/file"), std::fs::Permissions::from_mode(0o600)).expect("scratch");
        changed("mode");
        std::fs::remove_file(dir.join("a/b/other"))
            .and_then(|()| std::fs::copy(dir.join("a/file"), dir.join("a/b/other")))
            .expect("scratch");
        keep_time("a/b/other");
        keep_time("a/b");
        changed("a copy for a hardlink");
        std::fs::rename(dir.join("a/link"), dir.join("a/lynx")).expect("scratch");
        keep_time("a");
        changed("name");
        std::fs::rename(dir.join("a/lynx"), dir.join("lynx")).expect("scratch");
        keep_time("a");
        changed("place");
        std::fs::remove_dir_all(dir).expect("scratch");
    }
}
