//! What only the layers of an image are told.

use super::Untar;
use crate::beginning::Beginning;
use crate::opened::Opened;
use crate::purse::Purse;

impl Untar {
    /// What the root is when the run begins, where it was made by somebody else here.
    pub(crate) fn beginning(mut self, beginning: Beginning) -> Untar {
        self.plan.beginning = beginning;
        self
    }

    /// One bound on what is kept of several runs.
    pub(crate) fn paid_from(mut self, purse: Purse) -> Untar {
        self.plan.purse = purse;
        self
    }

    /// Only documents are wanted: files that are larger, or do not begin as JSON does, are made without content.
    pub(crate) fn documents_of_at_most(mut self, bytes: u64) -> Untar {
        self.plan.documents = Some(bytes);
        self
    }

    /// Overlay mode: the lower directories are there, but still being made. `wait` is called before the helper
    /// first looks at them, and returns once they are complete (or never will be, and this run is cancelled).
    pub(crate) fn lowers_later(mut self, lowers: Vec<Opened>, wait: impl FnMut() + Send + 'static) -> Untar {
        self.plan.lowers = lowers;
        self.plan.callbacks.lowers = Some(Box::new(wait));
        self
    }
}
