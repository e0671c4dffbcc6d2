//! Many patterns, compared with a name at once: by the bytes that each begins or ends with, in order, so that a name costs
//! no more with 64 thousand of them than the few whose beginning or end it has.

use super::glob::{Glob, Runner};
use crate::report::BadPattern;

/// Patterns, and which of them have matched.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    globs: Vec<Tried>,
    heads: Index,
    tails: Index,
    runner: Runner,
    /// Counts the names.
    name: u64,
}

#[derive(Debug)]
struct Tried {
    glob: Glob,
    matched: bool,
    /// The name that it was last run on.
    name: u64,
}

impl Patterns {
    /// Of several; the first that does not parse, by its place.
    pub(super) fn new(patterns: &[String]) -> Result<Patterns, (usize, BadPattern)> {
        let mut all = Patterns { globs: Vec::with_capacity(patterns.len()), ..Patterns::default() };
        for (place, pattern) in patterns.iter().enumerate() {
            let mut glob = Glob::parse(plain(pattern)).map_err(|what| (place, what))?;
            let (head, mut tail) = (std::mem::take(&mut glob.head), std::mem::take(&mut glob.tail));
            if head.len() >= tail.len() {
                all.heads.keys.push((head, place));
            } else {
                tail.reverse();
                all.tails.keys.push((tail, place));
            }
            all.globs.push(Tried { glob, matched: false, name: 0 });
        }
        all.heads.keys.sort_unstable();
        all.tails.keys.sort_unstable();
        Ok(all)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.globs.is_empty()
    }

    /// Whether one matches the name or a directory above it. Those that have not matched anything yet are all tried.
    /// Of directories, those count whose names have more bytes than `above`.
    pub(super) fn matches(&mut self, name: &[u8], above: usize) -> bool {
        self.name += 1;
        let Patterns { globs, heads, tails, runner, name: number } = self;
        let mut any = false;
        let mut candidate = |place: usize, at_end: bool| {
            let Some(tried) = globs.get_mut(place) else { return };
            if tried.name == *number || any && tried.matched {
                return;
            }
            let is = if tried.glob.is_plain() {
                at_end
            } else {
                tried.name = *number;
                runner.matches(&tried.glob, name, above)
            };
            tried.matched |= is;
            any |= is;
        };
        heads.walk(name.iter(), |length, place| {
            candidate(place, length > above && matches!(name.get(length), None | Some(b'/')));
        });
        if !tails.keys.is_empty() {
            let ends = name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
            for end in ends.chain([name.len()]).filter(|end| *end > above || *end == name.len()) {
                tails.walk(name.iter().take(end).rev(), |_, place| candidate(place, true));
            }
        }
        any
    }

    /// The places of those that have matched nothing.
    pub(super) fn unmatched(&self) -> impl Iterator<Item = usize> {
        self.globs.iter().enumerate().filter(|(_, tried)| !tried.matched).map(|(place, _)| place)
    }
}

/// A pattern as names are compared with it.
pub(super) fn plain(pattern: &str) -> &str {
    pattern.trim_start_matches("./").trim_matches('/')
}

/// Sorted beginnings, each with the place of its pattern.
#[derive(Debug, Default)]
struct Index {
    keys: Vec<(Vec<u8>, usize)>,
}

impl Index {
    /// Tells each key that these bytes begin with, shorter ones first: its length and its place.
    fn walk<'a>(&self, bytes: impl Iterator<Item = &'a u8>, mut found: impl FnMut(usize, usize)) {
        let mut range = &self.keys[..];
        let mut length = 0;
        let mut bytes = bytes.fuse();
        loop {
            // Those that end here come first.
            let whole = range.partition_point(|(key, _)| key.len() <= length);
            let (here, longer) = range.split_at(whole);
            here.iter().for_each(|(_, place)| found(length, *place));
            let Some(byte) = bytes.next().filter(|_| !longer.is_empty()) else { return };
            let next = |key: &[u8]| key.get(length).copied();
            let start = longer.partition_point(|(key, _)| next(key) < Some(*byte));
            let end = longer.partition_point(|(key, _)| next(key) <= Some(*byte));
            range = longer.get(start..end).unwrap_or_default();
            length += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn patterns(of: &[&str]) -> Patterns {
        Patterns::new(&of.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>()).expect("patterns")
    }

    #[test]
    fn each_pattern_is_noted_by_the_first_name_that_it_matches() {
        let mut all =
            patterns(&["usr", "usr/bin", "usr/bin/*", "*/sh", "*.txt", "never", "no/*/way", "", "./", "usr/bin"]);
        for (name, want) in [("etc", false), ("usr/bin/sh", true), ("usrx", false), ("d/a.txt/b", true), ("usr", true)]
        {
            assert_eq!(all.matches(name.as_bytes(), 0), want, "{name}");
        }
        assert_eq!(all.unmatched().collect::<Vec<_>>(), [5, 6, 7, 8]);
    }

    #[test]
    fn the_place_of_a_wrong_pattern_is_told() {
        let wrong = Patterns::new(&["a".to_owned(), "[b".to_owned(), "{".to_owned()]);
        assert_eq!(wrong.map(|_| ()), Err((1, BadPattern::UnclosedClass)));
    }

    /// Of 64 thousand patterns a name is compared with those alone whose beginning or end it has.
    #[test]
    fn a_name_is_run_through_few_of_many_patterns() {
        let many =
            |form: fn(usize) -> String| Patterns::new(&(0..64_000).map(form).collect::<Vec<_>>()).expect("patterns");
        for (form, name) in [
            ((|n| format!("usr/share/{n}/copyright")) as fn(usize) -> String, "usr/share/4711/copyright"),
            (|n| format!("usr/share/{n}-*/copyright"), "usr/share/4711-b/copyright/a"),
            (|n| format!("*/{n}/copyright"), "usr/share/4711/copyright/a/b"),
            (|n| format!("**/{n}"), "4711"),
            (|n| format!("d{n}/*"), "d4711/x"),
        ] {
            let mut all = many(form);
            assert!(all.matches(name.as_bytes(), 0), "{name}");
            let run = all.globs.iter().filter(|tried| tried.name == all.name).count();
            assert!(run <= 5, "{name}: {run}");
            assert_eq!(all.unmatched().count(), 64_000 - 1, "{name}");
        }
    }

    proptest! {
        #[test]
        fn together_they_match_what_each_does(
            of in prop::collection::vec(r"([ab/*?]|\*\*|\{a,b\}){0,5}", 0..6),
            names in prop::collection::vec("[ab]{1,2}(/[ab]{1,2}){0,3}", 1..5),
        ) {
            let mut all = Patterns::new(&of).expect("patterns");
            let mut each: Vec<Patterns> = of.iter().map(|one| Patterns::new(std::slice::from_ref(one)).expect("one")).collect();
            for name in &names {
                let want = each.iter_mut().fold(false, |any, one| one.matches(name.as_bytes(), 0) | any);
                prop_assert_eq!(all.matches(name.as_bytes(), 0), want, "{:?} {}", of, name);
            }
            let unmatched: Vec<usize> = (0..of.len()).filter(|at| each[*at].unmatched().count() == 1).collect();
            prop_assert_eq!(all.unmatched().collect::<Vec<_>>(), unmatched);
        }
    }
}
