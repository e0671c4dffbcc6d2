//! Sparse maps: old GNU (`S`), and the map that PAX 1.0 puts at the beginning of the body.

use super::blocks::Block;
use super::record::Unplaced;
use super::{Region, number};
use crate::report::{Limit, Malformed};
use tar::{GnuExtSparseHeader, GnuHeader, GnuSparseHeader};

const BROKEN: Unplaced = Unplaced::Malformed(Malformed::SparseMap);

/// A map under construction: ascending, not overlapping, bounded.
#[derive(Clone, Debug)]
pub(super) struct Map {
    regions: Vec<Region>,
    limit: u32,
    /// Regions so far, empty ones included.
    count: u32,
    /// Where the last region ends.
    end: u64,
    /// Bytes in all regions.
    sum: u64,
}

impl Map {
    pub(super) fn new(limit: u32) -> Map {
        Map { regions: Vec::new(), limit, count: 0, end: 0, sum: 0 }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn push(&mut self, offset: u64, length: u64) -> Result<(), Unplaced> {
        let end = offset.checked_add(length).filter(|end| i64::try_from(*end).is_ok()).ok_or(BROKEN)?;
        if offset < self.end {
            return Err(BROKEN);
        }
        if self.count >= self.limit {
            return Err(Unplaced::Limit(Limit::SparseRegions, self.limit));
        }
        self.count += 1;
        self.end = end;
        // Cannot overflow: regions do not overlap and end below 2^63.
        self.sum += length;
        if length > 0 {
            self.regions.push(Region { offset, length });
        }
        Ok(())
    }

    /// The regions of a file of `size` bytes with `stored` bytes of body; `None` if it has no holes.
    pub(super) fn finish(self, size: u64, stored: u64) -> Result<Option<Vec<Region>>, Unplaced> {
        if self.end > size || self.sum != stored {
            return Err(BROKEN);
        }
        Ok((self.sum < size).then_some(self.regions))
    }

    fn push_fields(&mut self, fields: &[GnuSparseHeader]) -> Result<(), Unplaced> {
        // GNU and BSD tar end here too, without looking at what follows.
        for field in fields.iter().take_while(|field| field.offset.first() != Some(&0)) {
            self.push(natural(&field.offset)?, natural(&field.numbytes)?)?;
        }
        Ok(())
    }
}

/// A header field that may not be negative.
fn natural(field: &[u8]) -> Result<u64, Unplaced> {
    let value = number::field(field).map_err(Unplaced::Malformed)?;
    u64::try_from(value).map_err(|_| Unplaced::Malformed(Malformed::NegativeNumber))
}

/// An old GNU sparse file: the start of its map, its size, and whether more of the map follows.
pub(super) struct Old {
    pub(super) map: Map,
    pub(super) size: u64,
    pub(super) extended: bool,
}

impl Old {
    pub(super) fn parse(gnu: &GnuHeader, limit: u32) -> Result<Old, Unplaced> {
        let mut map = Map::new(limit);
        map.push_fields(&gnu.sparse)?;
        Ok(Old { map, size: natural(&gnu.realsize)?, extended: gnu.isextended != [0] })
    }

    pub(super) fn extend(&mut self, block: &Block) -> Result<(), Unplaced> {
        let (sparse, rest) = block.split_at(EXTENDED);
        for field in sparse.as_chunks::<FIELD>().0 {
            if field.first() == Some(&0) {
                break;
            }
            let (offset, length) = field.split_at(FIELD / 2);
            self.map.push(natural(offset)?, natural(length)?)?;
        }
        self.extended = rest.first() != Some(&0);
        Ok(())
    }
}

const FIELD: usize = size_of::<GnuSparseHeader>();
const EXTENDED: usize = std::mem::offset_of!(GnuExtSparseHeader, isextended);

/// The decimal lines at the beginning of a PAX 1.0 sparse file: a count, then offsets and lengths.
pub(super) struct Lines {
    map: Map,
    number: Option<u64>,
    /// Regions yet to come; unknown before the first line.
    missing: Option<u64>,
    /// The offset that waits for its length.
    offset: Option<u64>,
}

impl Lines {
    pub(super) fn new(limit: u32) -> Lines {
        Lines { map: Map::new(limit), number: None, missing: None, offset: None }
    }

    pub(super) fn done(&self) -> bool {
        self.missing == Some(0)
    }

    pub(super) fn into_map(self) -> Map {
        self.map
    }

    /// Takes one block of the body; what follows the last line is padding.
    pub(super) fn feed(&mut self, block: &Block) -> Result<(), Unplaced> {
        for byte in block {
            if self.done() {
                break;
            }
            match byte {
                b'0'..=b'9' => self.digit(byte - b'0')?,
                b'\n' => self.line()?,
                _ => return Err(BROKEN),
            }
        }
        Ok(())
    }

    fn digit(&mut self, digit: u8) -> Result<(), Unplaced> {
        let number = self.number.unwrap_or(0).checked_mul(10).and_then(|number| number.checked_add(digit.into()));
        self.number = Some(number.ok_or(BROKEN)?);
        Ok(())
    }

    fn line(&mut self) -> Result<(), Unplaced> {
        let number = self.number.take().ok_or(BROKEN)?;
        let Some(missing) = self.missing else {
            if number > self.map.limit.into() {
                return Err(Unplaced::Limit(Limit::SparseRegions, self.map.limit));
            }
            self.missing = Some(number);
            return Ok(());
        };
        match self.offset.take() {
            None => self.offset = Some(number),
            Some(offset) => {
                self.map.push(offset, number)?;
                self.missing = missing.checked_sub(1);
            }
        }
        Ok(())
    }
}
