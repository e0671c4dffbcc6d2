//! The four ways to write a file with holes.

use super::header::{BLOCK, Dialect, number, padded};

/// How a sparse file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// GNU type `S`, with extension blocks.
    OldGnu,
    /// PAX 0.0: one record per number.
    Pax00,
    /// PAX 0.1: one record for the map.
    Pax01,
    /// PAX 1.0: the map before the content.
    Pax10,
}

/// A sparse file: its pieces and its size when expanded.
#[derive(Clone)]
pub struct Sparse {
    pub format: Format,
    pub map: Vec<(u64, u64)>,
    pub real_size: u64,
}

impl Sparse {
    /// The map for these pieces, ended as GNU tar does where the file ends in a hole.
    pub fn new(format: Format, pieces: &[(u64, &[u8])], real_size: u64) -> Self {
        let mut map: Vec<_> = pieces.iter().map(|&(at, data)| (at, data.len() as u64)).collect();
        if map.last().is_none_or(|&(at, len)| at + len < real_size) {
            map.push((real_size, 0));
        }
        Sparse { format, map, real_size }
    }

    /// What the PAX header says.
    pub fn records(&self, name: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let text = |n: u64| n.to_string().into_bytes();
        let count = text(self.map.len() as u64);
        match self.format {
            Format::OldGnu => Vec::new(),
            Format::Pax00 => {
                let mut out = vec![record("size", text(self.real_size)), record("numblocks", count)];
                for &(at, len) in &self.map {
                    out.extend([record("offset", text(at)), record("numbytes", text(len))]);
                }
                out
            }
            Format::Pax01 => vec![
                record("size", text(self.real_size)),
                record("numblocks", count),
                record("name", name.to_vec()),
                record("map", self.joined(",")),
            ],
            Format::Pax10 => vec![
                record("major", text(1)),
                record("minor", text(0)),
                record("name", name.to_vec()),
                record("realsize", text(self.real_size)),
            ],
        }
    }

    fn joined(&self, separator: &str) -> Vec<u8> {
        let numbers: Vec<_> = self.map.iter().flat_map(|&(at, len)| [at.to_string(), len.to_string()]).collect();
        numbers.join(separator).into_bytes()
    }

    /// The name in the ordinary header: a decoy where the PAX record has the real one.
    pub fn header_name(&self, name: &[u8]) -> Vec<u8> {
        let decoy = matches!(self.format, Format::Pax01 | Format::Pax10);
        if decoy { [b"./GNUSparseFile.1/", name].concat() } else { name.to_vec() }
    }

    /// What stands before the pieces in the body (PAX 1.0 has its map there).
    pub fn body_head(&self) -> Vec<u8> {
        if self.format != Format::Pax10 {
            return Vec::new();
        }
        let map = [format!("{}\n", self.map.len()).into_bytes(), self.joined("\n"), b"\n".to_vec()].concat();
        padded(&map)
    }

    /// The magic that the format needs.
    pub fn dialect(&self, otherwise: Dialect) -> Dialect {
        if self.format == Format::OldGnu { Dialect::Gnu } else { otherwise }
    }

    /// Old GNU: what goes into the header, as patches.
    pub fn patches(&self) -> Vec<(usize, Vec<u8>)> {
        if self.format != Format::OldGnu {
            return Vec::new();
        }
        let (first, more) = self.map.split_at(self.map.len().min(4));
        let extended = vec![u8::from(!more.is_empty())];
        vec![(386, pairs(first)), (482, extended), (483, number(self.real_size.into(), 12, false))]
    }

    /// Old GNU: the blocks after the header, 21 pairs each.
    pub fn extension_blocks(&self) -> Vec<u8> {
        if self.format != Format::OldGnu {
            return Vec::new();
        }
        let chunks: Vec<_> = self.map.get(4..).unwrap_or(&[]).chunks(21).collect();
        let mut out = Vec::new();
        for (i, chunk) in chunks.iter().enumerate() {
            let mut block = pairs(chunk);
            block.resize(BLOCK, 0);
            block[504] = u8::from(i + 1 < chunks.len());
            out.extend(block);
        }
        out
    }
}

fn record(key: &str, value: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    (format!("GNU.sparse.{key}").into_bytes(), value)
}

fn pairs(map: &[(u64, u64)]) -> Vec<u8> {
    map.iter().flat_map(|&(at, len)| [number(at.into(), 12, false), number(len.into(), 12, false)].concat()).collect()
}
