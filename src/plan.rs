//! What a run is to be, but for its root: plain data that the builder fills in and the system starts from.

use crate::beginning::Beginning;
use crate::canceller::Canceller;
use crate::opened::Opened;
use crate::options::{Options, OverlayPrefix, PackOptions};
use crate::program::Program;
use crate::purse::Purse;
use crate::report::{Digest, Listed, Progress};
use std::path::PathBuf;

/// The most read from the caller and written to the pipe at once.
pub(crate) const PIECE: usize = 1 << 20;

#[derive(Default)]
pub(crate) struct Plan {
    /// `None` is the present one.
    pub(crate) program: Option<Program>,
    pub(crate) destination: PathBuf,
    pub(crate) options: Options,
    pub(crate) digest: Demand,
    pub(crate) expected_diff_id: Option<Digest>,
    pub(crate) callbacks: Callbacks,
    pub(crate) canceller: Canceller,
    /// What is kept of the helper's words is paid from it.
    pub(crate) purse: Purse,
    /// Lower directories that are open already.
    pub(crate) lowers: Vec<Opened>,
    pub(crate) beginning: Beginning,
    /// Only documents of up to so many bytes are wanted: other files are made without content.
    pub(crate) documents: Option<u64>,
    /// Where the archive goes is for the destination to say: it is a file or directory of one name, of which the content
    /// alone is wanted if this is true.
    pub(crate) copy: Option<bool>,
}

/// What a packing is to be, but for its root.
#[derive(Default)]
pub(crate) struct PackPlan {
    /// `None` is the present one.
    pub(crate) program: Option<Program>,
    pub(crate) options: PackOptions,
    pub(crate) what: PlanPacks,
    pub(crate) callbacks: Callbacks,
    pub(crate) canceller: Canceller,
}

/// What of the root is packed.
#[derive(Debug)]
pub(crate) enum PlanPacks {
    /// Inside it; none is all of it.
    Paths(Vec<PathBuf>),
    /// The layer that it is as an upper directory over these, the topmost first.
    Upper { prefix: OverlayPrefix, lowers: Vec<Opened> },
    /// The layer that makes it of this.
    Between { lower: Opened },
    /// What this path inside it leads to, under this name alone.
    Source { path: PathBuf, name: Vec<u8>, follow: bool, directory: bool },
}

impl Default for PlanPacks {
    fn default() -> PlanPacks {
        PlanPacks::Paths(Vec::new())
    }
}

/// What is wanted of the digest of the archive as it came.
#[derive(Clone, Copy, Default)]
pub(crate) enum Demand {
    #[default]
    None,
    Compute,
    Expect(Digest),
}

/// Called from whatever thread waits for the helper.
#[derive(Default)]
pub(crate) struct Callbacks {
    pub(crate) progress: Option<Box<dyn FnMut(Progress) + Send>>,
    pub(crate) listed: Option<Box<dyn FnMut(Listed) + Send>>,
    /// Returns once the lower directories are complete.
    pub(crate) lowers: Option<Box<dyn FnMut() + Send>>,
}
