//! A place of our own to mount things at: on top of the old root, in our mount namespace. `/` leads below it and `/..`
//! onto it, whatever is renamed meanwhile; no other path leads there, and nothing is made for it.

use crate::helper::fault::{Attempt, Fault, Result, at, on, quoted};
use crate::helper::sys::fstat;
use crate::report::{Call, Descriptor};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::chdir;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The place's name, once something is there.
const TOP: &str = "/..";

/// The flags of a mount without devices, set-uid programs and execution.
pub(crate) const RESTRICTED: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// What is mounted there. What was opened or bound from it stays when it is taken off.
pub(crate) struct Top(());

/// The same, as strace prints it.
const RESTRICTED_TEXT: &str = "MS_NOSUID|MS_NODEV|MS_NOEXEC";

impl Top {
    /// The mount that a directory is in, from that directory on, without those below.
    pub(crate) fn bind(path: &Path) -> Result<Top> {
        let none = None::<&str>;
        let name = path.as_os_str().as_encoded_bytes();
        mount(Some(path), "/", none, MsFlags::MS_BIND, none)
            .call(Call::Mount, || format!("{}, \"/\", NULL, MS_BIND, NULL", quoted(name)))?;
        Ok(Top(()))
    }

    /// A new, small file system in memory.
    pub(crate) fn tmpfs() -> Result<Top> {
        let kind = Some("tmpfs");
        let options = "mode=0755,size=4096,nr_inodes=4";
        mount(kind, "/", kind, RESTRICTED, Some(options))
            .call(Call::Mount, || format!("\"tmpfs\", \"/\", \"tmpfs\", {RESTRICTED_TEXT}, \"{options}\""))?;
        Ok(Top(()))
    }

    /// Makes it read-only, and looks that it is: the mount alone, or with `MS_RDONLY` alone the whole file system.
    pub(crate) fn seal(&self, how: MsFlags) -> Result<OwnedFd> {
        let none = None::<&str>;
        mount(none, TOP, none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | RESTRICTED | how, none).call(
            Call::Mount,
            || {
                let bind = if how.contains(MsFlags::MS_BIND) { "|MS_BIND" } else { "" };
                format!("NULL, \"/..\", NULL, MS_RDONLY|{RESTRICTED_TEXT}|MS_REMOUNT{bind}, NULL")
            },
        )?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = openat(AT_FDCWD, TOP, flags, Mode::empty())
            .call(Call::Openat, || at(Descriptor::Cwd, TOP).with("O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY"))?;
        if fstatvfs(&root).is_ok_and(|s| s.flags().contains(FsFlags::ST_RDONLY)) {
            return Ok(root);
        }
        Err(Fault::as_if(Errno::EROFS))
    }

    /// Takes it off.
    pub(crate) fn off(self) -> Result<()> {
        umount2(TOP, MntFlags::MNT_DETACH).call(Call::Umount2, || "\"/..\", MNT_DETACH")
    }
}

/// Makes what lies over the root the working directory.
pub(super) fn enter() -> Result<()> {
    chdir(TOP).call(Call::Chdir, || "\"/..\"")
}

/// From a mount that was taken off, `..` must lead nowhere.
pub(crate) fn ends_at_its_root(tree: &OwnedFd) -> Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let above = openat(tree, "..", flags, Mode::empty())
        .call(Call::Openat, || at(Descriptor::Lower, "..").with("O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY"))?;
    let of = |fd| fstat(fd).map(|s| (s.st_dev, s.st_ino)).call(Call::Fstat, || on(Descriptor::Lower).with("<stat>"));
    if of(&above)? == of(tree)? {
        return Ok(());
    }
    Err(Fault::exchanged(b".."))
}
