//! Which entries are wanted: patterns, and names that are not used up by what is stripped.

mod glob;
mod patterns;

use crate::helper::fault::{Fault, Result};
use crate::helper::journal::Journal;
use crate::helper::path::fold;
use crate::options::{EscapingNames, Options};
use crate::report::{BadPattern, Cause, EntryRef, EventKind};
use patterns::Patterns;

/// Which names are taken.
pub(crate) struct Selection<'a> {
    options: &'a Options,
    include: Patterns,
    /// What names begin with that a pattern takes, and whether it goes on otherwise.
    beginnings: Vec<(Vec<u8>, bool)>,
    exclude: Patterns,
}

impl<'a> Selection<'a> {
    pub(crate) fn new(options: &'a Options) -> Result<Selection<'a>> {
        let beginnings = options.include.iter().map(|pattern| literal(pattern)).collect();
        Ok(Selection { options, include: globs(&options.include)?, beginnings, exclude: globs(&options.exclude)? })
    }

    pub(crate) fn takes_all(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// By the components of a name as it stands in the archive. A pattern that matches a directory matches what is below
    /// it; one is compared with the name as it is, and without what is stripped.
    pub(crate) fn takes(&mut self, parts: &[&[u8]]) -> bool {
        self.takes_below(parts, 0)
    }

    /// The same; what is to be left out by the first so many bytes of the name, or by fewer, is not.
    pub(crate) fn takes_below(&mut self, parts: &[&[u8]], above: usize) -> bool {
        if self.takes_all() || parts.len() <= self.strip() {
            return true;
        }
        let forms = self.forms(parts);
        // Both, so that each pattern that matches something is noted.
        let included = self.include.is_empty() | hits(&mut self.include, &forms, 0);
        let excluded = hits(&mut self.exclude, &forms, above);
        included && !excluded
    }

    /// Whether a directory of this name is taken, or something below it may be.
    pub(crate) fn reaches(&mut self, parts: &[&[u8]]) -> bool {
        self.reaches_below(parts, 0)
    }

    /// The same, as [`takes_below`](Selection::takes_below).
    pub(crate) fn reaches_below(&mut self, parts: &[&[u8]], above: usize) -> bool {
        if self.takes_below(parts, above) {
            return true;
        }
        let forms = self.forms(parts);
        let may_be = forms.iter().any(|form| {
            let below = [form, &b"/"[..]].concat();
            let reaches =
                |(begins, open): &(Vec<u8>, bool)| begins.starts_with(&below) || *open && below.starts_with(begins);
            self.beginnings.iter().any(reaches)
        });
        may_be && !hits(&mut self.exclude, &forms, above)
    }

    /// Whether a raw name is taken, in a listing.
    pub(crate) fn takes_raw(&mut self, path: &[u8]) -> Result<bool> {
        let strip = self.strip();
        if self.takes_all() && strip == 0 {
            return Ok(true);
        }
        let name = fold(path, EscapingNames::Clamp, &self.options.limits)?;
        Ok((strip == 0 || name.parts.len() > strip) && self.takes(&name.parts))
    }

    fn strip(&self) -> usize {
        self.options.strip_components as usize
    }

    /// The name as it stands in the archive, and without what is stripped where something is.
    fn forms(&self, parts: &[&[u8]]) -> Vec<Vec<u8>> {
        let strip = self.strip();
        let stripped = parts.get(strip..).filter(|_| strip > 0);
        [Some(parts), stripped].into_iter().flatten().map(|parts| parts.join(&b'/')).collect()
    }

    /// Tells the patterns that have matched nothing.
    pub(crate) fn tell_unmatched(&self, journal: &mut Journal<'_>) {
        for (patterns, of) in [(&self.include, &self.options.include), (&self.exclude, &self.options.exclude)] {
            for pattern in patterns.unmatched().filter_map(|place| of.get(place)) {
                journal.tell_of(None, EventKind::PatternUnmatched { pattern: cut(pattern) });
            }
        }
    }
}

fn hits(patterns: &mut Patterns, forms: &[Vec<u8>], above: usize) -> bool {
    forms.iter().fold(false, |any, form| patterns.matches(form, above) | any)
}

/// A pattern as far as it means itself, and whether there is more of it.
fn literal(pattern: &str) -> (Vec<u8>, bool) {
    let plain = patterns::plain(pattern);
    let end = plain.find(['*', '?', '[', '{', '\\']);
    (plain[..end.unwrap_or(plain.len())].into(), end.is_some())
}

fn globs(patterns: &[String]) -> Result<Patterns> {
    Patterns::new(patterns).map_err(|(place, what)| bad(patterns.get(place).map_or("", String::as_str), what))
}

fn bad(pattern: &str, what: BadPattern) -> Fault {
    Cause::Pattern { pattern: cut(pattern), what }.into()
}

fn cut(pattern: &str) -> String {
    pattern[..crate::text::cut_at(pattern, EntryRef::MAX_PATH)].to_owned()
}
