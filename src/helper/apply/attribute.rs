//! The attributes that mean something to this program, by their names, and how one is set or taken off.

use crate::helper::fault::{Arguments, Attempt, Result, on, quoted};
use crate::report::{Call, Descriptor};
use rustix::fs::fremovexattr;
use std::ffi::CStr;
use std::os::fd::OwnedFd;

pub(crate) const ACL_ACCESS: &CStr = c"system.posix_acl_access";
pub(crate) const ACL_DEFAULT: &CStr = c"system.posix_acl_default";
pub(crate) const CAPABILITY: &[u8] = b"security.capability";

/// The arguments of `fsetxattr(2)`; values are not told.
pub(crate) fn setting(name: &CStr, size: usize) -> Arguments {
    on(Descriptor::File).with(format_args!("{}, <value>, {size}, 0", quoted(name.to_bytes())))
}

/// Takes an attribute off, if it is there.
pub(crate) fn remove(fd: &OwnedFd, name: &CStr) -> Result<()> {
    match fremovexattr(fd, name) {
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(()),
        result => result.call(Call::Fremovexattr, || on(Descriptor::File).with(quoted(name.to_bytes()))),
    }
}
