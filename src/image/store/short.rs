//! Short names of layers: mount(2) takes a page of options, and a chain ID has 64 digits.

use super::{Store, state, storage};
use crate::error::Error;
use crate::image::digest;
use crate::image::staged::synchronise_names;
use crate::report::Digest;
use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

/// The directory that they are in.
const NAMES: &str = "l";

impl Store {
    /// A short name of each of these layers, which is there and on disk.
    pub(super) fn short_names(&self, chain: &[Digest]) -> Result<Vec<PathBuf>, Error> {
        let (dir, path) = (state::make_part(&self.kept.dir, NAMES)?, self.path().join(NAMES));
        let name = |chain: &Digest| match name(dir.as_fd(), chain) {
            Ok(name) => Ok(path.join(name)),
            Err(errno) => Err(storage("making a short name in", &path, errno.into())),
        };
        let names = chain.iter().map(name).collect::<Result<_, _>>()?;
        synchronise_names(dir.as_fd(), &path)?;
        Ok(names)
    }

    /// Removes the names of layers that are not there.
    pub(super) fn forget_names(&self, there: &[Digest]) -> Result<(), Error> {
        let path = self.path().join(NAMES);
        let Some(dir) = state::directory(self.kept.dir.as_fd(), NAMES.as_ref(), &path)? else { return Ok(()) };
        let there: BTreeSet<String> = there.iter().map(leads_to).collect();
        for name in state::names(dir.as_fd(), &path)? {
            let Ok(target) = readlinkat(&dir, &*name) else { continue };
            if !target.to_str().is_some_and(|target| there.contains(target)) {
                let removed = unlinkat(&dir, &*name, UnlinkatFlags::NoRemoveDir);
                removed.map_err(|errno| storage("removing", &path.join(&name), errno.into()))?;
            }
        }
        Ok(())
    }
}

/// The first digits of the chain ID that lead to this layer, or to nothing yet.
fn name(dir: BorrowedFd<'_>, chain: &Digest) -> Result<String, Errno> {
    let (mut name, target) = (digest::hex(chain), leads_to(chain));
    for length in 1..name.len() {
        match symlinkat(&*target, dir, &name[..length]) {
            Err(Errno::EEXIST) if readlinkat(dir, &name[..length]).is_ok_and(|there| *there == *target) => {}
            Err(Errno::EEXIST) => continue,
            made => made?,
        }
        name.truncate(length);
        return Ok(name);
    }
    Err(Errno::EEXIST)
}

fn leads_to(chain: &Digest) -> String {
    format!("../layers/{}/tree", digest::hex(chain))
}
