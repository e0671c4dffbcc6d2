//! Where a file has content: `lseek(2)`.

use crate::helper::fault::{Attempt, Result, on};
use crate::report::{Call, Descriptor};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use std::ops::Range;
use std::os::fd::OwnedFd;

/// The next content at or after `from` in a file of this size, to which the file is then positioned; `None` if there
/// are only holes. What a file system without holes holds is all content.
pub(crate) fn next_content(file: &OwnedFd, from: u64, size: u64) -> Result<Option<Range<u64>>> {
    if from >= size {
        return Ok(None);
    }
    let start = match seek(file, from, Whence::SeekData) {
        Err(Errno::ENXIO) => return Ok(None),
        Err(Errno::EINVAL) => from,
        start => start.call(Call::Lseek, || on(Descriptor::Lower).with(format_args!("{from}, SEEK_DATA")))?,
    };
    let end = seek(file, start, Whence::SeekHole).unwrap_or(size).min(size);
    seek(file, start, Whence::SeekSet)
        .call(Call::Lseek, || on(Descriptor::Lower).with(format_args!("{start}, SEEK_SET")))?;
    Ok((start < end).then_some(start..end))
}

fn seek(file: &OwnedFd, to: u64, whence: Whence) -> Result<u64, Errno> {
    let at = lseek(file, i64::try_from(to).map_err(|_| Errno::EOVERFLOW)?, whence)?;
    u64::try_from(at).map_err(|_| Errno::EOVERFLOW)
}
