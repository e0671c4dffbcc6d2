//! Removing what no recorded image needs.

use super::{Store, record, state, storage};
use crate::canceller::Canceller;
use crate::error::Error;
use crate::image::staged::{self, Staged};
use crate::program::Program;
use crate::report::Digest;
use nix::fcntl::renameat;
use std::os::fd::AsFd;

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// Chain IDs of the layers.
    pub layers: Vec<Digest>,
}

impl Store {
    /// Removes every layer that no recorded image needs, those that others were made for since they were damaged, and what killed processes have left. A layer's name goes
    /// first, so one that is half removed is not found. `program` is the helper for what only a user namespace's
    /// root may remove; without it, [`Program::this`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage); [`ErrorKind::Image`](crate::ErrorKind::Image) if a record
    /// cannot be read: nothing is removed then.
    pub fn gc(&self, program: Option<Program>) -> Result<Removed, Error> {
        let _held = self.lock(&Canceller::default(), || ())?;
        let images = record::images(self)?;
        let needed: Vec<&String> = images.iter().flat_map(|image| &image.chain).collect();
        // Also sweeps what others have left.
        let staged = Staged::inside(&self.kept.dir, program)?;
        let (mut removed, mut kept) = (Removed::default(), Vec::new());
        for (name, chain) in self.layers()? {
            if let Some(chain) = chain.filter(|chain| needed.contains(&&chain.to_string())) {
                kept.push(chain);
                continue;
            }
            let moved = renameat(&self.kept.layers, &*name, &staged, &*name);
            moved.map_err(|errno| storage("removing", &self.layers_path().join(&name), errno.into()))?;
            removed.layers.extend(chain);
        }
        staged::synchronise_names(self.kept.layers.as_fd(), &self.layers_path())?;
        self.forget_names(&kept)?;
        Ok(removed)
    }

    /// Names in `layers`, with the chain IDs that they say.
    pub(super) fn layers(&self) -> Result<Vec<(std::ffi::OsString, Option<Digest>)>, Error> {
        let names = state::names(self.kept.layers.as_fd(), &self.layers_path())?;
        let chain = |name: &std::ffi::OsString| name.to_str().and_then(Digest::from_hex);
        let mut layers: Vec<_> = names.into_iter().map(|name| (name.clone(), chain(&name))).collect();
        layers.sort();
        Ok(layers)
    }
}
