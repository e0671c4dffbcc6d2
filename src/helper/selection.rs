//! Which entries are wanted: patterns, and names that are not used up by what is stripped.

use crate::helper::fault::{Fault, Result};
use crate::helper::path::fold;
use crate::options::{EscapingNames, Options};
use crate::report::{BadPattern, Cause, EntryRef};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Which names are taken.
pub(crate) struct Selection {
    include: Option<GlobSet>,
    /// What names begin with that a pattern takes, and whether it goes on otherwise.
    beginnings: Vec<(Vec<u8>, bool)>,
    exclude: Option<GlobSet>,
}

impl Selection {
    pub(crate) fn new(options: &Options) -> Result<Selection> {
        let beginnings = options.include.iter().map(|pattern| literal(pattern)).collect();
        Ok(Selection { include: globs(&options.include)?, beginnings, exclude: globs(&options.exclude)? })
    }

    pub(crate) fn takes_all(&self) -> bool {
        self.include.is_none() && self.exclude.is_none()
    }

    /// A pattern that matches a directory matches what is below it.
    pub(crate) fn takes(&self, parts: &[&[u8]]) -> bool {
        if self.takes_all() || parts.is_empty() {
            return true;
        }
        self.include.as_ref().is_none_or(|include| hits(include, parts))
            && !self.exclude.as_ref().is_some_and(|exclude| hits(exclude, parts))
    }

    /// Whether a directory of this name is taken, or something below it may be.
    pub(crate) fn reaches(&self, parts: &[&[u8]]) -> bool {
        if self.takes(parts) {
            return true;
        }
        let below = [&parts.join(&b'/')[..], b"/"].concat();
        let may_be =
            |(begins, open): &(Vec<u8>, bool)| begins.starts_with(&below) || *open && below.starts_with(begins);
        self.beginnings.iter().any(may_be) && !self.exclude.as_ref().is_some_and(|exclude| hits(exclude, parts))
    }

    /// Whether a raw name is taken, in a listing.
    pub(crate) fn takes_raw(&self, path: &[u8], options: &Options) -> Result<bool> {
        if self.takes_all() && options.strip_components == 0 {
            return Ok(true);
        }
        let name = fold(path, EscapingNames::Clamp, &options.limits)?;
        let strip = options.strip_components as usize;
        Ok((strip == 0 || name.parts.len() > strip) && self.takes(name.parts.get(strip..).unwrap_or_default()))
    }
}

/// Whether a name or a directory above it matches.
fn hits(set: &GlobSet, parts: &[&[u8]]) -> bool {
    let path = parts.join(&b'/');
    let mut ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at).chain([path.len()]);
    ends.any(|end| set.is_match(OsStr::from_bytes(&path[..end])))
}

/// A pattern as far as it means itself, and whether there is more of it.
fn literal(pattern: &str) -> (Vec<u8>, bool) {
    let plain = plain(pattern);
    let end = plain.find(['*', '?', '[', '{', '\\']);
    (plain[..end.unwrap_or(plain.len())].into(), end.is_some())
}

/// A pattern as names are compared with it.
fn plain(pattern: &str) -> &str {
    pattern.trim_start_matches("./").trim_matches('/')
}

fn globs(patterns: &[String]) -> Result<Option<GlobSet>> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(plain(pattern)).literal_separator(false).backslash_escape(true).build();
        set.add(glob.map_err(|error| bad_glob(pattern, &error))?);
    }
    set.build().map(Some).map_err(|error| bad_glob(error.glob().unwrap_or_default(), &error))
}

fn bad_glob(pattern: &str, error: &globset::Error) -> Fault {
    let what = match error.kind() {
        globset::ErrorKind::UnclosedClass => BadPattern::UnclosedClass,
        globset::ErrorKind::InvalidRange(..) => BadPattern::Range,
        globset::ErrorKind::UnopenedAlternates => BadPattern::UnopenedAlternates,
        globset::ErrorKind::UnclosedAlternates => BadPattern::UnclosedAlternates,
        globset::ErrorKind::DanglingEscape => BadPattern::DanglingEscape,
        // What is left can only be the size of what a pattern is compiled to.
        _ => BadPattern::TooLarge,
    };
    Cause::Pattern { pattern: pattern[..crate::text::cut_at(pattern, EntryRef::MAX_PATH)].to_owned(), what }.into()
}
