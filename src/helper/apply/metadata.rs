//! Owner, mode, ACLs and extended attributes, times: from the archive's wish to the kernel, in the one right
//! order. `chown(2)` clears set-id bits and capabilities, so the owner comes first and capabilities last.

mod special;

use super::attribute::{self, ACL_ACCESS, ACL_DEFAULT, CAPABILITY};
use super::made::{self, Inherit, NewDirectory, Ours};
use super::unchangeable;
use crate::helper::fault::{Attempt, Fault, Octal, Result, at, on};
use crate::helper::open::PRIVATE;
use crate::helper::read::entry::Time;
use crate::helper::rights;
use crate::helper::sys;
use crate::options::Xattrs;
use crate::report::{Call, Descriptor, EventKind, Purpose};
use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown};
use rustix::fs::{XattrFlags, flistxattr, fsetxattr};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

/// What an attribute holds in memory besides its name and value.
const ATTRIBUTE: usize = 96;

/// What a file is to be, policies applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// `None`: whoever the helper runs as.
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) mode: u32,
    /// The mode on disk and the owner right, where that is known.
    pub(crate) mode_now: Option<u32>,
    pub(crate) mtime: Time,
    pub(crate) atime: Time,
    /// Names as the kernel has them; `security.capability` last.
    pub(crate) xattrs: Attributes,
}

/// Names and values.
pub(crate) type Attributes = Vec<(CString, Vec<u8>)>;

impl Metadata {
    pub(crate) fn has_default_acl(&self) -> bool {
        self.xattrs.iter().any(|(name, _)| name.as_c_str() == ACL_DEFAULT)
    }

    /// What its attributes hold in memory.
    pub(crate) fn attribute_bytes(&self) -> usize {
        Metadata::bytes_of(&self.xattrs)
    }

    pub(crate) fn bytes_of(xattrs: &Attributes) -> usize {
        xattrs.iter().map(|(name, value)| name.count_bytes() + value.capacity() + ATTRIBUTE).sum()
    }

    /// Once set on a directory only its times have to be set again. Attributes are let go of: 64 KiB for every
    /// directory of an archive would be the helper's memory.
    pub(crate) fn forget_what_stays(&mut self) {
        if !self.xattrs.is_empty() {
            self.xattrs = Vec::new();
            // An ACL has changed the mode on disk, and must not be undone by it.
            self.mode_now = Some(self.mode);
        }
    }

    fn times(&self) -> (TimeSpec, TimeSpec) {
        (self.atime.spec(), self.mtime.spec())
    }
}

impl Time {
    fn spec(self) -> TimeSpec {
        TimeSpec::new(self.seconds, self.nanoseconds.into())
    }
}

/// How metadata is set, for the whole run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setter {
    /// What a file that the helper makes belongs to.
    pub(crate) own: (u32, u32),
    pub(crate) ignore_chown_errors: bool,
    pub(crate) xattrs: Xattrs,
    /// Files take their directory's group everywhere.
    pub(crate) group_from_directory: bool,
    pub(crate) sync: bool,
    /// No root was entered: nothing is given to what is held by its path alone, files are made with another mode than
    /// theirs, and the owner's own mode keeps him out.
    pub(crate) beneath: bool,
}

/// What was softened.
pub(crate) type Softened = Vec<EventKind>;

impl Setter {
    fn ours(&self) -> Ours {
        Ours { own: self.own, group_from_directory: self.group_from_directory }
    }

    /// Everything about a regular file that has just been made with `mode & 0777`.
    pub(crate) fn new_file(&self, file: &OwnedFd, meta: &Metadata, inherit: Inherit) -> Result<Softened> {
        let mut softened = Softened::new();
        let owned = self.owner(file, meta, inherit.group, &mut softened)?;
        if inherit.acl {
            attribute::remove(file, ACL_ACCESS)?;
        }
        let mode = allowed_mode(meta.mode, owned);
        // The kernel asks who may write a file for these.
        let data = |(name, _): &&(CString, Vec<u8>)| self.beneath && name.to_bytes().starts_with(b"user.");
        self.set_xattrs(file, meta.xattrs.iter().filter(data), &mut softened)?;
        let made = if self.beneath { PRIVATE } else { mode & 0o777 };
        if inherit.acl || mode != made {
            chmod(file, mode)?;
        }
        self.set_xattrs(file, meta.xattrs.iter().filter(|attribute| !data(attribute)), &mut softened)?;
        self.times(file, meta)?;
        Ok(softened)
    }

