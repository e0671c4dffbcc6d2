//! What `benches/parts.rs` and `benches/count` call; not part of the interface.

use crate::helper::apply::dirs::{Child, Missing, NodeId};
use crate::helper::apply::policy::Policy;
use crate::helper::apply::writers::NO_BATCH;
use crate::helper::fuzz::{Pieces, dirs_of, leave, make, open_directory};
use crate::helper::read::entry::{Entry, Reader, Strictness};
use crate::helper::rights::Namespace;
use crate::options::{Limits, Options};
use bytes::Bytes;

/// Reads an archive in the chunks that the decoder makes; the number of its entries.
pub fn bench_reader(tar: &'static [u8]) -> usize {
    let mut reader = reader(tar);
    let mut entries = 0;
    while reader.next().expect("a good archive").is_some() {
        entries += 1;
    }
    entries
}

fn reader(tar: &'static [u8]) -> Reader<Pieces> {
    let pieces = Pieces(Bytes::from_static(tar), 256 << 10);
    Reader::new(pieces, Limits::default(), Strictness::default())
}

/// The entries of an archive, as the reader gives them.
#[allow(missing_debug_implementations)]
pub struct BenchEntries(Vec<Entry>);

impl BenchEntries {
    /// Reads all of them.
    pub fn read(tar: &'static [u8]) -> BenchEntries {
        let mut reader = reader(tar);
        let entries = std::iter::from_fn(|| reader.next().expect("a good archive"));
        BenchEntries(entries.collect())
    }

    /// Asks what each is to become; how many set-id bits or attributes were left out.
    pub fn rule_on(&mut self) -> usize {
        let policy = Policy::new(&Options::default(), (0, 0), Namespace::of(None), false);
        let ruled = |entry| policy.metadata(entry).expect("a good entry").1.len();
        self.0.iter_mut().map(ruled).sum()
    }
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

    /// Makes so many directories in the first one.
    pub fn make(&mut self, count: u32) {
        for number in 0..count {
            let name = format!("{number:08x}");
            self.0
                .resolve(NodeId::ROOT, &[name.as_bytes()], Missing::Make, &mut make, &mut leave)
                .expect("a directory");
        }
    }

    /// Takes note of so many files in the root: no system call.
    pub fn note_files(&mut self, count: u32) {
        for number in 0..count {
            self.0.set_leaf(NodeId::ROOT, &number.to_be_bytes(), Child::Leaf(NO_BATCH)).expect("room");
        }
    }
}
