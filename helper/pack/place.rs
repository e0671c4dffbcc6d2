//! The file that an archive becomes: made beside its place, and renamed when it is whole.

use crate::named::{self, Until};
use crate::trouble::Trouble;
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// A file in the making; removed when it is dropped before it appears.
pub(super) struct Place {
    place: PathBuf,
    making: PathBuf,
    appeared: bool,
}

impl Place {
    /// What to write to. What is there and no regular file, as a FIFO or a device, is written to as it is. A file that is
    /// there must be writable, and its owner and mode become those of the new one.
    pub(super) fn open(path: &Path, until: Until) -> Result<(File, Option<Place>), Trouble> {
        let trouble = |error| Trouble::Made { path: path.to_path_buf(), error };
        let write = || named::open_to_write(path, until).map_err(trouble);
        let there = match fs::metadata(path) {
            Ok(there) if !there.is_file() => return Ok((write()?, None)),
            Ok(_) => Some(write()?.metadata().map_err(trouble)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(trouble(error)),
        };
        if there.is_none() && fs::symlink_metadata(path).is_ok() {
            let words = "it is a link to nothing; remove it, or name what it should lead to";
            return Err(trouble(io::Error::new(io::ErrorKind::NotFound, words)));
        }
        // Where a link leads the file appears, and the link stays.
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        Place::make(place, there.as_ref()).map_err(trouble)
    }

    #[allow(clippy::disallowed_methods, reason = "what is made new has no other end")]
    fn make(place: PathBuf, there: Option<&Metadata>) -> io::Result<(File, Option<Place>)> {
        let mode = if there.is_some() { 0o600 } else { 0o666 };
        for number in 0..100 {
            let making = beside(&place, number);
            match OpenOptions::new().write(true).create_new(true).mode(mode).open(&making) {
                Ok(file) => {
                    let place = Place { place, making, appeared: false };
                    there.map_or(Ok(()), |there| become_as(&file, there))?;
                    return Ok((file, Some(place)));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// It is whole.
    pub(super) fn appear(mut self) -> Result<(), Trouble> {
        let trouble = |error| Trouble::Made { path: self.place.clone(), error };
        fs::rename(&self.making, &self.place).map_err(trouble)?;
        self.appeared = true;
        Ok(())
    }

    /// What is left if this process is ended by a signal.
    pub(super) fn left_over(&self) -> PathBuf {
        self.making.clone()
    }

    pub(super) fn remove(path: &PathBuf) {
        let _ = fs::remove_file(path);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.appeared {
            Place::remove(&self.making);
        }
    }
}

/// Gives a file the owner and mode of another. Where the group cannot be had its bits are no more than others'.
fn become_as(file: &File, there: &Metadata) -> io::Result<()> {
    let kept = fchown(file, Some(there.uid()), Some(there.gid())).or_else(|_| fchown(file, None, Some(there.gid())));
    let mode = there.mode() & 0o777;
    let mode = if kept.is_ok() { mode } else { mode & !0o070 | mode & mode << 3 & 0o070 };
    file.set_permissions(Permissions::from_mode(mode))
}

/// A name of ours in the same directory.
fn beside(place: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(place.file_name().unwrap_or_default());
    name.push(format!(".untar-in-root-{}-{number}", std::process::id()));
    place.with_file_name(name)
}
