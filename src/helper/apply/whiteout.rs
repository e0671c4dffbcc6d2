//! What a name means in a layer: OCI image-spec, `layer.md`, "Whiteouts". Pure.

use crate::helper::path::Name;
use crate::report::Refusal;
use std::ops::Range;

/// The marker that a final component is, if it is one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    /// An ordinary entry.
    None,
    /// Hides a name of the lower layers: where it stands in the raw name.
    Whiteout(Range<usize>),
    /// Hides what the lower layers have in this directory.
    Opaque,
    /// Bookkeeping of aufs.
    Aufs,
}

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS: &[u8] = b".wh..wh.";

/// Classifies a folded name by its components, whatever its type.
pub(crate) fn classify(name: &Name<'_>) -> Result<Marker, Refusal> {
    let Some((last, parents)) = name.parts.split_last() else { return Ok(Marker::None) };
    if name.parts.iter().any(|part| part.starts_with(AUFS) && *part != OPAQUE) {
        return Ok(Marker::Aufs);
    }
    if parents.iter().any(|part| part.starts_with(PREFIX)) {
        return Err(Refusal::WhiteoutInPath);
    }
    if *last == OPAQUE {
        return Ok(Marker::Opaque);
    }
    match last.strip_prefix(PREFIX) {
        None => Ok(Marker::None),
        Some(b"" | b"." | b"..") => Err(Refusal::WhiteoutName),
        Some(_) => Ok(Marker::Whiteout(name.last.start + PREFIX.len()..name.last.end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::path::fold;
    use crate::options::{EscapingNames, Limits};

    fn of(name: &str) -> Result<Marker, Refusal> {
        let folded = fold(name.as_bytes(), EscapingNames::Refuse, &Limits::default());
        classify(&folded.expect("a name that stays below the root"))
    }

    #[test]
    fn rule_4_markers_are_told_by_their_name() {
        for (name, want) in [
            ("", Ok(Marker::None)),
            ("a/b", Ok(Marker::None)),
            ("a/.wh", Ok(Marker::None)),
            ("a/.wh.b", Ok(Marker::Whiteout(6..7))),
            ("a/../c/.wh.b//", Ok(Marker::Whiteout(11..12))),
            (".wh..b", Ok(Marker::Whiteout(4..6))),
            (".wh....", Ok(Marker::Whiteout(4..7))),
            (".wh..wh..opq", Ok(Marker::Opaque)),
            ("a/b/.wh..wh..opq", Ok(Marker::Opaque)),
            (".wh..wh.plnk", Ok(Marker::Aufs)),
            (".wh..wh.plnk/x", Ok(Marker::Aufs)),
            ("a/.wh..wh.aufs", Ok(Marker::Aufs)),
            ("a/.wh..wh..opqx", Ok(Marker::Aufs)),
            (".wh.a/b", Err(Refusal::WhiteoutInPath)),
            ("x/.wh..wh..opq/b", Err(Refusal::WhiteoutInPath)),
        ] {
            assert_eq!(of(name), want, "{name}");
        }
    }

    #[test]
    fn rule_5_a_whiteout_of_nothing_is_refused() {
        for name in [".wh.", "a/.wh..", ".wh...", "a/.wh..."] {
            assert_eq!(of(name), Err(Refusal::WhiteoutName), "{name}");
        }
    }
}