    /// Makes and opens a directory that its owner may use; the rest is set as it is left. True if the owner
    /// is right.
    pub(crate) fn new_directory(
        &self,
        dir: &OwnedFd,
        name: &[u8],
        meta: &Metadata,
        inherit: Inherit,
        softened: &mut Softened,
    ) -> Result<(NewDirectory, bool)> {
        let mode = usable(meta.mode);
        let made = made::directory(dir, name, mode, self.ours(), inherit);
        let made = made.map_err(|fault| unchangeable::told(fault, dir, None))?;
        let owned = self.owner(&made.handle, meta, inherit.group, softened)?;
        if inherit.acl {
            attribute::remove(&made.handle, ACL_ACCESS)?;
            attribute::remove(&made.handle, ACL_DEFAULT)?;
        }
        if inherit != Inherit::default() {
            chmod(&made.handle, mode)?;
        }
        Ok((made, owned))
    }

    /// The owner of a directory that was there, as it is entered.
    pub(crate) fn own_directory(&self, dir: &OwnedFd, meta: &Metadata, softened: &mut Softened) -> Result<()> {
        self.owner(dir, meta, true, softened).map(drop)
    }

    /// The rest of a directory, as it is left: attributes could bear on files made in it, restrictive modes
    /// on making them.
    pub(crate) fn leave_directory(&self, dir: &OwnedFd, meta: &Metadata) -> Result<Softened> {
        let mut softened = Softened::new();
        let (now, owned) = match meta.mode_now {
            Some(mode) => (mode, true),
            None => {
                let stat = sys::fstat(dir).call(Call::Fstat, || on(Descriptor::Directory).with("<stat>"))?;
                let owned = meta.owner.is_none_or(|owner| owner == (stat.st_uid, stat.st_gid));
                (stat.st_mode & 0o7777, owned)
            }
        };
        let mode = allowed_mode(meta.mode, owned);
        if now != mode {
            chmod(dir, mode)?;
        }
        self.set_xattrs(dir, meta.xattrs.iter(), &mut softened)?;
        self.times(dir, meta)?;
        Ok(softened)
    }

    /// The time of a directory that no entry lists. One that was there may be another's, whose times are not for us to
    /// set.
    pub(crate) fn date_directory(&self, dir: &OwnedFd, mtime: Time, ours: bool) -> Result<Softened> {
        let time = mtime.spec();
        match futimens(dir, &TimeSpec::UTIME_OMIT, &time) {
            Err(errno @ Errno::EPERM) if !ours => return Ok(vec![EventKind::TimesIgnored { errno: errno as i32 }]),
            result => result.call(Call::Utimensat, || {
                on(Descriptor::File).with(format_args!("NULL, {}, 0", both(&TimeSpec::UTIME_OMIT, &time)))
            })?,
        }
        self.sync_each(dir)?;
        Ok(Softened::new())
    }

    fn owner(&self, fd: &OwnedFd, meta: &Metadata, always: bool, softened: &mut Softened) -> Result<bool> {
        let Some((uid, gid)) = self.owner_to_set(meta, always) else { return Ok(true) };
        let result = fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        self.owner_result(result, Call::Fchown, uid, gid, softened)
    }

    fn owner_to_set(&self, meta: &Metadata, always: bool) -> Option<(u32, u32)> {
        meta.owner.filter(|owner| always || self.group_from_directory || *owner != self.own)
    }

    fn owner_result(
        &self,
        result: Result<(), Errno>,
        call: Call,
        uid: u32,
        gid: u32,
        softened: &mut Softened,
    ) -> Result<bool> {
        match result {
            Err(errno @ (Errno::EPERM | Errno::EINVAL)) if self.ignore_chown_errors => {
                softened.push(EventKind::OwnerIgnored { uid, gid, errno: errno as i32 });
                Ok(false)
            }
            result => result.map(|()| true).call(call, || match call {
                Call::Fchown => on(Descriptor::File).with(format_args!("{uid}, {gid}")),
                _ => at(Descriptor::File, "").with(format_args!("{uid}, {gid}, AT_EMPTY_PATH")),
            }),
        }
    }

    /// The owner's part of a directory's mode, once all is done; an ACL may have decided over the rest.
    pub(crate) fn narrow_directory(&self, dir: &OwnedFd, owners: u32) -> Result<Softened> {
        let stat = sys::fstat(dir).call(Call::Fstat, || on(Descriptor::Directory).with("<stat>"))?;
        chmod(dir, stat.st_mode & 0o7077 | owners & 0o700)?;
        self.sync_each(dir).map(|()| Softened::new())
    }

