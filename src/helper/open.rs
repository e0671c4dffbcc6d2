//! The one room in which a confined helper opens anything: one step of a path, from an open directory, never following a
//! link, never leaving the mount unasked.
//!
//! What `openat2(2)` is told lies in one table that never changes, so that a filter, which sees nothing of it but where it
//! lies, can tell ours from another's. Where no root is entered nothing is opened in any other way ([`only_by_table`]).

use crate::helper::fault::{Attempt, Fault, Octal, Result, at};
use crate::helper::sys::{self, How};
use crate::report::{Call, Cause, Descriptor};
use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag, openat, readlinkat};
use nix::sys::stat::Mode;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// There is no `openat2` (before Linux 5.6, or a filter keeps it back).
static OLD_KERNEL: AtomicBool = AtomicBool::new(false);
/// Set where everything is opened by the table: which entries of it are used.
static ONLY_BY_TABLE: OnceLock<Use> = OnceLock::new();

/// What is done where everything is opened by the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// What is there is read. Mounts are told by their number, by who reads.
    Reading,
    /// Entries are applied.
    Writing { cross_mounts: bool },
}

/// What is opened, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A directory, on this mount.
    Directory,
    /// A directory, where no mount is in question or all may be crossed.
    Across,
    /// By its path alone: what is never opened, and a directory that was left.
    Path,
    /// A new file, to be written, with this mode; with [`PRIVATE`] where everything is opened by the table.
    New(u32),
    /// A new file without a name.
    Nameless,
    /// A new file whose name is taken away at once.
    Passing,
    /// A file that is there, of a lower layer.
    Lower,
    /// A directory on the way to what is packed, by its path alone.
    Step,
    /// What is there, to be packed: a directory, if it is to be one, and so that its time of access stays.
    Read { directory: bool, keep_time: bool },
}

/// The mode of a file of which nobody else has anything, or not yet.
pub(crate) const PRIVATE: u32 = 0o600;

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const PATH: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const NEW: OFlag = OFlag::O_CREAT.union(OFlag::O_EXCL).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const NAMELESS: OFlag = OFlag::O_RDWR.union(OFlag::O_TMPFILE).union(OFlag::O_CLOEXEC);
const LOWER: OFlag = OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

const STEP: OFlag = PATH.union(OFlag::O_DIRECTORY);
const READ: OFlag = LOWER;
const NOATIME: OFlag = OFlag::O_NOATIME;

const BENEATH: ResolveFlag = ResolveFlag::RESOLVE_BENEATH.union(ResolveFlag::RESOLVE_NO_MAGICLINKS);
const HERE: ResolveFlag = BENEATH.union(ResolveFlag::RESOLVE_NO_XDEV);

/// All that is ever opened where no root is entered. It lies in read-only memory.
static TABLE: [How; 11] = [
    How::new(DIRECTORY, 0, HERE),
    How::new(DIRECTORY, 0, BENEATH),
    How::new(PATH, 0, HERE),
    How::new(OFlag::O_WRONLY.union(NEW), PRIVATE, HERE),
    How::new(NAMELESS, PRIVATE, HERE),
    How::new(OFlag::O_RDWR.union(NEW), PRIVATE, HERE),
    How::new(STEP, 0, BENEATH),
    How::new(READ, 0, BENEATH),
    How::new(READ.union(OFlag::O_DIRECTORY), 0, BENEATH),
    How::new(READ.union(NOATIME), 0, BENEATH),
    How::new(READ.union(OFlag::O_DIRECTORY).union(NOATIME), 0, BENEATH),
];
/// The first of those for reading.
const READS: usize = 6;
/// The entry that crosses mounts.
const ACROSS: usize = 1;

