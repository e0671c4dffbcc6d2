//! What this process has just made under a name that must not be trusted again: symlinks, devices, FIFOs, directories.
//!
//! Making one gives no descriptor, and by the time it is opened somebody may have put another file to its name. So what
//! was opened is looked at before it is given anything, and everything is given to the descriptor, never to the name.

use super::attribute::{self, ACL_DEFAULT};
use super::remove;
use crate::helper::fault::{Attempt, Fault, Result, at, on, quoted};
use crate::helper::hash;
use crate::helper::open::{self, Way};
use crate::helper::sys::fstat;
use crate::inode::{self, Identity};
use crate::report::{Call, Descriptor, Purpose};
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};
use nix::unistd::{LinkatFlags, UnlinkatFlags, linkat, symlinkat, unlinkat};
use rustix::fs::{AtFlags, StatxFlags, makedev, statx};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

/// What files made in a directory take from it, against the wish of the archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inherit {
    /// The group: a set-gid directory.
    pub(crate) group: bool,
    /// A default ACL.
    pub(crate) acl: bool,
}

/// Whom that belongs to which this process makes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ours {
    pub(crate) own: (u32, u32),
    /// Files take their directory's group everywhere.
    pub(crate) group_from_directory: bool,
}

/// What is made at a name that is neither file nor directory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Special<'a> {
    /// A symlink to there.
    Symlink(&'a [u8]),
    /// A FIFO, a socket or a device with this number.
    Node(SFlag, u64),
}

/// How it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Making<'a> {
    pub(crate) what: Special<'a>,
    /// The mode of a node; a symlink has none.
    pub(crate) mode: u32,
    pub(crate) ours: Ours,
    pub(crate) inherit: Inherit,
}

/// A symlink, device or FIFO that this process has made: the inode, by a descriptor that is only a path, since these
/// are never opened. Made only by [`special`].
pub(crate) struct Made {
    pub(crate) inode: OwnedFd,
    pub(crate) symlink: bool,
    /// The mode that it has got.
    pub(crate) mode: u32,
    /// It has an ACL of its directory's, and keeps it: no kernel takes one off by such a descriptor.
    pub(crate) acl: bool,
    _made_here: (),
}

/// A directory that this process has just made, open. Made only by [`directory`].
pub(crate) struct NewDirectory {
    pub(crate) handle: OwnedFd,
    /// Seen as it was opened: whoever leaves it need not ask.
    pub(crate) identity: Identity,
    _made_here: (),
}

/// Makes it and takes hold of it; `EEXIST` is the caller's to handle. [`Cause::Exchanged`](crate::report::Cause) if what is there then is another.
pub(crate) fn special(dir: &OwnedFd, name: &[u8], making: Making<'_>) -> Result<Made> {
    let Making { what, mode, ours, inherit } = making;
    let path = OsStr::from_bytes(name);
    let (kind, device) = match what {
        Special::Symlink(target) => {
            symlinkat(OsStr::from_bytes(target), dir, path)
                .call(Call::Symlinkat, || at(Descriptor::Directory, name).with(quoted(target)))?;
            (SFlag::S_IFLNK, 0)
        }
        Special::Node(kind, device) => {
            mknodat(dir, path, kind, Mode::from_bits_truncate(mode), device)
                .call(Call::Mknodat, || at(Descriptor::Directory, name).with(node(kind, mode, device)))
                .map_err(|fault| fault.meant(node_purpose(kind)))?;
            (kind, device)
        }
    };
    let inode = opened(dir, name, Way::Path)?;
    let stat = fstat(&inode).call(Call::Fstat, || on(Descriptor::File).with("<stat>"))?;
    let same = inode::kind(&stat) == kind && stat.st_nlink <= 1 && (kind == SFlag::S_IFLNK || stat.st_rdev == device);
    if !same || !is_ours(dir, (stat.st_uid, stat.st_gid), ours, inherit)? {
        return Err(Fault::exchanged(name));
    }
    let (symlink, mode, acl) = (kind == SFlag::S_IFLNK, stat.st_mode & 0o7777, inherit.acl);
    Ok(Made { inode, symlink, mode, acl, _made_here: () })
}

