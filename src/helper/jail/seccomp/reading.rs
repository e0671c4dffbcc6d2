//! What packing may call: nothing with which anything could be made, removed or changed. Files are opened for reading
//! alone, and what is written goes to the archive, to the control socket and to standard error, by their numbers.

use super::{Result, Rules, bits, equal, masked, tabled};
use crate::helper::open;

/// Whatever their arguments, beside what every helper calls. `openat2` is not among them: its flags are behind a pointer, so
/// it is allowed by the table alone, where no root is entered.
pub(super) const ALLOWED: &[libc::c_long] = &[
    // Content, and what the parent says.
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_lseek,
    libc::SYS_recvfrom,
    libc::SYS_ppoll,
    libc::SYS_close,
    // Looking, relative to open directories.
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_flistxattr,
    libc::SYS_fgetxattr,
];

/// Attributes of links and special files, which are had by name alone.
pub(super) const BY_NAME: &[libc::c_long] = &[libc::SYS_fchdir, libc::SYS_llistxattr, libc::SYS_lgetxattr];

/// Each bit of `open(2)` with which more than reading is asked for. `O_TMPFILE` has a bit of its own beside that of
/// `O_DIRECTORY`; musl's `O_ACCMODE` has that of `O_PATH` in it.
const CHANGING: i32 = libc::O_WRONLY
    | libc::O_RDWR
    | libc::O_CREAT
    | libc::O_TRUNC
    | libc::O_APPEND
    | (libc::O_TMPFILE & !libc::O_DIRECTORY);

/// What reading asks for is none of them, whatever C library this is built with.
const _: () = assert!(
    CHANGING & (libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOATIME) == 0,
    "a flag that packing opens with would end the helper"
);

const ARCHIVE: i32 = 0;
const CONTROL: i32 = 1;
const LAST_WORDS: i32 = 2;

/// Only with certain arguments, beside what every helper may do.
pub(super) fn conditional(by_name: bool) -> Result<Rules> {
    let opening = match by_name {
        true => (libc::SYS_openat, vec![masked(2, bits(CHANGING), 0)?]),
        false => (libc::SYS_openat2, tabled(open::Use::Reading)?),
    };
    Ok(Rules::from([
        opening,
        (libc::SYS_write, vec![equal(0, ARCHIVE)?, equal(0, LAST_WORDS)?]),
        (libc::SYS_sendto, vec![equal(0, CONTROL)?]),
    ]))
}
