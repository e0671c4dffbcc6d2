//! Becoming the helper before `main`, where `main` is not ours.

use super::{begin, sys};
use crate::linux::own::mark_initialised;
use crate::proc;
use nix::fcntl::OFlag;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;

/// More than the name of a helper has.
const LONGEST: u64 = 256;

/// What [`helper_at_start!`](crate::helper_at_start) runs, with the address of what the loader has called.
#[doc(hidden)]
pub fn at_start(constructor: extern "C" fn()) {
    // A process that cannot learn its name cannot tell either whether its copy would.
    let Some(name) = std::env::args_os().next().or_else(name_of_this) else { return };
    begin(Some(name));
    // The copy would not load a library that was loaded by a call, or by the environment.
    if sys::is_in_executable(constructor as usize) {
        mark_initialised(sys::executed_as);
    }
}

/// musl gives a constructor no arguments, and the standard library none to ask it for.
fn name_of_this() -> Option<OsString> {
    let mut line = Vec::new();
    proc::file("self/cmdline", OFlag::O_RDONLY).ok()?.take(LONGEST).read_to_end(&mut line).ok()?;
    let name = line.split(|byte| *byte == 0).next()?;
    Some(OsString::from_vec(name.to_vec()))
}

/// Lets a program be its own helper whose `main` is not yours to begin with [`helper::init`](crate::helper::init): the
/// tests of a crate, above all.
///
/// Said once, at the top level of a test crate, it does what `init` does before `main` runs (as an entry of
/// `.init_array`), so that [`Program::this`](crate::Program::this) works in every `#[test]`:
///
/// ```no_run
/// untar_in_root::helper_at_start!();
///
/// fn unpacks() {
///     let root = std::env::temp_dir();
///     untar_in_root::Untar::open(root).unwrap().apply(std::io::empty()).unwrap();
/// }
/// # fn main() {}
/// ```
///
/// It holds for glibc and musl, for executables linked dynamically or not. The copy that becomes the helper runs the
/// constructors of the shared libraries that the executable is linked with, then this one, and nothing of the program:
/// libraries must start no thread in theirs. As with `init`, a set-uid program is never a helper.
///
/// In a **shared library** it makes a helper of a program that is linked with the library. Whether that is so it cannot
/// know: a library loaded by `dlopen` or `LD_PRELOAD` is not in the copy, which would run the host's `main`. So there
/// [`Program::this`](crate::Program::this) remains [`NotInitialised`](crate::ErrorKind::NotInitialised). A library that
/// is only ever linked says `Program::at("/proc/self/exe")`; any other takes a [`Program`](crate::Program) from its
/// host, or has an installed one.
///
/// It brings a `link_section` attribute, which is `unsafe` (allowed within): a crate with `#![forbid(unsafe_code)]` puts
/// it into another one, which may have nothing else, and says `use that_crate as _;`.
#[macro_export]
macro_rules! helper_at_start {
    () => {
        const _: () = {
            extern "C" fn start() {
                $crate::helper::at_start(start);
            }
            // Before all others but the standard library's own, which keeps the arguments.
            #[used]
            #[allow(unsafe_code)]
            #[unsafe(link_section = ".init_array.00101")]
            static START: extern "C" fn() = start;
        };
    };
}
