//! Which program the helper is.

use crate::error::{Detail, Error};
use crate::kind::ErrorKind;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
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

/// Without it a program cannot name itself, nor a descriptor. In a root that somebody else has filled, names of that kind
/// may be anybody's; nobody can fill in a mount.
pub(crate) fn is_proc_mounted() -> bool {
    let device = |path: &str| std::fs::metadata(path).map(|metadata| metadata.dev());
    let apart = matches!((device("/"), device("/proc")), (Ok(root), Ok(proc)) if root != proc);
    apart && Path::new("/proc/self").is_symlink()
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
                as the helper: mount /proc, or name a program (Program::at)";
    name.ok_or_else(|| Error::new(ErrorKind::Helper, Detail::Text(text)))
}

/// Which program is started as the helper.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    library_path: bool,
}

impl Program {
    /// The program at this path: the installed `untar-in-root`, or any that calls
    /// [`helper::init`](crate::helper::init) first in `main`, of the same version as this library.
    #[must_use]
    pub fn at(path: impl AsRef<Path>) -> Program {
        // The helper's working directory is the root, so a relative path must not wait until then.
        let path = std::path::absolute(path.as_ref()).unwrap_or_else(|_| path.as_ref().to_path_buf());
        Program { path, library_path: false }
    }

    /// This very program, started again through `/proc/self/exe`: the file that runs, whatever has become of its name.
    ///
    /// Where `/proc` is not mounted it is started by the name that it was started by (`AT_EXECFN` in `getauxval(3)`), if
    /// that is absolute. What has that name by then cannot be compared with what runs: another version of the program
    /// ends the run with [`ErrorKind::Protocol`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotInitialised`] if neither [`helper::init`](crate::helper::init) nor
    /// [`helper_at_start!`](crate::helper_at_start) has run in this process: the second copy would run the host
    /// program's own `main`. [`ErrorKind::Helper`] where `/proc` is not mounted and the name cannot be used.
    pub fn this() -> Result<Program, Error> {
        let executed_as = INITIALISED.get().ok_or_else(|| Error::of(ErrorKind::NotInitialised))?;
        let path = if is_proc_mounted() { PathBuf::from("/proc/self/exe") } else { by_name(executed_as())? };
        Ok(Program { path, library_path: false })
    }

    /// Keep `LD_LIBRARY_PATH` in the helper's otherwise empty environment, for a dynamically linked program
    /// that does not start without it.
    #[must_use]
    pub fn keep_library_path(mut self) -> Program {
        self.library_path = true;
        self
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A command that starts the helper. Nothing in it forces `fork`: std uses `posix_spawn`.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.arg0(ARGV0).env_clear();
        if let Some(value) = self.library_path.then(|| std::env::var_os("LD_LIBRARY_PATH")).flatten() {
            command.env(OsString::from("LD_LIBRARY_PATH"), value);
        }
        command
    }
}