/// The same where the directory would hand its default ACL down, which no kernel takes off again by such a descriptor:
/// made in a directory of our own that has none, and linked from there. The other's ACL is never touched, since a run
/// may be killed at any moment.
pub(crate) fn special_aside(dir: &OwnedFd, name: &[u8], making: Making<'_>) -> Result<Made> {
    let aside = passing_name();
    let own = directory(dir, aside.as_bytes(), 0o700, making.ours, making.inherit)?.handle;
    let made = special_in(&own, making).and_then(|made| {
        linkat(&own, ASIDE, dir, OsStr::from_bytes(name), LinkatFlags::empty())
            .call(Call::Linkat, || {
                at(Descriptor::Directory, ASIDE).with(format_args!("<directory>, {}, 0", quoted(name)))
            })
            .map(|()| made)
    });
    // What somebody has put to the name meanwhile he could have removed himself.
    let _ = unlinkat(&own, ASIDE, UnlinkatFlags::NoRemoveDir);
    let removed = unlinkat(dir, &*aside, UnlinkatFlags::RemoveDir);
    let removed = removed.call(Call::Unlinkat, || at(Descriptor::Directory, &aside).with("AT_REMOVEDIR"));
    made.and_then(|made| removed.map(|()| made))
}

/// The one name in a directory of our own.
const ASIDE: &str = "made";

fn special_in(own: &OwnedFd, making: Making<'_>) -> Result<Made> {
    attribute::remove(own, ACL_DEFAULT)?;
    let inherit = Inherit { acl: false, ..making.inherit };
    special(own, ASIDE.as_bytes(), Making { inherit, ..making })
}

/// Makes a regular file, which gives its descriptor; `EEXIST` is the caller's to handle.
pub(crate) fn file(dir: &OwnedFd, name: &[u8], mode: u32) -> Result<OwnedFd> {
    opened(dir, name, Way::New(mode))
}

fn opened(dir: &OwnedFd, name: &[u8], way: Way) -> Result<OwnedFd> {
    open::by(dir, name, way).map_err(|errno| open::failed(errno, way, Descriptor::Directory, name))
}

/// A file of no name, to be written and read. Where the file system has none, one whose name is taken away at once.
pub(super) fn nameless(dir: &OwnedFd) -> Result<OwnedFd> {
    if let Ok(file) = open::by(dir, b".", Way::Nameless) {
        return Ok(file);
    }
    let name = passing_name();
    let file = opened(dir, name.as_bytes(), Way::Passing)?;
    // Whoever has put something else there could have removed it himself.
    unlinkat(dir, &*name, UnlinkatFlags::NoRemoveDir)
        .call(Call::Unlinkat, || at(Descriptor::Directory, &name).with("0"))?;
    Ok(file)
}

/// Makes a directory and opens it; `EEXIST` is the caller's to handle. [`Cause::Exchanged`](crate::report::Cause) if what is there then is another.
pub(crate) fn directory(dir: &OwnedFd, name: &[u8], mode: u32, ours: Ours, inherit: Inherit) -> Result<NewDirectory> {
    mkdirat(dir, OsStr::from_bytes(name), Mode::from_bits_truncate(mode))
        .call(Call::Mkdirat, || at(Descriptor::Directory, name).with(format_args!("0{mode:o}")))?;
    let handle = open::directory(dir, name, true).map_err(|fault| match fault.errno() {
        Some(Errno::ENOTDIR | Errno::ELOOP) => Fault::exchanged(name),
        _ => fault,
    })?;
    let seen = Seen::of(&handle)?;
    // A directory that never had anything in it was changed last when it was born: that saves a look inside.
    let new = seen.childless && (seen.untouched || remove::list(&handle)?.is_empty());
    if !new || !is_ours(dir, seen.owner, ours, inherit)? {
        return Err(Fault::exchanged(name));
    }
    Ok(NewDirectory { handle, identity: seen.identity, _made_here: () })
}

fn node_purpose(kind: SFlag) -> Purpose {
    if [SFlag::S_IFCHR, SFlag::S_IFBLK].contains(&kind) { Purpose::Device } else { Purpose::Usual }
}

