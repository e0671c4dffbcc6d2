//! Enters the root: namespace, propagation, bind, pivot, detach; or chroot; or nothing, where nothing can be entered. Man
//! pages: `pivot_root(2)`, `mount_namespaces(7)`, `open_tree(2)`.

use super::cover::{self, Covered};
use super::mounts;
use super::pivot::{self, PIVOT};
use super::right::Right;
use super::top::{self, RESTRICTED, Top};
use crate::helper::fault::{Attempt, Fault, Result, at, on, quoted};
use crate::helper::open;
use crate::helper::sys::{self, fstat};
use crate::options::{Isolation, Mounts};
use crate::report::{
    Call, Cause, Descriptor, Fallback, MountsBelow, Namespace, Operand, Operation, Purpose, RootSwitch,
};
use crate::wire::LowerName;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{FileStat, Mode, fstatat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{chdir, fchdir};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};

/// Proof that the root has been entered for this right, or that nothing else is opened from now on; made only by
/// [`Entrance::enter`].
pub(crate) struct Inside<R> {
    /// The root, opened for reading.
    pub(crate) root: OwnedFd,
    pub(crate) switch: RootSwitch,
    pub(crate) fallback: Option<Fallback>,
    pub(crate) over_first_mount: bool,
    pub(crate) mount_restricted: bool,
    /// Devices below the root cannot be opened.
    pub(crate) nodev: bool,
    /// Lower layers of overlay mode, detached and read-only.
    pub(crate) lowers: Vec<OwnedFd>,
    /// Mount points below the root, relative to it.
    pub(crate) mounts_below: Vec<Vec<u8>>,
    /// What can be seen of them.
    pub(crate) below: MountsBelow,
    /// What lies over them.
    pub(crate) covered: Vec<Covered>,
    /// Every file takes its directory's group (`mount -o grpid`).
    pub(crate) group_from_directory: bool,
    _made_here: PhantomData<R>,
}

const RECURSIVE: &str = "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_NO_AUTOMOUNT|AT_RECURSIVE";

/// The arguments of `mount_setattr(2)` behind the name.
fn setting(reads_only: bool) -> String {
    let first = if reads_only { "MOUNT_ATTR_RDONLY|" } else { "" };
    format!(
        "AT_EMPTY_PATH|AT_RECURSIVE, {{attr_set={first}MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV|MOUNT_ATTR_NOEXEC, \
         attr_clr=0, propagation=0, userns_fd=0}}, 32"
    )
}

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC);

/// How the working directory is entered as the new root, taking handles of the lower layers along.
pub(crate) struct Entrance<'a> {
    pub(crate) isolation: Isolation,
    pub(crate) lowers: &'a [LowerName],
    pub(crate) mounts: Mounts,
    /// Where nothing else is to be had no root need be entered.
    pub(crate) beneath: bool,
    /// Why there is no user namespace, although it was needed.
    pub(crate) refused: Option<Fault>,
}

