//! Where an archive is applied: a directory that is there, or one that is still to be made.

use super::opened::HELD;
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::report::Advice;
use crate::staging::Place;
use nix::errno::Errno;
use nix::fcntl::open;
use nix::sys::stat::Mode;
use std::os::fd::OwnedFd;
use std::path::Path;

pub(crate) enum Root {
    There(OwnedFd),
    /// It is made beside its place first.
    Made(Place),
}

impl Root {
    pub(crate) fn there(dir: OwnedFd) -> Root {
        Root::There(dir)
    }

    /// Opens a root that is packed. It must be there: an empty one would not help.
    pub(crate) fn source(path: &Path) -> Result<Root, Error> {
        named(path).map(Root::There).map_err(|errno| unopened(path, errno))
    }

    pub(crate) fn open(path: &Path) -> Result<Root, Error> {
        open_root(path).map(Root::There)
    }

    pub(crate) fn made_at(path: &Path) -> Result<Root, Error> {
        Place::open(path).map(Root::Made)
    }
}

pub(crate) fn open_root(path: &Path) -> Result<OwnedFd, Error> {
    named(path).map_err(|errno| {
        let error = unopened(path, errno);
        if errno == Errno::ENOENT { error.advised(Advice::MakeRoot) } else { error }
    })
}

fn named(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, HELD, Mode::empty())
}

fn unopened(path: &Path, errno: Errno) -> Error {
    Error::io_at(ErrorKind::Root, "opening the root", path, errno.into())
}
