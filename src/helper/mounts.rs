//! What is mounted at and below the working directory, read from `/proc` before the root is entered.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

/// See `proc_pid_mountinfo(5)`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Below {
    /// Mount points below, relative to the working directory.
    pub(crate) points: Vec<Vec<u8>>,
    /// The file system at the working directory gives files their directory's group.
    pub(crate) group_from_directory: bool,
}

/// Best effort: without `/proc` nothing is known, and entering a mount is noticed when it happens.
pub(crate) fn below_cwd() -> Below {
    let mut text = Vec::with_capacity(TYPICAL);
    let read = File::open("/proc/self/mountinfo").and_then(|mut file| file.read_to_end(&mut text));
    let (Ok(_), Ok(cwd)) = (read, nix::unistd::getcwd()) else {
        return Below::default();
    };
    below(&text, cwd.as_os_str().as_bytes())
}

/// Bytes of the file on an ordinary host. The kernel tells no size beforehand, and growing towards it costs more
/// than the reading.
const TYPICAL: usize = 16 << 10;

fn below(mountinfo: &[u8], dir: &[u8]) -> Below {
    let mut found = Below::default();
    let mut at = 0;
    for line in mountinfo.split(|b| *b == b'\n') {
        let Some((point, options)) = parse(line) else { continue };
        if let Some(rest) = relative(dir, &point) {
            found.points.push(rest.to_vec());
        } else if relative(&point, dir).is_some() || point == dir {
            // The innermost mount that holds the directory; a later line covers an earlier one.
            if point.len() >= at {
                at = point.len();
                found.group_from_directory = options.split(|b| *b == b',').any(|o| o == b"grpid" || o == b"bsdgroups");
            }
        }
    }
    found
}

/// Mount point and super-block options of one line.
fn parse(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut fields = line.split(|b| *b == b' ');
    let point = unescape(fields.nth(4)?);
    fields.find(|f| *f == b"-")?;
    Some((point, fields.nth(2)?))
}

/// Spaces and the like are octal.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let code = (*first == b'\\').then(|| tail.get(..3)).flatten().and_then(octal);
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    out
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

/// `path` below `dir`, relative to it.
fn relative<'a>(dir: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    let dir = dir.strip_suffix(b"/").unwrap_or(dir);
    path.strip_prefix(dir)?.strip_prefix(b"/").filter(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &[u8] = b"1 0 8:1 / / rw - ext4 /dev/a rw\n\
        2 1 0:5 / /a rw,nosuid shared:1 - ext4 x rw,grpid\n\
        3 2 0:6 / /a/r\\040t/proc rw - proc p rw\n\
        4 2 0:6 / /a/r\\040tx rw - proc p rw\n";

    #[test]
    fn mounts_below_are_relative() {
        assert_eq!(below(INFO, b"/a/r t").points, [b"proc".to_vec()]);
        assert_eq!(below(INFO, b"/").points.len(), 3);
    }

    #[test]
    fn the_innermost_mount_tells_its_options() {
        assert!(below(INFO, b"/a/r t").group_from_directory);
        assert!(!below(INFO, b"/b").group_from_directory);
    }
}
