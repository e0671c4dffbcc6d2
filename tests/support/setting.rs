//! An archive that everybody may read, a destination, and a program that unpacks the one into the other.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::child::{Job, Said};
use super::scratch::Scratch;
use super::tarball::Tarball;

pub struct Setting {
    pub scratch: Scratch,
    pub dest: PathBuf,
    pub archive: PathBuf,
}

impl Setting {
    /// # Panics
    /// When it cannot be written.
    pub fn new(archive: &Tarball) -> Setting {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        let archive = scratch.file("archive.tar", archive.build());
        fs::set_permissions(&archive, fs::Permissions::from_mode(0o644)).expect("mode");
        Setting { scratch, dest, archive }
    }

    /// Behind a program that takes rights away, `setpriv` for one.
    pub fn run(&self, prefix: &[&str], options: &str) -> Said {
        Job::new(&self.dest, &self.archive, options).behind(prefix).run(&self.scratch)
    }
}
