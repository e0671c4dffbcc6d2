//! An overlayfs upper directory for each layer, several at a time.
//!
//! In overlay mode a layer depends on those below it: for the metadata of directories that it implies, for links
//! that its paths lead through, for the targets of hardlinks, for whether a whiteout hides anything. Yet most
//! layers of real images never need to look. So every helper is given its lower directories when it starts, while
//! they are still being filled, and asks the parent before its first look at them; the parent answers when they are
//! complete. What comes out is thus the same as one after the other, by construction and not by repair.

use super::Unpack;
use super::schedule::{Schedule, Turn};
use super::staged::Staged;
use super::unpack::{What, without_sync};
use crate::beginning::Beginning;
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::opened::Opened;
use crate::options::{Durability, Mode, Overlay, OverlayPrefix};
use crate::report::Report;
use crate::session::Untar;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A directory for each layer, ready to be mounted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Layers {
    /// The directories, the bottom one first.
    pub dirs: Vec<LayerDir>,
    /// The marks are in `user.overlay.`: the mount needs `userxattr`.
    pub userxattr: bool,
}

/// The directory of one layer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LayerDir {
    /// Where it is.
    pub path: PathBuf,
    /// The same directory by the shortest name that it has, for the line that mount takes: in a store, a symlink.
    pub short: PathBuf,
    /// How it was made; `None` if it was found in a store.
    pub report: Option<Report>,
}

impl LayerDir {
    /// Each directory with its report.
    pub(super) fn each(paths: impl Iterator<Item = PathBuf>, reports: Vec<Option<Report>>) -> Vec<LayerDir> {
        paths.zip(reports).map(|(path, report)| LayerDir { short: path.clone(), path, report }).collect()
    }
}

impl Layers {
    /// What `mount -t overlay -o` takes: `lowerdir=TOP:…:BOTTOM`, and `userxattr` where it is needed, with `:`, `,`
    /// and `\` in names escaped. The kernel takes no more than a page of options, 4,095 bytes on most machines: for
    /// many layers use [names relative to a working directory](Layers::mount_options_in), or `fsconfig(2)` with one
    /// `lowerdir+` for each (since Linux 6.5).
    #[must_use]
    pub fn mount_options(&self) -> OsString {
        self.options(self.dirs.iter().map(|dir| dir.short.as_path()))
    }

    /// The same line with names relative to this directory, which must be the working directory of whoever mounts.
    #[must_use]
    pub fn mount_options_in(&self, dir: &Path) -> OsString {
        self.options(self.dirs.iter().map(|layer| layer.short.strip_prefix(dir).unwrap_or(&layer.short)))
    }

    fn options<'p>(&self, dirs: impl DoubleEndedIterator<Item = &'p Path>) -> OsString {
        let mut line = b"lowerdir=".to_vec();
        for (at, dir) in dirs.rev().enumerate() {
            line.extend(if at > 0 { &b":"[..] } else { b"" });
            for byte in dir.as_os_str().as_bytes() {
                line.extend(if matches!(byte, b':' | b',' | b'\\') { &b"\\"[..] } else { b"" });
                line.push(*byte);
            }
        }
        line.extend(if self.userxattr { &b",userxattr"[..] } else { b"" });
        OsString::from_vec(line)
    }
}

/// One layer's directory, made before any helper starts.
pub(super) struct Slot {
    pub(super) dir: Opened,
    /// It was there already, complete.
    pub(super) found: bool,
}

