//! What the nodes of an overlayfs layer stand for (rules 21 and 22). Pure.
//!
//! Whoever owns a directory can set `user.overlay.` attributes: one prefix is in force, and the other is data.

mod lookup;
mod redirect;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use lookup::{Layers, Merged, NoData, Shown, Upper, lookup};
#[cfg(any(fuzzing, test))]
pub(crate) use lookup::{Look, Seen};
pub(crate) use redirect::Redirect;
pub(crate) use tree::{Leaf, Tree, opened, shape, value};

use crate::helper::fault::Fault;
use crate::report::{Cause, MarkProblem};
use std::borrow::Cow;

/// Which attributes are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marks {
    Trusted,
    User,
}

/// What is known of a node besides its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Directory,
    Regular { size: u64 },
    CharDevice { major: u32, minor: u32 },
    Other,
}

/// What a node stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stands {
    /// For nothing, whatever is below.
    Whiteout,
    /// For itself and, unless it is opaque, for what the layers below have there or where it was.
    Directory {
        opaque: bool,
        redirect: Option<Redirect>,
    },
    /// For itself, with the content that the layers below have there or where it was.
    Metacopy {
        redirect: Option<Redirect>,
    },
    Itself {
        regular: bool,
    },
}

/// An attribute of this name cannot be followed, by overlayfs neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadMark {
    pub(crate) name: Vec<u8>,
    pub(crate) what: MarkProblem,
}

impl From<BadMark> for Fault {
    fn from(BadMark { name, what }: BadMark) -> Fault {
        Cause::OverlayMark { name, what }.into()
    }
}

/// What overlayfs takes for the value of a metacopy since Linux 6.6, where it had looked at none before: nothing, or a header
/// (version 0, the length of all, flags, an algorithm) and a digest, of which `fs-verity` has none over 64 bytes. Of any other
/// it answers EIO, of some only if it is to compare digests.
fn is_metacopy(value: &[u8]) -> bool {
    match value {
        [] => true,
        [0, length, _, _, digest @ ..] => usize::from(*length) == value.len() && digest.len() <= 64,
        _ => false,
    }
}

impl Marks {
    fn prefix(self) -> &'static [u8] {
        match self {
            Marks::Trusted => b"trusted.overlay.",
            Marks::User => b"user.overlay.",
        }
    }

    /// The whole name of one of overlayfs's attributes.
    pub(crate) fn name(self, mark: &str) -> Vec<u8> {
        [self.prefix(), mark.as_bytes()].concat()
    }

    /// An attribute's name as it is packed: overlayfs's own are not, and those of an overlay within lose a level.
    pub(crate) fn packed(self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        match name.strip_prefix(self.prefix()) {
            None => Some(Cow::Borrowed(name)),
            Some(own) => own.strip_prefix(b"overlay.").map(|within| [self.prefix(), within].concat().into()),
        }
    }

    /// What a node stands for. `value` has the content of one of its attributes, by its whole name, if it is there.
    pub(crate) fn stands<E: From<BadMark>>(
        self,
        shape: Shape,
        mut value: impl FnMut(&[u8]) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Stands, E> {
        let mut mark = |name| value(&self.name(name));
        let redirect = |value: Option<Vec<u8>>| self.redirect(value);
        Ok(match shape {
            Shape::CharDevice { major: 0, minor: 0 } => Stands::Whiteout,
            Shape::CharDevice { .. } | Shape::Other => Stands::Itself { regular: false },
            Shape::Regular { size: 0 } if mark("whiteout")?.is_some() => Stands::Whiteout,
            Shape::Regular { .. } => match mark("metacopy")? {
                None => Stands::Itself { regular: true },
                Some(value) => {
                    self.follows("metacopy")?;
                    if !is_metacopy(&value) {
                        return Err(BadMark { name: self.name("metacopy"), what: MarkProblem::NoMetacopy }.into());
                    }
                    Stands::Metacopy { redirect: redirect(mark("redirect")?)? }
                }
            },
            // `x` only says that there are whiteouts by attribute.
            Shape::Directory if mark("opaque")?.is_some_and(|value| value == b"y") => {
                Stands::Directory { opaque: true, redirect: None }
            }
            Shape::Directory => Stands::Directory { opaque: false, redirect: redirect(mark("redirect")?)? },
        })
    }

    fn redirect(self, value: Option<Vec<u8>>) -> Result<Option<Redirect>, BadMark> {
        let Some(value) = value else { return Ok(None) };
        self.follows("redirect")?;
        let parsed = Redirect::parse(value).map(Some);
        parsed.map_err(|_| BadMark { name: self.name("redirect"), what: MarkProblem::Malformed })
    }

    /// Anybody may set attributes in `user.` on files of his own; overlayfs follows none that leads to another's content.
    fn follows(self, mark: &str) -> Result<(), BadMark> {
        match self {
            Marks::Trusted => Ok(()),
            Marks::User => Err(BadMark { name: self.name(mark), what: MarkProblem::NotFollowed }),
        }
    }
}