impl Way {
    /// Its entry in the table, where it has one.
    fn how(self, used: Use) -> Option<&'static How> {
        let row = match self {
            Way::Across if used == (Use::Writing { cross_mounts: true }) => ACROSS,
            Way::Step => READS,
            Way::Read { directory, keep_time } => READS + 1 + usize::from(directory) + 2 * usize::from(keep_time),
            Way::Directory | Way::Across => 0,
            Way::Path => 2,
            Way::New(_) => 3,
            Way::Nameless => 4,
            Way::Passing => 5,
            // There are none without a mount namespace.
            Way::Lower => return None,
        };
        TABLE.get(row)
    }

    /// Only what was not there.
    fn makes(self) -> bool {
        matches!(self, Way::New(_) | Way::Passing)
    }

    /// What `openat(2)` is told: flags, as strace prints them too, and the mode of what is made.
    fn flags(self) -> (OFlag, &'static str, Option<u32>) {
        match self {
            Way::Directory | Way::Across => (DIRECTORY, "O_RDONLY|O_NOFOLLOW|O_CLOEXEC|O_DIRECTORY", None),
            Way::Path => (PATH, "O_RDONLY|O_NOFOLLOW|O_CLOEXEC|O_PATH", None),
            Way::New(mode) => {
                (OFlag::O_WRONLY | NEW, "O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC", Some(mode & 0o777))
            }
            Way::Nameless => (NAMELESS, "O_RDWR|O_CLOEXEC|O_TMPFILE", Some(PRIVATE)),
            Way::Passing => (OFlag::O_RDWR | NEW, "O_RDWR|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC", Some(PRIVATE)),
            Way::Lower => (LOWER, "O_RDONLY|O_NONBLOCK|O_NOFOLLOW|O_CLOEXEC", None),
            Way::Step => (STEP, "O_RDONLY|O_NOFOLLOW|O_CLOEXEC|O_PATH|O_DIRECTORY", None),
            Way::Read { directory, keep_time } => reading(directory, keep_time),
        }
    }
}

fn reading(directory: bool, keep_time: bool) -> (OFlag, &'static str, Option<u32>) {
    let (flags, told) = match (directory, keep_time) {
        (false, false) => (READ, "O_RDONLY|O_NONBLOCK|O_NOFOLLOW|O_CLOEXEC"),
        (true, false) => (READ | OFlag::O_DIRECTORY, "O_RDONLY|O_NONBLOCK|O_NOFOLLOW|O_CLOEXEC|O_DIRECTORY"),
        (false, true) => (READ | NOATIME, "O_RDONLY|O_NONBLOCK|O_NOFOLLOW|O_NOATIME|O_CLOEXEC"),
        (true, true) => {
            (READ | OFlag::O_DIRECTORY | NOATIME, "O_RDONLY|O_NONBLOCK|O_NOFOLLOW|O_NOATIME|O_CLOEXEC|O_DIRECTORY")
        }
    };
    (flags, told, None)
}

/// Where the entries of the table lie that are used, for a filter.
pub(crate) fn table(used: Use) -> impl Iterator<Item = *const How> {
    let is_used = move |(row, _): &(usize, &How)| match used {
        Use::Reading => *row >= READS,
        Use::Writing { cross_mounts } => *row < READS && (cross_mounts || *row != ACROSS),
    };
    TABLE.iter().enumerate().filter(is_used).map(|(_, how)| std::ptr::from_ref(how))
}

/// From now on everything is opened by the table; an error where there is no `openat2`.
pub(crate) fn only_by_table(root: &OwnedFd, used: Use) -> Result<()> {
    // Nobody changes it, who does not run code of his own already; where the kernel can seal it, nobody at all.
    sys::seal(&TABLE);
    let tried = by_how(root, b".", &TABLE[0]);
    tried
        .map(drop)
        .map_err(|errno| Fault::os(errno, Call::Openat2, at(Descriptor::Root, ".").with(told(Way::Directory))))?;
    let _ = ONLY_BY_TABLE.set(used);
    Ok(())
}

/// Opens `name` in `dir`.
pub(crate) fn by(dir: &OwnedFd, name: &[u8], way: Way) -> Result<OwnedFd, Errno> {
    if let Some(used) = ONLY_BY_TABLE.get() {
        let opened = by_how(dir, name, way.how(*used).ok_or(Errno::EACCES)?);
        // What something is mounted on is there: `openat(2)` says that first.
        return if way.makes() && matches!(opened, Err(Errno::EXDEV)) { Err(Errno::EEXIST) } else { opened };
    }
    let (flags, _, mode) = way.flags();
    openat(dir, OsStr::from_bytes(name), flags, mode.map_or(Mode::empty(), Mode::from_bits_truncate))
}

/// The directory that this one is in, which is whoever asks to compare with what it was; nothing where everything is opened
/// by the table, beneath which `..` leads nowhere.
pub(crate) fn above(dir: &OwnedFd) -> Option<OwnedFd> {
    if ONLY_BY_TABLE.get().is_some() {
        return None;
    }
    openat(dir, "..", DIRECTORY, Mode::empty()).ok()
}

fn by_how(dir: &OwnedFd, name: &[u8], how: &'static How) -> Result<OwnedFd, Errno> {
    OsStr::from_bytes(name).with_nix_path(|name| sys::openat2(dir.as_fd(), name, how))?
}

