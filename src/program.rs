//! Which program the helper is.

use std::path::{Path, PathBuf};

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

    pub(crate) fn keeps_library_path(&self) -> bool {
        self.library_path
    }
}
