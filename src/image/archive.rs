//! Archives of images: unpacked by the helper into a directory that nobody else can enter, then not trusted either.

use super::problem::Problem;
use super::staged::Staged;
use super::{MAX_DOCUMENT, MAX_DOCUMENTS};
use crate::canceller::Canceller;
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::opened::Opened;
use crate::options::{Limits, Mode, Owner, ProcessLimits, Xattrs};
use crate::program::Program;
use crate::purse::Purse;
use crate::report::{Advice, EntryKind, Listed};
use crate::session::Untar;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// How an archive is unpacked.
pub(super) struct How {
    pub(super) program: Program,
    pub(super) limits: Limits,
    pub(super) process_limits: ProcessLimits,
    pub(super) canceller: Canceller,
    /// Only documents; of other files no more than their sizes.
    pub(super) documents: bool,
}

/// What an archive was unpacked to.
pub(super) struct Unpacked {
    pub(super) staged: Staged,
    pub(super) files: OwnedFd,
    /// Of each file, where only documents were wanted.
    pub(super) sizes: BTreeMap<String, u64>,
}

/// Plain tar, strictly read; nothing in it keeps owners or attributes. What it was unpacked to is in the staging
/// directory and not that itself: no name of the archive's is beside our own.
pub(super) fn unpack(archive: OwnedFd, name: &Path, beside: &Opened, how: How) -> Result<Unpacked, Error> {
    let staging = |error: Error| error.in_staging(beside.path());
    let staged = Staged::inside(beside, Some(how.program.clone()));
    let staged = staged.map_err(|error| staging(error).advised(Advice::StagingElsewhere))?;
    let files = staged.make("image").map_err(staging)?.dir;
    let root = files.try_clone().map_err(|e| Error::io(ErrorKind::Root, "duplicating a descriptor", e))?;
    let mut untar = Untar::new(root).program(how.program).cancelled_by(how.canceller);
    let sizes = Arc::new(Mutex::new(Sizes { of: BTreeMap::new(), purse: Purse::new(MAX_DOCUMENTS), spent: false }));
    if how.documents {
        let sizes = Arc::clone(&sizes);
        untar = untar.documents_of_at_most(MAX_DOCUMENT);
        untar = untar.on_listed(move |entry| sizes.lock().unwrap_or_else(PoisonError::into_inner).take(&entry));
    }
    let options = untar.options_mut();
    options.mode = Mode::Literal;
    options.owner = Owner::Caller;
    options.xattrs = Xattrs::None;
    options.ignore_root_metadata = true;
    options.skip_diff_id = true;
    (options.limits, options.jail.limits) = (how.limits, how.process_limits);
    if untar.apply_fd(archive).map_err(staging)?.bytes_in == 0 {
        return Err(Problem::NothingCame.at(name));
    }
    let sizes = std::mem::take(&mut *sizes.lock().unwrap_or_else(PoisonError::into_inner));
    if sizes.spent {
        return Err(Problem::Documents.at(name));
    }
    Ok(Unpacked { staged, files, sizes: sizes.of })
}

/// The size of each file by its name, as long as it can be paid for.
#[derive(Default)]
struct Sizes {
    of: BTreeMap<String, u64>,
    purse: Purse,
    spent: bool,
}

impl Sizes {
    fn take(&mut self, entry: &Listed) {
        if !matches!(entry.kind, EntryKind::File) || entry.size == 0 || self.spent {
            return;
        }
        // No document names it otherwise.
        let Ok(path) = std::str::from_utf8(&entry.path) else { return };
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let name = parts.join("/");
        // A table that grows takes several times what is in it.
        self.spent = !self.purse.pay(4 * (size_of::<(String, u64)>() + name.len()));
        self.of.insert(name, entry.size);
    }
}
