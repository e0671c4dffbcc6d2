//! Scratch directories in memory: removing a tree takes a disk longer than most tests take to make it.

use std::env;
use std::ffi::CString;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{XattrFlags, setxattr};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::support::privilege;

/// A Debian root twice at a time, and what else runs beside.
const ENOUGH_KIB: u64 = 8 << 20;

/// user::rwx, group::r-x, other::r-x.
const ACL: &[u8] = b"\x02\0\0\0\
    \x01\0\x07\0\xff\xff\xff\xff\
    \x04\0\x05\0\xff\xff\xff\xff\
    \x20\0\x05\0\xff\xff\xff\xff";

/// Whether a file system in memory shows all that one on disk does, and there is the right and the room to have it.
/// Whoever names a `$TMPDIR` wants the tests there.
pub fn is_as_good() -> bool {
    static IS: OnceLock<bool> = OnceLock::new();
    *IS.get_or_init(|| {
        env::var_os("TMPDIR").is_none() && privilege::is_root() && available_kib() >= ENOUGH_KIB && has_attributes()
    })
}

/// Mounts one, with these options of `tmpfs(5)`.
pub fn mount_at(place: &Path, options: &str) -> io::Result<()> {
    let options = CString::new(options)?;
    Ok(mount("tmpfs", place, "tmpfs", MountFlags::empty(), Some(options.as_c_str()))?)
}

/// Linux 6.6 and later have attributes of users there; ACLs are a matter of the configuration.
fn has_attributes() -> bool {
    let Ok(place) = tempfile::tempdir() else { return false };
    if mount_at(place.path(), "size=64k").is_err() {
        return false;
    }
    let set = |name: &str, value: &[u8]| setxattr(place.path(), name, value, XattrFlags::empty()).is_ok();
    let has = set("user.probe", b"x") && set("trusted.probe", b"x") && set("system.posix_acl_default", ACL);
    unmount(place.path(), UnmountFlags::DETACH).is_ok() && has
}

fn available_kib() -> u64 {
    let all = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = all.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    field.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}
