//! Archives of images: unpacked by the helper into a directory that nobody else can enter, then not trusted either.

use super::beneath::named_file;
use super::staged::Staged;
use crate::{Canceller, Error, Limits, Mode, Owner, Program, Untar, Xattrs};
use std::path::Path;

/// Plain tar, strictly read; nothing in it keeps owners or attributes.
pub(super) fn unpack(
    file: &Path,
    beside: &Path,
    program: Program,
    limits: Limits,
    canceller: Canceller,
) -> Result<Staged, Error> {
    let (archive, _) = named_file(file)?;
    let staged = Staged::inside(beside, Some(program.clone()))?;
    let mut untar = Untar::open(staged.path())?.program(program).cancelled_by(canceller);
    let options = untar.options_mut();
    options.mode = Mode::Literal;
    options.owner = Owner::Caller;
    options.xattrs = Xattrs::None;
    options.ignore_root_metadata = true;
    options.skip_diff_id = true;
    options.limits = limits;
    untar.apply_fd(archive)?;
    Ok(staged)
}
