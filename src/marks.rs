//! Whether overlayfs's marks can be `trusted.*` attributes here, and are seen again: one answer for both sides.

use rustix::fs::{XattrFlags, fsetxattr};
use rustix::io::Errno;
use std::os::fd::AsFd;

/// Whether one can be set on this directory: not on every file system (fuse-overlayfs keeps them for itself), nor without
/// CAP_SYS_ADMIN. Replacing what is not there changes nothing and is refused for the same reasons.
pub(crate) fn can_be_trusted(dir: impl AsFd) -> bool {
    let tried = fsetxattr(dir, c"trusted.overlay.untar-in-root", b"y", XattrFlags::REPLACE);
    !matches!(tried, Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOSYS))
}

/// Whether marks in `user.` are seen again by whoever mounts what they are on: fuse-overlayfs writes them and shows them to
/// nobody. Where none can be set, that is told when it is tried.
#[cfg(feature = "image")]
pub(crate) fn are_seen(dir: impl AsFd) -> bool {
    use rustix::fs::{fgetxattr, fremovexattr};
    const NAME: &std::ffi::CStr = c"user.overlay.untar-in-root";
    if fsetxattr(&dir, NAME, b"y", XattrFlags::empty()).is_err() {
        return true;
    }
    let seen = fgetxattr(&dir, NAME, &mut [0_u8; 8]).is_ok();
    let _ = fremovexattr(&dir, NAME);
    seen
}
