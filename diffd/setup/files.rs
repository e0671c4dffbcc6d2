//! Changes to files that are others': whole or not at all, and with the owner, the mode and the attributes that they have.

use super::attributes::copy_attributes;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// A file as it is and as it is to be; `None` is no file.
pub(super) struct Change {
    pub(super) path: PathBuf,
    before: Option<String>,
    pub(super) after: Option<String>,
}

impl Change {
    /// `None` if it is so already.
    pub(super) fn of(path: &Path, before: Option<String>, after: Option<String>) -> Option<Change> {
        (before != after).then(|| Change { path: path.to_owned(), before, after })
    }

    /// # Errors
    ///
    /// With the file's name.
    pub(super) fn stage(&self) -> Result<Staged, String> {
        let beside = self.after.as_deref().map(|text| beside(&self.path, text)).transpose();
        let (beside, path) = match beside.map_err(|e| self.named(&e))? {
            Some((beside, path)) => (Some(beside), path),
            None => (None, self.path.clone()),
        };
        Ok(Staged { beside, path })
    }

    /// Puts it back as it was.
    ///
    /// # Errors
    ///
    /// With the file's name.
    pub(super) fn undo(&self) -> Result<(), String> {
        let (before, after) = (self.after.clone(), self.before.clone());
        let undone = Change { path: self.path.clone(), before, after };
        undone.stage()?.place().map_err(|e| self.named(&e))
    }

    pub(super) fn named(&self, error: &dyn std::fmt::Display) -> String {
        format!("{}: {error}", self.path.display())
    }
}

/// The new file beside the old one; gone again unless it is put in its place.
pub(super) struct Staged {
    pub(super) beside: Option<PathBuf>,
    path: PathBuf,
}

impl Staged {
    pub(super) fn place(mut self) -> io::Result<()> {
        match self.beside.take() {
            Some(beside) => std::fs::rename(&beside, &self.path).inspect_err(|_| _ = std::fs::remove_file(&beside))?,
            None => std::fs::remove_file(&self.path)?,
        }
        File::open(parent(&self.path))?.sync_all()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            let _ = std::fs::remove_file(beside);
        }
    }
}

/// # Errors
///
/// With the file's name.
pub(super) fn read(path: &Path) -> Result<Option<String>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

/// Written and safe on the disk under another name, and where it is to go: what a symbolic link leads to.
fn beside(path: &Path, text: &str) -> io::Result<(PathBuf, PathBuf)> {
    let path = target(path)?;
    std::fs::create_dir_all(parent(&path))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.untar-in-root.{}", std::process::id()));
    // There may be passwords in it.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    fill(&file, &path, text).inspect_err(|_| _ = std::fs::remove_file(&beside))?;
    Ok((beside, path))
}

fn fill(mut file: &File, path: &Path, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    let mut mode = 0o644;
    if let Ok(old) = File::open(path) {
        let metadata = old.metadata()?;
        fchown(file, Some(metadata.uid()), Some(metadata.gid()))?;
        copy_attributes(&old, file)?;
        mode = metadata.mode() & 0o7777;
    }
    // Last: an ACL has changed it.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

fn target(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(e) if e.kind() == ErrorKind::NotFound && path.symlink_metadata().is_err() => Ok(path.to_owned()),
        other => other,
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn change(path: &Path, text: &str) -> Change {
        Change::of(path, read(path).expect("text"), Some(text.to_owned())).expect("a change")
    }

    #[test]
    fn a_link_stays_and_what_it_leads_to_keeps_its_owner_and_mode() {
        let dir = tempfile::tempdir().expect("directory");
        let (real, link) = (dir.path().join("real.toml"), dir.path().join("config.toml"));
        std::fs::write(&real, "old").expect("file");
        std::fs::set_permissions(&real, Permissions::from_mode(0o640)).expect("mode");
        let owner = if nix::unistd::geteuid().is_root() { 1234 } else { nix::unistd::getegid().as_raw() };
        std::os::unix::fs::chown(&real, None, Some(owner)).expect("group");
        symlink("real.toml", &link).expect("link");
        let change = change(&link, "new");
        change.stage().expect("staged").place().expect("placed");
        assert_eq!(std::fs::read_link(&link).expect("still a link"), Path::new("real.toml"));
        let now = std::fs::metadata(&real).expect("file");
        assert_eq!((std::fs::read_to_string(&real).expect("text").as_str(), now.mode() & 0o7777), ("new", 0o640));
        assert_eq!(now.gid(), owner);
        change.undo().expect("undone");
        assert_eq!(std::fs::read_to_string(&real).expect("text"), "old");
    }

    #[test]
    fn what_is_not_put_in_its_place_leaves_nothing_and_a_link_to_nothing_is_refused() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("config.toml");
        // Somebody's own file of the name that was used once.
        std::fs::write(dir.path().join("config.toml.new"), "mine").expect("file");
        drop(change(&path, "new").stage().expect("staged"));
        assert_eq!(std::fs::read_dir(dir.path()).expect("directory").count(), 1);
        symlink("nowhere/at/all", &path).expect("link");
        assert!(change(&path, "new").stage().err().expect("refused").contains("config.toml"));
    }
}
