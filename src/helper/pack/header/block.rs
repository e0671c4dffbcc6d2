//! One header block, field by field.

use std::mem::offset_of;
use std::ops::Range;
use tar::UstarHeader;

pub(super) const BYTES: usize = 512;

pub(super) const NAME: Range<usize> = offset_of!(UstarHeader, name)..offset_of!(UstarHeader, mode);
pub(super) const MODE: Range<usize> = offset_of!(UstarHeader, mode)..offset_of!(UstarHeader, uid);
pub(super) const UID: Range<usize> = offset_of!(UstarHeader, uid)..offset_of!(UstarHeader, gid);
pub(super) const GID: Range<usize> = offset_of!(UstarHeader, gid)..offset_of!(UstarHeader, size);
pub(super) const SIZE: Range<usize> = offset_of!(UstarHeader, size)..offset_of!(UstarHeader, mtime);
pub(super) const MTIME: Range<usize> = offset_of!(UstarHeader, mtime)..offset_of!(UstarHeader, cksum);
const CHECKSUM: Range<usize> = offset_of!(UstarHeader, cksum)..offset_of!(UstarHeader, typeflag);
const FLAG: Range<usize> = offset_of!(UstarHeader, typeflag)..offset_of!(UstarHeader, linkname);
pub(super) const LINK: Range<usize> = offset_of!(UstarHeader, linkname)..offset_of!(UstarHeader, magic);
const MAGIC: Range<usize> = offset_of!(UstarHeader, magic)..offset_of!(UstarHeader, uname);
pub(super) const MAJOR: Range<usize> = offset_of!(UstarHeader, dev_major)..offset_of!(UstarHeader, dev_minor);
pub(super) const MINOR: Range<usize> = offset_of!(UstarHeader, dev_minor)..offset_of!(UstarHeader, prefix);
pub(super) const PREFIX: Range<usize> = offset_of!(UstarHeader, prefix)..offset_of!(UstarHeader, pad);

/// The content of a field of text: printable or not, but below 128 and without NUL.
pub(super) type Text<'a> = &'a [u8];

/// A block under construction at the end of what is written, all NUL at first.
pub(super) struct Block<'o>(&'o mut [u8]);

impl<'o> Block<'o> {
    pub(super) fn begin(out: &'o mut Vec<u8>, flag: u8) -> Block<'o> {
        let start = out.len();
        out.resize(start + BYTES, 0);
        let mut block = Block(&mut out[start..]);
        block.put(FLAG, &[flag]);
        block.put(MAGIC, b"ustar\x0000");
        block
    }

    /// As much of it as there is room for. Readers take a file for a directory if its cut name ends in `/`: as in Go,
    /// a NUL is there instead.
    pub(super) fn text(mut self, field: Range<usize>, text: Text<'_>) -> Block<'o> {
        let room = field.len();
        let cut = text.get(..room).unwrap_or(text);
        self.put(field.clone(), cut);
        if text.len() > room && cut.ends_with(b"/") {
            let end = cut.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
            self.put(field.start + end..field.end, &[0]);
        }
        self
    }

    /// Leading zeros and one NUL. What does not fit is written as 0, and a record says it.
    pub(super) fn octal(mut self, field: Range<usize>, value: u64) -> Block<'o> {
        let value = if fits(field.len(), value) { value } else { 0 };
        self.digits(field.start..field.end - 1, value);
        self
    }

    /// The check sum, which counts itself as blanks.
    pub(super) fn end(mut self) {
        self.put(CHECKSUM, &[b' '; CHECKSUM.end - CHECKSUM.start]);
        // No overflow, and no check for one: so the compiler adds many at once.
        let sum = self.0.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        self.digits(CHECKSUM.start..CHECKSUM.end - 2, sum.into());
        self.put(CHECKSUM.end - 2..CHECKSUM.end, b"\0 ");
    }

    fn digits(&mut self, field: Range<usize>, mut value: u64) {
        for digit in self.0.get_mut(field).unwrap_or_default().iter_mut().rev() {
            *digit = b'0' | u8::try_from(value & 7).unwrap_or(0);
            value >>= 3;
        }
    }

    /// At the beginning of the field, which it fits into.
    fn put(&mut self, field: Range<usize>, bytes: &[u8]) {
        if let Some(to) = self.0.get_mut(field).and_then(|field| field.get_mut(..bytes.len())) {
            to.copy_from_slice(bytes);
        }
    }
}

/// Whether a number can be written into a field of so many bytes.
pub(super) fn fits(field: usize, value: u64) -> bool {
    value >> (3 * (field - 1)) == 0
}
