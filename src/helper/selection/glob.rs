//! One pattern: its letters, and a program that names are run through. Pure.
//!
//! `*` is any bytes, `/` too, `?` one byte, `[…]` one of a set, `{a,b}` alternatives, a backslash takes the next character as
//! it is; `**/`, `/**/` and `/**` are directories. This is the language of the crate globset, which compiles each set of
//! patterns to one automaton: too large for the lists that people have.

use crate::report::BadPattern;

/// Braces within braces, at most.
const DEEPEST: usize = 64;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Byte(u8),
    Any,
    Stars,
    Class(Box<[bool; 256]>),
    /// `**/` at the beginning.
    Leading,
    /// `/**` at the end.
    Trailing,
    /// `/**/`
    Between,
    Either(Vec<Vec<Part>>),
}

/// What is done with the next byte, or instead. Small, since there is one for each letter of many patterns.
#[derive(Clone, Copy, Debug)]
enum Step {
    Byte(u8),
    Any,
    /// By its number.
    Class(u32),
    /// Stays, whatever comes, or goes on.
    Stars,
    /// Goes on, and also so far ahead.
    Fork(u32),
    Ahead(u32),
    Done,
}

/// A pattern, ready to be compared with.
#[derive(Debug)]
pub(super) struct Glob {
    /// The bytes that every match begins with, and ends with.
    pub(super) head: Vec<u8>,
    pub(super) tail: Vec<u8>,
    steps: Vec<Step>,
    classes: Vec<[bool; 256]>,
}

impl Glob {
    pub(super) fn parse(pattern: &str) -> Result<Glob, BadPattern> {
        let mut parts = parse(pattern)?;
        if parts == [Part::Leading] {
            // Nothing but that is everything.
            parts = vec![Part::Stars];
        }
        let bytes = |part: &Part| if let Part::Byte(byte) = part { Some(*byte) } else { None };
        let head: Vec<u8> = parts.iter().map_while(bytes).collect();
        let mut glob = Glob { tail: Vec::new(), steps: Vec::new(), classes: Vec::new(), head };
        if glob.head.len() < parts.len() {
            glob.tail = parts.iter().rev().map_while(bytes).collect();
            glob.tail.reverse();
            glob.steps = glob.compile(&parts);
            glob.steps.push(Step::Done);
        }
        Ok(glob)
    }

    /// It is its head, and nothing else.
    pub(super) fn is_plain(&self) -> bool {
        self.steps.is_empty()
    }

    fn compile(&mut self, parts: &[Part]) -> Vec<Step> {
        let mut steps = Vec::new();
        for part in parts {
            match part {
                Part::Byte(byte) => steps.push(Step::Byte(*byte)),
                Part::Any => steps.push(Step::Any),
                Part::Stars => steps.push(Step::Stars),
                Part::Class(set) => {
                    steps.push(Step::Class(distance(self.classes.len())));
                    self.classes.push(**set);
                }
                Part::Leading => steps.extend([Step::Fork(3), Step::Stars, Step::Byte(b'/')]),
                Part::Trailing => steps.extend([Step::Byte(b'/'), Step::Stars]),
                Part::Between => steps.extend([Step::Byte(b'/'), Step::Fork(3), Step::Stars, Step::Byte(b'/')]),
                Part::Either(branches) => self.either(branches, &mut steps),
            }
        }
        steps
    }

    /// A branch with nothing in it is none.
    fn either(&mut self, branches: &[Vec<Part>], steps: &mut Vec<Step>) {
        let compiled = branches.iter().map(|branch| self.compile(branch));
        let mut compiled: Vec<Vec<Step>> = compiled.filter(|steps| !steps.is_empty()).collect();
        let Some(last) = compiled.pop() else { return };
        let mut left = last.len() + compiled.iter().map(|branch| branch.len() + 2).sum::<usize>();
        for branch in compiled {
            left -= branch.len() + 2;
            steps.push(Step::Fork(distance(branch.len() + 2)));
            steps.extend(branch);
            steps.push(Step::Ahead(distance(left + 1)));
        }
        steps.extend(last);
    }
}

