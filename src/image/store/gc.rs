//! Removing what no recorded image needs.

use super::{Store, record, storage};
use crate::image::digest;
use crate::image::staged::{self, Staged};
use crate::{Canceller, Digest, Error, Program};

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// Chain IDs of the layers.
    pub layers: Vec<Digest>,
}

impl Store {
    /// Removes every layer that no recorded image needs, and what killed processes have left. A layer's name goes
    /// first, so one that is half removed is not found. `program` is the helper for what only a user namespace's
    /// root may remove; without it, [`Program::this`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage); [`ErrorKind::Image`](crate::ErrorKind::Image) if a record
    /// cannot be read: nothing is removed then.
    pub fn gc(&self, program: Option<Program>) -> Result<Removed, Error> {
        let _held = self.lock(&Canceller::default(), || ())?;
        let images = record::images(&self.path)?;
        let needed: Vec<&String> = images.iter().flat_map(|image| &image.chain).collect();
        // Also sweeps what others have left.
        let staged = Staged::inside(&self.path, program)?;
        let mut removed = Removed::default();
        for (name, chain) in self.layers()? {
            if chain.is_some_and(|chain| needed.contains(&&chain.to_string())) {
                continue;
            }
            let away = staged.path().join(&name);
            std::fs::rename(self.path.join("layers").join(&name), &away).map_err(|e| storage("removing", &away, e))?;
            removed.layers.extend(chain);
        }
        staged::synchronise_names(&self.path.join("layers"))?;
        Ok(removed)
    }

    /// Names in `layers`, with the chain IDs that they say.
    pub(super) fn layers(&self) -> Result<Vec<(std::ffi::OsString, Option<Digest>)>, Error> {
        let dir = self.path.join("layers");
        let names = std::fs::read_dir(&dir).map_err(|error| storage("reading", &dir, error))?;
        let mut layers = Vec::new();
        for entry in names {
            let name = entry.map_err(|error| storage("reading", &dir, error))?.file_name();
            let chain = name.to_str().and_then(digest::from_hex);
            layers.push((name, chain));
        }
        layers.sort();
        Ok(layers)
    }
}
