//! One directory with all layers in it.

use super::Unpack;
use super::staged::Staged;
use super::unpack::without_sync;
use crate::beginning::Beginning;
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::linux::open_root;
use crate::options::{Durability, Mode};
use crate::report::Report;
use crate::session::Untar;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// An image in one directory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Flattened {
    /// The report of each layer, the bottom one first.
    pub layers: Vec<Report>,
}

impl Unpack<'_> {
    /// All layers in one directory, which must be empty or missing, and appears whole or not at all: it is made
    /// beside its place, in a directory of mode 0700, and renamed. Its own mode is 0755 unless the image says it.
    ///
    /// # Errors
    ///
    /// Those of [`Session::finish`](crate::Session::finish), with [`Error::layer`], and [`ErrorKind::Image`]. Nothing is
    /// left then.
    pub fn flatten(mut self, root: impl AsRef<Path>) -> Result<Flattened, Error> {
        self.check()?;
        let (staged, place) = Staged::beside(root.as_ref(), self.program.clone())?;
        let made = staged.make("root")?;
        let durable = self.options.durability != Durability::None;
        self.options.durability = without_sync(self.options.durability);
        let flattened = self.all(&made.dir, Beginning::Made)?;
        staged.commit(&made, &place, durable)?;
        Ok(flattened)
    }

    /// All layers on what is in this directory, as if it were a layer below them. Nothing is rolled back after an
    /// error. For directories that cannot be replaced, such as mount points.
    ///
    /// # Errors
    ///
    /// Those of [`Session::finish`](crate::Session::finish), with [`Error::layer`], and [`ErrorKind::Image`].
    pub fn flatten_in_place(self, root: impl AsRef<Path>) -> Result<Flattened, Error> {
        let root = open_root(root.as_ref())?;
        self.flatten_into(root)
    }

    /// Applies all layers to an open directory as it is, as [`flatten_in_place`](Unpack::flatten_in_place) does.
    ///
    /// # Errors
    ///
    /// Those of [`flatten_in_place`](Unpack::flatten_in_place).
    pub fn flatten_into(mut self, root: impl Into<OwnedFd>) -> Result<Flattened, Error> {
        self.check()?;
        self.all(&root.into(), Beginning::There)
    }

    fn all(&self, root: &OwnedFd, beginning: Beginning) -> Result<Flattened, Error> {
        let last = self.image.layers().len().saturating_sub(1);
        let mut layers = Vec::new();
        for index in 0..self.image.layers().len() {
            let root = root.as_fd().try_clone_to_owned();
            let root = root.map_err(|e| Error::io(ErrorKind::Root, "duplicating a descriptor", e))?;
            let durability = match self.options.durability {
                Durability::FileSystem if index < last => Durability::None,
                durability => durability,
            };
            let beginning = if index == 0 { beginning } else { Beginning::There };
            let shape = |untar: Untar| untar.beginning(beginning);
            layers.push(self.apply(index, root, Mode::Layer, durability, shape, || ())?);
        }
        Ok(Flattened { layers })
    }
}