/// Patterns have less than 4 GiB.
fn distance(steps: usize) -> u32 {
    u32::try_from(steps).unwrap_or(u32::MAX)
}

struct Parser<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    before: Option<char>,
    /// The branches that are open, the whole pattern first.
    open: Vec<Vec<Part>>,
    /// Where in them each brace begins.
    braces: Vec<usize>,
}

fn parse(pattern: &str) -> Result<Vec<Part>, BadPattern> {
    let mut parser =
        Parser { rest: pattern.chars().peekable(), before: None, open: vec![Vec::new()], braces: Vec::new() };
    while let Some(c) = parser.rest.next() {
        parser.take(c)?;
    }
    match parser.braces.len() {
        0 => Ok(parser.open.pop().unwrap_or_default()),
        _ => Err(BadPattern::UnclosedAlternates),
    }
}

impl Parser<'_> {
    fn take(&mut self, c: char) -> Result<(), BadPattern> {
        let before = self.before.replace(c);
        match c {
            '?' => self.push(Part::Any),
            '*' => self.stars(before),
            '[' => return self.class(),
            '{' if self.braces.len() >= DEEPEST => return Err(BadPattern::TooDeep),
            '{' => {
                self.braces.push(self.open.len());
                self.open.push(Vec::new());
            }
            '}' => {
                let start = self.braces.pop().ok_or(BadPattern::UnopenedAlternates)?;
                let branches = self.open.split_off(start);
                self.push(Part::Either(branches));
            }
            ',' if !self.braces.is_empty() => self.open.push(Vec::new()),
            '\\' => {
                let c = self.rest.next().ok_or(BadPattern::DanglingEscape)?;
                self.before = Some(c);
                self.letter(c);
            }
            c => self.letter(c),
        }
        Ok(())
    }

    fn push(&mut self, part: Part) {
        if let Some(branch) = self.open.last_mut() {
            branch.push(part);
        }
    }

    fn letter(&mut self, c: char) {
        c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| self.push(Part::Byte(byte)));
    }

    /// One star, or two: which are directories where they stand for whole components.
    fn stars(&mut self, before: Option<char>) {
        if self.rest.next_if_eq(&'*').is_none() {
            return self.push(Part::Stars);
        }
        self.before = Some('*');
        let first = self.open.last().is_none_or(Vec::is_empty);
        let in_braces = !self.braces.is_empty();
        let next = self.rest.peek().copied();
        if first {
            match next {
                None | Some('/') => {
                    self.before = self.rest.next().or(self.before);
                    self.push(Part::Leading);
                }
                Some(_) => self.push(Part::Stars),
            }
            return;
        }
        let ends = next.is_none() || in_braces && matches!(next, Some(',' | '}'));
        if before != Some('/') || !ends && next != Some('/') {
            return self.push(Part::Stars);
        }
        if !ends {
            self.before = self.rest.next();
        }
        // In place of the slash before it, or of what is the same already.
        match self.open.last_mut().and_then(Vec::pop) {
            Some(part @ (Part::Leading | Part::Trailing)) => self.push(part),
            _ if ends => self.push(Part::Trailing),
            _ => self.push(Part::Between),
        }
    }

    fn class(&mut self) -> Result<(), BadPattern> {
        let negated = self.rest.next_if(|c| matches!(c, '!' | '^')).is_some();
        let mut ranges: Vec<(char, char)> = Vec::new();
        loop {
            let c = self.rest.next().ok_or(BadPattern::UnclosedClass)?;
            match (c, ranges.last_mut()) {
                (']', Some(_)) => break,
                // A range, or one that goes on; the last is itself.
                ('-', Some(range)) if self.rest.peek().is_some_and(|end| *end != ']') => {
                    range.1 = self.rest.next().unwrap_or(c);
                    if range.1 < range.0 {
                        return Err(BadPattern::Range);
                    }
                }
                (c, _) => ranges.push((c, c)),
            }
        }
        let mut set = Box::new([false; 256]);
        ranges.iter().try_for_each(|(start, end)| fill(&mut set, *start, *end))?;
        set.iter_mut().for_each(|there| *there ^= negated);
        self.before = Some(']');
        self.push(Part::Class(set));
        Ok(())
    }
}

