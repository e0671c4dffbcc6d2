//! Files that aufs kept for its hardlinks, in images of engines that used it: `.wh..wh.plnk/NAME`, a pseudo-link, holds the
//! content, and the names in the tree are hardlinks to it.
//!
//! They are kept out of sight: in one nameless file, one behind the other, each followed by its attributes. The first
//! hardlink to one becomes a file with that content, the next ones are links to the one before. Nothing is left of the
//! nameless file, however the run ends. Linking nameless files themselves would take a capability that the helper does
//! not have, and a descriptor for each.

use super::Applier;
use super::create::Spot;
use super::dirs::{Child, NodeId};
use super::files::NewFile;
use super::made;
use super::metadata::{Attributes, Metadata};
use crate::helper::fault::{Attempt, Fault, Result, on};
use crate::helper::feed::Failed;
use crate::helper::path::fold;
use crate::helper::read::entry::{Entry, Reader, Region};
use crate::helper::read::stream::Stream;
use crate::report::{Call, Cause, Descriptor, Limit};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::ops::Range;
use std::os::fd::OwnedFd;

/// `NAME_MAX`.
const LONGEST: usize = 255;

/// The directory, at the top of a layer.
const DIRECTORY: &[u8] = b".wh..wh.plnk";
/// Each content begins at a page, so that holes stay holes.
const PAGE: u64 = 4 << 10;

/// Regions that a link may have copied, on average.
const PER_LINK: u64 = 64;

/// The pseudo-links that are kept out of sight.
#[derive(Default)]
pub(super) struct Plinks {
    /// The nameless file, once there is something to keep.
    file: Option<OwnedFd>,
    end: u64,
    /// Regions that may still be copied out: those that came, and a few with each link. A link is one block of an archive,
    /// which could have a hundred thousand regions copied again and again.
    regions: u64,
    known: BTreeMap<Box<[u8]>, Plink>,
}

/// A file that is kept out of sight for hardlinks to it.
#[derive(Clone)]
struct Plink {
    content: Range<u64>,
    /// Behind the content, in the form of [`encode`].
    attributes: usize,
    regions: u64,
    meta: Metadata,
    /// The last hardlink to it: a batch of its own number tells whether what is known of the name is still that.
    linked: Option<(NodeId, Box<[u8]>, u32)>,
}

/// The name of a file below aufs' directory of hardlinks.
pub(super) fn plnk<'a>(parts: &[&'a [u8]]) -> Option<&'a [u8]> {
    match parts {
        [DIRECTORY, name] => Some(name),
        _ => None,
    }
}

impl Applier<'_> {
    /// Takes a file of aufs' out of sight.
    pub(super) fn keep_plink(
        &mut self,
        mut entry: Entry,
        name: &[u8],
        reader: &mut Reader<Stream>,
    ) -> Result<(), Failed> {
        // It never becomes a name of the file system, which would refuse it.
        if name.len() > LONGEST {
            return Err(Fault::as_if(Errno::ENAMETOOLONG).into());
        }
        let (mut meta, events) = self.policy.metadata(&mut entry)?;
        self.tree.journal.events(events);
        let attributes = encode(&std::mem::take(&mut meta.xattrs));
        let content = self.plinks.room(entry.size, attributes.len())?;
        let whole = || vec![Region { offset: 0, length: entry.size }];
        let mut regions = entry.sparse.take().unwrap_or_else(whole);
        let number = regions.len() as u64;
        self.plinks.regions += number;
        regions.iter_mut().for_each(|region| region.offset += content.start);
        let mut file = NewFile::new(self.plinks.file(&self.tree.root)?, Some(regions));
        while let Some(bytes) = reader.body().map_err(Failed::Reading)? {
            file.write(&self.tree.purse.pay(bytes)?)?;
            self.tree.journal.progress(reader.source_mut().progress());
        }
        let attributes_length = attributes.len();
        file.write_at(&self.tree.purse.pay(attributes)?, content.end)?;
        let known = Plink { content, attributes: attributes_length, regions: number, meta, linked: None };
        self.plinks.known.insert(name.into(), known);
        Ok(())
    }

    /// Makes a hardlink to such a file; false if the target is none.
    pub(super) fn link_plink(&mut self, spot: &Spot<'_>, target: &[u8]) -> Result<bool> {
        if self.plinks.known.is_empty() {
            return Ok(false);
        }
        let Ok(folded) = fold(target, self.options.escaping_names, &self.options.limits) else { return Ok(false) };
        let parts = folded.parts.get(self.options.strip_components as usize..).unwrap_or_default();
        let Some((name, known)) = plnk(parts).and_then(|name| Some((name, self.plinks.known.get(name)?.clone())))
        else {
            return Ok(false);
        };
        match &known.linked {
            Some((dir, known, number)) if self.tree.dirs.child(*dir, known) == Some(Child::Leaf(*number)) => {
                self.link_from(spot, *dir, known, target)?;
            }
            _ => self.make_plink(spot, known)?,
        }
        let number = self.tree.writers.number();
        self.tree.dirs.set_leaf(spot.parent, spot.name, Child::Leaf(number))?;
        if let Some(known) = self.plinks.known.get_mut(name) {
            known.linked = Some((spot.parent, spot.name.into(), number));
        }
        Ok(true)
    }

    /// The first name of such a file.
    fn make_plink(&mut self, spot: &Spot<'_>, known: Plink) -> Result<()> {
        let Plink { content, attributes, regions, mut meta, .. } = known;
        self.plinks.spend(regions).ok_or_else(|| {
            let value = self.options.limits.sparse_regions.into();
            Fault::from(Cause::Limit { limit: Limit::SparseRegions, value })
        })?;
        let from = self.plinks.file(&self.tree.root)?;
        meta.xattrs = read_attributes(&from, content.end, attributes)?;
        let size = content.end - content.start;
        let made = self.make(spot, || made::file(&spot.handle, spot.name, meta.mode))?;
        let mut file = NewFile::new(made, Some(Vec::new()));
        self.tree.copy_content(&from, &mut file, content)?;
        let softened = file.finish(size, &meta, spot.inherit, &self.tree.maker.setter)?;
        self.tree.journal.events(softened);
        self.tree.journal.counts.hardlinks += 1;
        Ok(())
    }
}

