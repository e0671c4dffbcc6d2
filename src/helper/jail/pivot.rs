//! Makes the working directory, which is the root of a mount, the root: `pivot_root(2)`, `chroot(2)`.

use super::mounts::table;
use super::top::{self, Top};
use crate::helper::fault::{Attempt, Result, at, on};
use crate::report::{Call, Descriptor};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot, fchdir, pivot_root};
use std::os::fd::OwnedFd;

pub(super) const PIVOT: &str = "\".\", \".\"";

/// The old root, which lies over the new until it is left: by `..` everything of it could be reached meanwhile, so that
/// nothing but an error may come of a failure.
#[must_use]
pub(super) struct Pivoted {
    old: OwnedFd,
    new: OwnedFd,
    /// What stays below is the first mount with all that is in it.
    pub(super) over_first_mount: bool,
}

/// Makes the working directory the root.
pub(super) fn pivot() -> Result<Pivoted> {
    match change_places() {
        Err(fault) if fault.errno() == Some(Errno::EINVAL) && table::is_first("/") => {
            let new = held(".")?;
            // Whatever is tried next begins there.
            over_first_mount().or_else(|fault| go(&new).and(Err(fault)))
        }
        pivoted => pivoted,
    }
}

fn held(name: &str) -> Result<OwnedFd> {
    openat(AT_FDCWD, name, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .call(Call::Openat, || at(Descriptor::Cwd, name).with("O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY"))
}

fn go(held: &OwnedFd) -> Result<()> {
    fchdir(held).call(Call::Fchdir, || on(Descriptor::Root))
}

/// The first mount lies on nothing, and before Linux 7 changes places with none. So the new root is put over it and entered,
/// something of ours is laid over that, and these two change places, twice.
fn over_first_mount() -> Result<Pivoted> {
    let none = None::<&str>;
    match mount(Some("."), "/", none, MsFlags::MS_MOVE, none) {
        // It lies there: the destination is `/`.
        Err(Errno::ELOOP) => {}
        moved => moved.call(Call::Mount, || "\".\", \"/\", NULL, MS_MOVE, NULL")?,
    }
    chroot(".").call(Call::Chroot, || "\".\"")?;
    Top::tmpfs()?;
    top::enter()?;
    let _ = change_places()?;
    top::enter()?;
    change_places().map(|pivoted| Pivoted { over_first_mount: true, ..pivoted })
}

/// With both names ".", the old root is stacked on the new: nothing is made inside the
/// destination.
fn change_places() -> Result<Pivoted> {
    let (old, new) = (held("/")?, held(".")?);
    may_detach()?;
    pivot_root(".", ".").call(Call::PivotRoot, || PIVOT)?;
    Ok(Pivoted { old, new, over_first_mount: false })
}

/// Whether a filter forbids what comes later: the kernel itself would find these flags wrong before anything else.
fn may_detach() -> Result<()> {
    match umount2(".", MntFlags::from_bits_retain(-1)) {
        Err(Errno::EINVAL) | Ok(()) => Ok(()),
        refused => refused.call(Call::Umount2, || "\".\", MNT_FORCE|MNT_DETACH|MNT_EXPIRE|UMOUNT_NOFOLLOW|0xfffffff0"),
    }
}

impl Pivoted {
    pub(super) fn leave_the_old(self) -> Result<()> {
        go(&self.old)?;
        let none = None::<&str>;
        mount(none, ".", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .call(Call::Mount, || "NULL, \".\", NULL, MS_REC|MS_PRIVATE, NULL")?;
        umount2(".", MntFlags::MNT_DETACH).call(Call::Umount2, || "\".\", MNT_DETACH")?;
        go(&self.new)?;
        chdir("/").call(Call::Chdir, || "\"/\"")
    }
}

pub(super) fn change_root() -> Result<()> {
    chroot(".").call(Call::Chroot, || "\".\"")?;
    chdir("/").call(Call::Chdir, || "\"/\"")
}
