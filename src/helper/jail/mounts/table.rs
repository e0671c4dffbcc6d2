//! Which mounts lie on which, below one directory: as `/proc` lists them, or without it `statmount(2)`.

use super::{GETCWD, POINT, UNIQUE, listed, read_mountinfo, relative, told, unescape};
use crate::helper::fault::{Attempt, Fault, Result, at};
use crate::proc;
use crate::report::{Call, Descriptor};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// `STATMOUNT_SB_BASIC` and `STATMOUNT_MNT_BASIC`.
const BASIC: u64 = 3;

/// One mount at or below the directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub(crate) id: u64,
    parent: u64,
    device: u64,
    /// Relative to the directory; empty for what lies over that.
    pub(crate) point: Vec<u8>,
}

pub(crate) struct Table {
    /// The mount that the directory is in.
    here: u64,
    mounts: Vec<Mounted>,
    numbers: fn(&OwnedFd) -> Option<u64>,
}

impl Table {
    /// Reads the one of the working directory, which is open as `dir`. `whole`: it is the root of its mount, so what lies
    /// on that and not below the directory says that somebody renames it meanwhile
    /// ([`Cause::Exchanged`](crate::report::Cause::Exchanged)).
    pub(crate) fn of(dir: &OwnedFd, whole: bool) -> Result<Table> {
        let cwd = nix::unistd::getcwd().call(Call::Getcwd, || GETCWD)?;
        let cwd = cwd.as_os_str().as_bytes();
        let unknown = || {
            Fault::os(
                Errno::ENOENT,
                Call::Openat,
                at(Descriptor::Cwd, "/proc/self/mountinfo").with("O_RDONLY|O_CLOEXEC"),
            )
        };
        let (table, strays) = Table::listed(dir, cwd).or_else(|| Table::asked(dir, cwd)).ok_or_else(unknown)?;
        if strays && whole { Err(Fault::exchanged(cwd)) } else { Ok(table) }
    }

    /// And whether something on its mount is not below it.
    fn listed(dir: &OwnedFd, cwd: &[u8]) -> Option<(Table, bool)> {
        let text = read_mountinfo()?;
        let here = number(dir)?;
        let mounts = text.split(|b| *b == b'\n').filter_map(|line| parse(line, cwd)).collect();
        Some((Table { here, mounts, numbers: number }, has_strays(&text, here, cwd)))
    }

    fn asked(dir: &OwnedFd, cwd: &[u8]) -> Option<(Table, bool)> {
        let here = unique_number(dir)?;
        let mounts = listed(here)?.into_iter().map(|id| ask(id, cwd)).collect::<Option<Vec<_>>>()?;
        let strays = mounts.iter().any(Option::is_none);
        Some((Table { here, mounts: mounts.into_iter().flatten().collect(), numbers: unique_number }, strays))
    }

    /// Which mount a descriptor is in, as this table numbers them.
    pub(crate) fn number_of(&self, fd: &OwnedFd) -> Option<u64> {
        (self.numbers)(fd)
    }

    /// The topmost mounts that can be reached from the directory, but for those of this device. What is below another
    /// one is out of reach if that is.
    pub(crate) fn in_sight(&self, cover: u64) -> impl Iterator<Item = &Mounted> {
        self.first().filter(|m| !self.is_hidden(m)).map(|m| self.topmost(m)).filter(move |m| m.device != cover)
    }

    /// Whether something is out of reach because another mount lies above it.
    pub(crate) fn has_hidden(&self) -> bool {
        self.first().any(|m| self.is_hidden(m))
    }

    fn first(&self) -> impl Iterator<Item = &Mounted> {
        self.mounts.iter().filter(|m| m.parent == self.here && !m.point.is_empty())
    }

    /// Something was mounted above its mount point later.
    fn is_hidden(&self, mount: &Mounted) -> bool {
        let above = |other: &&Mounted| other.parent == self.here && relative_to(&other.point, &mount.point);
        self.mounts.iter().any(|other| above(&other))
    }

    /// What lies over it, or itself.
    fn topmost<'a>(&'a self, mount: &'a Mounted) -> &'a Mounted {
        let over = |below: &&'a Mounted| self.mounts.iter().find(|m| m.parent == below.id && m.point == below.point);
        std::iter::successors(Some(mount), over).last().unwrap_or(mount)
    }
}

