//! Layers that are directories, held by descriptor.

use super::lookup::{Layers, Seen};
use super::{Marks, Shape, Stands};
use crate::helper::fault::{Attempt, Fault, Result, at, on, quoted};
use crate::helper::look;
use crate::helper::open::{self, Way};
use crate::helper::pack::walk::Dir;
use crate::report::{Call, Descriptor};
use nix::errno::Errno;
use rustix::fs::FileType;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What a path can be, and the largest value that Linux has.
const PATH: usize = 4096;

pub(crate) struct Tree {
    roots: Vec<Arc<Dir>>,
    /// Without, all is what it is.
    marks: Option<Marks>,
}

/// A file of a layer, by its directory and name.
pub(crate) struct Leaf {
    pub(crate) dir: Arc<Dir>,
    pub(crate) name: Vec<u8>,
    pub(crate) seen: look::Seen,
}

impl Tree {
    /// The topmost first.
    pub(crate) fn new(roots: &[OwnedFd], marks: Option<Marks>) -> Result<Tree> {
        // What was cloned is only held, and not read.
        let roots = roots.iter().map(|root| directory(root, b"."));
        Ok(Tree { roots: roots.collect::<Result<_>>()?, marks })
    }
}

impl Layers for Tree {
    type Dir = Arc<Dir>;
    type File = Leaf;
    type Error = Fault;

    fn roots(&self) -> &[Arc<Dir>] {
        &self.roots
    }

    fn look(&self, dir: &Arc<Dir>, name: &[u8]) -> Result<Option<Seen<Arc<Dir>, Leaf>>> {
        let seen = match look::at(&dir.fd, name) {
            Err(Errno::ENOENT) => return Ok(None),
            seen => seen.call(Call::Statx, || at(Descriptor::Lower, name).with(look::NAMED))?,
        };
        let shape = shape(&seen);
        if shape == Shape::Directory {
            let dir = directory(&dir.fd, name)?;
            let (opaque, redirect) = match self.stands(shape, Some(&dir.fd))? {
                Stands::Directory { opaque, redirect } => (opaque, redirect),
                _ => (false, None),
            };
            return Ok(Some(Seen::Directory { dir, opaque, redirect }));
        }
        let has_marks = matches!(shape, Shape::Regular { .. }) && self.marks.is_some();
        let file = if has_marks { Some(opened(&dir.fd, name, Way::Lower)?) } else { None };
        let leaf = Leaf { dir: Arc::clone(dir), name: name.to_vec(), seen };
        Ok(Some(match self.stands(shape, file.as_ref())? {
            Stands::Whiteout => Seen::Whiteout,
            Stands::Metacopy { redirect } => Seen::File { file: leaf, regular: true, metacopy: true, redirect },
            _ => {
                let regular = matches!(shape, Shape::Regular { .. });
                Seen::File { file: leaf, regular, metacopy: false, redirect: None }
            }
        }))
    }
}

impl Tree {
    fn stands(&self, shape: Shape, file: Option<&OwnedFd>) -> Result<Stands> {
        match self.marks {
            Some(marks) => marks.stands(shape, |mark| file.map_or(Ok(None), |file| value(file, mark))),
            None => Ok(Stands::Itself { regular: false }),
        }
    }
}

fn directory(dir: &OwnedFd, name: &[u8]) -> Result<Arc<Dir>> {
    let fd = opened(dir, name, Way::Across)?;
    let seen = look::of(&fd).call(Call::Statx, || on(Descriptor::Lower).with(look::OPEN))?;
    Ok(Arc::new(Dir { fd, seen: Some(seen) }))
}

pub(crate) fn shape(seen: &look::Seen) -> Shape {
    match seen.kind {
        FileType::Directory => Shape::Directory,
        FileType::RegularFile => Shape::Regular { size: seen.size },
        FileType::CharacterDevice => Shape::CharDevice { major: seen.device.0, minor: seen.device.1 },
        _ => Shape::Other,
    }
}

/// Opens what a layer has there.
pub(crate) fn opened(dir: &OwnedFd, name: &[u8], way: Way) -> Result<OwnedFd> {
    open::by(dir, name, way).map_err(|errno| open::failed(errno, way, Descriptor::Lower, name))
}

/// The value of an attribute, by its whole name.
pub(crate) fn value(file: &OwnedFd, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let c_name = CString::new(name).map_err(|_| Fault::as_if(Errno::EINVAL))?;
    let mut short = [0; PATH];
    Ok(match rustix::fs::fgetxattr(file, c_name.as_c_str(), &mut short) {
        // A value that is longer than a path is neither a path nor a mark.
        Err(rustix::io::Errno::RANGE) => Some(vec![0]),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => None,
        got => {
            let length = got.call(Call::Fgetxattr, || {
                on(Descriptor::File).with(format_args!("{}, <value>, {PATH}", quoted(name)))
            })?;
            Some(short.get(..length).unwrap_or_default().to_vec())
        }
    })
}
