//! One pattern: as steps through which a path is run, all that can be reached at once, so that the cost of a path is at
//! most its length times that of the pattern.

use super::Bad;
use super::letter::{Letter, SLASH};

#[derive(Debug)]
pub(super) struct Pattern(Vec<Step>);

#[derive(Clone, Debug)]
enum Step {
    Is(Letter),
    /// Any but `/`.
    Any,
    OneOf(Class),
    /// As many as there are, but no `/`.
    Star,
    /// As many as there are.
    All,
    /// All up to a `/`, or nothing: the next step, or the one behind it.
    Dirs,
    Inside,
    Done,
}

#[derive(Clone, Debug)]
struct Class {
    negated: bool,
    ranges: Vec<(Letter, Letter)>,
}

impl Pattern {
    /// Of a pattern that is clean.
    pub(super) fn parse(pattern: &[Letter]) -> Result<Pattern, Bad> {
        let mut parser = Parser { rest: pattern, steps: Vec::new(), plain: true };
        while let Some(letter) = parser.next() {
            parser.step(letter)?;
        }
        let mut steps = parser.steps;
        // What is no regular expression to moby is an ending: `**a` is what ends in `a`, though `**a*` is not what has
        // a name that begins with it somewhere within.
        if parser.plain && matches!(steps[..], [Step::Dirs, ..]) && pattern.get(2) != Some(&SLASH) {
            steps.splice(..2, [Step::All]);
        }
        steps.push(Step::Done);
        Ok(Pattern(steps))
    }
}

struct Parser<'a> {
    rest: &'a [Letter],
    steps: Vec<Step>,
    /// But for a `**` at its beginning.
    plain: bool,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<Letter> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip(&mut self, wanted: Letter) -> bool {
        let is = self.rest.first() == Some(&wanted);
        if is {
            self.next();
        }
        is
    }

    fn step(&mut self, found: Letter) -> Result<(), Bad> {
        const STAR: Letter = letter(b'*');
        const QUESTION: Letter = letter(b'?');
        const BACKSLASH: Letter = letter(b'\\');
        const BRACKET: Letter = letter(b'[');
        let begins = self.steps.is_empty();
        let step = match found {
            STAR if self.skip(STAR) => {
                self.skip(SLASH);
                self.plain &= begins;
                let last = self.rest.is_empty();
                self.steps.extend(if last { vec![Step::All] } else { vec![Step::Dirs, Step::Inside] });
                return Ok(());
            }
            STAR => Step::Star,
            QUESTION => Step::Any,
            BACKSLASH => Step::Is(self.next().ok_or(Bad::Escape)?),
            BRACKET => Step::OneOf(self.class()?),
            found => {
                self.plain &= found != letter(b']');
                self.steps.push(Step::Is(found));
                return Ok(());
            }
        };
        self.plain = false;
        self.steps.push(step);
        Ok(())
    }

    /// Behind its `[`.
    fn class(&mut self) -> Result<Class, Bad> {
        let negated = self.skip(letter(b'^'));
        let mut ranges = Vec::new();
        while ranges.is_empty() || !self.skip(letter(b']')) {
            let low = self.bound()?;
            let high = if self.skip(letter(b'-')) { self.bound()? } else { low };
            if high < low {
                return Err(Bad::Class);
            }
            ranges.push((low, high));
        }
        Ok(Class { negated, ranges })
    }

    fn bound(&mut self) -> Result<Letter, Bad> {
        let found = self.next().ok_or(Bad::Class)?;
        if found == letter(b'-') || found == letter(b']') {
            return Err(Bad::Class);
        }
        if found == letter(b'\\') { self.next().ok_or(Bad::Class) } else { Ok(found) }
    }
}

impl Class {
    fn has(&self, letter: Letter) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&letter)) != self.negated
    }
}

/// Runs paths through patterns; what it needs is kept for the next.
#[derive(Default)]
pub(super) struct Runner {
    now: Vec<usize>,
    next: Vec<usize>,
    /// In which round each step was last reached.
    reached: Vec<u64>,
    round: u64,
}

impl Runner {
    /// Whether the path matches, or a directory above it that is longer than this.
    pub(super) fn matches(&mut self, pattern: &Pattern, path: &[Letter], above: usize) -> bool {
        self.begin(pattern);
        for (at, letter) in path.iter().enumerate() {
            if at > above && *letter == SLASH && self.is_done(pattern) {
                return true;
            }
            if self.now.is_empty() {
                return false;
            }
            self.advance(pattern, *letter);
        }
        self.is_done(pattern)
    }

    /// Whether something that begins so may match.
    pub(super) fn goes_on(&mut self, pattern: &Pattern, start: &[Letter]) -> bool {
        self.begin(pattern);
        start.iter().for_each(|letter| self.advance(pattern, *letter));
        self.now.iter().any(|at| !matches!(pattern.0.get(*at), Some(Step::Done) | None))
    }

    fn begin(&mut self, pattern: &Pattern) {
        self.reached.resize(self.reached.len().max(pattern.0.len()), 0);
        self.next.clear();
        self.round += 1;
        self.reach(pattern, 0);
        std::mem::swap(&mut self.now, &mut self.next);
    }

    fn is_done(&self, pattern: &Pattern) -> bool {
        self.now.iter().any(|at| matches!(pattern.0.get(*at), Some(Step::Done)))
    }

    fn advance(&mut self, pattern: &Pattern, letter: Letter) {
        self.round += 1;
        self.next.clear();
        let now = std::mem::take(&mut self.now);
        for at in &now {
            let slash = letter == SLASH;
            match pattern.0.get(*at) {
                Some(Step::Is(wanted)) if *wanted == letter => self.reach(pattern, at + 1),
                Some(Step::Any) if !slash => self.reach(pattern, at + 1),
                Some(Step::OneOf(class)) if class.has(letter) => self.reach(pattern, at + 1),
                Some(Step::Star) if !slash => self.reach(pattern, *at),
                Some(Step::All) => self.reach(pattern, *at),
                Some(Step::Inside) => {
                    self.put(*at);
                    if slash {
                        self.reach(pattern, at + 1);
                    }
                }
                _ => {}
            }
        }
        self.now = std::mem::replace(&mut self.next, now);
    }

    /// Puts a step among the next ones, with all that it leads to without a letter.
    fn reach(&mut self, pattern: &Pattern, mut at: usize) {
        while self.put(at) {
            match pattern.0.get(at) {
                Some(Step::Star | Step::All) => at += 1,
                Some(Step::Dirs) => {
                    self.put(at + 1);
                    at += 2;
                }
                _ => return,
            }
        }
    }

    /// False where it is there already.
    fn put(&mut self, at: usize) -> bool {
        let new = self.reached.get_mut(at).is_some_and(|round| std::mem::replace(round, self.round) != self.round);
        if new {
            self.next.push(at);
        }
        new
    }
}

const fn letter(ascii: u8) -> Letter {
    Letter::ascii(ascii)
}
