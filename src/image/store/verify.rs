//! Comparing what is kept with what was recorded when it was made.

use super::record::{self, LayerRecord};
use super::{DAMAGED, Store, fill, listing, state, storage};
use crate::canceller::Canceller;
use crate::error::Error;
use crate::image::digest;
use crate::report::Digest;
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::AsFd;

/// What a store was found to be.
#[derive(Debug)]
#[non_exhaustive]
pub struct Verified {
    /// How many layers there are.
    pub layers: usize,
    /// What is not as it was; empty if all is well.
    pub differences: Vec<Difference>,
}

/// What is not as it was, or cannot be compared.
#[derive(Debug)]
#[non_exhaustive]
pub enum Difference {
    /// A name in `layers` that is no chain ID.
    Stray(String),
    /// A layer whose record or tree cannot be read.
    Unreadable {
        /// Its chain ID.
        layer: Digest,
        /// Why.
        error: Error,
    },
    /// A layer whose record is that of another.
    Record(Digest),
    /// A layer whose tree is not what it was.
    Tree {
        /// The layer's chain ID.
        layer: Digest,
        /// The listing that was recorded.
        recorded: String,
        /// The listing of what is there.
        actual: Digest,
    },
    /// A layer on one that is not there.
    Below(Digest),
    /// That this layer is damaged, or made on one that is, could not be written down: it may be handed out again.
    Unmarked {
        /// Its chain ID.
        layer: Digest,
        /// Why.
        error: Error,
    },
    /// A recorded image without this layer.
    Missing {
        /// The image's name.
        image: String,
        /// The chain ID.
        layer: String,
    },
}

impl Store {
    /// Reads every layer and compares its listing (names, types, owners, modes, times, sizes, links, devices,
    /// attributes, content) with that of when it was made, and records with each other. Whoever can change a layer can
    /// change its record too: this finds damage, not intent.
    ///
    /// A layer that is not as it was is not handed out from then on, nor are those above it, which may have been made
    /// from what was damaged: [`Unpack::into_store`](crate::image::Unpack::into_store) applies them again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage), [`ErrorKind::Image`](crate::ErrorKind::Image) if the store
    /// itself cannot be read.
    pub fn verify(&self) -> Result<Verified, Error> {
        let _held = self.lock(&Canceller::default(), || ())?;
        let layers = self.layers()?;
        let there: Vec<Digest> = layers.iter().filter_map(|(_, chain)| *chain).collect();
        let mut found = Vec::new();
        for (name, chain) in &layers {
            match chain {
                None if name.to_str().is_some_and(fill::is_aside) => {}
                None => found.push(Difference::Stray(name.to_string_lossy().into_owned())),
                Some(chain) => match self.compare(chain, &there) {
                    Ok(difference) => found.extend(difference),
                    Err(error) => found.push(Difference::Unreadable { layer: *chain, error }),
                },
            }
        }
        let unmarked = self.mark(&there, &found);
        found.extend(unmarked);
        for image in record::images(self)? {
            let lacks = |layer: &String| !digest::parse(layer).is_ok_and(|layer| there.contains(&layer));
            let missing = image.chain.iter().filter(|layer| lacks(layer)).cloned();
            found.extend(missing.map(|layer| Difference::Missing { image: image.name.clone(), layer }));
        }
        Ok(Verified { layers: there.len(), differences: found })
    }

    /// Marks what is damaged, and what is above that; gives what could not be marked.
    fn mark(&self, there: &[Digest], found: &[Difference]) -> Vec<Difference> {
        let damaged: BTreeMap<Digest, String> =
            found.iter().filter_map(|one| Some((one.damaged()?, one.to_string()))).collect();
        if damaged.is_empty() {
            return Vec::new();
        }
        let below: BTreeMap<Digest, Digest> =
            there.iter().filter_map(|chain| Some((*chain, self.below(chain)?))).collect();
        let marked = there.iter().filter_map(|chain| {
            // Down to the bottom, or as often as there are layers: records may lie.
            let mut down = std::iter::successors(Some(chain), |at| below.get(*at)).take(there.len());
            let why = down.find_map(|at| damaged.get(at))?;
            self.mark_one(chain, why).err().map(|error| Difference::Unmarked { layer: *chain, error })
        });
        marked.collect()
    }

    /// One whose directory is not ours is not handed out anyway.
    fn mark_one(&self, chain: &Digest, why: &str) -> Result<(), Error> {
        match self.layer(chain) {
            Ok(Some(layer)) => {
                state::write_whole(layer.as_fd(), DAMAGED, &self.layer_path(chain), format!("{why}\n").as_bytes())
            }
            _ => Ok(()),
        }
    }

    /// The layer below, by the record.
    fn below(&self, chain: &Digest) -> Option<Digest> {
        let layer = self.layer(chain).ok()??;
        let record = LayerRecord::read(layer.as_fd(), &self.layer_path(chain)).ok()?;
        digest::parse(&record.below?).ok()
    }

    fn compare(&self, chain: &Digest, there: &[Digest]) -> Result<Option<Difference>, Error> {
        let path = self.layer_path(chain);
        let missing = || storage("opening", &path, Errno::ENOENT.into());
        let layer = self.layer(chain)?.ok_or_else(missing)?;
        let record = LayerRecord::read(layer.as_fd(), &path)?;
        if record.chain() != Some(*chain) {
            return Ok(Some(Difference::Record(*chain)));
        }
        let below = record.below.as_deref().and_then(|below| digest::parse(below).ok());
        if below.is_some_and(|below| !there.contains(&below)) {
            return Ok(Some(Difference::Below(*chain)));
        }
        let tree = self.tree(chain)?.ok_or_else(missing)?;
        let actual = listing::digest(tree.dir(), tree.path())?;
        let same = actual.to_string() == record.listing;
        Ok((!same).then_some(Difference::Tree { layer: *chain, recorded: record.listing, actual }))
    }
}

impl Difference {
    /// The layer that it is about, if that is damaged and no more handed out.
    #[must_use]
    pub fn damaged(&self) -> Option<Digest> {
        match self {
            Difference::Unreadable { layer, .. } | Difference::Record(layer) | Difference::Tree { layer, .. } => {
                Some(*layer)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Stray(name) => write!(f, "layers/{}: not a layer", crate::text::Escaped(name.as_bytes())),
            Difference::Unreadable { layer, error } => write!(f, "layer {layer}: {error}"),
            Difference::Record(layer) => write!(f, "layer {layer}: its record is that of another layer"),
            Difference::Tree { layer, .. } => write!(f, "layer {layer}: its tree is not what it was when it was made"),
            Difference::Below(layer) => write!(f, "layer {layer}: the layer below it is not there"),
            Difference::Unmarked { layer, error } => {
                write!(f, "layer {layer}: that it is damaged could not be written down: {error}")
            }
            Difference::Missing { image, layer } => {
                write!(
                    f,
                    "image {:?}: its layer {} is not there",
                    crate::text::Escaped(image.as_bytes()),
                    crate::text::Escaped(layer.as_bytes())
                )
            }
        }
    }
}
