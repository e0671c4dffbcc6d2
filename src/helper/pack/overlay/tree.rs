//! Layers that are directories, held by descriptor.

use super::lookup::{Layers, Seen};
use super::{BadRedirect, Marks, Shape, Stands};
use crate::helper::fault::{Attempt, Fault, Result, at, on, quoted};
use crate::helper::open;
use crate::inode;
use crate::report::{Call, Descriptor};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, major, minor};
use std::ffi::{CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

/// Longer than a path can be.
const LONGEST: usize = 64 << 10;

pub(crate) struct Tree {
    roots: Vec<Rc<OwnedFd>>,
    marks: Marks,
}

/// A file of a layer, by its directory and name.
pub(crate) struct Leaf {
    pub(crate) dir: Rc<OwnedFd>,
    pub(crate) name: Vec<u8>,
    pub(crate) stat: FileStat,
}

impl Tree {
    /// The topmost first.
    pub(crate) fn new(roots: Vec<OwnedFd>, marks: Marks) -> Tree {
        Tree { roots: roots.into_iter().map(Rc::new).collect(), marks }
    }
}

impl From<BadRedirect> for Fault {
    fn from(_: BadRedirect) -> Fault {
        Fault::as_if(Errno::EINVAL)
    }
}

impl Layers for Tree {
    type Dir = Rc<OwnedFd>;
    type File = Leaf;
    type Error = Fault;

    fn roots(&self) -> &[Rc<OwnedFd>] {
        &self.roots
    }

    fn look(&self, dir: &Rc<OwnedFd>, name: &[u8]) -> Result<Option<Seen<Rc<OwnedFd>, Leaf>>> {
        let stat = match fstatat(&**dir, OsStr::from_bytes(name), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(None),
            stat => stat.call(Call::Newfstatat, || at(Descriptor::Lower, name).with("<stat>, AT_SYMLINK_NOFOLLOW"))?,
        };
        let shape = shape(&stat);
        let opened = match shape {
            Shape::Directory => Some(open::directory(dir, name, true)?),
            Shape::Regular { .. } => Some(regular(dir, name)?),
            Shape::CharDevice { .. } | Shape::Other => None,
        };
        let stands = self.marks.stands(shape, |mark| opened.as_ref().map_or(Ok(None), |file| value(file, mark)))?;
        let leaf = || Leaf { dir: Rc::clone(dir), name: name.to_vec(), stat };
        Ok(Some(match (stands, opened) {
            (Stands::Whiteout, _) => Seen::Whiteout,
            (Stands::Directory { opaque, redirect }, Some(dir)) => {
                Seen::Directory { dir: Rc::new(dir), opaque, redirect }
            }
            (Stands::Metacopy { redirect }, _) => Seen::File { file: leaf(), regular: true, metacopy: true, redirect },
            (Stands::Itself { regular }, _) => Seen::File { file: leaf(), regular, metacopy: false, redirect: None },
            // A directory has been opened.
            (Stands::Directory { .. }, None) => return Ok(None),
        }))
    }
}

fn shape(stat: &FileStat) -> Shape {
    match inode::kind(stat) {
        SFlag::S_IFDIR => Shape::Directory,
        SFlag::S_IFREG => Shape::Regular { size: stat.st_size.unsigned_abs() },
        SFlag::S_IFCHR => {
            let part = |number| u32::try_from(number).unwrap_or(u32::MAX);
            Shape::CharDevice { major: part(major(stat.st_rdev)), minor: part(minor(stat.st_rdev)) }
        }
        _ => Shape::Other,
    }
}

fn regular(dir: &OwnedFd, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    openat(dir, OsStr::from_bytes(name), flags, Mode::empty())
        .call(Call::Openat, || at(Descriptor::Lower, name).with("O_RDONLY|O_NONBLOCK|O_NOFOLLOW|O_CLOEXEC"))
}

fn value(file: &OwnedFd, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let c_name = CString::new(name).map_err(|_| Fault::as_if(Errno::EINVAL))?;
    let mut value = vec![0; LONGEST];
    match rustix::fs::fgetxattr(file, c_name.as_c_str(), &mut value[..]) {
        Ok(size) => {
            value.truncate(size);
            Ok(Some(value))
        }
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => Ok(None),
        Err(errno) => Err(errno)
            .call(Call::Fgetxattr, || on(Descriptor::Lower).with(format_args!("{}, <value>, {LONGEST}", quoted(name)))),
    }
}
