//! How a packing is described, and what is had of one that has been started.

#[macro_use]
mod builder;
mod diff;
mod packing;

pub use diff::Diff;
pub use packing::{PackParts, Packing, PendingPack};

use crate::canceller::Canceller;
use crate::error::Error;
use crate::fd::OwnedFd;
#[cfg(doc)]
use crate::kind::ErrorKind;
use crate::options::{Encoding, Jail, Limits, PackOptions};
use crate::plan::{PackPlan, PlanPacks};
use crate::program::Program;
use crate::report::{Listed, Packed, Progress};
use crate::system::{Root, start_packing};
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One packing of a directory, or of paths in it, into a tar archive: a builder, the mirror of [`Untar`](crate::Untar).
///
/// The helper enters the directory as its root, where it can change nothing, and reads; the archive comes out of it. The
/// tree may be hostile and may change meanwhile: what of it is in the archive then is told by events
/// ([`PackOptions::changes`]).
///
/// ```no_run
/// use untar_in_root::{Encoding, Error, Pack, Program};
/// # fn main() -> Result<(), Error> {
/// # let file = std::fs::File::create("root.tar.gz").unwrap();
/// let pack = Pack::open("/srv/root")?.program(Program::at("/usr/bin/untar-in-root"));
/// let packed = pack.encoding(Encoding::Gzip { level: 6 }).to_fd(file)?;
/// println!("{} entries, {} bytes, {:?}", packed.entries.total(), packed.blob_size, packed.digest);
/// # Ok(())
/// # }
/// ```
pub struct Pack {
    root: Root,
    plan: PackPlan,
}

impl Pack {
    /// A packing of this open directory.
    pub fn new(root: impl Into<OwnedFd>) -> Pack {
        Pack { root: Root::there(root.into()), plan: PackPlan::default() }
    }

    /// A packing of the directory of this name, which is opened now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Root`] if it is missing or not a directory.
    pub fn open(root: impl AsRef<Path>) -> Result<Pack, Error> {
        Root::source(root.as_ref()).map(|root| Pack { root, plan: PackPlan::default() })
    }

    /// Packs this path *inside the root*, and no longer all of it; may be said several times, and they are packed in that
    /// order. Symlinks on the way are followed inside the root, one that it ends in is packed itself. One that is missing
    /// is an error before the first byte is written.
    #[must_use]
    pub fn path(mut self, path: impl Into<PathBuf>) -> Pack {
        if let PlanPacks::Paths(paths) = &mut self.plan.what {
            paths.push(path.into());
        }
        self
    }
}

told_how!(Pack);

impl fmt::Debug for Pack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Pack");
        fields.field("program", &self.plan.program).field("what", &self.plan.what);
        fields.field("options", &self.plan.options).finish_non_exhaustive()
    }
}
