//! What is mounted at and below the working directory, found out before the root is entered: the kernel is asked for
//! just that (`statmount(2)`, `listmount(2)`, Linux 6.11), or the list of all mounts is read from `/proc`.

pub(crate) mod table;

use crate::helper::sys;
use crate::proc;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::os::unix::ffi::OsStrExt;

/// See `proc_pid_mountinfo(5)`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Below {
    /// Mount points below, relative to the working directory.
    pub(crate) points: Vec<Vec<u8>>,
    /// The file system at the working directory gives files their directory's group.
    pub(crate) group_from_directory: bool,
    /// Something lies on the working directory's mount and not below the directory. Where that is the whole of its
    /// mount, somebody has renamed a directory above between the question for its name and that for theirs.
    pub(crate) strays: bool,
}

/// `None` where nothing can be known: no `/proc`, and no calls to ask. Entering a mount is noticed when it happens.
pub(crate) fn below_cwd() -> Option<Below> {
    asked().or_else(read).map(Below::sorted)
}

impl Below {
    /// What lies on the directory's mount, at any depth.
    fn take(&mut self, dir: &[u8], point: &[u8]) {
        match relative(dir, point) {
            Some(rest) => self.points.push(rest.to_vec()),
            None => self.strays |= point != dir,
        }
    }

    /// The paths in order, each once: mounts can lie over each other.
    fn sorted(mut self) -> Below {
        self.points.sort();
        self.points.dedup();
        self
    }
}

/// The arguments of `getcwd(2)`, as libc gives them.
pub(super) const GETCWD: &str = "<path>, 4096";

/// What `statmount(2)` can tell as text: the bit that asks for it, and where it says where the text is.
struct Field {
    bit: u64,
    at: usize,
}

const OPTIONS: Field = Field { bit: 0x80, at: 4 };
const POINT: Field = Field { bit: 0x10, at: 108 };
/// Where it says which of the fields it tells: a bit for each.
const MASK: usize = 8;
/// Where the texts begin.
const TEXTS: usize = 512;
/// `STATX_MNT_ID_UNIQUE`: the number that these calls know a mount by.
const UNIQUE: u32 = 0x4000;

/// A few calls, however many mounts the host has, where the working directory is a mount of its own.
fn asked() -> Option<Below> {
    let here = statx(CWD, ".", AtFlags::empty(), StatxFlags::from_bits_retain(UNIQUE)).ok()?;
    if here.stx_mask & UNIQUE == 0 {
        return None;
    }
    let group_from_directory = gives_group(&text(here.stx_mnt_id, &OPTIONS)?);
    let below = listed(here.stx_mnt_id)?;
    let mut found = Below { group_from_directory, ..Below::default() };
    if !below.is_empty() {
        let cwd = nix::unistd::getcwd().ok()?;
        for id in below {
            found.take(cwd.as_os_str().as_bytes(), &text(id, &POINT)?);
        }
    }
    Some(found)
}

/// The mounts below one, at any depth.
fn listed(mount: u64) -> Option<Vec<u64>> {
    let (mut all, mut some) = (Vec::new(), [0; 64]);
    loop {
        let count = sys::listmount(mount, all.last().copied().unwrap_or(0), &mut some).ok()?;
        all.extend_from_slice(some.get(..count)?);
        if count < some.len() {
            return Some(all);
        }
    }
}

fn text(mount: u64, field: &Field) -> Option<Vec<u8>> {
    text_within::<{ TEXTS + 512 }>(mount, field).or_else(|| text_within::<{ TEXTS + 8192 }>(mount, field))
}

/// As far as it fits into so many bytes: those of nearly all mounts take few, and pages of the stack are dear to a
/// small run.
#[inline(never)]
fn text_within<const BYTES: usize>(mount: u64, field: &Field) -> Option<Vec<u8>> {
    let mut told = [0; BYTES];
    sys::statmount(mount, field.bit, &mut told).ok()?;
    text_in(&told, field)
}

fn text_in(told: &[u8], field: &Field) -> Option<Vec<u8>> {
    if u64::from_ne_bytes(told.get(MASK..MASK + 8)?.try_into().ok()?) & field.bit == 0 {
        // A mount that the caller's own root does not reach has no mount point there: it is below nothing that does.
        return (field.bit == POINT.bit).then(Vec::new);
    }
    let offset = u32::from_ne_bytes(told.get(field.at..field.at + 4)?.try_into().ok()?);
    let from = told.get(TEXTS + usize::try_from(offset).ok()?..)?;
    from.split(|b| *b == 0).next().map(<[u8]>::to_vec)
}

/// The whole answer, with these fields besides, and the text in it.
fn told(mount: u64, field: &Field, besides: u64) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut told = vec![0; TEXTS + 8192];
    sys::statmount(mount, field.bit | besides, &mut told).ok()?;
    let text = text_in(&told, field)?;
    Some((told, text))
}

fn gives_group(options: &[u8]) -> bool {
    options.split(|b| *b == b',').any(|option| option == b"grpid" || option == b"bsdgroups")
}

fn read() -> Option<Below> {
    let text = read_mountinfo()?;
    let cwd = nix::unistd::getcwd().ok()?;
    let cwd = cwd.as_os_str().as_bytes();
    let strays = table::here().is_some_and(|here| table::has_strays(&text, here, cwd));
    Some(Below { strays, ..below(&text, cwd) })
}

fn read_mountinfo() -> Option<Vec<u8>> {
    proc::read("self/mountinfo", TYPICAL).ok()
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
                found.group_from_directory = gives_group(options);
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
    fn what_the_kernel_is_asked_and_what_it_lists_agree() {
        for dir in ["/", "/proc", "/dev", "/sys", "/tmp"] {
            let asked = std::thread::spawn(move || {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).expect("a working directory of its own");
                nix::unistd::chdir(dir).expect(dir);
                (asked().map(Below::sorted), read().map(Below::sorted))
            });
            let (asked, read) = asked.join().expect("no panic");
            assert!(read.is_some(), "{dir}");
            if asked.is_some() {
                assert_eq!(asked, read, "{dir}");
            }
        }
    }

    #[test]
    fn the_innermost_mount_tells_its_options() {
        assert!(below(INFO, b"/a/r t").group_from_directory);
        assert!(!below(INFO, b"/b").group_from_directory);
    }
}
