//! Lists of patterns: a file, a line for each.

use crate::args::{Packing, Selection};
use crate::trouble::Trouble;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use untar_in_root::{Event, EventKind, Options, PackOptions, Report};

/// What the library takes in all.
const MOST: u64 = 32 << 20;

/// Adds those of the command line's lists.
pub(crate) fn add(selection: &Selection, options: &mut Options) -> Result<(), Trouble> {
    options.include.extend(read(&selection.include_from)?);
    options.exclude.extend(read(&selection.exclude_from)?);
    Ok(())
}

/// The same for what is packed, and a `.dockerignore`.
pub(crate) fn add_packing(selection: &Packing, options: &mut PackOptions) -> Result<(), Trouble> {
    options.include.extend(read(&selection.include_from)?);
    options.exclude.extend(read(&selection.exclude_from)?);
    let read = |path: &PathBuf| {
        let trouble = |error| Trouble::Patterns { path: path.clone(), error };
        File::open(path).and_then(bytes).map_err(trouble)
    };
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
fn read(files: &[PathBuf]) -> Result<Vec<String>, Trouble> {
    let mut patterns = Vec::new();
    for path in files {
        let text = text(path).map_err(|error| Trouble::Patterns { path: path.clone(), error })?;
        patterns.extend(text.lines().filter(|line| !line.is_empty()).map(str::to_owned));
    }
    Ok(patterns)
}

fn text(path: &Path) -> io::Result<String> {
    // A run may begin once more, and standard input has its end only once.
    static STANDARD_INPUT: OnceLock<String> = OnceLock::new();
    if path.as_os_str() != "-" {
        return whole(File::open(path)?);
    }
    if let Some(text) = STANDARD_INPUT.get() {
        return Ok(text.clone());
    }
    let text = whole(io::stdin().lock())?;
    Ok(STANDARD_INPUT.get_or_init(|| text).clone())
}

fn bytes(file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(io::Error::other("more than 32 MiB of patterns"));
    }
    Ok(bytes)
}

fn whole(file: impl Read) -> io::Result<String> {
    String::from_utf8(bytes(file)?).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        io::Error::other(format!("line {line} is not UTF-8; write ? in place of each byte that is not"))
    })
}
