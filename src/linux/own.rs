//! This very program, and whether it can be a helper.

use crate::error::{Detail, Error};
use crate::kind::ErrorKind;
use crate::proc;
use crate::program::Program;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// `argv[0]` of a helper; nothing else makes [`helper::init`](crate::helper::init) take over a process.
pub(crate) const ARGV0: &str = "untar-in-root:helper";

/// Set once `helper::init()` or `helper_at_start!` has run and let the process go on as the host program: what says by
/// which name that was started.
static INITIALISED: OnceLock<fn() -> Option<PathBuf>> = OnceLock::new();

#[cfg_attr(not(feature = "helper"), allow(dead_code))]
pub(crate) fn mark_initialised(executed_as: fn() -> Option<PathBuf>) {
    let _ = INITIALISED.set(executed_as);
}

/// Of a script the kernel starts the interpreter, by another `argv[0]`: that would be no helper, and start itself again.
fn is_no_script(path: &Path) -> bool {
    let mut start = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *b"\x7fELF"
}

/// What this program was started by, for want of something better. A relative name would be looked for wherever the
/// process is by now; in a set-uid program it is the caller's choice.
fn by_name(name: Option<PathBuf>) -> Result<PathBuf, Error> {
    let name = name.filter(|name| name.is_absolute() && is_no_script(name));
    let text = "/proc is not mounted, and this program was not started by an absolute name of its own, so it cannot start itself \
                as the helper: mount /proc, or start it by its absolute path (for the library: Program::at)";
    name.ok_or_else(|| Error::new(ErrorKind::Helper, Detail::Text(text)))
}

pub(crate) fn this_program() -> Result<Program, Error> {
    let executed_as = INITIALISED.get().ok_or_else(|| Error::of(ErrorKind::NotInitialised))?;
    let path = proc::this_program().map_err(|error| Error::io(ErrorKind::Helper, "opening /proc", error))?;
    path.map_or_else(|| by_name(executed_as()), Ok).map(Program::at)
}
