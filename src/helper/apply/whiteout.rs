//! What a name means in a layer: OCI image-spec, `layer.md`, "Whiteouts". Pure.

use crate::report::Refusal;

/// The marker that a final component is, if it is one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Marker<'a> {
    /// An ordinary entry.
    None,
    /// Hides this name of the lower layers.
    Whiteout(&'a [u8]),
    /// Hides what the lower layers have in this directory.
    Opaque,
    /// Bookkeeping of aufs.
    Aufs,
}

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS: &[u8] = b".wh..wh.";

/// Classifies a folded name by its components, whatever its type.
pub(crate) fn classify<'a>(parts: &[&'a [u8]]) -> Result<Marker<'a>, Refusal> {
    let Some((last, parents)) = parts.split_last() else { return Ok(Marker::None) };
    if parts.iter().any(|part| part.starts_with(AUFS) && *part != OPAQUE) {
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
        Some(hidden) => Ok(Marker::Whiteout(hidden)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Result<Marker<'_>, Refusal> {
        classify(&name.split('/').filter(|p| !p.is_empty()).map(str::as_bytes).collect::<Vec<_>>())
    }

    #[test]
    fn rule_4_markers_are_told_by_their_name() {
        for (name, want) in [
            ("", Ok(Marker::None)),
            ("a/b", Ok(Marker::None)),
            ("a/.wh", Ok(Marker::None)),
            ("a/.wh.b", Ok(Marker::Whiteout(b"b"))),
            (".wh..b", Ok(Marker::Whiteout(b".b"))),
            (".wh....", Ok(Marker::Whiteout(b"..."))),
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
