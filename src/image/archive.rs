//! Archives of images: unpacked by the helper into a directory that nobody else can enter, then not trusted either.

use super::staged::Staged;
use crate::canceller::Canceller;
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::opened::Opened;
use crate::options::{Limits, Mode, Owner, ProcessLimits, Xattrs};
use crate::program::Program;
use crate::session::Untar;
use std::fs::File;
use std::os::fd::OwnedFd;

/// Plain tar, strictly read; nothing in it keeps owners or attributes. What it was unpacked to is in the staging
/// directory and not that itself: no name of the archive's is beside our own.
pub(super) fn unpack(
    archive: File,
    beside: &Opened,
    program: Program,
    limits: (Limits, ProcessLimits),
    canceller: Canceller,
) -> Result<(Staged, OwnedFd), Error> {
    let staged = Staged::inside(beside, Some(program.clone()))?;
    let files = staged.make("image")?.dir;
    let root = files.try_clone().map_err(|e| Error::io(ErrorKind::Root, "duplicating a descriptor", e))?;
    let mut untar = Untar::new(root).program(program).cancelled_by(canceller);
    let options = untar.options_mut();
    options.mode = Mode::Literal;
    options.owner = Owner::Caller;
    options.xattrs = Xattrs::None;
    options.ignore_root_metadata = true;
    options.skip_diff_id = true;
    (options.limits, options.jail.limits) = limits;
    untar.apply_fd(archive)?;
    Ok((staged, files))
}
