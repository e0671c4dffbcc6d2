//! What containerd's own differ and the image-spec decide differently, as data.

use crate::args::Results;
use crate::config::Settings;
use crate::mounts::Target;
use crate::status::Trouble;
use std::path::{Path, PathBuf};
use untar_in_root::{
    Durability, Encoding, Isolation, Jail, Lower, Mode, Options, Overlay, OverlayPrefix, PackOptions, UserNamespace,
};

/// The options of one application.
///
/// # Errors
///
/// A lower directory cannot be opened.
pub(crate) fn options(settings: &Settings, target: &Target, sync: bool) -> Result<Options, Trouble> {
    let mut options = Options::default();
    options.mode = mode(target)?;
    confine(&mut options.jail, settings);
    options.limits = settings.limits;
    options.durability = if sync { Durability::FileSystem } else { Durability::None };
    if settings.results == Results::Containerd {
        as_containerd_does(&mut options);
    }
    Ok(options)
}

/// The mounts are seen in this mount namespace; a snapshot is never entered with less than the whole jail.
fn confine(jail: &mut Jail, settings: &Settings) {
    jail.isolation = Isolation::Pivot;
    jail.user_namespace = UserNamespace::Never;
    jail.limits = settings.process;
}

/// The options of one making of a layer.
pub(crate) fn packing(settings: &Settings, encoding: Encoding, epoch: Option<i64>) -> PackOptions {
    let mut options = PackOptions::layer();
    confine(&mut options.jail, settings);
    options.encoding = encoding;
    options.clamp_mtime = epoch;
    // The snapshotter makes the snapshot's own directory; and a layer of nothing is to be empty, which Docker then leaves out.
    options.no_root = true;
    let (limits, asked) = (&mut options.limits, settings.limits);
    (limits.total_bytes, limits.file_bytes, limits.entries) = (asked.total_bytes, asked.file_bytes, asked.entries);
    options
}

fn as_containerd_does(options: &mut Options) {
    // The snapshotter has made the snapshot's own directory, with the parent's owner and mode.
    options.ignore_root_metadata = true;
    // Images are signed for IMA.
    options.security_xattrs = true;
    // Builders mark new directories so.
    options.opaque_makes_directory = true;
}

fn mode(target: &Target) -> Result<Mode, Trouble> {
    let Target::Upper { lowers, user_marks, .. } = target else { return Ok(Mode::Layer) };
    let mut overlay = Overlay::over(opened(lowers)?);
    overlay.prefix = if *user_marks { OverlayPrefix::User } else { OverlayPrefix::Trusted };
    Ok(Mode::Overlay(overlay))
}

/// The topmost is the first.
///
/// # Errors
///
/// The first that cannot be opened.
pub(crate) fn opened(lowers: &[PathBuf]) -> Result<Vec<Lower>, Trouble> {
    lowers.iter().enumerate().map(|(at, lower)| open(lower, at + 1, lowers.len())).collect()
}

fn open(lower: &Path, number: usize, of: usize) -> Result<Lower, Trouble> {
    let which = || format!("the snapshot's lower directory {number} of {of}");
    Lower::open(lower).map_err(|error| Trouble::Directory(which(), error))
}
