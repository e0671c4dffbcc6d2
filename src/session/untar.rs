//! How a run is described and started: the builder, and where the archive comes from.

use super::canceller::Canceller;
use super::child::{self, Callbacks, Child, KEPT, Ready, Shared};
use super::whiteouts::hide;
use super::{Making, PIECE, Pending, Session};
use crate::error::{Detail, Error};
use crate::kind::ErrorKind;
use crate::opened::Opened;
use crate::options::{Durability, IdRange, Jail, Limits, Mode, Options, Owner, UserNamespace};
use crate::program::Program;
use crate::purse::Purse;
use crate::report::{Digest, Listed, Progress, Report};
use crate::staging::{Emptier, Place, Staging};
use crate::wire::{Beginning, Down, Request};
use nix::errno::Errno;
use nix::poll::PollTimeout;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

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

    /// One canceller for several runs.
    #[cfg(feature = "image")]
    pub(crate) fn cancelled_by(mut self, canceller: Canceller) -> Untar {
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

    /// Starts the helper, to which the caller then writes the archive.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotInitialised`], [`ErrorKind::Options`], or [`ErrorKind::Helper`] if it cannot be
    /// started. What happens in it is told by [`Session::finish`].
    pub fn spawn(self) -> Result<Session, Error> {
        let (read, write) = child::archive_pipe()?;
        self.start(read, Some(write))
    }

    /// Applies what a reader gives. While the reader blocks, the helper's end is not noticed: where that
    /// matters, use [`apply_fd`](Untar::apply_fd) or a [`Session`]. With
    /// [`Options::stop_at_end`](crate::Options::stop_at_end) nothing is read before the helper needs it, so that a reader
    /// that blocks behind the archive's end is not asked for more; that costs the decoder its own thread.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Untar::spawn) and [`Session::finish`]; [`ErrorKind::Read`] if the reader fails, which comes
    /// before all others.
    pub fn apply(self, mut archive: impl Read) -> Result<Report, Error> {
        let in_step = self.options.stop_at_end;
        let mut session = self.spawn()?;
        let mut buffer = vec![0; PIECE];
        loop {
            if in_step && !session.child.wait_until_hungry() {
                return session.finish();
            }
            match archive.read(&mut buffer) {
                Ok(0) => return session.finish(),
                Ok(n) if session.write_all(&buffer[..n]).is_err() => return session.finish(),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(session.abandon(e)),
            }
        }
    }

    /// Applies what an open file, pipe or socket gives from its present position. The helper reads it
    /// directly, so nothing is copied; if a digest is demanded, the parent reads a regular file beside the
    /// helper (true only if nobody writes to it meanwhile) and pumps anything else itself.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Untar::spawn) and [`Session::finish`]; [`ErrorKind::Read`] if the archive cannot be read.
    pub fn apply_fd(self, archive: impl Into<OwnedFd>) -> Result<Report, Error> {
        self.run(archive.into(), &mut || ())
    }

    /// Lists what an open file, pipe or socket gives from its present position, and applies nothing: the root is
    /// only what the helper is confined to. `entry` is called for each entry, in this thread.
    ///
    /// # Errors
    ///
    /// As [`apply_fd`](Untar::apply_fd); [`ErrorKind::Options`] with [`Untar::atomic`], which makes something.
    pub fn list(mut self, archive: impl Into<OwnedFd>, mut entry: impl FnMut(Listed)) -> Result<Report, Error> {
        self.options.list = true;
        let (tell, told) = mpsc::channel();
        let untar = self.on_listed(move |listed| drop(tell.send(listed)));
        let outcome = untar.run(archive.into(), &mut || told.try_iter().for_each(&mut entry));
        told.try_iter().for_each(&mut entry);
        outcome
    }

    /// Starts to apply what an open file, pipe or socket gives from its present position, without waiting: for
    /// hosts that wait on descriptors. The helper reads it directly; if a digest is demanded, a thread of this
    /// process reads it and hands it on.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Untar::spawn). What happens in the helper is told by [`Pending::wait`].
    pub fn start_fd(self, archive: impl Into<OwnedFd>) -> Result<Pending, Error> {
        let archive = archive.into();
        if matches!(self.digest, Demand::None) {
            return Ok(Pending { session: self.start(archive, None)? });
        }
        let mut session = self.spawn()?;
        session.feed(archive).map_err(|e| Error::io(ErrorKind::Helper, "starting a thread", e))?;
        Ok(Pending { session })
    }

    /// `each` is called whenever the helper has been heard.
    fn run(self, archive: OwnedFd, each: &mut dyn FnMut()) -> Result<Report, Error> {
        let archive = File::from(archive);
        if matches!(self.digest, Demand::None) {
            let mut session = self.start(archive.into(), None)?;
            while !session.child.over() {
                session.child.pump(Ready::default(), None, PollTimeout::NONE);
                each();
            }
            return session.finish();
        }
        let start = archive.metadata().ok().filter(|m| m.is_file()).and_then(|_| position(&archive));
        match start {
            Some(start) => self.read_beside(archive, start, each),
            None => self.pump(archive, each),
        }
    }

    /// The helper reads the file; the parent reads it too, for the digest.
    fn read_beside(self, archive: File, start: u64, each: &mut dyn FnMut()) -> Result<Report, Error> {
        let beside = archive.try_clone().map_err(|e| Error::io(ErrorKind::Read, "duplicating a descriptor", e))?;
        let mut session = self.start(archive.into(), None)?;
        let mut buffer = vec![0; PIECE];
        let mut at = start;
        loop {
            match beside.read_at(&mut buffer, at) {
                Ok(0) => return session.finish(),
                Ok(n) => session.count(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(session.abandon(e)),
            }
            at = start + session.bytes_in;
            session.child.pump(Ready::default(), None, PollTimeout::ZERO);
            each();
            if session.child.failed() {
                return session.finish();
            }
        }
    }

    /// The parent reads and writes on, awake to the helper's end while the source is stalled.
    fn pump(self, archive: File, each: &mut dyn FnMut()) -> Result<Report, Error> {
        let mut session = self.spawn()?;
        let mut buffer = vec![0; PIECE];
        loop {
            let ready = session.child.pump(Ready::SOURCE, Some(archive.as_fd()), PollTimeout::NONE);
            each();
            if session.child.over() {
                return session.finish();
            }
            if !ready.source {
                continue;
            }
            match nix::unistd::read(&archive, &mut buffer) {
                Ok(0) => return session.finish(),
                Ok(n) if session.write_all(&buffer[..n]).is_err() => return session.finish(),
                Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(e) => return Err(session.abandon(e.into())),
            }
        }
    }

    fn start(self, archive: OwnedFd, pipe: Option<OwnedFd>) -> Result<Session, Error> {
        let started = Instant::now();
        let digested = !matches!(self.digest, Demand::None) || self.expected_diff_id.is_some();
        check(&self.options, &self.destination, digested)?;
        let program = self.program.map_or_else(Program::this, Ok)?;
        let destination = self.destination.as_os_str().as_bytes().to_vec();
        let (mut options, mut lowers) = (self.options, self.lowers);
        options.progress |= self.callbacks.progress.is_some();
        options.verbose |= self.callbacks.listed.is_some() && !options.list;
        lowers.extend(take_lowers(&mut options));
        let named = lowers.iter().map(Opened::as_lower).collect::<Result<_, _>>()?;
        let lowers_later = self.callbacks.lowers.is_some();
        let in_step = pipe.is_some() && options.stop_at_end;
        let (sent, root) = (options.clone(), self.beginning);
        let request = Request { destination, options: sent, lowers: named, lowers_later, root, in_step };
        let durable = options.durability != Durability::None;
        let (root, making) = match self.root {
            Root::There(root) => (root, None),
            Root::Made(_) if options.list || !self.destination.as_os_str().is_empty() => {
                let text = "a listing makes nothing, and a destination inside the root needs a root that is there";
                return Err(Error::new(ErrorKind::Options, Detail::Text(text)));
            }
            Root::Made(place) => {
                let (staging, root) = Staging::beside(&place, emptier(Some(program.clone())))?;
                let again = root.dir.try_clone();
                let again = again.map_err(|e| Error::io(ErrorKind::Root, "duplicating a descriptor", e))?;
                (again, Some(Making { staging, root, place, durable }))
            }
        };
        let shared = Shared { canceller: self.canceller, purse: self.purse };
        let mut child = Child::spawn(&program, &root, archive, pipe, options, self.callbacks, shared)?;
        child.send(&Down::Request(Box::new(request)));
        let (hasher, expected_digest) = match self.digest {
            Demand::None => (None, None),
            Demand::Compute => (Some(Sha256::new()), None),
            Demand::Expect(digest) => (Some(Sha256::new()), Some(digest)),
        };
        Ok(Session {
            counts: child.has_pipe() || hasher.is_some(),
            child,
            started,
            hasher,
            bytes_in: 0,
            expected_digest,
            expected_diff_id: self.expected_diff_id,
            feeder: None,
            making,
            _lowers: lowers,
        })
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

fn position(file: &File) -> Option<u64> {
    u64::try_from(nix::unistd::lseek(file, 0, nix::unistd::Whence::SeekCur).ok()?).ok()
}

/// Takes the lower directories out of the options.
fn take_lowers(options: &mut Options) -> Vec<Opened> {
    match &mut options.mode {
        Mode::Overlay(overlay) => std::mem::take(&mut overlay.lowers).into_iter().map(|lower| lower.0).collect(),
        _ => Vec::new(),
    }
}

/// Refuses options that contradict each other, before anything is started.
fn check(options: &Options, destination: &Path, digested: bool) -> Result<(), Error> {
    let wrong = match options {
        Options { mode: Mode::Overlay(_), .. } if !destination.as_os_str().is_empty() => {
            "overlay mode writes a whole upper directory, so there is no destination inside it"
        }
        Options { durability: Durability::PerFile | Durability::FileSystem, list: true, .. } => {
            "a listing writes nothing, so it has no durability"
        }
        Options { jail: Jail { user_namespace: UserNamespace::Mapped { uids, gids }, .. }, .. }
            if !invertible(uids) || !invertible(gids) =>
        {
            "ranges of a user namespace's map overlap, inside or outside; the kernel takes only maps that can be read in \
             both directions"
        }
        Options { stop_at_end: true, .. } if digested => {
            "a run that stops at the archive's end does not see the rest, so it has no digest and no diff ID to expect"
        }
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Options, Detail::Text(wrong)))
}

fn invertible(ranges: &[IdRange]) -> bool {
    let apart = |a: u32, b: u32, x: &IdRange, y: &IdRange| {
        u64::from(a) + u64::from(x.count) <= u64::from(b) || u64::from(b) + u64::from(y.count) <= u64::from(a)
    };
    let after = |at: usize| ranges.iter().skip(at + 1);
    let mut all = ranges.iter().enumerate();
    all.all(|(at, x)| after(at).all(|y| apart(x.inside, y.inside, x, y) && apart(x.outside, y.outside, x, y)))
}
