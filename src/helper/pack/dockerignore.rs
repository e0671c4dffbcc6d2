//! `.dockerignore`: the file, and which of its patterns wins (rule 19, as moby's `MatchesOrParentMatches`). Pure.
//!
//! Where moby only has an accident of Go's regular expressions (`\d` is a digit, `.*` stops at a newline, `[*]` is no
//! star), the documented language is meant, that of `filepath.Match` with `**`.

mod letter;
mod pattern;
#[cfg(test)]
mod tests;

use letter::{Letter, SLASH, decode};
use pattern::{Pattern, Runner};

/// Why a file says nothing, and in which line, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    pub(crate) line: usize,
    pub(crate) what: Bad,
}

/// What is wrong with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// `!` and nothing else.
    LoneException,
    /// A `[` without `]`, an empty one, one with a `-` that is no range, or a range backwards.
    Class,
    /// It ends in a backslash.
    Escape,
}

/// The patterns of a file.
#[derive(Debug, Default)]
pub(crate) struct Ignore(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    excepts: bool,
    pattern: Pattern,
}

impl Ignore {
    pub(crate) fn parse(file: &[u8]) -> Result<Ignore, BadLine> {
        let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
        let mut rules = Vec::new();
        for (number, line) in file.split(|byte| *byte == b'\n').enumerate() {
            if line.starts_with(b"#") {
                continue;
            }
            rules.extend(rule(&decode(line)).map_err(|what| BadLine { line: number + 1, what })?);
        }
        Ok(Ignore(rules))
    }

    /// Whether a path, relative to the top, is left out. The top itself never is. What is said of its first `above` bytes,
    /// and of less of it, is not said of it.
    pub(crate) fn excluded(&self, path: &[u8], above: usize) -> bool {
        let letters = plain(path);
        let mut runner = Runner::default();
        !letters.is_empty()
            && self.last_match(&letters, letters_of(path, above), &mut runner).is_some_and(|at| !self.0[at].excepts)
    }

    /// Whether something below an excluded directory may not be excluded.
    pub(crate) fn may_hold_exception(&self, dir: &[u8], above: usize) -> bool {
        let mut path = plain(dir);
        let mut runner = Runner::default();
        let last = self.last_match(&path, letters_of(dir, above), &mut runner);
        if last.is_none_or(|at| self.0[at].excepts) {
            return true;
        }
        path.push(SLASH);
        // An exception before the pattern that excludes it loses to that for all that is below too.
        let later = self.0.iter().skip(last.map_or(0, |at| at + 1));
        later.filter(|rule| rule.excepts).any(|rule| runner.goes_on(&rule.pattern, &path))
    }

    /// Which of the patterns that match the path or a directory above it comes last.
    fn last_match(&self, path: &[Letter], above: usize, runner: &mut Runner) -> Option<usize> {
        self.0.iter().rposition(|rule| runner.matches(&rule.pattern, path, above))
    }
}

fn letters_of(path: &[u8], above: usize) -> usize {
    if above == 0 { 0 } else { decode(path.get(..above).unwrap_or(path)).len() }
}

/// A line without its `!`, blanks and all that does not change where it leads; `None` if it is empty.
fn rule(line: &[Letter]) -> Result<Option<Rule>, Bad> {
    let line = trim(line);
    let Some(first) = line.first() else { return Ok(None) };
    let excepts = *first == Letter::ascii(b'!');
    let pattern = if excepts { trim(&line[1..]) } else { line };
    if pattern.is_empty() {
        return Err(Bad::LoneException);
    }
    Ok(Some(Rule { excepts, pattern: Pattern::parse(&clean(pattern))? }))
}

fn trim(mut line: &[Letter]) -> &[Letter] {
    while let [first, rest @ ..] = line
        && first.is_blank()
    {
        line = rest;
    }
    while let [rest @ .., last] = line
        && last.is_blank()
    {
        line = rest;
    }
    line
}

/// As Go's `filepath.Clean`, without a leading `/`.
fn clean(pattern: &[Letter]) -> Vec<Letter> {
    let (dot, dots) = ([Letter::ascii(b'.')], [Letter::ascii(b'.'); 2]);
    let rooted = pattern.first() == Some(&SLASH);
    let mut parts: Vec<&[Letter]> = Vec::new();
    for part in pattern.split(|letter| *letter == SLASH) {
        if part.is_empty() || part == dot {
            continue;
        }
        if part != dots {
            parts.push(part);
        } else if parts.last().is_some_and(|last| *last != dots) {
            parts.pop();
        } else if !rooted {
            parts.push(part);
        }
    }
    // What means the top matches nothing.
    if parts.is_empty() { vec![SLASH] } else { parts.join(&SLASH) }
}

/// A path as patterns are written for.
fn plain(path: &[u8]) -> Vec<Letter> {
    let path = path.strip_prefix(b"./").unwrap_or(path);
    let path = path.strip_suffix(b"/").unwrap_or(path);
    if path == b"." { Vec::new() } else { decode(path) }
}