impl Entrance<'_> {
    pub(crate) fn enter<R: Right>(self) -> Result<Inside<R>> {
        if self.isolation == Isolation::Beneath {
            return self.stay(Fault::os(Errno::UnknownErrno, Call::PivotRoot, PIVOT));
        }
        match self.switch() {
            Err(fault) if self.beneath && matches!(fault.errno(), Some(Errno::EPERM | Errno::EACCES)) => {
                self.stay(fault)
            }
            switched => switched,
        }
    }

    fn switch<R: Right>(&self) -> Result<Inside<R>> {
        let Entrance { isolation, lowers, mounts, .. } = *self;
        let root = openat(AT_FDCWD, ".", DIRECTORY, Mode::empty())
            .call(Call::Openat, || at(Descriptor::Cwd, ".").with("O_RDONLY|O_CLOEXEC|O_DIRECTORY"))?;
        let before = fstat(&root).call(Call::Fstat, || on(Descriptor::Root).with("<stat>"))?;
        drop(root);
        match separate() {
            Ok(()) => {
                let lowers = lowers.iter().map(hold_lower).collect::<Result<_>>()?;
                confirm(switch_in_namespace::<R>(isolation, mounts)?, &before, lowers)
            }
            // From a plain descriptor of a lower layer, `..` would reach the host.
            Err(fault) if !lowers.is_empty() => Err(not_held(fault)),
            Err(fault) if isolation == Isolation::Pivot => Err(fault),
            Err(fault) => {
                let mounts = mounts::below_cwd();
                let below = if mounts.is_some() { MountsBelow::InSight } else { MountsBelow::Unknown };
                pivot::change_root()?;
                // Without /proc it is that which could be mended.
                let lacking = self.refused.clone().filter(|refused| refused.errno() == Some(Errno::ENOENT));
                let (switch, fallback) = (RootSwitch::Chroot, Some(fallback_of(lacking.unwrap_or(fault))));
                confirm(Switched::without_namespace(switch, fallback, mounts, below), &before, Vec::new())
            }
        }
    }

    /// Enters nothing: from now on every step is taken from an open directory.
    fn stay<R: Right>(self, why: Fault) -> Result<Inside<R>> {
        if !self.lowers.is_empty() {
            return Err(not_held(Fault::as_if(Errno::EPERM)));
        }
        let root = openat(AT_FDCWD, ".", DIRECTORY, Mode::empty())
            .call(Call::Openat, || at(Descriptor::Cwd, ".").with("O_RDONLY|O_CLOEXEC|O_DIRECTORY"))?;
        let mounts = mounts::below_cwd();
        let below = if mounts.is_some() { MountsBelow::InSight } else { MountsBelow::Unknown };
        let writing = open::Use::Writing { cross_mounts: self.mounts == Mounts::Cross };
        let used = if R::READS_ONLY { open::Use::Reading } else { writing };
        open::only_by_table(&root, used).map_err(|fault| fault.meant(Purpose::Beneath))?;
        let fallback = Some(fallback_of(self.refused.unwrap_or(why)));
        Ok(inside(root, Switched::without_namespace(RootSwitch::Beneath, fallback, mounts, below), Vec::new()))
    }
}

fn not_held(fault: Fault) -> Fault {
    let cause = match fault.cause {
        Cause::Os(errno) => Cause::LowersNotHeld(errno),
        cause => cause,
    };
    Fault { cause, ..fault }
}

/// A mount namespace of our own, in which nothing propagates back. Slave, not private: a private copy can
/// pin a mount that the host wants gone.
fn separate() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).call(Call::Unshare, || Namespace::Mount)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
        .call(Call::Mount, || "NULL, \"/\", NULL, MS_REC|MS_SLAVE, NULL")
}

/// What came of the switch.
struct Switched {
    switch: RootSwitch,
    fallback: Option<Fallback>,
    over_first_mount: bool,
    mounts: mounts::Below,
    below: MountsBelow,
    covered: Vec<Covered>,
}

impl Switched {
    fn without_namespace(
        switch: RootSwitch,
        fallback: Option<Fallback>,
        mounts: Option<mounts::Below>,
        below: MountsBelow,
    ) -> Switched {
        let mounts = mounts.unwrap_or_default();
        Switched { switch, fallback, over_first_mount: false, mounts, below, covered: Vec::new() }
    }
}

fn switch_in_namespace<R: Right>(isolation: Isolation, wanted: Mounts) -> Result<Switched> {
    let bound =
        clone_root(R::READS_ONLY).or_else(|fault| if missing(&fault) { bind_root(R::READS_ONLY) } else { Err(fault) });
    // After that: what is below a mount of its own is told at once.
    let whole = bound.is_ok();
    let mounts = list_below(whole)?;
    let (below, covered) = look_away::<R>(mounts.as_ref(), wanted, whole)?;
    let pivoted = match (isolation, bound) {
        (Isolation::Chroot, _) => Err(Fault::os(Errno::UnknownErrno, Call::PivotRoot, PIVOT)),
        (_, Err(fault)) => Err(fault),
        (_, Ok(())) => pivot::pivot(),
    };
    let mut over_first_mount = false;
    let (switch, fallback) = match pivoted {
        Ok(pivoted) => {
            over_first_mount = pivoted.over_first_mount;
            pivoted.leave_the_old()?;
            (RootSwitch::Pivot, None)
        }
        Err(fault) if isolation == Isolation::Pivot => return Err(fault),
        Err(fault) => {
            pivot::change_root()?;
            (RootSwitch::ChrootInNamespace, Some(fallback_of(fault)))
        }
    };
    Ok(Switched { switch, fallback, over_first_mount, mounts: mounts.unwrap_or_default(), below, covered })
}