/// Of bytes: those between the last of the first character and the first of the last, and all of both.
fn fill(set: &mut [bool; 256], start: char, end: char) -> Result<(), BadPattern> {
    let (mut first, mut last) = ([0; 4], [0; 4]);
    let (first, last) = (start.encode_utf8(&mut first).as_bytes(), end.encode_utf8(&mut last).as_bytes());
    if let (Some(from), Some(to), false) = (first.last(), last.first(), start == end) {
        if to < from {
            return Err(BadPattern::Range);
        }
        (*from..=*to).for_each(|byte| set[usize::from(byte)] = true);
    }
    first.iter().chain(last).for_each(|byte| set[usize::from(*byte)] = true);
    Ok(())
}

/// Runs names through patterns; what it needs is kept for the next.
#[derive(Debug, Default)]
pub(super) struct Runner {
    now: Vec<usize>,
    next: Vec<usize>,
    /// In which round each step was last reached.
    reached: Vec<u64>,
    round: u64,
    todo: Vec<usize>,
}

impl Runner {
    /// Whether the name matches, or a directory above it that is longer than this: what is before one of its slashes.
    pub(super) fn matches(&mut self, glob: &Glob, name: &[u8], above: usize) -> bool {
        self.reached.resize(self.reached.len().max(glob.steps.len()), 0);
        self.now.clear();
        self.round += 1;
        self.reach(glob, 0);
        std::mem::swap(&mut self.now, &mut self.next);
        for (at, byte) in name.iter().enumerate() {
            if at > above && *byte == b'/' && self.is_done(glob) {
                return true;
            }
            if self.now.is_empty() {
                return false;
            }
            self.advance(glob, *byte);
        }
        self.is_done(glob)
    }

    fn is_done(&self, glob: &Glob) -> bool {
        self.now.iter().any(|at| matches!(glob.steps.get(*at), Some(Step::Done)))
    }

    fn advance(&mut self, glob: &Glob, byte: u8) {
        self.round += 1;
        let now = std::mem::take(&mut self.now);
        for at in &now {
            let goes_on = match glob.steps.get(*at) {
                Some(Step::Byte(wanted)) => *wanted == byte,
                Some(Step::Class(class)) => glob.classes.get(*class as usize).is_some_and(|set| set[usize::from(byte)]),
                Some(Step::Any) => true,
                Some(Step::Stars) => {
                    self.reach(glob, *at);
                    false
                }
                _ => false,
            };
            if goes_on {
                self.reach(glob, at + 1);
            }
        }
        self.now = std::mem::replace(&mut self.next, now);
        self.next.clear();
    }

