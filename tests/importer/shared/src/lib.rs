//! A shared library whose host's `main` is not ours.

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use untar_in_root::{Error, ErrorKind, Program, Untar};

untar_in_root::helper_at_start!();

/// 0 if an empty archive was unpacked there, 2 if the host cannot be the helper, 1 for anything else.
///
/// # Safety
///
/// `root` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unpack(root: *const c_char, linked: bool) -> c_int {
    let root = OsStr::from_bytes(unsafe { CStr::from_ptr(root) }.to_bytes());
    let program = if linked { Ok(Program::at("/proc/self/exe")) } else { Program::this() };
    let outcome = program.and_then(|program| Untar::open(root)?.program(program).apply(std::io::empty()));
    match outcome.as_ref().map_err(Error::kind) {
        Ok(_) => 0,
        Err(ErrorKind::NotInitialised) => 2,
        Err(_) => {
            eprintln!("{outcome:?}");
            1
        }
    }
}
