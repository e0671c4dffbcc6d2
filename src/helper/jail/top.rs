//! A place of our own to mount things at: on top of the old root, in our mount namespace. `/` leads below it and `/..`
//! onto it, whatever is renamed meanwhile; no other path leads there, and nothing is made for it.

use crate::helper::fault::{Call, Fault, Result, quoted};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The place's name, once something is there.
const TOP: &str = "/..";

/// The flags of a mount without devices, set-uid programs and execution.
pub(crate) const RESTRICTED: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// What is mounted there. What was opened or bound from it stays when it is taken off.
pub(crate) struct Top(());

impl Top {
    /// The mount that a directory is in, from that directory on, without those below.
    pub(crate) fn bind(path: &Path) -> Result<Top> {
        let none = None::<&str>;
        let name = path.as_os_str().as_encoded_bytes();
        mount(Some(path), "/", none, MsFlags::MS_BIND, none)
            .call("mount", || format!("{}, \"/\", MS_BIND", quoted(name)))?;
        Ok(Top(()))
    }

    /// A new, small file system in memory.
    pub(crate) fn tmpfs() -> Result<Top> {
        let kind = Some("tmpfs");
        mount(kind, "/", kind, RESTRICTED, Some("mode=0755,size=4096,nr_inodes=4"))
            .call("mount", || "\"tmpfs\", \"/\", \"tmpfs\"")?;
        Ok(Top(()))
    }

    /// Makes it read-only, and looks that it is: the mount alone, or with `MS_RDONLY` alone the whole file system.
    pub(crate) fn seal(&self, how: MsFlags) -> Result<OwnedFd> {
        let none = None::<&str>;
        mount(none, TOP, none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | RESTRICTED | how, none)
            .call("mount", || "NULL, \"/..\", MS_REMOUNT|MS_RDONLY")?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open(TOP, flags, Mode::empty()).call("openat", || "AT_FDCWD, \"/..\", O_PATH|O_DIRECTORY")?;
        if fstatvfs(&root).is_ok_and(|s| s.flags().contains(FsFlags::ST_RDONLY)) {
            return Ok(root);
        }
        Err(Fault::os(Errno::EROFS, "mount", "NULL, \"/..\", MS_REMOUNT|MS_RDONLY: it is not read-only"))
    }

    /// Takes it off.
    pub(crate) fn off(self) -> Result<()> {
        umount2(TOP, MntFlags::MNT_DETACH).call("umount2", || "\"/..\", MNT_DETACH")
    }
}

/// From a mount that was taken off, `..` must lead nowhere.
pub(crate) fn ends_at_its_root(tree: &OwnedFd) -> Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let above = openat(tree, "..", flags, Mode::empty()).call("openat", || "lower, \"..\", O_PATH|O_DIRECTORY")?;
    let of = |fd| fstat(fd).map(|s| (s.st_dev, s.st_ino)).call("fstat", || "lower");
    if of(&above)? == of(tree)? {
        return Ok(());
    }
    Err(Fault::os(Errno::ESTALE, "openat", "lower, \"..\": it leads out"))
}
