//! Layers that are kept: by chain ID, so found again by every image that begins with the same layers.
//!
//! ```text
//! STORE/version             form of the store, and where overlayfs's marks are
//! STORE/lock                flock(2), exclusive for every use
//! STORE/layers/HEX/tree     a layer's upper directory; HEX is its chain ID
//! STORE/layers/HEX/layer    what it was made from, and the digest of its listing
//! STORE/layers/HEX/damaged  `verify` found it damaged: it is not handed out, and made again when it is needed
//! STORE/layers/HEX.…        such a layer, of which there is another now
//! STORE/l/HE                a symlink to a layer's tree, by as much of its chain ID as it takes: mount(2) takes a page
//! STORE/images/HEX          a recorded image: its name and its chain IDs; HEX is the name's SHA-256
//! STORE/.untar-in-root-…    being made, or left by a process that was killed
//! ```
//!
//! A layer's directory is renamed to its place after everything in it is on disk, so what has a name in `layers` is
//! whole. The lock goes with its process; what that left is removed by the next.
//!
//! The directory is opened once, and must be ours alone; everything else is opened from there and looked at
//! (`state.rs`).

mod fill;
mod gc;
mod listing;
mod record;
mod short;
mod state;
mod verify;

use super::problem::StoreProblem;
pub use gc::Removed;
pub use verify::{Difference, Verified};

use super::digest;
use super::layers::userxattr;
use super::problem::Problem;
use super::staged::synchronise_names;
use crate::canceller::Canceller;
use crate::error::Detail;
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::marks;
use crate::opened::Opened;
use crate::options::Mode;
use crate::report::{Advice, Digest};
use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::unistd::{UnlinkatFlags, unlinkat};
use rustix::thread::{CapabilitySet, capabilities};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The first line of the file `version`.
const VERSION: &str = "untar-in-root store 1";
/// What may be in a store that is only being made.
const UNFINISHED: [&str; 5] = ["lock", "layers", "images", "version", "version.part"];
/// Beside the tree of a layer that was found damaged.
const DAMAGED: &str = "damaged";
/// The time between two tries for a lock that another process has.
const PATIENCE: Duration = Duration::from_millis(20);

/// A directory in which layers are kept.
///
/// It belongs to this program; its own mode is 0700 when it is made. It is opened once: whoever may rename it meanwhile
/// changes nothing but its name. Layers are mounted where they lie (read-only, as lower directories), and no more is
/// known about that: [`gc`](Store::gc) removes what no recorded image needs, mounted or not.
#[derive(Clone, Debug)]
pub struct Store {
    kept: Arc<Kept>,
}

/// What a store is made of, open.
#[derive(Debug)]
struct Kept {
    dir: Opened,
    layers: OwnedFd,
    images: OwnedFd,
    /// Marks are in `user.overlay.`, as the store was made.
    user_marks: bool,
}

/// The lock, held.
struct Held<'a> {
    store: &'a Store,
    _lock: Flock<File>,
}

impl Store {
    /// Opens a store.
    ///
    /// The directory and what the program trusts in it must belong to the caller, must not be symlinks, and nobody
    /// else may be allowed to write to them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Image`] with [`Problem::Store`] if it is none, of another version, or not the caller's own.
    pub fn open(dir: impl AsRef<Path>) -> Result<Store, Error> {
        let path = absolute(dir.as_ref())?;
        let version = match state::top(&path)? {
            Some(dir) => Store::at(Opened::new(dir, &path))?,
            None => None,
        };
        version.ok_or_else(|| none(&path))
    }

    /// What is there, if it has a version.
    fn at(dir: Opened) -> Result<Option<Store>, Error> {
        let Some(version) = state::read(dir.as_fd(), "version", dir.path())? else { return Ok(None) };
        let version = String::from_utf8_lossy(&version);
        if version.lines().next() != Some(VERSION) {
            return Err(Problem::Store(StoreProblem::Version).at(dir.path()));
        }
        let user_marks = version.lines().any(|line| line == "marks user");
        let (layers, images) = (state::part(&dir, "layers")?, state::part(&dir, "images")?);
        Ok(Some(Store { kept: Arc::new(Kept { dir, layers, images, user_marks }) }))
    }

    /// Opens a store, or makes one in a directory that is empty or missing.
    ///
    /// A store is kept by root, or by root of a user namespace (`unshare --map-root-user --map-auto`), who mounts its
    /// layers too: whoever else applies a layer cannot read back what belongs to other ids in it.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Store::open); [`ErrorKind::Options`] for who is not root; [`ErrorKind::Storage`].
    pub fn open_or_make(dir: impl AsRef<Path>) -> Result<Store, Error> {
        let path = absolute(dir.as_ref())?;
        let dir = match state::top(&path)? {
            Some(dir) => dir,
            None => {
                whoever_reads_back()?;
                state::make_top(&path)?
            }
        };
        let dir = Opened::new(dir, &path);
        match Store::at(dir.clone())? {
            Some(store) => Ok(store),
            None => Store::make(dir),
        }
    }

