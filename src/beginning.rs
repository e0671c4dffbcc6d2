//! What a run finds in its root.

use serde::{Deserialize, Serialize};

/// What the root is when the run begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Beginning {
    /// Somebody's directory.
    #[default]
    There,
    /// Made for this run, empty: the first entry implies it.
    Made,
    /// The same, and in overlay mode there is nothing below it.
    Bottom,
}