fn relative_to(above: &[u8], point: &[u8]) -> bool {
    !above.is_empty() && point.strip_prefix(above).is_some_and(|rest| rest.starts_with(b"/"))
}

/// Whether something lies on this mount and not at or below the directory.
pub(super) fn has_strays(mountinfo: &[u8], here: u64, cwd: &[u8]) -> bool {
    mountinfo.split(|b| *b == b'\n').any(|line| {
        let on_it = line.split(|b| *b == b' ').nth(1).and_then(decimal) == Some(here);
        on_it && parse(line, cwd).is_none()
    })
}

fn decimal(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// A line of `mountinfo`, if that mount is at or below the directory.
fn parse(line: &[u8], cwd: &[u8]) -> Option<Mounted> {
    let fields: Vec<&[u8]> = line.split(|b| *b == b' ').take(5).collect();
    let &[id, parent, device, _, point] = fields.as_slice() else { return None };
    let number = decimal;
    let at = device.iter().position(|b| *b == b':')?;
    let device = libc::makedev(small(number(&device[..at])?)?, small(number(device.get(at + 1..)?)?)?);
    Some(Mounted { id: number(id)?, parent: number(parent)?, device, point: point_in(cwd, &unescape(point))? })
}

fn small(number: u64) -> Option<u32> {
    u32::try_from(number).ok()
}

/// Relative; empty if it is the directory itself.
fn point_in(cwd: &[u8], point: &[u8]) -> Option<Vec<u8>> {
    relative(cwd, point).or((point == cwd).then_some(b"".as_slice())).map(<[u8]>::to_vec)
}

/// One mount as `statmount(2)` tells it; inner `None` if it is not below.
fn ask(id: u64, cwd: &[u8]) -> Option<Option<Mounted>> {
    let (answer, point) = told(id, &POINT, BASIC)?;
    let at = |from: usize, length: usize| answer.get(from..from + length);
    let word = |from| at(from, 4)?.try_into().ok().map(u32::from_ne_bytes);
    let parent = parent_in(&answer)?;
    let device = libc::makedev(word(16)?, word(20)?);
    Some(point_in(cwd, &point).map(|point| Mounted { id, parent, device, point }))
}

fn parent_in(answer: &[u8]) -> Option<u64> {
    answer.get(48..56)?.try_into().ok().map(u64::from_ne_bytes)
}

/// The working directory's mount, as `mountinfo` numbers it.
pub(super) fn here() -> Option<u64> {
    asked_number(CWD, c".", StatxFlags::MNT_ID.bits())
}

/// The mount's id as `mountinfo` numbers mounts: from `statx(2)` (Linux 5.8), or from `/proc`.
fn number(fd: &OwnedFd) -> Option<u64> {
    asked_number(fd, c"", StatxFlags::MNT_ID.bits()).or_else(|| {
        let text = proc::text(&format!("self/fdinfo/{}", fd.as_raw_fd()));
        text.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
    })
}

fn unique_number(fd: &OwnedFd) -> Option<u64> {
    asked_number(fd, c"", UNIQUE)
}

fn asked_number(fd: impl AsFd, path: &CStr, field: u32) -> Option<u64> {
    let stat = statx(fd, path, AtFlags::EMPTY_PATH, StatxFlags::from_bits_retain(field)).ok()?;
    (stat.stx_mask & field != 0).then_some(stat.stx_mnt_id)
}

/// Whether this lies in the first mount of the namespace, which lies on none: an initramfs. No, where nobody can be asked.
pub(crate) fn is_first(path: &str) -> bool {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let parent = |fd| asked_parent(&fd).or_else(|| listed_parent(&fd));
    openat(AT_FDCWD, path, flags, Mode::empty()).ok().and_then(parent).is_some_and(|(own, parent)| own == parent)
}

/// A mount's number, and that of the mount that it lies on.
fn asked_parent(fd: &OwnedFd) -> Option<(u64, u64)> {
    let own = unique_number(fd)?;
    let (answer, _) = told(own, &POINT, BASIC)?;
    Some((own, parent_in(&answer)?))
}

fn listed_parent(fd: &OwnedFd) -> Option<(u64, u64)> {
    let (text, own) = (read_mountinfo()?, number(fd)?);
    parent_listed(&text, own).map(|parent| (own, parent))
}

fn parent_listed(mountinfo: &[u8], own: u64) -> Option<u64> {
    let numbers = |line: &[u8]| {
        let mut fields = line.split(|b| *b == b' ').map(decimal);
        fields.next()??.eq(&own).then(|| fields.next())??
    };
    mountinfo.split(|b| *b == b'\n').find_map(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COVER: u64 = 9;
    const NONE: [u64; 0] = [];

    fn table(mounts: &[(u64, u64, u64, &str)]) -> Table {
        let mounted = |(id, parent, device, point): &(u64, u64, u64, &str)| Mounted {
            id: *id,
            parent: *parent,
            device: *device,
            point: point.as_bytes().to_vec(),
        };
        Table { here: 1, mounts: mounts.iter().map(mounted).collect(), numbers: |_| None }
    }

    fn in_sight(mounts: &[(u64, u64, u64, &str)]) -> Vec<u64> {
        table(mounts).in_sight(COVER).map(|m| m.id).collect()
    }

    #[test]
    fn what_lies_over_another_mount_is_what_must_be_covered() {
        assert_eq!(in_sight(&[(2, 1, 5, "a"), (3, 2, 6, "a"), (4, 3, 7, "a/b")]), [3]);
        assert_eq!(in_sight(&[(2, 1, 5, "a"), (3, 2, 6, "a"), (4, 3, COVER, "a")]), NONE);
        assert_eq!(in_sight(&[(2, 1, 5, "a"), (3, 2, COVER, "a"), (4, 2, 7, "a/b")]), NONE);
    }

    #[test]
    fn what_cannot_be_reached_need_not_be_covered() {
        // Of another mount, over the directory itself, below what was mounted later.
        assert_eq!(in_sight(&[(2, 8, 5, "a"), (3, 1, 6, ""), (4, 1, 7, "c/d"), (5, 1, COVER, "c")]), NONE);
        assert_eq!(in_sight(&[(4, 1, 7, "c/d"), (5, 1, 6, "c-e"), (6, 1, 6, "c/d-e")]), [4, 5, 6]);
        // Told apart from what cannot be exchanged into looking like it.
        assert!(table(&[(4, 1, 7, "c/d"), (5, 1, COVER, "c")]).has_hidden());
        assert!(!table(&[(3, 1, 6, ""), (4, 1, 7, "c"), (5, 4, 7, "c/d")]).has_hidden());
    }

    #[test]
    fn a_directory_that_was_renamed_meanwhile_is_noticed() {
        let info =
            b"7 1 0:5 / /p/root rw - ext4 x rw\n8 7 0:6 / /p/root/proc rw - proc p rw\n9 8 0:6 / /q rw - proc p rw\n";
        for (cwd, strays) in [("/p/root", false), ("/p", false), ("/p/other", true), ("/p/root/p", true)] {
            assert_eq!(has_strays(info, 7, cwd.as_bytes()), strays, "{cwd}");
        }
        assert!(!has_strays(info, 9, b"/p/other"));
    }

    #[test]
    fn the_first_mount_lies_on_itself() {
        let info = b"7 1 0:5 / / rw - ext4 x rw\n8 8 0:2 / / rw - rootfs rootfs rw\n";
        assert_eq!([7, 8, 9].map(|own| parent_listed(info, own)), [Some(1), Some(8), None]);
        // A machine that runs tests has switched its root.
        assert!(["/", "/proc"].iter().all(|path| !is_first(path)));
        let proc = nix::fcntl::open("/proc", nix::fcntl::OFlag::O_PATH, nix::sys::stat::Mode::empty()).expect("/proc");
        let (own, parent) = listed_parent(&proc).expect("a list");
        assert_ne!(own, parent);
    }

    #[test]
    fn both_tables_agree() {
        for dir in ["/", "/proc", "/dev", "/sys"] {
            let open = nix::fcntl::open(dir, nix::fcntl::OFlag::O_PATH, nix::sys::stat::Mode::empty()).expect(dir);
            let (listed, _) = Table::listed(&open, dir.as_bytes()).expect("a list");
            let Some((asked, _)) = Table::asked(&open, dir.as_bytes()) else { continue };
            let points = |table: &Table| {
                let mut points: Vec<_> = table.in_sight(0).map(|m| (m.point.clone(), m.device)).collect();
                points.sort();
                points
            };
            assert_eq!(points(&listed), points(&asked), "{dir}");
        }
    }
}
