//! Whole images: opening, flattening, layers for overlayfs, the store, damage, and what other tools make of them.

mod archives;
mod cli;
mod damage;
mod field;
mod flatten;
mod foreign;
mod inspect;
mod partly;
mod producers;
mod random;
mod repaired;
mod rootless;
mod select;
mod stack;
mod stdin;
mod store;
mod tools;

use crate::support::layout::{Layout, Packing};
use crate::support::run::program;
use crate::support::scratch::{Scratch, mounts_below};
use crate::support::tarball::Tarball;
use crate::support::tree::{But, Tree};
use rustix::mount::{MountFlags, mount};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use untar_in_root::Error;
use untar_in_root::image::{Flattened, Image, Layers, Opener, Source};

fn tar() -> Tarball {
    Tarball::new()
}

/// Three layers in three compressions, of which each needs the one below: an implied parent with a mode, a link on
/// the way, a hardlink to a lower file, whiteouts, an opaque directory.
fn sample() -> Layout {
    let one = tar()
        .dir("./")
        .with(|e| _ = e.mode(0o751).mtime(5))
        .dir("a")
        .with(|e| _ = e.mode(0o2750).uid(5).gid(6).mtime(7))
        .file("a/f", "f")
        .file("a/g", "g")
        .dir("o")
        .file("o/old", "old")
        .symlink("l", "a")
        .file("gone", "gone");
    let two = tar().file("a/n", "n").file("l/through", "t").hardlink("h", "a/f").whiteout("gone").whiteout("a/g");
    let three = tar().dir("o").opaque("o").file("o/new", "new").whiteout("nothing").file("deep/er/x", "x");
    Layout::new().layer(&one, Packing::Plain).layer(&two, Packing::Gzip).layer(&three, Packing::Zstd)
}

const SAMPLE: &str = "a/ a/f=f a/n=n a/through=t deep/ deep/er/ deep/er/x=x h==a/f l->a o/ o/new=new";

fn opener(source: impl Into<std::ffi::OsString>) -> Opener {
    Opener::new(Source::parse(source.into())).program(program())
}

fn open(dir: &Path) -> Result<Image, Error> {
    opener(dir).open()
}

fn flatten(image: &Image, root: &Path) -> Result<Flattened, Error> {
    image.unpack().program(program()).flatten(root)
}

/// Mounts layers; the scratch directory takes the mount away with it.
fn mounted(scratch: &Scratch, layers: &Layers) -> PathBuf {
    let place = scratch.dir(format!("merged{}", mounts_below(scratch.path()).len()));
    let mut options = layers.mount_options().as_bytes().to_vec();
    if layers.dirs.len() == 1 {
        // A read-only overlay wants two layers at least.
        let nothing = scratch.dir("nothing-below");
        let line = format!("lowerdir={}:{}", layers.dirs[0].path.display(), nothing.display());
        options = line.into_bytes();
    }
    let options = CString::new(options).expect("no NUL");
    mount("overlay", &place, "overlay", MountFlags::RDONLY, Some(options.as_c_str())).expect("overlayfs");
    place
}

/// What a mount and a flat directory may differ in: overlayfs's own marks; a hardlink to a file of a lower layer is a
/// copy up.
const MOUNT: [But; 3] = [But::Field("xattr.trusted.overlay.*"), But::Field("xattr.user.overlay.*"), But::Field("link")];

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .expect("directory")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn line(root: &Path) -> String {
    crate::support::run::line(&Tree::read(root))
}
