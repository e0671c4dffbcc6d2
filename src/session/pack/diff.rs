//! How the packing of a layer is described.

use crate::canceller::Canceller;
use crate::error::Error;
use crate::fd::OwnedFd;
#[cfg(doc)]
use crate::kind::ErrorKind;
use crate::opened::Lower;
use crate::options::{Encoding, Jail, Limits, OverlayPrefix, PackOptions};
use crate::plan::{PackPlan, PlanPacks};
use crate::program::Program;
use crate::report::{Listed, Packed, Progress};
use crate::session::pack::Packing;
use crate::system::{Root, start_packing};
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

/// One packing of what a directory changes, as a container-image layer: a builder, beside [`Pack`](crate::Pack).
///
/// Of an overlayfs upper directory it packs what is in it; of two directories, what makes one of the other. Its options
/// begin as [`PackOptions::layer`]. What would delete something else than was deleted, or would lose content, is an error
/// and never a layer: a name that begins with `.wh.`, an attribute of overlayfs that cannot be followed.
///
/// ```no_run
/// use untar_in_root::{Diff, Error, Lower, Program};
/// # fn main() -> Result<(), Error> {
/// # let file = std::fs::File::create("layer.tar").unwrap();
/// let diff = Diff::upper("/var/lib/box/upper")?.lowers([Lower::open("/var/lib/box/image")?]);
/// let packed = diff.program(Program::at("/usr/bin/untar-in-root")).to_fd(file)?;
/// println!("{:?}", packed.diff_id);
/// # Ok(())
/// # }
/// ```
pub struct Diff {
    root: Root,
    plan: PackPlan,
}

impl Diff {
    /// A packing of this overlayfs upper directory, which is opened now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Root`] if it is missing or not a directory.
    pub fn upper(dir: impl AsRef<Path>) -> Result<Diff, Error> {
        let what = PlanPacks::Upper { prefix: OverlayPrefix::Auto, lowers: Vec::new() };
        Root::source(dir.as_ref()).map(|root| Diff::of(root, what))
    }

    /// A packing of what makes `upper` of `lower`: two directories, which are opened now. Neither has marks of overlayfs.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Root`] if one of them is missing or not a directory.
    pub fn between(lower: impl AsRef<Path>, upper: impl AsRef<Path>) -> Result<Diff, Error> {
        let what = PlanPacks::Between { lower: Lower::open(lower)?.0 };
        Root::source(upper.as_ref()).map(|root| Diff::of(root, what))
    }

    fn of(root: Root, what: PlanPacks) -> Diff {
        Diff { root, plan: PackPlan { options: PackOptions::layer(), what, ..PackPlan::default() } }
    }

    /// The lower directories of an upper one, the topmost first. With them a whiteout is only of what they show, an opaque
    /// directory becomes a whiteout for each name in it that is gone, and what was renamed, or had but its metadata
    /// changed, is read from them. Without them an opaque directory has the marker `.wh..wh..opq`, and the rest is an
    /// error. Of two directories it means nothing.
    #[must_use]
    pub fn lowers(mut self, dirs: impl IntoIterator<Item = Lower>) -> Diff {
        if let PlanPacks::Upper { lowers, .. } = &mut self.plan.what {
            *lowers = dirs.into_iter().map(|lower| lower.0).collect();
        }
        self
    }

    /// Which attributes of an upper directory are marks; those of the other prefix are data, since whoever owns a directory
    /// can set `user.overlay.opaque`. By default `trusted.` where it can be read.
    #[must_use]
    pub fn prefix(mut self, marks: OverlayPrefix) -> Diff {
        if let PlanPacks::Upper { prefix, .. } = &mut self.plan.what {
            *prefix = marks;
        }
        self
    }
}

told_how!(Diff);

impl fmt::Debug for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Diff");
        fields.field("program", &self.plan.program).field("what", &self.plan.what);
        fields.field("options", &self.plan.options).finish_non_exhaustive()
    }
}
