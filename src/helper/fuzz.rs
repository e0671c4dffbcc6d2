//! What `fuzz/` calls; not part of the interface.

use super::entry::{Entry, Reader, Source, Strictness};
use super::fault::{Fault, Result};
use crate::Limits;
use bytes::Bytes;

/// Reads `data` as an archive, twice in different chunks, and panics where the two differ.
///
/// The first byte chooses how; check sums are made right first, since no fuzzer guesses them.
pub fn fuzz_reader(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let mut bytes = data.to_vec();
    bytes.as_chunks_mut::<512>().0.iter_mut().for_each(seal);
    let strictness = Strictness { sizes: choice & 1 != 0, pax_globals: choice & 2 != 0 };
    let bytes = Bytes::from(bytes);
    let whole = run(&bytes, usize::MAX, strictness);
    assert_eq!(whole, run(&bytes, 1 + usize::from(choice >> 2) * 7, strictness));
}

/// Only blocks with a magic, so that bodies, the end and V7 headers stay as they are.
fn seal(block: &mut [u8; 512]) {
    if block[257..262] != *b"ustar" {
        return;
    }
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

struct Pieces(Bytes, usize);

impl Source for Pieces {
    fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        let length = self.0.len().min(self.1);
        Ok((length > 0).then(|| self.0.split_to(length)))
    }
}

fn run(bytes: &Bytes, size: usize, strictness: Strictness) -> (Vec<Entry>, Vec<u8>, Option<Fault>) {
    let mut reader = Reader::new(Pieces(bytes.clone(), size), Limits::default(), strictness);
    let (mut entries, mut content) = (Vec::new(), Vec::new());
    let fault = read(&mut reader, &mut entries, &mut content).err();
    let _ = reader.current();
    (entries, content, fault)
}

fn read(reader: &mut Reader<Pieces>, entries: &mut Vec<Entry>, content: &mut Vec<u8>) -> Result<()> {
    while let Some(entry) = reader.next()? {
        while let Some(piece) = reader.body()? {
            content.extend_from_slice(&piece);
        }
        entries.push(entry);
    }
    reader.finish().map(drop)
}
