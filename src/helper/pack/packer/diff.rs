//! What a layer is made of: sources of entries beside a tree as it is (rules 21 to 23).

mod between;
mod levels;
mod same;
mod upper;

pub(crate) use between::Between;
pub(crate) use upper::Upper;

use super::{Attributes, Draft, Failed, Packer};
use crate::report::{Cause, EntryKind};

/// What the names of markers begin with.
const MARKER: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Whoever applies it would take it for a marker.
fn not_reserved(name: &[u8]) -> Result<(), Failed> {
    if name.starts_with(MARKER) { Err(Cause::ReservedName.into()) } else { Ok(()) }
}

impl Packer<'_> {
    /// Writes that what is below shows nothing of this path.
    fn whiteout(&mut self, path: &[u8]) -> Result<(), Failed> {
        let name = self.names.of(path);
        let at = name.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let (above, name) = name.split_at(at);
        not_reserved(name)?;
        // What is rebased to the top has no name.
        if name.is_empty() { Ok(()) } else { self.marker(&[above, MARKER, name].concat()) }
    }

    /// Writes that of what is below this directory nothing shows.
    fn opaque(&mut self, path: &[u8]) -> Result<(), Failed> {
        let name = self.names.of(path);
        let slash: &[u8] = if name.is_empty() { b"" } else { b"/" };
        self.marker(&[&name, slash, OPAQUE].concat())
    }

    /// An entry of another path in the middle of the one at hand, told by its own name.
    fn between<T>(
        &mut self,
        path: &[u8],
        kind: EntryKind,
        entry: impl FnOnce(&mut Self) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let (path_at_hand, kind_at_hand) = (std::mem::take(&mut self.at_hand.path), self.at_hand.kind);
        self.take(path, kind);
        let done = entry(self)?;
        let at_hand = &self.at_hand;
        self.journal.tell(|| at_hand.named());
        self.take(&path_at_hand, kind_at_hand);
        Ok(done)
    }

    fn marker(&mut self, name: &[u8]) -> Result<(), Failed> {
        let attributes = &Attributes::default();
        self.begin(
            &Draft { kind: EntryKind::File, seen: None, name, link: b"", size: 0, sparse: None, attributes },
            0,
        )?;
        self.journal.counts.whiteouts += 1;
        Ok(())
    }
}
