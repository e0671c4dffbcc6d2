//! Layers that are kept: by chain ID, so found again by every image that begins with the same layers.
//!
//! ```text
//! STORE/version             form of the store, and where overlayfs's marks are
//! STORE/lock                flock(2), exclusive for every use
//! STORE/layers/HEX/tree     a layer's upper directory; HEX is its chain ID
//! STORE/layers/HEX/layer    what it was made from, and the digest of its listing
//! STORE/images/HEX          a recorded image: its name and its chain IDs; HEX is the name's SHA-256
//! STORE/.untar-in-root-…    being made, or left by a process that was killed
//! ```
//!
//! A layer's directory is renamed to its place after everything in it is on disk, so what has a name in `layers` is
//! whole. The lock goes with its process; what that left is removed by the next.

mod gc;
mod listing;
mod record;
mod verify;

pub use gc::Removed;
pub use verify::Difference;

use super::layers::{Layers, Slot, userxattr};
use super::problem::Problem;
use super::schedule::Schedule;
use super::staged::{Staged, synchronise_names};
use super::unpack::{Unpack, What};
use super::{digest, staged};
use crate::error::Detail;
use crate::session::open_root;
use crate::{Canceller, Digest, Error, ErrorKind, Mode, Options, Overlay, OverlayPrefix};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use record::{ImageRecord, LayerRecord};
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The first line of the file `version`.
const VERSION: &str = "untar-in-root store 1";
/// Between two tries for a lock that another process has.
const PATIENCE: Duration = Duration::from_millis(20);
/// Reads any file; sets trusted.* attributes. Numbers of `capabilities(7)`.
const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_SYS_ADMIN: u32 = 21;

/// A directory in which layers are kept.
///
/// It belongs to this program; its own mode is 0700 when it is made. Layers are mounted where they lie (read-only,
/// as lower directories), and no more is known about that: [`gc`](Store::gc) removes what no recorded image needs,
/// mounted or not.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

/// The lock, held.
struct Held<'a> {
    store: &'a Store,
    _lock: Flock<File>,
}

impl Store {
    /// Opens a store.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Image`] with [`Problem::Store`] if it is none, or of another version.
    pub fn open(dir: impl AsRef<Path>) -> Result<Store, Error> {
        let path =
            std::path::absolute(dir.as_ref()).map_err(|error| storage("making absolute", dir.as_ref(), error))?;
        let version = std::fs::read_to_string(path.join("version"));
        match version.as_deref().ok().and_then(|text| text.lines().next()) {
            Some(VERSION) => Ok(Store { path }),
            Some(_) => Err(Problem::Store("this store is of another version".to_owned()).at(path)),
            None => Err(Problem::Store("this is no store: it has no readable file `version`".to_owned()).at(path)),
        }
    }

    /// Opens a store, or makes one in a directory that is empty or missing.
    ///
    /// A store is kept by root, or by root of a user namespace (`unshare --map-root-user --map-auto`), who mounts its
    /// layers too: whoever else applies a layer cannot read back what belongs to other ids in it.
    ///
    /// # Errors
    ///
    /// As [`open`](Store::open); [`ErrorKind::Options`] for who is not root; [`ErrorKind::Storage`].
    pub fn open_or_make(dir: impl AsRef<Path>) -> Result<Store, Error> {
        let dir = dir.as_ref();
        if dir.join("version").exists() {
            return Store::open(dir);
        }
        whoever_reads_back()?;
        staged::vacant_but(dir, &["lock", "layers", "images", "version", "version.part"])?;
        for path in [dir.to_path_buf(), dir.join("layers"), dir.join("images")] {
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => made.map_err(|error| storage("making", &path, error))?,
            }
        }
        // Last, so that a store without it is only one that is being made.
        let user = userxattr(&Mode::Literal, &[]) || !has_capability(CAP_SYS_ADMIN);
        let marks = if user { "user" } else { "trusted" };
        let written = write_whole(&dir.join("version"), format!("{VERSION}\nmarks {marks}\n").as_bytes());
        // Somebody else may be making the same at the same moment.
        Store::open(dir).or_else(|error| written.and(Err(error)))
    }

    /// Its directory, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the recorded images, sorted.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`], [`ErrorKind::Image`].
    pub fn images(&self) -> Result<Vec<String>, Error> {
        let held = self.lock(&Canceller::default(), || ())?;
        let mut names: Vec<String> = record::images(&self.path)?.into_iter().map(|image| image.name).collect();
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
        let path = self.image_path(name);
        match std::fs::remove_file(&path) {
            Ok(()) => synchronise_names(&self.path.join("images")).map(|()| true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(storage("removing", &path, error)),
        }
    }

    fn image_path(&self, name: &str) -> PathBuf {
        self.path.join("images").join(digest::hex(&digest::of(name.as_bytes())))
    }

    fn layer_path(&self, chain: &Digest) -> PathBuf {
        self.path.join("layers").join(digest::hex(chain))
    }

    /// Marks are in `user.overlay.`, as the store was made.
    fn has_user_marks(&self) -> bool {
        std::fs::read_to_string(self.path.join("version"))
            .is_ok_and(|text| text.lines().any(|line| line == "marks user"))
    }

    /// Waits for the lock; `busy` is called once if another process has it.
    fn lock(&self, canceller: &Canceller, busy: impl Fn()) -> Result<Held<'_>, Error> {
        let path = self.path.join("lock");
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = opened.map_err(|error| storage("opening", &path, error))?;
        let mut told = false;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Held { store: self, _lock: lock }),
                Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) => file = back,
                Err((_, errno)) => return Err(storage("locking", &path, errno.into())),
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

