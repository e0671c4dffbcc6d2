//! How a run is described: the builder.

mod source;
mod start;

use super::canceller::Canceller;
use super::child::{Callbacks, KEPT};
use super::whiteouts::hide;
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::opened::Opened;
use crate::options::{Durability, Jail, Limits, Mode, Options, Owner};
use crate::program::Program;
use crate::purse::Purse;
use crate::report::{Digest, Listed, Progress};
use crate::staging::{Emptier, Place};
use crate::wire::Beginning;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// One application of an archive to a directory: a builder.
///
/// The root is an *open directory*, so that nobody can exchange it between the decision to use it and its
/// use. Names in the archive are relative to the [destination](Untar::destination), which is the root itself
/// unless said otherwise.
pub struct Untar {
    root: Root,
    program: Option<Program>,
    destination: PathBuf,
    options: Options,
    digest: Demand,
    expected_diff_id: Option<Digest>,
    callbacks: Callbacks,
    canceller: Canceller,
    /// What is kept of the helper's words is paid from it.
    purse: Purse,
    /// Lower directories that are open already.
    lowers: Vec<Opened>,
    beginning: Beginning,
}

/// Where the archive is applied.
enum Root {
    There(OwnedFd),
    /// The root is still to be made, beside its place first.
    Made(Place),
}

/// What is wanted of the digest of the archive as it came.
#[derive(Clone, Copy, Default)]
enum Demand {
    #[default]
    None,
    Compute,
    Expect(Digest),
}

impl Untar {
    /// A run on this open directory.
    pub fn new(root: impl Into<OwnedFd>) -> Untar {
        Untar::on(Root::There(root.into()))
    }

    fn on(root: Root) -> Untar {
        Untar {
            root,
            program: None,
            destination: PathBuf::new(),
            options: Options::default(),
            digest: Demand::None,
            expected_diff_id: None,
            callbacks: Callbacks::default(),
            canceller: Canceller::default(),
            purse: Purse::new(KEPT),
            lowers: Vec::new(),
            beginning: Beginning::default(),
        }
    }

    /// A run on the directory of this name, which is opened now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Root`] if it is missing or not a directory.
    pub fn open(root: impl AsRef<Path>) -> Result<Untar, Error> {
        open_root(root.as_ref()).map(Untar::new)
    }

    /// A run whose directory appears whole or not at all: it is made beside its place, below a directory
    /// of mode 0700, and renamed when everything is right, digests included.
    ///
    /// The place must be missing, or an empty directory (whose owner and mode the new one begins with; otherwise
    /// it belongs to the caller, 0755); the directory that it is in must exist, and is held open from now on. With
    /// a [`Durability`], the whole is on disk before it has its name, and the name when the run returns.
    ///
    /// After an error nothing is left, also if it is an error of moving the result to its place. A process that
    /// is killed leaves a directory `.untar-in-root-staging-…` beside the place, which the next such run beside
    /// it removes, known by the mark in it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Root`] if the place is taken or the directory that it is in is missing; later
    /// [`ErrorKind::Storage`] if nothing can be made there.
    pub fn atomic(place: impl AsRef<Path>) -> Result<Untar, Error> {
        let place = Place::open(place.as_ref())?;
        Ok(Untar { beginning: Beginning::Made, ..Untar::on(Root::Made(place)) })
    }

    /// Which program is the helper; without it, [`Program::this`].
    #[must_use]
    pub fn program(mut self, program: Program) -> Untar {
        self.program = Some(program);
        self
    }

    /// Entries go below this path *inside the root*. It is resolved only after the root has been entered: symlinks in
    /// it cannot leave the root. What is missing of it is made, 0755, but not behind a symlink: that names something
    /// which is not there, perhaps on the host, and the run fails with `ENOENT` and the path as resolved, before anything
    /// is applied.
    #[must_use]
    pub fn destination(mut self, path: impl Into<PathBuf>) -> Untar {
        self.destination = path.into();
        self
    }

    /// How the archive is applied: all of it at once, in place of what was said before.
    #[must_use]
    pub fn options(mut self, options: Options) -> Untar {
        self.options = options;
        self
    }