/// The arguments of `mknodat(2)` behind the name.
pub(super) fn node(kind: SFlag, mode: u32, device: u64) -> String {
    use nix::sys::stat::{major, minor};
    let name = match kind {
        SFlag::S_IFIFO => return format!("S_IFIFO|0{mode:o}"),
        SFlag::S_IFSOCK => return format!("S_IFSOCK|0{mode:o}"),
        SFlag::S_IFCHR => "S_IFCHR",
        _ => "S_IFBLK",
    };
    format!("{name}|0{mode:o}, makedev({:#x}, {:#x})", major(device), minor(device))
}

/// What tells whether an open directory was made just now.
struct Seen {
    identity: Identity,
    owner: (u32, u32),
    /// No directory is in it, where the file system counts them.
    childless: bool,
    /// It is known that nothing was ever made in it.
    untouched: bool,
}

impl Seen {
    fn of(directory: &OwnedFd) -> Result<Seen> {
        // Some file systems do not tell when a file was made, and some filters do not know the call.
        let Ok(stat) = statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::BTIME) else {
            let stat = fstat(directory).call(Call::Fstat, || on(Descriptor::Directory).with("<stat>"))?;
            let (identity, owner) = (Identity::of(&stat), (stat.st_uid, stat.st_gid));
            return Ok(Seen { identity, owner, childless: stat.st_nlink <= 2, untouched: false });
        };
        let time = |time: rustix::fs::StatxTimestamp| (time.tv_sec, time.tv_nsec);
        let born = stat.stx_mask & StatxFlags::BTIME.bits() != 0 && time(stat.stx_btime) == time(stat.stx_mtime);
        let device = makedev(stat.stx_dev_major, stat.stx_dev_minor);
        let (identity, owner) = (Identity { device, number: stat.stx_ino }, (stat.stx_uid, stat.stx_gid));
        Ok(Seen { identity, owner, childless: stat.stx_nlink <= 2, untouched: born })
    }
}

/// Whether a file in this directory belongs to whom those belong to that we make there.
fn is_ours(dir: &OwnedFd, (uid, gid): (u32, u32), ours: Ours, inherit: Inherit) -> Result<bool> {
    let of_directory = inherit.group || ours.group_from_directory;
    if uid == ours.own.0 && (of_directory || gid == ours.own.1) {
        return Ok(true);
    }
    owner_here(dir).map(|owner| owner == (uid, gid))
}

/// Whom a file made here belongs to, where that is not who the helper runs as (`mount -o uid=`, squashed ids): asked
/// with one that cannot be another's, because making it has given its descriptor.
fn owner_here(dir: &OwnedFd) -> Result<(u32, u32)> {
    let stat = fstat(nameless(dir)?).call(Call::Fstat, || on(Descriptor::File).with("<stat>"))?;
    Ok((stat.st_uid, stat.st_gid))
}

/// A name that nobody can have foreseen, for what has none for long.
pub(super) fn passing_name() -> String {
    format!(".untar-in-root-{:016x}", hash::number())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Someone else than this test is: as on a mount with `uid=`, all that is made belongs to another.
    #[test]
    fn where_the_file_system_says_whom_files_belong_to_they_are_ours() {
        let place = std::env::temp_dir().join(format!("untar-in-root-made-{}", std::process::id()));
        std::fs::create_dir(&place).expect("scratch");
        let dir = OwnedFd::from(std::fs::File::open(&place).expect("scratch"));
        let own = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        for (number, own) in [own, (own.0 + 1, own.1), (own.0, own.1 + 1)].into_iter().enumerate() {
            let (ours, none) = (Ours { own, group_from_directory: false }, Inherit::default());
            let name = |kind: &str| format!("{kind}{number}").into_bytes();
            let making = |what, mode| Making { what, mode, ours, inherit: none };
            let link = special(&dir, &name("l"), making(Special::Symlink(b"there"), 0)).expect("a link");
            let fifo = special(&dir, &name("p"), making(Special::Node(SFlag::S_IFIFO, 0), 0o600));
            let fifo = fifo.expect("a FIFO");
            assert_eq!((link.symlink, fifo.symlink, fifo.mode), (true, false, 0o600));
            let made = directory(&dir, &name("d"), 0o700, ours, none).expect("a directory");
            assert_eq!(made.identity, Identity::of(&fstat(&made.handle).expect("it is open")));
        }
        // Nothing was left by the asking.
        assert_eq!(remove::list(&dir).expect("scratch").len(), 9);
        std::fs::remove_dir_all(place).expect("scratch");
    }
}