    /// Puts a step among the next ones, with all that it leads to without a byte.
    fn reach(&mut self, glob: &Glob, at: usize) {
        self.todo.push(at);
        while let Some(at) = self.todo.pop() {
            match self.reached.get_mut(at) {
                Some(round) if *round != self.round => *round = self.round,
                _ => continue,
            }
            match glob.steps.get(at) {
                Some(Step::Ahead(by)) => self.todo.push(at + *by as usize),
                Some(Step::Fork(by)) => self.todo.extend([at + *by as usize, at + 1]),
                Some(Step::Stars) => {
                    self.next.push(at);
                    self.todo.push(at + 1);
                }
                Some(_) => self.next.push(at),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use globset::{GlobBuilder, GlobMatcher};
    use proptest::prelude::*;

    fn matches(pattern: &str, name: &[u8]) -> bool {
        let glob = Glob::parse(pattern).expect("a pattern");
        if glob.is_plain() {
            let at_end = name.strip_prefix(&glob.head[..]).is_some_and(|rest| matches!(rest, [] | [b'/', ..]));
            return at_end && !glob.head.is_empty();
        }
        Runner::default().matches(&glob, name, 0)
    }

    fn theirs(pattern: &str) -> Result<GlobMatcher, BadPattern> {
        let glob = GlobBuilder::new(pattern).literal_separator(false).backslash_escape(true).build();
        glob.map(|glob| glob.compile_matcher()).map_err(|error| match error.kind() {
            globset::ErrorKind::UnclosedClass => BadPattern::UnclosedClass,
            globset::ErrorKind::InvalidRange(..) => BadPattern::Range,
            globset::ErrorKind::UnopenedAlternates => BadPattern::UnopenedAlternates,
            globset::ErrorKind::UnclosedAlternates => BadPattern::UnclosedAlternates,
            globset::ErrorKind::DanglingEscape => BadPattern::DanglingEscape,
            _ => BadPattern::TooDeep,
        })
    }

    /// As globset compares each directory above a name, and the name.
    fn as_globset(matcher: &GlobMatcher, name: &str) -> bool {
        let ends = name.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).chain([name.len()]);
        ends.into_iter().any(|end| matcher.is_match(&name[..end]))
    }

    #[test]
    fn the_language_of_patterns() {
        for (pattern, yes, no) in [
            ("a/b", &["a/b", "a/b/c"][..], &["a", "a/bc", "xa/b"][..]),
            ("*.txt", &["a.txt", "d/a.txt", "a.txt/below"], &["a.txtx", "txt"]),
            ("a/*", &["a/b", "a/b/c"], &["a", "b/a/c"]),
            ("a?c", &["abc", "a/c"], &["ac", "abbc"]),
            ("[a-c]x", &["ax", "cx"], &["dx", "x"]),
            ("[!a-c]x", &["dx"], &["ax"]),
            ("[]-]x", &["]x", "-x"], &["x"]),
            ("{a,b*}c", &["ac", "bc", "bxxc"], &["c", "xc"]),
            ("{a,{b,c}d}e", &["ae", "bde", "cde"], &["be", "ade"]),
            ("a{,b}c", &["abc"], &["ac"]),
            ("**/x", &["x", "a/x", "a/b/x"], &["ax"]),
            ("a/**/x", &["a/x", "a/b/x", "a/b/c/x"], &["ax", "abx"]),
            ("**", &["x", "a/x"], &[]),
            ("a/**", &["a/x", "a/b/c"], &["a", "ab"]),
            ("[a-b-c]", &["a", "b", "c"], &["-"]),
            ("[b-]", &["b", "-"], &["c"]),
            ("\\*a", &["*a"], &["xa", "a"]),
            ("é*", &["é", "éa"], &["e"]),
        ] {
            for name in yes {
                assert!(matches(pattern, name.as_bytes()), "{pattern} {name}");
            }
            for name in no {
                assert!(!matches(pattern, name.as_bytes()), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn patterns_that_do_not_parse() {
        for (pattern, what) in [
            ("[a", BadPattern::UnclosedClass),
            ("[]", BadPattern::UnclosedClass),
            ("[b-a]", BadPattern::Range),
            ("a}", BadPattern::UnopenedAlternates),
            ("{a,b", BadPattern::UnclosedAlternates),
            ("a\\", BadPattern::DanglingEscape),
        ] {
            assert_eq!(Glob::parse(pattern).map(|glob| glob.head), Err(what), "{pattern}");
            assert_eq!(theirs(pattern).map(|_| ()), Err(what), "{pattern}");
        }
    }

    #[test]
    fn braces_are_nested_as_deeply_as_they_may_be() {
        let nested = |deep: usize| format!("{}a{}", "{".repeat(deep), "}".repeat(deep));
        assert!(matches(&nested(DEEPEST), b"a/b"));
        assert_eq!(Glob::parse(&nested(DEEPEST + 1)).map(|glob| glob.head), Err(BadPattern::TooDeep));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn patterns_mean_what_they_mean_to_globset(pattern in r"([ab/*?,{}\[\]!^-]|\*\*|/\*\*/|\{a,b\}|\[ab\]|\\[*ab]|é){0,9}", name in "[ab/é-]{1,9}") {
            let ours = Glob::parse(&pattern).map(|_| ());
            match theirs(&pattern) {
                Ok(matcher) => {
                    prop_assert_eq!(ours, Ok(()), "{}", pattern);
                    if !pattern.is_empty() {
                        prop_assert_eq!(matches(&pattern, name.as_bytes()), as_globset(&matcher, &name), "{}", pattern);
                    }
                }
                Err(why) => prop_assert_eq!(ours, Err(why), "{}", pattern),
            }
        }
    }
}
