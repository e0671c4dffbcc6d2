//! `untar-in-root copy`: from where to where, and whose it is then.

use super::habits::shown;
use super::pack::metadata::UNMAPPED;
use super::{jail, pack, values};
use clap::error::ErrorKind;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use untar_in_root::{Copy as Copying, Jail, PackOptions, PackOwner, UnmappedIds};

const EXAMPLES: &str = "\
Examples:
  untar-in-root copy /srv/one:/etc/ssl /srv/other:/backup     the directory, as /backup or below it
  untar-in-root copy /srv/one:/etc/. /srv/other:/etc          what is in it
  untar-in-root copy --chown 0:0 .:app.conf /srv/root:/etc/   a file, as root's";

/// Copies a file or directory out of one directory into another, from inside two processes that see one of them each.
///
/// Names are those of `docker cp`. SOURCE is copied with what is in it; ending in /. it means what is in it alone. A symlink
/// that it ends in is copied itself, unless it ends in / or --follow-link is given. Where DESTINATION is a directory SOURCE
/// goes below it; where nothing or a file is there, SOURCE takes its place and name. A symlink there is followed inside its
/// ROOT, and only its last component may be missing. A directory never replaces anything else, nor the reverse.
///
/// Each ROOT is entered by a process of its own: the one can change nothing, the other sees nothing of where the files come
/// from. ROOT ends at the first colon; one with a colon in its name is entered first, and is `.` then, or is given as a
/// descriptor: `copy /dev/fd/3:etc /srv/b:/ 3<odd:name`. When something fails, what has been copied stays.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, mut_args(jail::of_copying))]
#[command(override_usage = "untar-in-root copy [OPTIONS] ROOT:SOURCE ROOT:DESTINATION")]
pub(crate) struct Copy {
    /// What is copied, and the directory that it is in
    #[arg(value_name = "ROOT:SOURCE")]
    source: OsString,

    /// Where it goes, and the directory that this is in
    #[arg(value_name = "ROOT:DESTINATION")]
    destination: OsString,

    /// Copy what SOURCE leads to, if it is a symlink, under the link's name
    #[arg(long, short = 'L')]
    follow_link: bool,

    /// Give everything to these ids, whoever owns it
    #[arg(long, value_name = "UID:GID", value_parser = values::owner)]
    chown: Option<(u32, u32)>,

    /// What becomes of the run when an id is none of the user namespace that SOURCE is read in
    #[arg(long, value_name = "POLICY", default_value = "fail", value_parser = values::words(UNMAPPED))]
    unmapped_ids: UnmappedIds,

    /// Owners, modes, times and attributes are kept anyway: `cp -a`, `docker cp -a`
    #[arg(long, short, short_alias = 'r', hide = true)]
    archive: bool,

    #[command(flatten)]
    live: pack::Live,
    #[command(flatten)]
    jail: jail::Jail,
    #[command(flatten)]
    limits: pack::Limits,
    #[command(flatten)]
    pub(crate) shown: pack::Shown,
}

impl Copy {
    pub(super) fn check(&self) -> Result<(), (ErrorKind, String)> {
        for (word, what) in [(&self.source, "SOURCE"), (&self.destination, "DESTINATION")] {
            if place(word).is_none() {
                let words = format!("copy takes ROOT:{what}, and {word:?} has no colon");
                return Err((ErrorKind::ValueValidation, words));
            }
        }
        self.shown.check()?;
        self.jail.check(None)
    }

    /// The directories that it is between: the one that is read first.
    pub(crate) fn roots(&self) -> Option<(PathBuf, PathBuf)> {
        place(&self.source).zip(place(&self.destination)).map(|((from, _), (to, _))| (from, to))
    }

    /// How long it may take.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.limits.time()
    }

    /// Makes of them what the library wants.
    pub(crate) fn describe(&self, mut copy: Copying) -> Copying {
        let mut packing = PackOptions::default();
        self.limits.set(&mut packing);
        let mut jail = Jail::default();
        jail.limits = packing.jail.limits;
        self.jail.set(&mut jail);
        copy = copy.jail(jail).limits(packing.limits).follow(self.follow_link);
        for (word, is_source) in [(&self.source, true), (&self.destination, false)] {
            let path = place(word).map(|(_, path)| path).unwrap_or_default();
            copy = if is_source { copy.source(path) } else { copy.destination(path) };
        }
        let options = copy.packing_mut();
        self.live.set(options);
        options.unmapped_ids = self.unmapped_ids;
        if let Some((uid, gid)) = self.chown {
            options.owner = PackOwner::Forced { uid, gid };
        }
        copy
    }
}

impl Copy {
    /// What to type where a ROOT is not there, but a directory with a colon in its name is.
    pub(crate) fn colon(&self) -> Option<String> {
        [&self.source, &self.destination].into_iter().find_map(|word| {
            let (root, _) = place(word).filter(|(root, _)| !root.exists())?;
            let bytes = word.as_bytes();
            let ends =
                (root.as_os_str().len() + 1..=bytes.len()).filter(|at| matches!(bytes.get(*at), None | Some(b':')));
            let there = |at: &usize| Path::new(OsStr::from_bytes(&bytes[..*at])).is_dir();
            let meant = OsStr::from_bytes(&bytes[..ends.rev().find(there)?]);
            Some(format!(
                "ROOT ends at the first colon; {} can be given as /dev/fd/3, with 3< it, or be gone into",
                shown(meant)
            ))
        })
    }
}

/// A directory, and a path in it.
fn place(word: &OsStr) -> Option<(PathBuf, PathBuf)> {
    let bytes = word.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b':')?;
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    Some((path(&bytes[..at]), path(&bytes[at + 1..])))
}
