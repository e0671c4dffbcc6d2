//! Names in the archive: rebased, and a directory's with its `/` (rules 8 and 18). Pure.

use crate::report::{Cause, EntryRef};
use std::borrow::Cow;
use std::collections::HashSet;

pub(crate) struct Names<'a> {
    rebase: &'a [(Vec<u8>, Vec<u8>)],
    /// Every name that was written, where two can become one.
    taken: HashSet<Box<[u8]>>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(rebase: &'a [(Vec<u8>, Vec<u8>)]) -> Names<'a> {
        Names { rebase, taken: HashSet::new() }
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

    /// Takes a name, which nothing else may have.
    pub(crate) fn take(&mut self, name: &[u8]) -> Result<(), Cause> {
        if self.rebase.is_empty() || self.taken.insert(name.into()) {
            return Ok(());
        }
        Err(Cause::SameName { name: name[..name.len().min(EntryRef::MAX_PATH)].to_vec() })
    }
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
        let names = Names::new(&rebase);
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
        assert_eq!(Names::new(&all).of(b"a").as_ref(), b"top/a");
        assert_eq!(Names::new(&all).of(b"").as_ref(), b"top");
    }

    #[test]
    fn pack_rule_18_two_names_that_become_one_are_an_error() {
        let rebase = [(b"a".to_vec(), b"b".to_vec())];
        let mut names = Names::new(&rebase);
        assert_eq!(names.take(b"b/x"), Ok(()));
        assert_eq!(names.take(b"b/x"), Err(Cause::SameName { name: b"b/x".into() }));
    }

    #[test]
    fn pack_rule_08_a_directory_ends_in_a_slash_and_the_root_is_one_dot() {
        for (name, directory, want) in [("", true, "./"), ("a", true, "a/"), ("a", false, "a")] {
            assert_eq!(Names::written(name.as_bytes(), directory), want.as_bytes());
        }
    }
}
