//! Names: raw bytes to components. Pure.

use crate::options::{EscapingNames, Limits};
use crate::report::{Cause, Limit};
use std::ops::Range;

/// A name with its components folded: no empty ones, no `.`, no `..`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    /// Empty for the destination itself.
    pub(crate) parts: Vec<&'a [u8]>,
    /// Where the last of them stands in the raw name.
    pub(crate) last: Range<usize>,
    /// It climbed above the destination and was clamped.
    pub(crate) clamped: bool,
}

/// Folds a name lexically: `/a//./b/../c` is `a/c`.
pub(crate) fn fold<'a>(raw: &'a [u8], escaping: EscapingNames, limits: &Limits) -> Result<Name<'a>, Cause> {
    if raw.len() > limits.name_bytes as usize {
        return Err(Cause::Limit { limit: Limit::NameBytes, value: limits.name_bytes.into() });
    }
    let mut name = Name { parts: Vec::with_capacity(8), last: 0..0, clamped: false };
    // From the end: each `..` takes away the next component that nothing has taken away yet.
    let (mut end, mut climbs) = (raw.len(), 0_usize);
    for part in raw.rsplit(|b| *b == b'/') {
        let start = end - part.len();
        match part {
            b"" | b"." => {}
            b".." => climbs += 1,
            _ if climbs > 0 => climbs -= 1,
            part => {
                if name.parts.is_empty() {
                    name.last = start..end;
                }
                name.parts.push(part);
            }
        }
        end = start.saturating_sub(1);
    }
    if climbs > 0 && escaping == EscapingNames::Refuse {
        return Err(Cause::PathEscapes);
    }
    name.clamped = climbs > 0;
    name.parts.reverse();
    if name.parts.len() > limits.depth as usize {
        return Err(Cause::Limit { limit: Limit::Depth, value: limits.depth.into() });
    }
    Ok(name)
}

/// What is before the last component of a name that is already plain, and where that stands: neither `.`, `..`, empty
/// components nor a trailing slash in it. `None` where folding is needed.
pub(crate) fn split_plain(raw: &[u8]) -> Option<(&[u8], Range<usize>)> {
    let at = raw.iter().rposition(|b| *b == b'/')?;
    let (dir, base) = (&raw[..at], &raw[at + 1..]);
    (!matches!(base, b"" | b"." | b"..")).then_some((dir, at + 1..raw.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folded(raw: &str) -> Result<String, Cause> {
        let name = fold(raw.as_bytes(), EscapingNames::Refuse, &Limits::default())?;
        Ok(String::from_utf8_lossy(&name.parts.join(&b'/')).into_owned())
    }

    #[test]
    fn rule_2_names_are_folded_lexically() {
        for (raw, want) in [
            ("a", "a"),
            ("/a", "a"),
            ("./a/", "a"),
            ("//a//b", "a/b"),
            ("a/../m", "m"),
            ("a/./b/../c/", "a/c"),
            ("./", ""),
            ("/", ""),
            ("a/..", ""),
            ("...", "..."),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(folded(raw).as_deref(), Ok(want), "{raw}");
        }
    }

    #[test]
    fn rule_2_climbing_above_the_root_is_refused_or_clamped() {
        for raw in ["..", "../x", "a/../../x", "/..", "a/../..", "./../a"] {
            assert_eq!(folded(raw), Err(Cause::PathEscapes), "{raw}");
            let name = fold(raw.as_bytes(), EscapingNames::Clamp, &Limits::default());
            assert!(name.is_ok_and(|n| n.clamped), "{raw}");
        }
    }

    #[test]
    fn depth_and_length_are_limited() {
        let limits = Limits { depth: 3, name_bytes: 10, ..Limits::default() };
        let fold = |raw: &'static [u8]| fold(raw, EscapingNames::Refuse, &limits).map(|n| n.parts.len());
        assert_eq!(fold(b"a/b/c"), Ok(3));
        assert_eq!(fold(b"a/b/c/d"), Err(Cause::Limit { limit: Limit::Depth, value: 3 }));
        assert_eq!(fold(b"aaaaaaaaaaa"), Err(Cause::Limit { limit: Limit::NameBytes, value: 10 }));
    }

    proptest! {
        #[test]
        fn folding_gives_plain_components(raw in "[./a-b]{0,24}") {
            if let Ok(name) = fold(raw.as_bytes(), EscapingNames::Refuse, &Limits::default()) {
                prop_assert_eq!(name.parts.last().copied().unwrap_or_default(), &raw.as_bytes()[name.last]);
                for part in &name.parts {
                    prop_assert!(!part.is_empty() && part != b"." && part != b".." && !part.contains(&b'/'));
                }
            }
        }

        #[test]
        fn folding_is_what_a_walk_from_the_root_does(raw in "[./a-b]{0,24}") {
            let (mut parts, mut clamped) = (Vec::new(), false);
            for part in raw.split('/').filter(|part| !matches!(*part, "" | ".")) {
                match part {
                    ".." => clamped |= parts.pop().is_none(),
                    part => parts.push(part.as_bytes()),
                }
            }
            let name = fold(raw.as_bytes(), EscapingNames::Clamp, &Limits::default()).unwrap();
            prop_assert_eq!((name.parts, name.clamped), (parts, clamped));
        }

        #[test]
        fn a_plain_split_agrees_with_folding(raw in "[./a-b]{1,24}") {
            if let Some((dir, base)) = split_plain(raw.as_bytes()) {
                let whole = fold(raw.as_bytes(), EscapingNames::Clamp, &Limits::default()).unwrap();
                let parent = fold(dir, EscapingNames::Clamp, &Limits::default()).unwrap();
                prop_assert_eq!(whole.parts.split_last(), Some((&&raw.as_bytes()[base.clone()], &parent.parts[..])));
                prop_assert_eq!(whole.last, base);
            }
        }
    }
}
