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
    exclude: Option<GlobSet>,
}

impl Selection {
    pub(crate) fn new(options: &Options) -> Result<Selection> {
        Ok(Selection { include: globs(&options.include)?, exclude: globs(&options.exclude)? })
    }

    pub(crate) fn takes_all(&self) -> bool {
        self.include.is_none() && self.exclude.is_none()
    }

    /// A pattern that matches a directory matches what is below it.
    pub(crate) fn takes(&self, parts: &[&[u8]]) -> bool {
        if self.takes_all() || parts.is_empty() {
            return true;
        }
        let path = parts.join(&b'/');
        let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at).chain([path.len()]);
        let prefixes: Vec<&[u8]> = ends.map(|end| &path[..end]).collect();
        let hit = |set: &GlobSet| prefixes.iter().any(|prefix| set.is_match(OsStr::from_bytes(prefix)));
        self.include.as_ref().is_none_or(hit) && !self.exclude.as_ref().is_some_and(hit)
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

fn globs(patterns: &[String]) -> Result<Option<GlobSet>> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let plain = pattern.trim_start_matches("./").trim_matches('/');
        let glob = GlobBuilder::new(plain).literal_separator(false).backslash_escape(true).build();
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
