//! The attributes by which an upper directory hides what the lower layers have.

use super::attribute;
use crate::helper::fault::{Attempt, Result};
use crate::report::{Call, Purpose};
use rustix::fs::{XattrFlags, fsetxattr};
use std::ffi::CStr;
use std::os::fd::OwnedFd;

/// The two forms that overlayfs reads: who may not set the one sets the other.
#[derive(Clone, Copy)]
pub(crate) struct Marks {
    trusted: bool,
    opaque: &'static CStr,
    whiteout: &'static CStr,
}

impl Marks {
    pub(super) fn new(trusted: bool) -> Marks {
        if trusted {
            Marks { trusted, opaque: c"trusted.overlay.opaque", whiteout: c"trusted.overlay.whiteout" }
        } else {
            Marks { trusted, opaque: c"user.overlay.opaque", whiteout: c"user.overlay.whiteout" }
        }
    }

    pub(super) fn are_trusted(&self) -> bool {
        self.trusted
    }

    pub(super) fn set_opaque(&self, dir: &OwnedFd) -> Result<()> {
        self.set(dir, self.opaque, b"y")
    }

    /// A file that stands for a whiteout, and the directory that it is in.
    pub(super) fn set_whiteout(&self, dir: &OwnedFd, file: &OwnedFd) -> Result<()> {
        self.set(file, self.whiteout, b"y")?;
        self.set(dir, self.opaque, b"x")
    }

    fn set(&self, fd: &OwnedFd, name: &CStr, value: &[u8]) -> Result<()> {
        fsetxattr(fd, name, value, XattrFlags::empty())
            .call(Call::Fsetxattr, || attribute::setting(name, value.len()))
            .map_err(|fault| fault.meant(Purpose::Mark { trusted: self.trusted }))
    }
}
