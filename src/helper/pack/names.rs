//! Names in the archive: rebased, and a directory's with its `/` (rules 8 and 18). Pure.

use crate::helper::hash::Map;
use crate::report::{Cause, EntryRef, Refusal};
use std::borrow::Cow;
use std::collections::hash_map::Entry;

pub(crate) struct Names<'a> {
    rebase: &'a [(Vec<u8>, Vec<u8>)],
    /// Every name that was written or leads to one, where two can contradict each other.
    taken: Option<Map<Box<[u8]>, Taken>>,
}

/// What has a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// There are names below it.
    Above,
    Directory,
    Other,
}

impl<'a> Names<'a> {
    /// `strict`: names may contradict each other.
    pub(crate) fn new(rebase: &'a [(Vec<u8>, Vec<u8>)], strict: bool) -> Names<'a> {
        Names { rebase, taken: strict.then(Map::default) }
    }

    /// The name of what has this path below the root; empty is the root itself. Without a `/` at its end.
    pub(crate) fn of<'p>(&self, path: &'p [u8]) -> Cow<'p, [u8]> {
        let fitting = self.rebase.iter().find_map(|(from, to)| Some((below(path, from)?, to)));
        match fitting {
            None => path.into(),
            Some((rest, to)) if to.is_empty() || rest.is_empty() => [&to[..], rest].concat().into(),
            Some((rest, to)) => [&to[..], b"/", rest].concat().into(),
        }
    }

    /// What is written of it.
    pub(crate) fn written(name: &[u8], directory: bool) -> Cow<'_, [u8]> {
        match (name, directory) {
            (b"", _) => b"./"[..].into(),
            (name, true) => [name, b"/"].concat().into(),
            (name, false) => name.into(),
        }
    }

    /// Takes a name, which nothing else may have. What is above it can be nothing but directories.
    pub(crate) fn take(&mut self, name: &[u8], directory: bool) -> Result<(), Cause> {
        if name.is_empty() && !directory {
            return Err(Cause::Refused(Refusal::Nameless));
        }
        let Some(taken) = &mut self.taken else { return Ok(()) };
        let this = if directory { Taken::Directory } else { Taken::Other };
        match taken.insert(name.into(), this) {
            None => {}
            Some(Taken::Above) if directory => {}
            Some(_) => return Err(same(name)),
        }
        for (end, _) in name.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/') {
            match taken.entry(name[..end].into()) {
                Entry::Vacant(none) => drop(none.insert(Taken::Above)),
                Entry::Occupied(other) if *other.get() == Taken::Other => return Err(same(other.key())),
                // What is above that is known.
                Entry::Occupied(_) => break,
            }
        }
        Ok(())
    }
}

fn same(name: &[u8]) -> Cause {
    Cause::SameName { name: name[..name.len().min(EntryRef::MAX_PATH)].to_vec() }
}

/// What of the path is below `from`, by whole components; nothing if it is that itself.
fn below<'p>(path: &'p [u8], from: &[u8]) -> Option<&'p [u8]> {
    if from.is_empty() {
        return Some(path);
    }
    match path.strip_prefix(from)? {
        [] => Some(b""),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pack_rule_18_whole_leading_components_are_replaced() {
        let rebase = [("a/b", "x"), ("c", ""), ("d", "y/z")].map(|(from, to)| (from.into(), to.into()));
        let names = Names::new(&rebase, false);
        for (path, want) in [
            ("a/b", "x"),
            ("a/b/c", "x/c"),
            ("a/bc", "a/bc"),
            ("a", "a"),
            ("c", ""),
            ("c/e", "e"),
            ("d/f", "y/z/f"),
            ("e/c", "e/c"),
            ("", ""),
        ] {
            assert_eq!(names.of(path.as_bytes()), want.as_bytes(), "{path}");
        }
        let all = [(Vec::new(), b"top".to_vec())];
        assert_eq!(Names::new(&all, false).of(b"a").as_ref(), b"top/a");
        assert_eq!(Names::new(&all, false).of(b"").as_ref(), b"top");
    }

    #[test]
    fn pack_rule_18_two_names_that_become_one_are_an_error() {
        let rebase = [(b"a".to_vec(), b"b".to_vec())];
        let mut names = Names::new(&rebase, true);
        assert_eq!(names.take(b"b/x", false), Ok(()));
        assert_eq!(names.take(b"b/x", false), Err(same(b"b/x")));
        assert_eq!(names.take(b"", false), Err(Cause::Refused(Refusal::Nameless)));
    }

    #[test]
    fn pack_rule_18_what_has_names_below_it_is_a_directory() {
        let all = |names: &[(&str, bool)]| {
            let mut taken = Names::new(&[], true);
            names.iter().try_for_each(|(name, directory)| taken.take(name.as_bytes(), *directory))
        };
        for (names, want) in [
            (&[("a/b/c", false), ("a", true), ("a/b", true), ("a/b/d", false)][..], Ok(())),
            (&[("", true), ("a", true), ("a/b", false), ("c", false)], Ok(())),
            (&[("a/b/c", false), ("a", false)], Err(same(b"a"))),
            (&[("a", false), ("a/b/c", false)], Err(same(b"a"))),
            (&[("a/b", true), ("a/b/c", false), ("a", false)], Err(same(b"a"))),
            (&[("a", true), ("a", true)], Err(same(b"a"))),
            (&[("a", true), ("a/b", false), ("a", false)], Err(same(b"a"))),
        ] {
            assert_eq!(all(names), want, "{names:?}");
        }
        // Where nothing can be contradicted nothing is kept.
        let mut free = Names::new(&[], false);
        assert_eq!((free.take(b"a", false), free.take(b"a/b", false), free.taken.is_none()), (Ok(()), Ok(()), true));
    }

    #[test]
    fn pack_rule_08_a_directory_ends_in_a_slash_and_the_root_is_one_dot() {
        for (name, directory, want) in [("", true, "./"), ("a", true, "a/"), ("a", false, "a")] {
            assert_eq!(Names::written(name.as_bytes(), directory), want.as_bytes());
        }
    }
}
