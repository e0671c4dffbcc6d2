//! `.dockerignore` files and paths: no panic, and what is said of directories holds for what is below them.

use crate::helper::pack::dockerignore::Ignore;

/// The first line is a path, the rest the file. A walk writes no empty name into a path; with one `a[^b]` would be the
/// directory `a/`, which nothing can lie below but another empty name.
pub fn fuzz_ignore(data: &[u8]) {
    let cut = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (path, file) = (&data[..cut], data.get(cut + 1..).unwrap_or_default());
    let walked = !path.split(|byte| *byte == b'/').any(<[u8]>::is_empty);
    let (true, Ok(ignore)) = (walked, Ignore::parse(file)) else { return };
    let excluded = ignore.excluded(path, 0);
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    for (at, _) in slashes {
        let dir = &path[..at];
        // What is not listed is not packed, so nothing below it may be wanted.
        let listed = !ignore.excluded(dir, 0) || ignore.may_hold_exception(dir, 0);
        assert!(listed || excluded, "{:?} below {:?}", show(path), show(dir));
    }
}

fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