    fn set_xattrs<'x>(
        &self,
        fd: &OwnedFd,
        xattrs: impl Iterator<Item = &'x (CString, Vec<u8>)>,
        softened: &mut Softened,
    ) -> Result<()> {
        for (name, value) in xattrs {
            let result = fsetxattr(fd, name, value, XattrFlags::empty()).map_err(nix_errno);
            self.xattr_result(result, name, value.len(), softened)?;
        }
        Ok(())
    }

    fn xattr_result(&self, result: Result<(), Errno>, name: &CStr, size: usize, softened: &mut Softened) -> Result<()> {
        let soft = |errno| match errno {
            Errno::EOPNOTSUPP => true,
            // A capability, which was well-formed, of a root that this user namespace does not have.
            Errno::EINVAL if name.to_bytes() == CAPABILITY => true,
            // An ACL that names an id which this user namespace does not have: acl(5) holds owners too.
            Errno::EINVAL => self.ignore_chown_errors && [ACL_ACCESS, ACL_DEFAULT].contains(&name),
            _ => false,
        };
        match result {
            Err(errno) if self.xattrs != Xattrs::Strict && soft(errno) => {
                softened.push(EventKind::XattrUnsupported { name: name.to_bytes().into(), errno: errno as i32 });
                Ok(())
            }
            result => result.call(Call::Fsetxattr, || attribute::setting(name, size)),
        }
    }

    fn times(&self, fd: &OwnedFd, meta: &Metadata) -> Result<()> {
        let (atime, mtime) = meta.times();
        futimens(fd, &atime, &mtime)
            .call(Call::Utimensat, || on(Descriptor::File).with(format_args!("NULL, {}, 0", both(&atime, &mtime))))?;
        self.sync_each(fd)
    }

    fn sync_each(&self, fd: &OwnedFd) -> Result<()> {
        if self.sync { nix::unistd::fsync(fd).call(Call::Fsync, || on(Descriptor::File)) } else { Ok(()) }
    }
}

/// The mode of a directory while this run fills it.
pub(crate) fn usable(mode: u32) -> u32 {
    mode & 0o777 | 0o700
}

/// Set-id bits are for the owner that was asked for, nobody else.
fn allowed_mode(mode: u32, owned: bool) -> u32 {
    if owned { mode } else { mode & 0o1777 }
}

/// Two times as strace prints them.
fn both(atime: &TimeSpec, mtime: &TimeSpec) -> String {
    let one = |time: &TimeSpec| match *time {
        TimeSpec::UTIME_OMIT => "UTIME_OMIT".to_owned(),
        time => format!("{{tv_sec={}, tv_nsec={}}}", time.tv_sec(), time.tv_nsec()),
    };
    format!("[{}, {}]", one(atime), one(mtime))
}

fn chmod(fd: &OwnedFd, mode: u32) -> Result<()> {
    fchmod(fd, Mode::from_bits_truncate(mode))
        .call(Call::Fchmod, || on(Descriptor::File).with(format_args!("{}", Octal(mode))))
        .map_err(|fault| fault.meant(set_id(mode)))
}

/// What setting this mode is for.
fn set_id(mode: u32) -> Purpose {
    if mode & 0o6000 == 0 { Purpose::Usual } else { Purpose::SetId }
}

/// Removes from a directory that was there before what the archive does not give it.
pub(crate) fn clear_xattrs(dir: &OwnedFd, keep: &[(CString, Vec<u8>)]) -> Result<()> {
    for name in xattr_names(dir)? {
        if !keep.iter().any(|(kept, _)| *kept == name) {
            attribute::remove(dir, &name)?;
        }
    }
    Ok(())
}

/// The attributes of an open file that are an archive's to set.
pub(crate) fn xattr_names(fd: &OwnedFd) -> Result<Vec<CString>> {
    let mut list = vec![0u8; 64 << 10];
    let size = match flistxattr(fd, &mut list[..]) {
        Ok(size) => size,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno).call(Call::Flistxattr, || on(Descriptor::File).with("<list>, 65536")),
    };
    Ok(unmasked(&list[..size]))
}

fn unmasked(list: &[u8]) -> Vec<CString> {
    let names = list.split_inclusive(|b| *b == 0).filter_map(|name| CStr::from_bytes_with_nul(name).ok());
    names.filter(|name| !rights::is_masked(name.to_bytes())).map(CStr::to_owned).collect()
}

/// The names alone, of what a directory has at a name and must not be opened: nothing is set by them, they are told.
/// Before Linux 6.13 (or where a filter does not know the call) no descriptor leads there, and all of them are `*`.
pub(crate) fn xattr_names_at(dir: &OwnedFd, name: &[u8]) -> Result<Vec<CString>> {
    let path = CString::new(name).map_err(|_| Fault::as_if(Errno::EINVAL))?;
    let mut list = vec![0u8; 64 << 10];
    match sys::listxattrat(dir.as_fd(), &path, &mut list) {
        Ok(size) => Ok(unmasked(&list[..size])),
        Err(Errno::EOPNOTSUPP) => Ok(Vec::new()),
        Err(errno) if sys::is_absent(errno) => Ok(vec![c"*".to_owned()]),
        Err(errno) => Err(errno)
            .call(Call::Listxattrat, || at(Descriptor::Lower, name).with("AT_SYMLINK_NOFOLLOW, <list>, 65536")),
    }
}

fn nix_errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}
