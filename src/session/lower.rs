//! The lower directories that an overlay is given.

use crate::error::Error;
#[cfg(doc)]
use crate::kind::ErrorKind;
use crate::opened::Lower;
use crate::system;
use std::path::Path;

impl Lower {
    /// Opens the directory of this name; a relative one is taken from the working directory as it is now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Root`] if it is missing or not a directory.
    pub fn open(path: impl AsRef<Path>) -> Result<Lower, Error> {
        system::open_lower(path.as_ref()).map(Lower)
    }
}