/// What is mounted below, also while somebody who owns a directory above renames it all the time.
fn list_below(whole: bool) -> Result<Option<mounts::Below>> {
    for _ in 0..cover::ROUNDS {
        match mounts::below_cwd() {
            Some(below) if whole && below.strays => {}
            below => return Ok(below),
        }
    }
    Err(Fault::exchanged(b"."))
}

/// What is mounted below the root is neither the archive's nor a taken-over helper's, unless it was asked for.
/// `whole`: the working directory is the root of a mount, our clone.
fn look_away<R: Right>(
    mounts: Option<&mounts::Below>,
    wanted: Mounts,
    whole: bool,
) -> Result<(MountsBelow, Vec<Covered>)> {
    match mounts {
        None => Ok((MountsBelow::Unknown, Vec::new())),
        Some(_) if wanted == Mounts::Cross => Ok((MountsBelow::InSight, Vec::new())),
        Some(mounts) if mounts.points.is_empty() => Ok((MountsBelow::Covered, Vec::new())),
        Some(_) => cover::below_cwd(whole, R::READS_ONLY).map(|covered| (MountsBelow::Covered, covered)),
    }
}

/// A clone of the root's mount and those below it, without devices, set-uid and execution, put in its place
/// and made the working directory. One that is only read cannot be written, and so keeps its times of access.
fn clone_root(reads_only: bool) -> Result<()> {
    let recursive = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_NO_AUTOMOUNT;
    // "." and no descriptor opened before the unshare: that one's mount is not of this namespace (EINVAL).
    let tree =
        open_tree(rustix::fs::CWD, ".", recursive).call(Call::OpenTree, || at(Descriptor::Cwd, ".").with(RECURSIVE))?;
    let read = if reads_only { libc::MOUNT_ATTR_RDONLY } else { 0 };
    let attributes = read | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    sys::mount_set(tree.as_fd(), attributes)
        .call(Call::MountSetattr, || at(Descriptor::Mount, "").with(setting(reads_only)))?;
    move_mount(&tree, "", rustix::fs::CWD, ".", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .call(Call::MoveMount, || at(Descriptor::Mount, "").with("AT_FDCWD, \".\", MOVE_MOUNT_F_EMPTY_PATH"))?;
    fchdir(tree).call(Call::Fchdir, || on(Descriptor::Mount))
}

/// A lower layer: detached, so that its `..` ends at its root, and read-only.
fn hold_lower(lower: &LowerName) -> Result<OwnedFd> {
    clone_lower(lower).or_else(|fault| if missing(&fault) { bind_lower(lower) } else { Err(fault) })
}

/// A lower layer: detached, so that its `..` ends at its root, and read-only.
fn clone_lower(lower: &LowerName) -> Result<OwnedFd> {
    let name = lower.path.as_os_str().as_encoded_bytes();
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(rustix::fs::CWD, &lower.path, flags)
        .call(Call::OpenTree, || at(Descriptor::Cwd, name).with("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC"))?;
    is_the_one_opened(&tree, lower)?;
    let attributes =
        libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    sys::mount_set(tree.as_fd(), attributes)
        .call(Call::MountSetattr, || at(Descriptor::Lower, "").with(setting(true)))?;
    Ok(tree)
}

/// Only a name leads from this mount namespace to what the parent has opened, so it may be another by now.
fn is_the_one_opened(tree: &OwnedFd, lower: &LowerName) -> Result<()> {
    let found = fstat(tree).call(Call::Fstat, || on(Descriptor::Lower).with("<stat>"))?;
    match (found.st_dev, found.st_ino) == (lower.device, lower.inode) {
        true => Ok(()),
        false => Err(Fault::exchanged(lower.path.as_os_str().as_encoded_bytes())),
    }
}

/// Does the same with `mount(2)`, for kernels before 5.12.
fn bind_lower(lower: &LowerName) -> Result<OwnedFd> {
    let top = Top::bind(&lower.path)?;
    let tree = top.seal(MsFlags::MS_BIND)?;
    is_the_one_opened(&tree, lower)?;
    top.off()?;
    top::ends_at_its_root(&tree)?;
    Ok(tree)
}

/// Whether the older way is worth a try.
fn missing(fault: &Fault) -> bool {
    fault.errno().is_some_and(|e| sys::is_absent(e) || matches!(e, Errno::EINVAL | Errno::EOPNOTSUPP))
}

/// Does the same with `mount(2)`, for kernels before 5.12.
fn bind_root(reads_only: bool) -> Result<()> {
    let none = None::<&str>;
    let before = fstat_cwd()?;
    mount(Some("."), ".", none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
        .call(Call::Mount, || "\".\", \".\", NULL, MS_BIND|MS_REC, NULL")?;
    // Onto the new mount, or pivot_root answers EINVAL; its name is the only way there.
    let name = nix::unistd::getcwd().call(Call::Getcwd, || mounts::GETCWD)?;
    match name.as_os_str().as_encoded_bytes() {
        // That name leads below it.
        b"/" => top::enter()?,
        bytes => chdir(&name).call(Call::Chdir, || quoted(bytes))?,
    }
    let after = fstat_cwd()?;
    if (before.st_dev, before.st_ino) != (after.st_dev, after.st_ino) {
        return Err(Fault::exchanged(name.as_os_str().as_encoded_bytes()));
    }
    // Locked flags of an outer namespace may forbid this; the report then says that it is not in force.
    let read = if reads_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
    let _ = mount(none, ".", none, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | RESTRICTED | read, none);
    Ok(())
}

fn fstat_cwd() -> Result<FileStat> {
    fstatat(AT_FDCWD, ".", AtFlags::AT_NO_AUTOMOUNT)
        .call(Call::Newfstatat, || at(Descriptor::Cwd, ".").with("<stat>, AT_NO_AUTOMOUNT"))
}

fn fallback_of(fault: Fault) -> Fallback {
    let errno = match fault.cause {
        Cause::Os(errno) if errno != Errno::UnknownErrno as i32 => Some(errno),
        _ => None,
    };
    let operation = fault.operation.unwrap_or_else(|| Operation::new(Call::PivotRoot, Operand::Nothing, PIVOT));
    Fallback { operation, errno }
}

/// Asks the kernel what has become of us.
fn confirm<R>(switched: Switched, before: &FileStat, lowers: Vec<OwnedFd>) -> Result<Inside<R>> {
    let root = openat(AT_FDCWD, "/", DIRECTORY, Mode::empty())
        .call(Call::Openat, || at(Descriptor::Cwd, "/").with("O_RDONLY|O_CLOEXEC|O_DIRECTORY"))?;
    let above = openat(AT_FDCWD, "..", DIRECTORY | OFlag::O_PATH, Mode::empty())
        .call(Call::Openat, || at(Descriptor::Cwd, "..").with("O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY"))?;
    for fd in [root.as_fd(), above.as_fd()] {
        let now = fstat(fd).call(Call::Fstat, || on(Descriptor::Root).with("<stat>"))?;
        if (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino) {
            return Err(Fault::exchanged(b"/"));
        }
    }
    Ok(inside(root, switched, lowers))
}

fn inside<R>(root: OwnedFd, switched: Switched, lowers: Vec<OwnedFd>) -> Inside<R> {
    let flags = fstatvfs(&root).map(|s| s.flags()).unwrap_or(FsFlags::empty());
    let Switched { switch, fallback, over_first_mount, mounts, below, covered } = switched;
    Inside {
        root,
        switch,
        fallback,
        over_first_mount,
        mount_restricted: flags.contains(FsFlags::ST_NOSUID | FsFlags::ST_NODEV | FsFlags::ST_NOEXEC),
        nodev: flags.contains(FsFlags::ST_NODEV),
        lowers,
        mounts_below: mounts.points,
        below,
        covered,
        group_from_directory: mounts.group_from_directory,
        _made_here: PhantomData,
    }
}
