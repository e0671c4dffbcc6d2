//! A run begins: what contradicts itself is refused, what is to be made is made, the helper is started and asked.

use super::{Demand, Root, Untar, emptier};
use crate::error::{Detail, Error};
use crate::kind::ErrorKind;
use crate::opened::Opened;
use crate::options::{Durability, IdRange, Jail, Mode, Options, UserNamespace};
use crate::program::Program;
use crate::session::child::{Child, Shared};
use crate::session::{Making, Session};
use crate::staging::Staging;
use crate::wire::{Down, Request};
use sha2::{Digest as _, Sha256};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

impl Untar {
    pub(super) fn start(self, archive: OwnedFd, pipe: Option<OwnedFd>) -> Result<Session, Error> {
        let started = Instant::now();
        let digested = !matches!(self.digest, Demand::None) || self.expected_diff_id.is_some();
        check(&self.options, &self.destination, digested)?;
        let program = self.program.map_or_else(Program::this, Ok)?;
        let destination = self.destination.as_os_str().as_bytes().to_vec();
        let (mut options, mut lowers) = (self.options, self.lowers);
        options.progress |= self.callbacks.progress.is_some();
        options.verbose |= self.callbacks.listed.is_some() && !options.list;
        lowers.extend(take_lowers(&mut options));
        let named = lowers.iter().map(Opened::as_lower).collect::<Result<_, _>>()?;
        let lowers_later = self.callbacks.lowers.is_some();
        let in_step = pipe.is_some() && options.stop_at_end;
        let (sent, root) = (options.clone(), self.beginning);
        let request = Request { destination, options: sent, lowers: named, lowers_later, root, in_step };
        let durable = options.durability != Durability::None;
        let (root, making) = match self.root {
            Root::There(root) => (root, None),
            Root::Made(_) if options.list || !self.destination.as_os_str().is_empty() => {
                let text = "a listing makes nothing, and a destination inside the root needs a root that is there";
                return Err(Error::new(ErrorKind::Options, Detail::Text(text)));
            }
            Root::Made(place) => {
                let (staging, root) = Staging::beside(&place, emptier(Some(program.clone())))?;
                let again = root.dir.try_clone();
                let again = again.map_err(|e| Error::io(ErrorKind::Root, "duplicating a descriptor", e))?;
                (again, Some(Making { staging, root, place, durable }))
            }
        };
        let shared = Shared { canceller: self.canceller, purse: self.purse };
        let mut child = Child::spawn(&program, &root, archive, pipe, options, self.callbacks, shared)?;
        child.send(&Down::Request(Box::new(request)));
        let (hasher, expected_digest) = match self.digest {
            Demand::None => (None, None),
            Demand::Compute => (Some(Sha256::new()), None),
            Demand::Expect(digest) => (Some(Sha256::new()), Some(digest)),
        };
        Ok(Session {
            counts: child.has_pipe() || hasher.is_some(),
            child,
            started,
            hasher,
            bytes_in: 0,
            expected_digest,
            expected_diff_id: self.expected_diff_id,
            feeder: None,
            making,
            _lowers: lowers,
        })
    }
}

/// Takes the lower directories out of the options.
fn take_lowers(options: &mut Options) -> Vec<Opened> {
    match &mut options.mode {
        Mode::Overlay(overlay) => std::mem::take(&mut overlay.lowers).into_iter().map(|lower| lower.0).collect(),
        _ => Vec::new(),
    }
}

/// Refuses options that contradict each other, before anything is started.
fn check(options: &Options, destination: &Path, digested: bool) -> Result<(), Error> {
    let wrong = match options {
        Options { mode: Mode::Overlay(_), .. } if !destination.as_os_str().is_empty() => {
            "overlay mode writes a whole upper directory, so there is no destination inside it"
        }
        Options { durability: Durability::PerFile | Durability::FileSystem, list: true, .. } => {
            "a listing writes nothing, so it has no durability"
        }
        Options { jail: Jail { user_namespace: UserNamespace::Mapped { uids, gids }, .. }, .. }
            if !invertible(uids) || !invertible(gids) =>
        {
            "ranges of a user namespace's map overlap, inside or outside; the kernel takes only maps that can be read in \
             both directions"
        }
        Options { stop_at_end: true, .. } if digested => {
            "a run that stops at the archive's end does not see the rest, so it has no digest and no diff ID to expect"
        }
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Options, Detail::Text(wrong)))
}

fn invertible(ranges: &[IdRange]) -> bool {
    let apart = |a: u32, b: u32, x: &IdRange, y: &IdRange| {
        u64::from(a) + u64::from(x.count) <= u64::from(b) || u64::from(b) + u64::from(y.count) <= u64::from(a)
    };
    let after = |at: usize| ranges.iter().skip(at + 1);
    let mut all = ranges.iter().enumerate();
    all.all(|(at, x)| after(at).all(|y| apart(x.inside, y.inside, x, y) && apart(x.outside, y.outside, x, y)))
}
