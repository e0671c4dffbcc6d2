//! The names of one directory, in the order of their bytes, in one piece of memory.

use crate::helper::fault::{Attempt, Result, on};
use crate::report::{Call, Descriptor};
use rustix::fs::{FileType, RawDir};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

/// One of them; its bytes are the listing's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    start: usize,
    length: u16,
    /// What the directory says that it is, which may be that it does not know.
    pub(crate) kind: FileType,
    /// Only a directory that lies below this one has it.
    pub(crate) below: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Listing {
    bytes: Vec<u8>,
    names: Vec<Name>,
}

/// Room for what one call tells.
const ROOM: usize = 64 << 10;

impl Listing {
    /// A single name, of which nothing is known.
    pub(crate) fn of_one(name: &[u8]) -> Listing {
        let mut listing = Listing::default();
        listing.add(name, FileType::Unknown);
        listing
    }

    /// Reads a directory.
    pub(crate) fn read(dir: &OwnedFd) -> Result<Listing> {
        let mut listing = Listing::default();
        let mut room = Vec::with_capacity(ROOM);
        room.resize_with(ROOM, MaybeUninit::uninit);
        let mut entries = RawDir::new(dir, &mut room);
        while let Some(entry) = entries.next() {
            let entry =
                entry.call(Call::Getdents64, || on(Descriptor::Directory).with(format_args!("<entries>, {ROOM}")))?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => listing.add(name, entry.file_type()),
            }
        }
        let Listing { bytes, names } = &mut listing;
        names.sort_unstable_by(|a, b| slice(bytes, *a).cmp(slice(bytes, *b)));
        Ok(listing)
    }

    pub(crate) fn add(&mut self, name: &[u8], kind: FileType) {
        // No component is longer than a kilobyte on any file system.
        let Ok(length) = u16::try_from(name.len()) else { return };
        self.names.push(Name { start: self.bytes.len(), length, kind, below: false });
        self.bytes.extend_from_slice(name);
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Name> {
        self.names.iter().copied()
    }

    /// Adds the names that only a directory below has.
    pub(crate) fn add_below(&mut self, below: &Listing) {
        let first = self.bytes.len();
        self.bytes.extend_from_slice(&below.bytes);
        let moved = |name: &Name| Name { start: name.start + first, below: true, ..*name };
        self.names.extend(below.names.iter().map(moved));
        let Listing { bytes, names } = self;
        names.sort_by(|a, b| slice(bytes, *a).cmp(slice(bytes, *b)).then(a.below.cmp(&b.below)));
        names.dedup_by(|b, a| slice(bytes, *a) == slice(bytes, *b));
    }

    pub(crate) fn get(&self, at: usize) -> Option<Name> {
        self.names.get(at).copied()
    }

    pub(crate) fn bytes(&self, name: Name) -> &[u8] {
        slice(&self.bytes, name)
    }
}

fn slice(bytes: &[u8], name: Name) -> &[u8] {
    bytes.get(name.start..name.start + usize::from(name.length)).unwrap_or_default()
}
