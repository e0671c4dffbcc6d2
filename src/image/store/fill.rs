//! An image's layers put into a store: found there, or applied and kept.

use super::record::{self, ImageRecord, LayerRecord};
use super::{Held, Store, image_name, listing, state, storage, whoever_reads_back};
use crate::error::{Detail, Error};
use crate::image::digest;
use crate::image::layers::{LayerDir, Layers, Slot};
use crate::image::problem::{Problem, StoreProblem};
use crate::image::schedule::Schedule;
use crate::image::staged::{Staged, synchronise_names};
use crate::image::unpack::{Unpack, What};
use crate::kind::ErrorKind;
use crate::options::{Jail, Mode, Options, Overlay, OverlayPrefix};
use crate::report::Digest;
use nix::errno::Errno;
use nix::fcntl::renameat;
use std::os::fd::AsFd;

impl Unpack<'_> {
    /// The layers in a store: those that it has are found, the others applied as [`layers`](Unpack::layers) does and
    /// kept; so are those that [`verify`](Store::verify) found damaged, and what is above them. The image is recorded under this name (up to 512 bytes; its [ID](crate::image::Image::id) is a good one),
    /// which keeps its layers from [`gc`](Store::gc). A second process waits until the first is done.
    ///
    /// All or nothing: after an error the store has what it had. When this returns, it is all on disk. Options that
    /// change what layers come out as are refused, since others will find them.
    ///
    /// # Errors
    ///
    /// Those of [`Session::finish`](crate::Session::finish), with [`Error::layer`], and [`ErrorKind::Image`].
    pub fn into_store(mut self, store: &Store, name: &str) -> Result<Layers, Error> {
        self.check()?;
        whoever_reads_back()?;
        self.shape(store)?;
        if name.is_empty() || name.len() > 512 {
            return Err(Problem::Store(StoreProblem::Name).at(store.path()));
        }
        let held = store.lock(&self.canceller, || self.tell(0, What::StoreBusy))?;
        held.fill(&self, name)
    }

    /// Options that come to the same layers, whoever makes them.
    fn shape(&mut self, store: &Store) -> Result<(), Error> {
        let mut plain = Options::default();
        let given = self.options.clone();
        plain.jail = Jail { mounts: plain.jail.mounts, ..given.jail.clone() };
        (plain.limits, plain.writers) = (given.limits, given.writers);
        (plain.progress, plain.durability, plain.mode) = (given.progress, given.durability, given.mode.clone());
        plain.compression = given.compression;
        if plain != given {
            let text = "layers in a store are for all who come after, so they take no options that change what is made";
            return Err(Error::new(ErrorKind::Options, Detail::Text(text)));
        }
        let prefix = if store.kept.user_marks { OverlayPrefix::User } else { OverlayPrefix::Trusted };
        self.options.mode = Mode::Overlay(Overlay { prefix, lowers: Vec::new() });
        Ok(())
    }
}

impl Held<'_> {
    fn fill(&self, unpack: &Unpack<'_>, name: &str) -> Result<Layers, Error> {
        let (store, kept) = (self.store, &self.store.kept);
        let chain = unpack.image.chain_ids();
        let staged = Staged::inside(&kept.dir, unpack.program.clone())?;
        let slots = self.slots(&chain, &staged)?;
        let reports = unpack.stack(&slots, &staged)?;
        // The listings, several at a time as well.
        let complete = slots.iter().map(|slot| slot.found).collect();
        Schedule::new(complete, unpack.jobs, unpack.canceller.clone()).run(|at, turn| {
            // No process.
            turn.pass();
            let tree = &slots[at].dir;
            let record = LayerRecord {
                below: at.checked_sub(1).map(|below| chain[below].to_string()),
                diff_id: unpack.image.layers[at].diff_id.to_string(),
                blob: unpack.image.layers[at].digest.map(|digest| digest.to_string()),
                listing: listing::digest(tree.dir(), tree.path())?.to_string(),
            };
            let path = staged.path().join(inside(at));
            let layer = state::directory(staged.as_fd(), inside(at).as_ref(), &path)?;
            let layer = layer.ok_or_else(|| storage("opening", &path, Errno::ENOENT.into()))?;
            state::write_whole(layer.as_fd(), "layer", &path, &record::json(&record))
        })?;
        staged.synchronise()?;
        for (at, chain) in chain.iter().enumerate().filter(|(at, _)| !slots[*at].found) {
            let (layers, path) = (kept.layers.as_fd(), store.layer_path(chain));
            store.set_aside(chain)?;
            staged.put(&inside(at), layers, &digest::hex(chain), &path)?;
        }
        synchronise_names(kept.layers.as_fd(), &store.layers_path())?;
        let record = ImageRecord {
            name: name.to_owned(),
            id: unpack.image.id.to_string(),
            chain: chain.iter().map(ToString::to_string).collect(),
        };
        let record = record::json(&record);
        state::write_whole(kept.images.as_fd(), &image_name(name), &store.images_path(), &record)?;
        let dirs = store.short_names(&chain)?.into_iter().zip(&chain).zip(reports);
        let dirs =
            dirs.map(|((short, chain), report)| LayerDir { path: store.layer_path(chain).join("tree"), short, report });
        Ok(Layers { dirs: dirs.collect(), userxattr: kept.user_marks })
    }

    /// Where each layer is, or is to be made.
    fn slots(&self, chain: &[Digest], staged: &Staged) -> Result<Vec<Slot>, Error> {
        // What a layer comes out as depends on those below: on one that is made again, so is it.
        let mut found = true;
        let slot = |(at, chain): (usize, &Digest)| {
            let there = if found { self.store.sound_tree(chain)? } else { None };
            found = there.is_some();
            if let Some(dir) = there {
                return Ok(Slot { dir, found: true });
            }
            staged.make(inside(at))?;
            Ok(Slot { dir: staged.make_layer(format!("{}/tree", inside(at)))?, found: false })
        };
        chain.iter().enumerate().map(slot).collect()
    }
}

impl Store {
    /// Makes room for a layer that is made again. What was there may be mounted: it stays until [`gc`](Store::gc).
    fn set_aside(&self, chain: &Digest) -> Result<(), Error> {
        let (layers, name) = (self.kept.layers.as_fd(), digest::hex(chain));
        for number in 1..=u16::MAX {
            match renameat(layers, &*name, layers, &*format!("{name}{ASIDE}{number}")) {
                Ok(()) | Err(Errno::ENOENT) => return Ok(()),
                Err(Errno::EEXIST | Errno::ENOTEMPTY) => {}
                Err(errno) => return Err(storage("moving aside", &self.layer_path(chain), errno.into())),
            }
        }
        Err(storage("moving aside", &self.layer_path(chain), Errno::EEXIST.into()))
    }
}

/// What the name of a layer goes on with that was made again.
const ASIDE: &str = ".replaced-";

/// Whether this is the name of one.
pub(super) fn is_aside(name: &str) -> bool {
    name.split_once(ASIDE).is_some_and(|(chain, _)| Digest::from_hex(chain).is_some())
}

/// A layer's name while it is made.
fn inside(at: usize) -> String {
    format!("layer-{at}")
}