impl Unpack<'_> {
    /// A directory for each layer in this one, `1` the bottom one, each the upper directory that overlayfs would
    /// have on those below it. The directory must be empty or missing and appears whole or not at all. Layers are
    /// applied [several at a time](Unpack::jobs); the first that fails ends the others.
    ///
    /// # Errors
    ///
    /// Those of [`Session::finish`](crate::Session::finish), with [`Error::layer`], and [`ErrorKind::Image`]. Nothing is
    /// left then.
    pub fn layers(mut self, dir: impl AsRef<Path>) -> Result<Layers, Error> {
        self.check()?;
        let dir = std::path::absolute(dir.as_ref())
            .map_err(|error| Error::io_at(ErrorKind::Options, "making absolute", dir.as_ref(), error))?;
        let (staged, place) = Staged::beside(&dir, self.program.clone())?;
        let made = staged.make("layers")?;
        let names: Vec<String> = (1..=self.image.layers().len()).map(|number| number.to_string()).collect();
        let slot = |name: &String| Ok(Slot { dir: staged.make_layer(format!("layers/{name}"))?, found: false });
        let slots = names.iter().map(slot).collect::<Result<Vec<_>, Error>>()?;
        let reports = self.stack(&slots, &staged)?;
        staged.commit(&made, &place, self.options.durability != Durability::None)?;
        let userxattr = userxattr(&self.options.mode, &reports);
        Ok(Layers { dirs: LayerDir::each(names.iter().map(|name| dir.join(name)), reports), userxattr })
    }

    /// Applies the layers that are not found, each on those below it.
    pub(super) fn stack(&self, slots: &[Slot], staged: &Staged) -> Result<Vec<Option<Report>>, Error> {
        // What is below the bottom layer: nothing, for certain.
        let nothing = staged.make_layer("nothing".to_owned())?;
        let complete = slots.iter().map(|slot| slot.found).collect();
        let schedule = Arc::new(Schedule::new(complete, self.jobs, self.canceller.clone()));
        let reports: Vec<Mutex<Option<Report>>> = slots.iter().map(|_| Mutex::new(None)).collect();
        slots.iter().enumerate().filter(|(_, slot)| slot.found).for_each(|(index, _)| self.tell(index, What::Found));
        schedule.run(|index, turn| {
            let lower = match index {
                0 => vec![nothing.clone()],
                index => slots[..index].iter().rev().map(|slot| slot.dir.clone()).collect(),
            };
            let report = self.one(index, &slots[index], lower, &schedule, turn)?;
            *reports[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
            Ok(())
        })?;
        Ok(reports.into_iter().map(|report| report.into_inner().unwrap_or_else(PoisonError::into_inner)).collect())
    }

    fn one(
        &self,
        index: usize,
        slot: &Slot,
        lower: Vec<Opened>,
        schedule: &Arc<Schedule>,
        turn: &Turn<'_>,
    ) -> Result<Report, Error> {
        let prefix = match &self.options.mode {
            Mode::Overlay(overlay) => overlay.prefix,
            _ => OverlayPrefix::Auto,
        };
        let root = slot.dir.dir().try_clone().map_err(|e| Error::io(ErrorKind::Root, "duplicating a descriptor", e))?;
        let mode = Mode::Overlay(Overlay { prefix, lowers: Vec::new() });
        let durability = without_sync(self.options.durability);
        let (schedule, watcher) = (Arc::clone(schedule), self.watcher.clone());
        let wait = move || {
            if let Some(watcher) = &watcher {
                watcher(super::Step { layer: index, what: What::Waiting });
            }
            schedule.wait_below(index);
        };
        let beginning = if index == 0 { Beginning::Bottom } else { Beginning::Made };
        let shape = |untar: Untar| untar.beginning(beginning).lowers_later(lower, wait);
        self.apply(index, root, mode, durability, shape, || turn.pass())
    }
}

/// Whether the helpers marked in `user.`, which they do if not told otherwise and `trusted.` is not for them to set.
pub(super) fn userxattr(mode: &Mode, reports: &[Option<Report>]) -> bool {
    let wanted = match mode {
        Mode::Overlay(overlay) => overlay.prefix,
        _ => OverlayPrefix::Auto,
    };
    match wanted {
        OverlayPrefix::User => true,
        OverlayPrefix::Trusted => false,
        OverlayPrefix::Auto => {
            !crate::namespace::is_first() || reports.iter().flatten().any(|report| report.user_marks)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_overlayfs_reads_them() {
        let at = |paths: &[&str]| LayerDir::each(paths.iter().map(PathBuf::from), vec![None; paths.len()]);
        let mut layers = Layers { dirs: at(&["/a:b/1", "/a,b/2", "/a\\b/3"]), userxattr: false };
        assert_eq!(layers.mount_options(), r"lowerdir=/a\\b/3:/a\,b/2:/a\:b/1");
        layers.userxattr = true;
        layers.dirs = at(&["/x/1", "/x/2"]);
        assert_eq!(layers.mount_options_in(Path::new("/x")), "lowerdir=2:1,userxattr");
    }
}
