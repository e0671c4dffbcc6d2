//! Lists of patterns: a file, a line for each.

use crate::args::{Packing, Selection};
use crate::named::{self, Until};
use crate::trouble::Trouble;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use untar_in_root::{Event, EventKind, Options, PackOptions, Report};

/// What the library takes in all.
const MOST: u64 = 32 << 20;

/// Adds those of the command line's lists.
pub(crate) fn add(selection: &Selection, options: &mut Options) -> Result<(), Trouble> {
    let until = Until::after(options.jail.limits.timeout);
    options.include.extend(read(&selection.include_from, until)?);
    options.exclude.extend(read(&selection.exclude_from, until)?);
    Ok(())
}

/// The same for what is packed, and a `.dockerignore`.
pub(crate) fn add_packing(selection: &Packing, options: &mut PackOptions) -> Result<(), Trouble> {
    let until = Until::after(options.jail.limits.timeout);
    options.include.extend(read(&selection.include_from, until)?);
    options.exclude.extend(read(&selection.exclude_from, until)?);
    let read = |path: &PathBuf| bytes(path, until).map_err(|error| Trouble::Patterns { path: path.clone(), error });
    options.dockerignore = selection.dockerignore.as_ref().map(read).transpose()?;
    Ok(())
}

/// A pattern that nothing matches in any layer of an image is told once, with the last; one that only some lack is not.
pub(crate) fn in_all_layers(reports: &mut [&mut Report]) {
    let unmatched =
        |report: &Report| report.events.iter().filter_map(pattern).map(str::to_owned).collect::<BTreeSet<_>>();
    let all = reports.iter().map(|report| unmatched(report)).reduce(|some, others| &some & &others).unwrap_or_default();
    let last = reports.len();
    for (number, report) in (1..).zip(reports) {
        let before = report.events.len();
        report.events.retain(|event| pattern(event).is_none_or(|pattern| number == last && all.contains(pattern)));
        report.event_count -= (before - report.events.len()) as u64;
    }
}

fn pattern(event: &Event) -> Option<&str> {
    match &event.what {
        EventKind::PatternUnmatched { pattern } => Some(pattern),
        _ => None,
    }
}

/// The patterns of all of these files; `-` is standard input.
fn read(files: &[PathBuf], until: Until) -> Result<Vec<String>, Trouble> {
    let mut patterns = Vec::new();
    for path in files {
        let text = text(path, until).map_err(|error| Trouble::Patterns { path: path.clone(), error })?;
        patterns.extend(text.lines().filter(|line| !line.is_empty()).map(str::to_owned));
    }
    Ok(patterns)
}

fn text(path: &Path, until: Until) -> io::Result<String> {
    // A run may begin once more, and standard input has its end only once.
    static STANDARD_INPUT: OnceLock<String> = OnceLock::new();
    if path.as_os_str() != "-" {
        return whole(bytes(path, until)?);
    }
    if let Some(text) = STANDARD_INPUT.get() {
        return Ok(text.clone());
    }
    let text = whole(bytes(path, until)?)?;
    Ok(STANDARD_INPUT.get_or_init(|| text).clone())
}

fn bytes(path: &Path, until: Until) -> io::Result<Vec<u8>> {
    let bytes = named::read(path, MOST + 1, until)?;
    if bytes.len() as u64 > MOST {
        return Err(io::Error::other("more than 32 MiB of patterns"));
    }
    Ok(bytes)
}

fn whole(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        io::Error::other(format!("line {line} is not UTF-8; write ? in place of each byte that is not"))
    })
}
