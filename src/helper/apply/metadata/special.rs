//! Symlinks, devices and FIFOs: what can be given to an inode that is held by a path descriptor. What cannot is left
//! out and told, for by its name it might be given to another file.

use super::{Metadata, Setter, Softened, allowed_mode, both, nix_errno, set_id};
use crate::helper::apply::attribute::ACL_ACCESS;
use crate::helper::apply::files;
use crate::helper::apply::made::{self, Inherit, Made, Making, Special};
use crate::helper::fault::{Attempt, Fault, Octal, Result, at};
use crate::helper::sys;
use crate::options::Xattrs;
use crate::report::{Call, Descriptor, EventKind, Purpose};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::SFlag;
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};
use rustix::fs::{Timespec, Timestamps, utimensat};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

impl Setter {
    /// Makes a symlink, device or FIFO with as much of its mode as it can have before its owner.
    pub(crate) fn make_special(
        &self,
        dir: &OwnedFd,
        name: &[u8],
        what: Special<'_>,
        meta: &Metadata,
        inherit: Inherit,
    ) -> Result<Made> {
        // The sticky bit at once: before Linux 6.6 it cannot be set later.
        let mode = within_acl(meta, false, meta.mode) & 0o1777;
        let making = Making { what, mode, ours: self.ours(), inherit };
        if let Special::Node(kind, device) = what
            && self.beneath
            && kind != SFlag::S_IFIFO
        {
            return Err(no_device(dir, name, made::node(kind, mode, device)));
        }
        match what {
            Special::Node(..) if inherit.acl => made::special_aside(dir, name, making),
            _ => made::special(dir, name, making),
        }
    }

    /// Everything about one that was just made.
    pub(crate) fn new_special(&self, made: &Made, meta: &Metadata, inherit: Inherit) -> Result<Softened> {
        let mut softened = Softened::new();
        if self.beneath {
            return self.left_as_made(made, meta);
        }
        let mut owned = true;
        if let Some((uid, gid)) = self.owner_to_set(meta, inherit.group) {
            let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            let result = fchownat(&made.inode, "", user, group, AtFlags::AT_EMPTY_PATH);
            owned = self.owner_result(result, Call::Fchownat, uid, gid, &mut softened)?;
        }
        if !made.symlink {
            let wanted = allowed_mode(meta.mode, owned);
            softened.extend(chmod(made, wanted, within_acl(meta, made.acl, wanted))?);
        }
        for (name, _) in &meta.xattrs {
            softened.push(self.lost_attribute(name)?);
        }
        softened.extend(set_times(made, meta)?);
        Ok(softened)
    }

    /// Without a root of our own nothing is given to what is held by its path alone.
    fn left_as_made(&self, made: &Made, meta: &Metadata) -> Result<Softened> {
        let mut softened = vec![EventKind::LinksUntimed];
        if !made.symlink && made.mode != meta.mode {
            softened.push(EventKind::ModeIgnored { mode: meta.mode, errno: Errno::EOPNOTSUPP as i32 });
        }
        for (name, _) in &meta.xattrs {
            softened.push(self.lost_attribute(name)?);
        }
        Ok(softened)
    }

    /// No kernel sets an attribute through a path descriptor: `setxattrat(2)` answers `EBADF`.
    fn lost_attribute(&self, name: &CStr) -> Result<EventKind> {
        // user.* exists on files and directories only: xattr(7).
        let errno = if name.to_bytes().starts_with(b"user.") { Errno::EPERM } else { Errno::EOPNOTSUPP };
        if self.xattrs == Xattrs::Strict {
            return Err(Fault::attribute(name.to_bytes(), errno));
        }
        Ok(EventKind::XattrUnsupported { name: name.to_bytes().into(), errno: errno as i32 })
    }
}

/// As the kernel answers who has no capability; the filter has another answer.
fn no_device(dir: &OwnedFd, name: &[u8], rest: String) -> Fault {
    let errno = match files::stat(dir, name) {
        Ok(None) => Errno::EPERM,
        Ok(Some(_)) => Errno::EEXIST,
        Err(fault) => return fault,
    };
    Fault::os(errno, Call::Mknodat, at(Descriptor::Directory, name).with(rest)).meant(Purpose::Device)
}

/// The part of a mode that gives nobody more than was meant, though an ACL cannot be taken off or put on. With one
/// that the directory handed down, the group's bits are the mask of all that it names; of one that should be there,
/// too, and are not the group's own.
fn within_acl(meta: &Metadata, inherited: bool, mode: u32) -> u32 {
    let lost = meta.xattrs.iter().any(|(name, _)| name.as_c_str() == ACL_ACCESS);
    if inherited || lost { mode & !0o070 } else { mode }
}

/// Before Linux 6.6 no call does it, and set-id bits of such a thing mean nothing: then what is lacking is told.
fn chmod(made: &Made, wanted: u32, mode: u32) -> Result<Option<EventKind>> {
    let ignored = |errno: Errno| Some(EventKind::ModeIgnored { mode: wanted, errno: errno as i32 });
    if made.mode != mode && (made.acl || mode & 0o7000 != 0) {
        match sys::fchmodat2(made.inode.as_fd(), mode) {
            Err(errno @ Errno::ENOSYS) => return Ok(ignored(errno)),
            result => result
                .call(Call::Fchmodat2, || at(Descriptor::File, "").with(format_args!("{}, AT_EMPTY_PATH", Octal(mode))))
                .map_err(|fault| fault.meant(set_id(mode)))?,
        }
    }
    Ok(if mode == wanted { None } else { ignored(Errno::EOPNOTSUPP) })
}

fn set_times(made: &Made, meta: &Metadata) -> Result<Option<EventKind>> {
    let (atime, mtime) = meta.times();
    let time = |time: TimeSpec| Timespec { tv_sec: time.tv_sec(), tv_nsec: time.tv_nsec() };
    let times = Timestamps { last_access: time(atime), last_modification: time(mtime) };
    match utimensat(&made.inode, c"", &times, rustix::fs::AtFlags::EMPTY_PATH).map_err(nix_errno) {
        // Before Linux 5.8.
        Err(errno @ Errno::EINVAL) => Ok(Some(EventKind::TimesIgnored { errno: errno as i32 })),
        result => result
            .call(Call::Utimensat, || {
                at(Descriptor::File, "").with(format_args!("{}, AT_EMPTY_PATH", both(&atime, &mtime)))
            })
            .map(|()| None),
    }
}
