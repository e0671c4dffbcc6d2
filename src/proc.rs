//! `/proc`, which is believed only where it is the kernel's: `proc(5)`.
//!
//! In a root that somebody else has filled, files and directories of these names may be there without a mount, and say
//! whatever he likes. So nothing else in this library opens what is below `/proc`.

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
#[cfg(any(feature = "helper", feature = "image"))]
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

/// Its directory; `ENOENT` where it is none.
fn mounted() -> io::Result<OwnedFd> {
    let dir = open("/proc", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    if fstatfs(&dir)?.filesystem_type() == PROC_SUPER_MAGIC { Ok(dir) } else { Err(Errno::ENOENT.into()) }
}

/// The file of this name, relative to `/proc`.
pub(crate) fn file(name: &str, flags: OFlag) -> io::Result<File> {
    Ok(File::from(openat(mounted()?, name, flags | OFlag::O_CLOEXEC, Mode::empty())?))
}

/// What the kernel says there. `likely`: about how many bytes, since it tells no size beforehand.
#[cfg(any(test, feature = "helper"))]
pub(crate) fn read(name: &str, likely: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(likely);
    file(name, OFlag::O_RDONLY)?.read_to_end(&mut text)?;
    Ok(text)
}

/// The same of what is text, empty where there is nothing to be had.
pub(crate) fn text(name: &str) -> String {
    let mut text = String::new();
    let _ = file(name, OFlag::O_RDONLY).and_then(|mut file| file.read_to_string(&mut text));
    text
}

/// A name for what is open, as long as it is.
#[cfg(any(feature = "helper", feature = "image"))]
pub(crate) fn name_of(fd: impl AsFd) -> io::Result<PathBuf> {
    mounted().map(|_| format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()).into())
}

/// The program that runs; `None` where there is no `/proc`.
pub(crate) fn this_program() -> io::Result<Option<PathBuf>> {
    match mounted() {
        Ok(_) => Ok(Some("/proc/self/exe".into())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read_and_what_is_open_has_a_name() {
        assert!(mounted().is_ok(), "no /proc here");
        assert!(text("self/status").contains("Name:"));
        assert_eq!(read("self/comm", 16).expect("a name"), std::fs::read("/proc/self/comm").expect("a name"));
        assert_eq!(file("no/such", OFlag::O_RDONLY).expect_err("none").kind(), ErrorKind::NotFound);
        let open = File::open("/etc").expect("a directory");
        assert_eq!(name_of(&open).expect("a name").canonicalize().expect("there"), PathBuf::from("/etc"));
    }
}
