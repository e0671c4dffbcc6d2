//! `docs/pack-semantics.md`, rules 21 to 23: layers of an overlayfs upper directory and of two directories, and laws 3 and
//! 4. `tests/pack/index.txt` says which test holds what.

mod between;
mod cli;
mod cost;
mod hostile;
mod laws;
mod upper;

use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode as Bits, SFlag, makedev, mknod};
use rustix::fs::{XattrFlags, lsetxattr};
use untar_in_root::{Cause, Diff, Error, Lower, Mode, PackOptions, Packed, Untar};

use crate::pack::{Seen, entries};
use crate::support::run::program;
use crate::support::scratch::Scratch;

/// An upper directory over these, still to be packed.
pub fn over(upper: &Path, lowers: &[PathBuf], change: impl FnOnce(&mut PackOptions)) -> Diff {
    let lowers = lowers.iter().map(|path| Lower::open(path).expect("a lower directory"));
    let mut diff = Diff::upper(upper).expect("an upper directory").lowers(lowers).program(program());
    change(diff.options_mut());
    diff
}

/// What makes one directory of another, still to be packed.
pub fn between(lower: &Path, upper: &Path, change: impl FnOnce(&mut PackOptions)) -> Diff {
    let mut diff = Diff::between(lower, upper).expect("two directories").program(program());
    change(diff.options_mut());
    diff
}

pub fn written(diff: Diff) -> Result<(Vec<u8>, Packed), (Error, Vec<u8>)> {
    let mut archive = Vec::new();
    match diff.to(&mut archive) {
        Ok(packed) => Ok((archive, packed)),
        Err(error) => Err((error, archive)),
    }
}

#[track_caller]
pub fn archive_of(diff: Diff) -> Vec<u8> {
    let (archive, packed) = written(diff).unwrap_or_else(|(error, _)| panic!("packing failed: {error}"));
    assert_eq!(packed.event_count, 0, "{:?}", packed.events);
    archive
}

/// The names that it has, with the content of files.
#[track_caller]
pub fn shown(diff: Diff) -> String {
    let word = |seen: &Seen| {
        let name = String::from_utf8_lossy(&seen.name).into_owned();
        let [body, link] = [&seen.body, &seen.link].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        match seen.kind {
            b'0' if !body.is_empty() => format!("{name}={body}"),
            b'1' => format!("{name}=>{link}"),
            b'2' => format!("{name}->{link}"),
            _ => name,
        }
    };
    entries(&archive_of(diff)).iter().map(word).collect::<Vec<_>>().join(" ")
}

#[track_caller]
pub fn cause(diff: Diff) -> Cause {
    let (error, archive) = written(diff).expect_err("it must fail");
    let scratch = Scratch::new();
    let untar = Untar::open(scratch.dir("cut")).expect("a root").program(program());
    assert!(untar.apply(&archive[..]).is_err(), "what came is taken for whole");
    error.failure().unwrap_or_else(|| panic!("no failure of the helper: {error}")).cause.clone()
}

/// Applies a layer.
#[track_caller]
pub fn applied(archive: &[u8], root: &Path) {
    let untar = Untar::open(root).expect("a root").program(program()).mode(Mode::Layer);
    untar.apply(archive).unwrap_or_else(|error| panic!("applying failed: {error}"));
}

pub fn mark(path: &Path, name: &str, value: &str) {
    lsetxattr(path, name, value.as_bytes(), XattrFlags::empty()).expect("an attribute");
}

/// A whiteout as overlayfs makes it.
pub fn white(scratch: &Scratch, name: &str) {
    mknod(&scratch.join(name), SFlag::S_IFCHR, Bits::empty(), makedev(0, 0)).expect("a device");
}

/// Files of a byte of content, or with `/` at their end directories, below a directory that it makes.
pub fn make(scratch: &Scratch, dir: &str, names: &str) -> PathBuf {
    let made = scratch.dir(dir);
    for name in names.split(' ').filter(|name| !name.is_empty()) {
        let (name, content) = name.split_once('=').unwrap_or((name, "x"));
        match name.strip_suffix('/') {
            Some(name) => drop(scratch.dir(format!("{dir}/{name}"))),
            None => drop(scratch.file(format!("{dir}/{name}"), content)),
        }
    }
    made
}