    /// What `.wh.` names mean.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Untar {
        self.options.mode = mode;
        self
    }

    /// Who owns what is made.
    #[must_use]
    pub fn owner(mut self, owner: Owner) -> Untar {
        self.options.owner = owner;
        self
    }

    /// What the helper is confined to.
    #[must_use]
    pub fn jail(mut self, jail: Jail) -> Untar {
        self.options.jail = jail;
        self
    }

    /// How long the run may take, by wall clock; a slow source's time counts. Without it there is no limit.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Untar {
        self.options.jail.limits.timeout = Some(time);
        self
    }

    /// What the archive may cost.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Untar {
        self.options.limits = limits;
        self
    }

    /// What has reached the disk when the report arrives.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Untar {
        self.options.durability = durability;
        self
    }

    /// The options, to change those that have no setter here.
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Computes the SHA-256 of the archive as it comes, in the parent.
    #[must_use]
    pub fn compute_digest(mut self) -> Untar {
        self.digest = Demand::Compute;
        self
    }

    /// Fails with [`ErrorKind::Digest`] unless the archive as it comes has this SHA-256.
    #[must_use]
    pub fn expect_digest(mut self, digest: Digest) -> Untar {
        self.digest = Demand::Expect(digest);
        self
    }

    /// Fails with [`ErrorKind::Digest`] unless the uncompressed stream has this SHA-256.
    #[must_use]
    pub fn expect_diff_id(mut self, digest: Digest) -> Untar {
        self.expected_diff_id = Some(digest);
        self
    }

    /// Calls back as the run advances, about ten times a second; as if [`Options::progress`] were set.
    #[must_use]
    pub fn on_progress(mut self, callback: impl FnMut(Progress) + Send + 'static) -> Untar {
        self.callbacks.progress = Some(Box::new(callback));
        self
    }

    /// Calls back for each entry, before it is applied; as if [`Options::verbose`] were set, unless
    /// [`Options::list`] is.
    #[must_use]
    pub fn on_listed(mut self, callback: impl FnMut(Listed) + Send + 'static) -> Untar {
        self.callbacks.listed = Some(Box::new(callback));
        self
    }

    /// A handle that ends the run from another thread, before or after it has started.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// What the root is when the run begins, where it was made by somebody else here.
    #[cfg(feature = "image")]
    pub(crate) fn beginning(mut self, beginning: Beginning) -> Untar {
        self.beginning = beginning;
        self
    }

    /// One bound on what is kept of several runs.
    #[cfg(feature = "image")]
    pub(crate) fn paid_from(mut self, purse: Purse) -> Untar {
        self.purse = purse;
        self
    }

    /// One canceller for several runs, or one that is there before the run is described. What it has been used for
    /// ends this run too.
    #[must_use]
    pub fn cancelled_by(mut self, canceller: Canceller) -> Untar {
        self.canceller = canceller;
        self
    }

    /// Overlay mode: the lower directories are there, but still being made. `wait` is called before the helper
    /// first looks at them, and returns once they are complete (or never will be, and this run is cancelled).
    #[cfg(feature = "image")]
    pub(crate) fn lowers_later(mut self, lowers: Vec<Opened>, wait: impl FnMut() + Send + 'static) -> Untar {
        self.lowers = lowers;
        self.callbacks.lowers = Some(Box::new(wait));
        self
    }
}

impl fmt::Debug for Untar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Untar");
        fields.field("program", &self.program).field("destination", &self.destination);
        fields.field("options", &self.options).finish_non_exhaustive()
    }
}

pub(crate) fn open_root(root: &Path) -> Result<OwnedFd, Error> {
    use nix::fcntl::{OFlag, open};
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = open(root, flags, nix::sys::stat::Mode::empty());
    opened.map_err(|e| Error::io_at(ErrorKind::Root, "opening the root", root, e.into()))
}

/// A helper removes what only a user namespace's root may remove, as a layer of whiteouts: by this program, or the
/// present one where it can be a helper.
pub(crate) fn emptier(program: Option<Program>) -> Emptier {
    Arc::new(move |root, names| {
        let Some(program) = program.clone().or_else(|| Program::this().ok()) else { return };
        let mut untar = Untar::new(root).program(program);
        untar.options_mut().mode = Mode::Layer;
        // An emptier may fail.
        let _ = untar.apply(&hide(names)[..]);
    })
}