impl Plinks {
    /// Where the next content is to be.
    fn room(&mut self, size: u64, attributes: usize) -> Result<Range<u64>> {
        let start = self.end;
        let end = start.checked_add(size).ok_or_else(|| Fault::as_if(Errno::EFBIG))?;
        let full = end.saturating_add(attributes as u64).checked_next_multiple_of(PAGE);
        self.end = full.ok_or_else(|| Fault::as_if(Errno::EFBIG))?;
        Ok(start..end)
    }

    /// `None` if links have had too much copied.
    fn spend(&mut self, regions: u64) -> Option<()> {
        self.regions = (self.regions + PER_LINK).checked_sub(regions)?;
        Some(())
    }

    /// The nameless file.
    fn file(&mut self, root: &OwnedFd) -> Result<OwnedFd> {
        let file = match self.file.take() {
            Some(file) => file,
            None => made::nameless(root)?,
        };
        let again = file.try_clone();
        self.file = Some(file);
        again.map_err(|error| Fault::as_if(Errno::from_raw(error.raw_os_error().unwrap_or_default())))
    }
}

/// Each name, ended by NUL, the length of its value, its value: in memory they could be what all entries may have.
fn encode(attributes: &Attributes) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in attributes {
        bytes.extend_from_slice(name.to_bytes_with_nul());
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        bytes.extend_from_slice(value);
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Option<Attributes> {
    let mut attributes = Attributes::new();
    while !bytes.is_empty() {
        let (name, rest) = bytes.split_at_checked(bytes.iter().position(|byte| *byte == 0)?)?;
        let (length, rest) = rest.get(1..)?.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        attributes.push((CString::new(name).ok()?, value.to_vec()));
        bytes = rest;
    }
    Some(attributes)
}

fn read_attributes(file: &OwnedFd, start: u64, length: usize) -> Result<Attributes> {
    let failed = |errno| Fault::os(errno, Call::Read, on(Descriptor::File).with(format_args!("<data>, {length}")));
    let offset = i64::try_from(start).map_err(|_| failed(Errno::EFBIG))?;
    lseek(file, offset, Whence::SeekSet)
        .call(Call::Lseek, || on(Descriptor::File).with(format_args!("{start}, SEEK_SET")))?;
    let (mut bytes, mut filled) = (vec![0; length], 0);
    while filled < length {
        match nix::unistd::read(file, &mut bytes[filled..]) {
            Ok(0) => return Err(failed(Errno::EIO)),
            Ok(n) => filled += n,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    decode(&bytes).ok_or_else(|| failed(Errno::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_04_attributes_of_a_hidden_file_come_back() {
        let attributes: Attributes =
            vec![(c"user.a".into(), b"\0x\0".into()), (c"user.b".into(), Vec::new()), (c"x".into(), vec![0; 70_000])];
        assert_eq!(decode(&encode(&attributes)), Some(attributes.clone()));
        assert_eq!(decode(&[]), Some(Attributes::new()));
        let bytes = encode(&attributes);
        for end in 1..40 {
            assert_eq!(decode(&bytes[..bytes.len() - end]), None, "{end} bytes are missing");
        }
    }

    #[test]
    fn rule_04_only_files_at_the_top_of_a_layer_are_hidden() {
        let of = |name: &'static str| plnk(&name.split('/').map(str::as_bytes).collect::<Vec<_>>());
        assert_eq!(of(".wh..wh.plnk/1.2"), Some(&b"1.2"[..]));
        for name in [".wh..wh.plnk", "a/.wh..wh.plnk/1.2", ".wh..wh.plnk/1/2", ".wh..wh.orph/1.2"] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