    /// Makes one, or waits for who is making it.
    fn make(dir: Opened) -> Result<Store, Error> {
        whoever_reads_back()?;
        let is_trusted = may_trust() && marks::can_be_trusted(&dir);
        if !is_trusted && !marks::are_seen(&dir) {
            return Err(Problem::Store(StoreProblem::Marks).at(dir.path()));
        }
        let foreign = state::names(dir.as_fd(), dir.path())?.iter().any(|name| !UNFINISHED.iter().any(|n| name == n));
        if foreign {
            // It may have been completed since, and be in use.
            return Store::at(dir.clone())?.ok_or_else(|| Problem::Occupied.at(dir.path()));
        }
        let _lock = loop {
            let lock = state::try_lock(&dir)?;
            if let Some(store) = Store::at(dir.clone())? {
                return Ok(store);
            }
            match lock {
                Some(lock) => break lock,
                None => std::thread::sleep(PATIENCE),
            }
        };
        state::make_part(&dir, "layers")?;
        state::make_part(&dir, "images")?;
        // Last, so that a store without it is only one that is being made.
        let marks = if is_trusted { "trusted" } else { "user" };
        let text = format!("{VERSION}\nmarks {marks}\n");
        state::write_whole(dir.as_fd(), "version", dir.path(), text.as_bytes())?;
        Store::at(dir.clone())?.ok_or_else(|| none(dir.path()))
    }

    /// The store's directory, as an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.kept.dir.path()
    }

    /// Names of the recorded images, sorted.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`], [`ErrorKind::Image`].
    pub fn images(&self) -> Result<Vec<String>, Error> {
        let held = self.lock(&Canceller::default(), || ())?;
        let mut names: Vec<String> = record::images(self)?.into_iter().map(|image| image.name).collect();
        drop(held);
        names.sort();
        Ok(names)
    }

    /// Forgets an image; false if there is none of this name. Its layers stay until [`gc`](Store::gc).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`].
    pub fn forget(&self, name: &str) -> Result<bool, Error> {
        let _held = self.lock(&Canceller::default(), || ())?;
        match unlinkat(&self.kept.images, &*image_name(name), UnlinkatFlags::NoRemoveDir) {
            Ok(()) => synchronise_names(self.kept.images.as_fd(), &self.images_path()).map(|()| true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(storage("removing", &self.images_path().join(image_name(name)), errno.into())),
        }
    }

    fn images_path(&self) -> PathBuf {
        self.path().join("images")
    }

    fn layers_path(&self) -> PathBuf {
        self.path().join("layers")
    }

    fn layer_path(&self, chain: &Digest) -> PathBuf {
        self.layers_path().join(digest::hex(chain))
    }

    /// The directory of a layer, if it is there.
    fn layer(&self, chain: &Digest) -> Result<Option<OwnedFd>, Error> {
        state::directory(self.kept.layers.as_fd(), digest::hex(chain).as_ref(), &self.layer_path(chain))
    }

    /// And its tree in it.
    fn tree(&self, chain: &Digest) -> Result<Option<Opened>, Error> {
        let path = self.layer_path(chain).join("tree");
        match self.layer(chain)? {
            Some(layer) => Ok(state::tree(&layer, &path)?.map(|tree| Opened::new(tree, path))),
            None => Ok(None),
        }
    }

    /// The same of a layer that has not been found damaged.
    fn sound_tree(&self, chain: &Digest) -> Result<Option<Opened>, Error> {
        match self.layer(chain)? {
            Some(layer) if !state::is_there(layer.as_fd(), DAMAGED) => self.tree(chain),
            _ => Ok(None),
        }
    }

    /// Waits for the lock; `busy` is called once if another process has it.
    fn lock(&self, canceller: &Canceller, busy: impl Fn()) -> Result<Held<'_>, Error> {
        let mut told = false;
        loop {
            if let Some(lock) = state::try_lock(&self.kept.dir)? {
                return Ok(Held { store: self, _lock: lock });
            }
            if canceller.is_cancelled() {
                return Err(Error::of(ErrorKind::Cancelled));
            }
            if !std::mem::replace(&mut told, true) {
                busy();
            }
            std::thread::sleep(PATIENCE);
        }
    }
}

/// Whether this process may set marks in `trusted.`.
fn may_trust() -> bool {
    !userxattr(&Mode::Literal, &[]) && has(CapabilitySet::SYS_ADMIN)
}

/// The name of an image's record.
fn image_name(name: &str) -> String {
    digest::hex(&digest::of(name.as_bytes()))
}

fn none(path: &Path) -> Error {
    Problem::Store(StoreProblem::NotAStore).at(path)
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|error| storage("making absolute", path, error))
}

/// Listings are of all files in a layer, whatever their owner and mode, with attributes of what can only be named.
fn whoever_reads_back() -> Result<(), Error> {
    if matches!(crate::proc::this_program(), Ok(None)) {
        let text = "nothing is mounted at /proc, by way of which a store reads attributes back: mount it (mount -t proc proc /proc)";
        return Err(Error::new(ErrorKind::Storage, Detail::Text(text)));
    }
    if nix::unistd::geteuid().is_root() && has(CapabilitySet::DAC_OVERRIDE) {
        return Ok(());
    }
    let text =
        "a store is kept by root, or by root of a user namespace, who can read everything in a layer and mount it";
    Err(Error::new(ErrorKind::Options, Detail::Advised(text, Advice::LayersInstead)))
}

/// Whether a capability is in force here, in whatever user namespace this is.
fn has(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|held| held.effective.contains(capability))
}

fn storage(doing: &'static str, path: &Path, error: std::io::Error) -> Error {
    Error::io_at(ErrorKind::Storage, doing, path, error)
}
