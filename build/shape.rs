//! What the version of the protocol is made of: the crate's version, and the source text of whatever defines messages.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// A number for what parent and helper say to each other: another one with another version of the crate, or if
/// anything but comments and blanks is changed in a file whose types are sent. Such a file is known by its
/// `Serialize`, so that no list of them can be forgotten.
pub(crate) fn version(src: &Path, release: &str) -> io::Result<u32> {
    let mut files = Vec::new();
    list(src, &mut files)?;
    files.sort();
    let mut whole = release.to_owned();
    for file in files {
        let text = fs::read_to_string(file)?;
        if text.contains("Serialize") {
            whole.push('\n');
            whole.push_str(&plain(&text));
        }
    }
    Ok(fnv(whole.as_bytes()))
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Without blanks, comments and the tests, which are last.
pub(crate) fn plain(text: &str) -> String {
    let text = text.find("#[cfg(test)]\nmod tests").map_or(text, |tests| &text[..tests]);
    let lines = text.lines().map(|line| line.find("//").map_or(line, |comment| &line[..comment]));
    lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect()
}

/// FNV-1a: the standard library's hash may be another in another Rust, and nobody forges a version.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
