//! This very program as the helper.

use crate::error::Error;
#[cfg(doc)]
use crate::kind::ErrorKind;
use crate::program::Program;
use crate::system;

impl Program {
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
        system::this_program()
    }
}
