//! How a run is described: the builder.

#[cfg(feature = "image")]
mod image;
mod source;

use crate::canceller::Canceller;
use crate::error::Error;
use crate::fd::OwnedFd;
#[cfg(doc)]
use crate::kind::ErrorKind;
use crate::options::{Durability, Jail, Limits, Mode, Options, Owner};
use crate::plan::{Demand, Plan};
use crate::program::Program;
use crate::report::{Digest, Listed, Progress};
use crate::system::Root;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One application of an archive to a directory: a builder.
///
/// The root is an *open directory*, so that nobody can exchange it between the decision to use it and its
/// use. Names in the archive are relative to the [destination](Untar::destination), which is the root itself
/// unless said otherwise.
pub struct Untar {
    root: Root,
    plan: Plan,
}

impl Untar {
    /// A run on this open directory.
    pub fn new(root: impl Into<OwnedFd>) -> Untar {
        Untar::on(Root::there(root.into()))
    }

    fn on(root: Root) -> Untar {
        Untar { root, plan: Plan::default() }
    }

    /// A run on the directory of this name, which is opened now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Root`] if it is missing or not a directory.
    pub fn open(root: impl AsRef<Path>) -> Result<Untar, Error> {
        Root::open(root.as_ref()).map(Untar::on)
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
        Root::made_at(place.as_ref()).map(Untar::on)
    }

    /// Which program is the helper; without it, [`Program::this`].
    #[must_use]
    pub fn program(mut self, program: Program) -> Untar {
        self.plan.program = Some(program);
        self
    }

    /// Entries go below this path *inside the root*. It is resolved only after the root has been entered: symlinks in
    /// it cannot leave the root. What is missing of it is made, 0755, but not behind a symlink: that names something
    /// which is not there, perhaps on the host, and the run fails with `ENOENT` and the path as resolved, before anything
    /// is applied.
    #[must_use]
    pub fn destination(mut self, path: impl Into<PathBuf>) -> Untar {
        self.plan.destination = path.into();
        self
    }

    /// How the archive is applied: all of it at once, in place of what was said before.
    #[must_use]
    pub fn options(mut self, options: Options) -> Untar {
        self.plan.options = options;
        self
    }

    /// What `.wh.` names mean.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Untar {
        self.plan.options.mode = mode;
        self
    }

    /// Who owns what is made.
    #[must_use]
    pub fn owner(mut self, owner: Owner) -> Untar {
        self.plan.options.owner = owner;
        self
    }

    /// What the helper is confined to.
    #[must_use]
    pub fn jail(mut self, jail: Jail) -> Untar {
        self.plan.options.jail = jail;
        self
    }

    /// How long the run may take, by wall clock; a slow source's time counts. Without it there is no limit.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Untar {
        self.plan.options.jail.limits.timeout = Some(time);
        self
    }

    /// What the archive may cost.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Untar {
        self.plan.options.limits = limits;
        self
    }

    /// What has reached the disk when the report arrives.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Untar {
        self.plan.options.durability = durability;
        self
    }

    /// The options, to change those that have no setter here.
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.plan.options
    }

    /// Computes the SHA-256 of the archive as it comes, in the parent.
    #[must_use]
    pub fn compute_digest(mut self) -> Untar {
        self.plan.digest = Demand::Compute;
        self
    }

    /// Fails with [`ErrorKind::Digest`] unless the archive as it comes has this SHA-256.
    #[must_use]
    pub fn expect_digest(mut self, digest: Digest) -> Untar {
        self.plan.digest = Demand::Expect(digest);
        self
    }

    /// Fails with [`ErrorKind::Digest`] unless the uncompressed stream has this SHA-256.
    #[must_use]
    pub fn expect_diff_id(mut self, digest: Digest) -> Untar {
        self.plan.expected_diff_id = Some(digest);
        self
    }

    /// Calls back as the run advances, about ten times a second; as if [`Options::progress`] were set.
    #[must_use]
    pub fn on_progress(mut self, callback: impl FnMut(Progress) + Send + 'static) -> Untar {
        self.plan.callbacks.progress = Some(Box::new(callback));
        self
    }

    /// Calls back for each entry, before it is applied; as if [`Options::verbose`] were set, unless
    /// [`Options::list`] is.
    #[must_use]
    pub fn on_listed(mut self, callback: impl FnMut(Listed) + Send + 'static) -> Untar {
        self.plan.callbacks.listed = Some(Box::new(callback));
        self
    }

    /// A handle that ends the run from another thread, before or after it has started.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.plan.canceller.clone()
    }

    /// One canceller for several runs, or one that is there before the run is described. What it has been used for
    /// ends this run too.
    #[must_use]
    pub fn cancelled_by(mut self, canceller: Canceller) -> Untar {
        self.plan.canceller = canceller;
        self
    }
}

impl fmt::Debug for Untar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Untar");
        fields.field("program", &self.plan.program).field("destination", &self.plan.destination);
        fields.field("options", &self.plan.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_one_after_the_other_is_all_kept() {
        let root = std::fs::File::open("/").expect("a directory");
        let mut untar =
            Untar::new(root).compute_digest().mode(Mode::Layer).destination("srv").program(Program::at("/x"));
        untar.options_mut().strip_components = 3;
        untar.canceller().cancel();
        let Plan { options, digest, destination, canceller, callbacks, .. } = untar.on_progress(|_| {}).plan;
        assert_eq!((options.mode, options.strip_components), (Mode::Layer, 3));
        assert_eq!((destination.as_path(), canceller.is_cancelled()), (Path::new("srv"), true));
        assert!(matches!(digest, Demand::Compute) && callbacks.progress.is_some() && callbacks.listed.is_none());
    }
}
