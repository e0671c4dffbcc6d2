//! Regular files: created exclusively, written from the decoder's own chunks, dressed by descriptor.

use super::made::{self, Inherit};
use super::metadata::{Metadata, Setter, Softened};
use super::purse::Paid;
use super::remove::Remover;
use crate::helper::fault::{Attempt, Fault, Result, at, on};
use crate::helper::open;
use crate::helper::read::entry::Region;
use crate::inode;
use crate::options::Mounts;
use crate::report::{Call, Cause, Descriptor, Refusal};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, fstatat};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

/// A file being written.
pub(crate) struct NewFile {
    file: OwnedFd,
    /// Regions of a sparse file still to be written, the next one last.
    regions: Option<Vec<Region>>,
}

/// What it takes to make a file where something may be in the way; for any thread.
#[derive(Clone)]
pub(crate) struct Maker {
    pub(crate) setter: Setter,
    pub(crate) remover: Remover,
    pub(crate) no_overwrite_dir_nondir: bool,
}

/// How often room is made for one name: somebody else may be putting things there.
pub(crate) const TRIES: u32 = 16;

impl Maker {
    /// Makes something that is not a directory, making room for it where something is in the way.
    pub(crate) fn make<T>(&self, dir: &OwnedFd, name: &[u8], mut make: impl FnMut() -> Result<T>) -> Result<T> {
        for _ in 1..TRIES {
            match make() {
                Err(fault) if fault.errno() == Some(Errno::EEXIST) => self.make_room(dir, name)?,
                result => return result,
            }
        }
        make()
    }

    /// Rule 9: removes what is in the way of something that is not a directory.
    pub(crate) fn make_room(&self, dir: &OwnedFd, name: &[u8]) -> Result<()> {
        if self.no_overwrite_dir_nondir && stat(dir, name)?.is_some_and(|stat| inode::is_directory(&stat)) {
            return Err(self.conflict(dir, name));
        }
        self.remover.remove(dir, name).map(drop)
    }

    /// The error of `no_overwrite_dir_nondir`, but for what is mounted and left out.
    pub(crate) fn conflict(&self, dir: &OwnedFd, name: &[u8]) -> Fault {
        if self.remover.mounts == Mounts::Skip && open::is_mount(dir, name) {
            return Cause::MountPoint { directory: true }.into();
        }
        Cause::Refused(Refusal::DirectoryConflict).into()
    }

    pub(crate) fn create(
        &self,
        dir: &OwnedFd,
        name: &[u8],
        mode: u32,
        regions: Option<Vec<Region>>,
    ) -> Result<NewFile> {
        self.make(dir, name, || made::file(dir, name, mode)).map(|file| NewFile::new(file, regions))
    }
}

/// What is there; never following a link.
pub(crate) fn stat(dir: &OwnedFd, name: &[u8]) -> Result<Option<FileStat>> {
    match fstatat(dir, OsStr::from_bytes(name), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => {
            Err(errno).call(Call::Newfstatat, || at(Descriptor::Directory, name).with("<stat>, AT_SYMLINK_NOFOLLOW"))
        }
    }
}

impl NewFile {
    /// A file whose stored bytes go to these regions, or from its beginning on.
    pub(crate) fn new(file: OwnedFd, regions: Option<Vec<Region>>) -> NewFile {
        let regions = regions.map(|mut regions| {
            regions.reverse();
            regions
        });
        NewFile { file, regions }
    }

    /// Leaves the file without what the archive has for it.
    pub(crate) fn empty(&mut self) {
        self.regions = None;
    }

    /// Writes the next stored bytes.
    pub(crate) fn write<B: AsRef<[u8]>>(&mut self, bytes: &Paid<B>) -> Result<()> {
        let Some(regions) = &mut self.regions else { return write_all(&self.file, bytes) };
        let mut rest = &bytes[..];
        while let Some(region) = regions.last_mut().filter(|_| !rest.is_empty()) {
            let n = rest.len().min(usize::try_from(region.length).unwrap_or(usize::MAX));
            write_all_at(&self.file, &rest[..n], region.offset)?;
            rest = &rest[n..];
            region.offset += n as u64;
            region.length -= n as u64;
            if region.length == 0 {
                regions.pop();
            }
        }
        Ok(())
    }

    /// Writes content at its place in a sparse file.
    pub(crate) fn write_at<B: AsRef<[u8]>>(&mut self, bytes: &Paid<B>, offset: u64) -> Result<()> {
        write_all_at(&self.file, bytes, offset)
    }

    /// Sets the length, where holes end the file, and the metadata.
    pub(crate) fn finish(self, size: u64, meta: &Metadata, inherit: Inherit, setter: &Setter) -> Result<Softened> {
        if self.regions.is_some() {
            let length = i64::try_from(size).map_err(|_| Fault::as_if(Errno::EFBIG))?;
            nix::unistd::ftruncate(&self.file, length).call(Call::Ftruncate, || on(Descriptor::File).with(size))?;
        }
        setter.new_file(&self.file, meta, inherit)
    }
}

fn write_all(file: &OwnedFd, bytes: &[u8]) -> Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match nix::unistd::write(file, rest) {
            Ok(n) => rest = &rest[n..],
            Err(Errno::EINTR) => {}
            Err(errno) => {
                let arguments = on(Descriptor::File).with(format_args!("<data>, {}", rest.len()));
                return Err(Fault::os(errno, Call::Write, arguments));
            }
        }
    }
    Ok(())
}

fn write_all_at(file: &OwnedFd, bytes: &[u8], offset: u64) -> Result<()> {
    let mut at = i64::try_from(offset).map_err(|_| Fault::as_if(Errno::EFBIG))?;
    let mut rest = bytes;
    while !rest.is_empty() {
        match nix::sys::uio::pwrite(file, rest, at) {
            Ok(n) => {
                rest = &rest[n..];
                at = at.saturating_add(i64::try_from(n).unwrap_or(i64::MAX));
            }
            Err(Errno::EINTR) => {}
            Err(errno) => {
                let arguments = on(Descriptor::File).with(format_args!("<data>, {}, {at}", rest.len()));
                return Err(Fault::os(errno, Call::Pwrite64, arguments));
            }
        }
    }
    Ok(())
}
