//! What containerd's own differ and the image-spec decide differently, as data.

use crate::args::Results;
use crate::config::Settings;
use crate::mounts::Target;
use crate::status::Trouble;
use std::path::Path;
use untar_in_root::{Durability, Isolation, Lower, Mode, Options, Overlay, OverlayPrefix, UserNamespace};

/// The options of one application.
///
/// # Errors
///
/// A lower directory cannot be opened.
pub(crate) fn options(settings: &Settings, target: &Target, sync: bool) -> Result<Options, Trouble> {
    let mut options = Options::default();
    options.mode = mode(target)?;
    // The mounts are seen in this mount namespace; a snapshot is never applied with less than the whole jail.
    options.jail.isolation = Isolation::Pivot;
    options.jail.user_namespace = UserNamespace::Never;
    options.limits = settings.limits;
    options.jail.limits = settings.process;
    options.durability = if sync { Durability::FileSystem } else { Durability::None };
    if settings.results == Results::Containerd {
        as_containerd_does(&mut options);
    }
    Ok(options)
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
    let lowers: Vec<Lower> =
        lowers.iter().enumerate().map(|(at, lower)| opened(lower, at + 1, lowers.len())).collect::<Result<_, _>>()?;
    let mut overlay = Overlay::over(lowers);
    overlay.prefix = if *user_marks { OverlayPrefix::User } else { OverlayPrefix::Trusted };
    Ok(Mode::Overlay(overlay))
}

/// The topmost is the first.
fn opened(lower: &Path, number: usize, of: usize) -> Result<Lower, Trouble> {
    let which = || format!("the snapshot's lower directory {number} of {of}");
    Lower::open(lower).map_err(|error| Trouble::Directory(which(), error))
}
