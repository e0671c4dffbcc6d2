//! What `benches/parts.rs` calls; not part of the interface.

use crate::helper::apply::dirs::{Child, Missing, NodeId};
use crate::helper::apply::writers::NO_BATCH;
use crate::helper::fuzz::{Pieces, dirs_of, leave, make, open_directory};
use crate::helper::read::entry::{Reader, Strictness};
use crate::options::Limits;
use bytes::Bytes;

/// Reads an archive in the chunks that the decoder makes; the number of its entries.
pub fn bench_reader(tar: &'static [u8]) -> usize {
    let pieces = Pieces(Bytes::from_static(tar), 256 << 10);
    let mut reader = Reader::new(pieces, Limits::default(), Strictness::default());
    let mut entries = 0;
    while reader.next().expect("a good archive").is_some() {
        entries += 1;
    }
    entries
}

/// Directories below a scratch directory, as a run knows them.
#[allow(missing_debug_implementations)]
pub struct BenchDirs(crate::helper::apply::dirs::Dirs);

impl BenchDirs {
    /// Begins with a chain of directories known and open: `d0/d1/…`.
    pub fn new(scratch: &std::path::Path, depth: usize) -> BenchDirs {
        let mut dirs = dirs_of(&open_directory(scratch));
        let names: Vec<String> = (0..depth).map(|n| format!("d{n}")).collect();
        let parts: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
        dirs.resolve(NodeId::ROOT, &parts, Missing::Make, &mut make, &mut leave).expect("directories");
        BenchDirs(dirs)
    }

    /// Resolves a path that is known: no system call.
    pub fn resolve(&mut self, parts: &[&[u8]]) -> bool {
        self.0.resolve(NodeId::ROOT, parts, Missing::Nothing, &mut make, &mut leave).expect("a path").is_some()
    }

    /// Takes note of so many files in the root: no system call.
    pub fn note_files(&mut self, count: u32) {
        for number in 0..count {
            self.0.set_leaf(NodeId::ROOT, &number.to_be_bytes(), Child::Leaf(NO_BATCH)).expect("room");
        }
    }
}