/// The error of [`by`]: `of` says what the directory is of.
#[cold]
pub(crate) fn failed(errno: Errno, way: Way, of: Descriptor, name: &[u8]) -> Fault {
    if ONLY_BY_TABLE.get().is_some() {
        return Fault::os(errno, Call::Openat2, at(of, name).with(told(way)));
    }
    let (_, flags, mode) = way.flags();
    let arguments = match mode {
        Some(mode) => at(of, name).with(format_args!("{flags}, {}", Octal(mode))),
        None => at(of, name).with(flags),
    };
    Fault::os(errno, Call::Openat, arguments)
}

/// The arguments of `openat2(2)` behind the name.
fn told(way: Way) -> String {
    let (_, flags, mode) = way.flags();
    let mode = mode.map_or_else(String::new, |_| format!(" mode={},", Octal(PRIVATE)));
    let across = way == Way::Across && ONLY_BY_TABLE.get() == Some(&Use::Writing { cross_mounts: true });
    let xdev = if across || matches!(way, Way::Step | Way::Read { .. }) { "" } else { "RESOLVE_NO_XDEV|" };
    format!("{{flags={flags},{mode} resolve={xdev}RESOLVE_NO_MAGICLINKS|RESOLVE_BENEATH}}, 24")
}

/// Opens the directory `name` in `dir`. `ENOTDIR` or `ELOOP` if it is something else.
pub(crate) fn directory(dir: &OwnedFd, name: &[u8], cross_mounts: bool) -> Result<OwnedFd> {
    if cross_mounts {
        return by(dir, name, Way::Across).map_err(|errno| failed(errno, Way::Across, Descriptor::Directory, name));
    }
    // Asked once: another thread may find out meanwhile.
    let old = OLD_KERNEL.load(Ordering::Relaxed);
    let opened = if old { by(dir, name, Way::Directory) } else { by_how(dir, name, &TABLE[0]) };
    match opened {
        Ok(fd) if !old || same_mount(dir, &fd) => Ok(fd),
        Ok(_) | Err(Errno::EXDEV) => match mounted(dir, name) {
            // What is no directory is not entered, whatever is allowed.
            Some(file @ Cause::MountPoint { directory: false }) => Err(file.into()),
            _ => Err(Cause::CrossesMount.into()),
        },
        Err(errno) if sys::is_absent(errno) && !old && ONLY_BY_TABLE.get().is_none() => {
            OLD_KERNEL.store(true, Ordering::Relaxed);
            directory(dir, name, cross_mounts)
        }
        Err(errno) if old => Err(failed(errno, Way::Directory, Descriptor::Directory, name)),
        Err(errno) => Err(Fault::os(errno, Call::Openat2, at(Descriptor::Directory, name).with(told(Way::Directory)))),
    }
}

/// What stands in for `openat2`: mounts are told apart by their id where `statx` has it, else by device number.
fn same_mount(a: &OwnedFd, b: &OwnedFd) -> bool {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let id = |fd: &OwnedFd| {
        let stat = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
        (stat.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(stat.stx_mnt_id)
    };
    let device = |fd: &OwnedFd| nix::sys::stat::fstat(fd).map(|s| s.st_dev).ok();
    match (id(a), id(b)) {
        (Some(a), Some(b)) => a == b,
        _ => device(a) == device(b),
    }
}

/// What is at `name` in `dir`, if something is mounted on it; where no kernel tells (before Linux 5.8), it may be.
pub(crate) fn mounted(dir: &OwnedFd, name: &[u8]) -> Option<Cause> {
    use rustix::fs::{AtFlags, FileType, StatxAttributes, StatxFlags, statx};
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let Ok(stat) = statx(dir, OsStr::from_bytes(name), flags, StatxFlags::TYPE) else {
        return Some(Cause::CrossesMount);
    };
    let directory = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory;
    let told = stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
    (!told || stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)).then_some(Cause::MountPoint { directory })
}

/// Something is mounted on `name` in `dir`, as far as the kernel tells (since Linux 5.8).
pub(crate) fn is_mount(dir: &OwnedFd, name: &[u8]) -> bool {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    statx(dir, OsStr::from_bytes(name), flags, StatxFlags::empty())
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// The text of the symlink `name` in `dir`; `None` if it is something else or not there.
pub(crate) fn link_target(dir: &OwnedFd, name: &[u8]) -> Result<Option<Vec<u8>>> {
    match readlinkat(dir, OsStr::from_bytes(name)) {
        Ok(target) => Ok(Some(target.into_vec())),
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno).call(Call::Readlinkat, || at(Descriptor::Directory, name).with("<path>, 4096")),
    }
}
