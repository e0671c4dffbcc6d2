//! How a packing is described, and what is had of one that has been started.

mod packing;

pub use packing::{PackParts, Packing, PendingPack};

use crate::canceller::Canceller;
use crate::error::Error;
use crate::fd::OwnedFd;
#[cfg(doc)]
use crate::kind::ErrorKind;
use crate::options::{Encoding, Jail, Limits, PackOptions};
use crate::plan::{PIECE, PackPlan};
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
        Root::open(root.as_ref()).map(|root| Pack { root, plan: PackPlan::default() })
    }

    /// Which program is the helper; without it, [`Program::this`].
    #[must_use]
    pub fn program(mut self, program: Program) -> Pack {
        self.plan.program = Some(program);
        self
    }

    /// Packs this path *inside the root*, and no longer all of it; may be said several times, and they are packed in that
    /// order. Symlinks on the way are followed inside the root, one that it ends in is packed itself. One that is missing
    /// is an error before the first byte is written.
    #[must_use]
    pub fn path(mut self, path: impl Into<PathBuf>) -> Pack {
        self.plan.paths.push(path.into());
        self
    }

    /// How the tree is packed: all of it at once, in place of what was said before.
    #[must_use]
    pub fn options(mut self, options: PackOptions) -> Pack {
        self.plan.options = options;
        self
    }

    /// How the archive is compressed.
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Pack {
        self.plan.options.encoding = encoding;
        self
    }

    /// What the helper is confined to. Mind [`Jail::mounts`], which is not as strict in [`PackOptions`] as by default.
    #[must_use]
    pub fn jail(mut self, jail: Jail) -> Pack {
        self.plan.options.jail = jail;
        self
    }

    /// How long the run may take, by wall clock; a slow reader's time counts. Without it there is no limit.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Pack {
        self.plan.options.jail.limits.timeout = Some(time);
        self
    }

    /// What the archive may cost.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Pack {
        self.plan.options.limits = limits;
        self
    }

    /// The options, to change those that have no setter here.
    pub fn options_mut(&mut self) -> &mut PackOptions {
        &mut self.plan.options
    }

    /// Calls back as the run advances, about ten times a second; as if [`PackOptions::progress`] were set.
    #[must_use]
    pub fn on_progress(mut self, callback: impl FnMut(Progress) + Send + 'static) -> Pack {
        self.plan.callbacks.progress = Some(Box::new(callback));
        self
    }

    /// Calls back for each entry, before it is packed; as if [`PackOptions::verbose`] were set.
    #[must_use]
    pub fn on_listed(mut self, callback: impl FnMut(Listed) + Send + 'static) -> Pack {
        self.plan.callbacks.listed = Some(Box::new(callback));
        self
    }

    /// A handle that ends the run from another thread, before or after it has started.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.plan.canceller.clone()
    }

    /// One canceller for several runs. What it has been used for ends this run too.
    #[must_use]
    pub fn cancelled_by(mut self, canceller: Canceller) -> Pack {
        self.plan.canceller = canceller;
        self
    }

    /// Packs into an open file, pipe or socket, at its present position. The helper writes to it directly. After an error
    /// what has been written is no whole archive, and every reader that we know refuses it.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Pack::spawn) and [`Packing::finish`]; [`ErrorKind::Write`] or [`ErrorKind::Storage`] if it cannot be
    /// written, or nobody reads it.
    pub fn to_fd(self, archive: impl Into<OwnedFd>) -> Result<Packed, Error> {
        start_packing(self.root, self.plan, Some(archive.into()))?.finish()
    }

    /// Packs into a writer. While the writer blocks, the helper's end is not noticed.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Pack::spawn) and [`Packing::finish`]; [`ErrorKind::Write`] if the writer fails, which comes before all
    /// others.
    pub fn to(self, mut archive: impl Write) -> Result<Packed, Error> {
        let mut packing = self.spawn()?;
        let mut buffer = vec![0; PIECE];
        let failed = |error: io::Error| Error::io(crate::kind::ErrorKind::Write, "writing the archive", error);
        loop {
            match packing.advance(&mut buffer) {
                0 => break,
                n => archive.write_all(&buffer[..n]).map_err(failed)?,
            }
        }
        let packed = packing.finish()?;
        archive.flush().map_err(failed)?;
        Ok(packed)
    }

    /// Starts the helper, from which the archive is then read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotInitialised`], [`ErrorKind::Options`], or [`ErrorKind::Helper`] if it cannot be started. What happens
    /// in it is told by [`Packing`].
    pub fn spawn(self) -> Result<Packing, Error> {
        start_packing(self.root, self.plan, None).map(Packing::new)
    }
}

impl fmt::Debug for Pack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Pack");
        fields.field("program", &self.plan.program).field("paths", &self.plan.paths);
        fields.field("options", &self.plan.options).finish_non_exhaustive()
    }
}