impl Unpack<'_> {
    /// The layers in a store: those that it has are found, the others applied as [`layers`](Unpack::layers) does and
    /// kept. The image is recorded under this name (up to 512 bytes; its [ID](super::Image::id) is a good one),
    /// which keeps its layers from [`gc`](Store::gc). A second process waits until the first is done.
    ///
    /// All or nothing: after an error the store has what it had. When this returns, it is all on disk. Options that
    /// change what layers come out as are refused, since others will find them.
    ///
    /// # Errors
    ///
    /// Any, with [`Error::layer`] where a layer was being applied.
    pub fn into_store(mut self, store: &Store, name: &str) -> Result<Layers, Error> {
        self.check()?;
        whoever_reads_back()?;
        self.shape(store)?;
        if name.is_empty() || name.len() > 512 {
            return Err(Problem::Store("a name in a store has 1 to 512 bytes".to_owned()).at(&store.path));
        }
        let held = store.lock(&self.canceller, || self.tell(0, What::StoreBusy))?;
        held.fill(&self, name)
    }

    /// Options that come to the same layers, whoever makes them.
    fn shape(&mut self, store: &Store) -> Result<(), Error> {
        let mut plain = Options::default();
        let given = self.options.clone();
        (plain.isolation, plain.user_namespace) = (given.isolation, given.user_namespace.clone());
        (plain.sandbox, plain.limits, plain.writers) = (given.sandbox, given.limits, given.writers);
        (plain.progress, plain.durability, plain.mode) = (given.progress, given.durability, given.mode.clone());
        plain.compression = given.compression;
        if plain != given {
            let text = "layers in a store are for all who come after, so they take no options that change what is made";
            return Err(Error::new(ErrorKind::Options, Detail::Text(text)));
        }
        let prefix = if store.has_user_marks() { OverlayPrefix::User } else { OverlayPrefix::Trusted };
        self.options.mode = Mode::Overlay(Overlay { prefix, lower: Vec::new() });
        Ok(())
    }
}

impl Held<'_> {
    fn fill(&self, unpack: &Unpack<'_>, name: &str) -> Result<Layers, Error> {
        let chain = unpack.image.chain_ids();
        let staged = Staged::inside(&self.store.path, unpack.program.clone())?;
        let slots = self.slots(&chain, &staged)?;
        let reports = unpack.stack(&slots, &staged)?;
        // The listings, several at a time as well.
        let complete = slots.iter().map(|slot| slot.found).collect();
        Schedule::new(complete, unpack.jobs, unpack.canceller.clone()).run(|at| {
            let record = LayerRecord {
                below: at.checked_sub(1).map(|below| chain[below].to_string()),
                diff_id: unpack.image.layers[at].diff_id.to_string(),
                blob: unpack.image.layers[at].digest.map(|digest| digest.to_string()),
                listing: listing::digest(&slots[at].dir, &slots[at].path)?.to_string(),
            };
            write_whole(&slots[at].path.with_file_name("layer"), &record::json(&record))
        })?;
        staged.synchronise()?;
        let open = slots.iter().zip(&chain).filter(|(slot, _)| !slot.found);
        for (slot, chain) in open {
            let inside = slot.path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
            staged.put(inside.unwrap_or_default(), &self.store.layer_path(chain))?;
        }
        synchronise_names(&self.store.path.join("layers"))?;
        let record = ImageRecord {
            name: name.to_owned(),
            id: unpack.image.id.to_string(),
            chain: chain.iter().map(ToString::to_string).collect(),
        };
        write_whole(&self.store.image_path(name), &record::json(&record))?;
        let dirs = chain.iter().map(|chain| self.store.layer_path(chain).join("tree")).collect();
        Ok(Layers { dirs, reports, userxattr: self.store.has_user_marks() })
    }

    /// Where each layer is, or is to be made.
    fn slots(&self, chain: &[Digest], staged: &Staged) -> Result<Vec<Slot>, Error> {
        let slot = |(at, chain): (usize, &Digest)| {
            let path = self.store.layer_path(chain).join("tree");
            if let Ok(dir) = open_root(&path) {
                return Ok(Slot { path, dir, found: true });
            }
            let name = format!("layer-{at}");
            staged.make(&name)?;
            let inside = format!("{name}/tree");
            Ok(Slot { dir: staged.make(&inside)?, path: staged.path().join(inside), found: false })
        };
        chain.iter().enumerate().map(slot).collect()
    }
}

/// A small file, whole and on disk or not there.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::io::Write;
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    })();
    written.map_err(|error| storage("writing", path, error))?;
    path.parent().map_or(Ok(()), synchronise_names)
}

/// Listings are of all files in a layer, whatever their owner and mode.
fn whoever_reads_back() -> Result<(), Error> {
    if nix::unistd::geteuid().is_root() && has_capability(CAP_DAC_OVERRIDE) {
        return Ok(());
    }
    let text = "a store is kept by root, or by root of a user namespace, who can read everything in a layer and mount \
                it: run this under `unshare --map-root-user --map-auto`, or make a directory for each layer instead \
                (--layers)";
    Err(Error::new(ErrorKind::Options, Detail::Text(text)))
}

/// Is it in force here, in whatever user namespace this is?
fn has_capability(number: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    field.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|set| set >> number & 1 == 1)
}

fn storage(doing: &'static str, path: &Path, error: std::io::Error) -> Error {
    Error::io_at(ErrorKind::Storage, doing, path, error)
}
