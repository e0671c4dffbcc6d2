//! One header block: its check sum, its format, its fields.

use super::blocks::Block;
use super::number;
use crate::report::Malformed;
use std::mem::offset_of;
use std::ops::Range;
use tar::{GnuHeader, Header, OldHeader, UstarHeader};

const CHECKSUM: Range<usize> = offset_of!(OldHeader, cksum)..offset_of!(OldHeader, linkflag);
const MAGIC: Range<usize> = offset_of!(UstarHeader, magic)..offset_of!(UstarHeader, version);
const DEV_MAJOR: Range<usize> = offset_of!(UstarHeader, dev_major)..offset_of!(UstarHeader, dev_minor);
const DEV_MINOR: Range<usize> = offset_of!(UstarHeader, dev_minor)..offset_of!(UstarHeader, prefix);
const PREFIX: Range<usize> = offset_of!(UstarHeader, prefix)..offset_of!(UstarHeader, pad);

// star, which the `tar` crate does not know: a shorter prefix, times behind it, a trailer.
const STAR_PREFIX: Range<usize> = 345..476;
const STAR_ATIME: Range<usize> = 476..488;
const STAR_CTIME: Range<usize> = 488..500;
const STAR_TRAILER: Range<usize> = 508..512;

/// The numbers of a header, with what is needed to find its names.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) flag: u8,
    pub(super) mode: u32,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) atime: Option<i64>,
    pub(super) device: (i64, i64),
    prefix: Range<usize>,
}

enum Format {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl Fields {
    /// Checks the block and reads its numbers; all of them, whatever the type, as Go does.
    pub(super) fn parse(block: &Block) -> Result<Fields, Malformed> {
        check(block)?;
        let old = Header::from_byte_slice(block).as_old();
        let [flag] = old.linkflag;
        let mut fields = Fields {
            flag,
            mode: (number::field(&old.mode)? & 0o7777) as u32,
            uid: number::field(&old.uid)?,
            gid: number::field(&old.gid)?,
            size: u64::try_from(number::field(&old.size)?).map_err(|_| Malformed::NegativeNumber)?,
            mtime: number::field(&old.mtime)?,
            atime: None,
            device: (0, 0),
            prefix: 0..0,
        };
        fields.extend(block)?;
        Ok(fields)
    }

    /// What only the formats after V7 have.
    fn extend(&mut self, block: &Block) -> Result<(), Malformed> {
        match format(block) {
            Format::V7 => return Ok(()),
            Format::Ustar => self.prefix = PREFIX,
            Format::Star => {
                self.prefix = STAR_PREFIX;
                self.atime = optional(&block[STAR_ATIME])?;
                optional(&block[STAR_CTIME])?;
            }
            Format::Gnu => match gnu_times(block) {
                Ok(atime) => self.atime = atime,
                // Go before 1.8 wrote a ustar prefix over the times of GNU headers.
                Err(_) if text(&block[PREFIX]).is_ascii() => self.prefix = PREFIX,
                Err(_) => {}
            },
        }
        self.device = (number::field(&block[DEV_MAJOR])?, number::field(&block[DEV_MINOR])?);
        Ok(())
    }

    /// The name in the block, with its prefix.
    pub(super) fn name(&self, block: &Block) -> Vec<u8> {
        joined(block, self.prefix.clone())
    }
}

/// The flag and the name of a block whose numbers are none.
pub(super) fn flag_and_name(block: &Block) -> (u8, Vec<u8>) {
    let [flag] = Header::from_byte_slice(block).as_old().linkflag;
    let prefix = match format(block) {
        Format::Ustar => PREFIX,
        Format::Star => STAR_PREFIX,
        Format::V7 | Format::Gnu => 0..0,
    };
    (flag, joined(block, prefix))
}

fn joined(block: &Block, prefix: Range<usize>) -> Vec<u8> {
    let name = text(&Header::from_byte_slice(block).as_old().name);
    match text(block.get(prefix).unwrap_or_default()) {
        [] => name.to_vec(),
        prefix => [prefix, name].join(&b'/'),
    }
}

/// The link target in the block.
pub(super) fn link(block: &Block) -> Vec<u8> {
    text(&Header::from_byte_slice(block).as_old().linkname).to_vec()
}

/// The GNU view of the block, if it is one.
pub(super) fn gnu(block: &Block) -> Option<&GnuHeader> {
    Header::from_byte_slice(block).as_gnu()
}

/// What is before the first NUL.
pub(super) fn text(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or_default()
}

fn format(block: &Block) -> Format {
    match &block[MAGIC] {
        b"ustar\0" if &block[STAR_TRAILER] == b"tar\0" => Format::Star,
        b"ustar\0" => Format::Ustar,
        _ if gnu(block).is_some() => Format::Gnu,
        _ => Format::V7,
    }
}

/// The access time of a GNU header, if both its times are good.
fn gnu_times(block: &Block) -> Result<Option<i64>, Malformed> {
    let Some(gnu) = gnu(block) else { return Ok(None) };
    optional(&gnu.ctime)?;
    optional(&gnu.atime)
}

/// A number that may be left out.
fn optional(field: &[u8]) -> Result<Option<i64>, Malformed> {
    match field.first() {
        None | Some(0) => Ok(None),
        Some(_) => number::field(field).map(Some),
    }
}

/// The sum is of unsigned bytes by the standard, of signed ones by old Sun tars; the field itself
/// counts as spaces.
pub(super) fn check(block: &Block) -> Result<(), Malformed> {
    let stored = number::octal(&block[CHECKSUM]).map_err(|_| Malformed::Checksum)?;
    let blank = CHECKSUM.len() as i64 * i64::from(b' ');
    let unsigned = i64::from(sum(block)) - i64::from(sum(&block[CHECKSUM])) + blank;
    if stored == unsigned {
        return Ok(());
    }
    let signed = unsigned - 256 * (high(block) - high(&block[CHECKSUM]));
    if stored == signed { Ok(()) } else { Err(Malformed::Checksum) }
}

/// Wrapping only to be vectorised: overflow checks are on in release builds too.
fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum: u32, byte| sum.wrapping_add(u32::from(*byte)))
}

/// How many bytes are negative as signed ones.
fn high(bytes: &[u8]) -> i64 {
    bytes.iter().filter(|byte| **byte >= 0x80).count() as i64
}
