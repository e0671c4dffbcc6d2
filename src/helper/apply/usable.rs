//! Without CAP_DAC_OVERRIDE, where no root was entered, a directory that its owner may not write is closed to us like to
//! anybody else. Ours can be worked in until the run is over.

use crate::helper::fault::{Attempt, Octal, Result, on};
use crate::helper::sys::fstat;
use crate::report::{Call, Descriptor};
use nix::sys::stat::{Mode, fchmod};
use std::os::fd::OwnedFd;

/// Reading, writing and entering, for its owner.
pub(super) const ALL: u32 = 0o700;

/// Gives a directory of `own`'s all that its owner needs there; the owner's part of its mode before, if that was less.
pub(super) fn make(dir: &OwnedFd, own: Option<u32>) -> Result<Option<u32>> {
    let Some(own) = own else { return Ok(None) };
    let stat = fstat(dir).call(Call::Fstat, || on(Descriptor::Directory).with("<stat>"))?;
    if stat.st_uid != own || stat.st_mode & ALL == ALL {
        return Ok(None);
    }
    let mode = stat.st_mode & 0o7777 | ALL;
    fchmod(dir, Mode::from_bits_truncate(mode))
        .call(Call::Fchmod, || on(Descriptor::Directory).with(format_args!("{}", Octal(mode))))?;
    Ok(Some(stat.st_mode & ALL))
}
