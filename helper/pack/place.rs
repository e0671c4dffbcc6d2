//! The file that an archive becomes: made beside its place, and renamed when it is whole.

use crate::trouble::Trouble;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A file in the making; removed when it is dropped before it appears.
pub(super) struct Place {
    place: PathBuf,
    making: PathBuf,
    appeared: bool,
}

impl Place {
    /// What to write to. What is there and no regular file, as a FIFO or a device, is written to as it is.
    pub(super) fn open(path: &Path) -> Result<(File, Option<Place>), Trouble> {
        let trouble = |error| Trouble::Made { path: path.to_path_buf(), error };
        if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            return OpenOptions::new().write(true).open(path).map(|file| (file, None)).map_err(trouble);
        }
        // Where a link leads the file appears, and the link stays.
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        for number in 0..100 {
            let making = beside(&place, number);
            match OpenOptions::new().write(true).create_new(true).open(&making) {
                Ok(file) => return Ok((file, Some(Place { place, making, appeared: false }))),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(trouble(error)),
            }
        }
        Err(trouble(io::ErrorKind::AlreadyExists.into()))
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

/// A name of ours in the same directory.
fn beside(place: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(place.file_name().unwrap_or_default());
    name.push(format!(".untar-in-root-{}-{number}", std::process::id()));
    place.with_file_name(name)
}
