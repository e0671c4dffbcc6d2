//! `docs/pack-semantics.md`: tree → archive, rule by rule, and the laws. `index.txt` says which test holds what.
//!
//! `UNTAR_PACK_TREES` (24) random trees are packed for the laws, the first of seed `UNTAR_PACK_SEED` (1).

mod ahead;
mod asynchronous;
mod beneath;
mod breach;
pub mod cli;
mod copy;
mod cut;
mod failure;
pub mod generate;
mod hardlinks;
pub mod hostile;
mod laws;
mod live;
mod metadata;
mod mounts;
mod named;
mod names;
mod readers;
mod sparse;
mod walk;

use std::path::Path;

use untar_in_root::{Error, EventKind, Pack, PackOptions, Packed, Untar};

use crate::support::run::program;
use crate::support::scratch::Scratch;

/// A packing of this directory, still to be started.
pub fn packer(root: &Path, change: impl FnOnce(&mut PackOptions)) -> Pack {
    let mut pack = Pack::open(root).expect("root").program(program());
    change(pack.options_mut());
    pack
}

/// Packs a directory.
pub fn try_pack(root: &Path, change: impl FnOnce(&mut PackOptions)) -> Result<(Vec<u8>, Packed), (Error, Vec<u8>)> {
    let mut archive = Vec::new();
    match packer(root, change).to(&mut archive) {
        Ok(packed) => Ok((archive, packed)),
        Err(error) => Err((error, archive)),
    }
}

#[track_caller]
pub fn pack(root: &Path, change: impl FnOnce(&mut PackOptions)) -> (Vec<u8>, Packed) {
    try_pack(root, change).unwrap_or_else(|(error, _)| panic!("packing failed: {error}"))
}

/// These paths of it.
#[track_caller]
pub fn pack_paths(root: &Path, paths: &[&str], change: impl FnOnce(&mut PackOptions)) -> Vec<u8> {
    let mut archive = Vec::new();
    let pack = paths.iter().fold(packer(root, change), |pack, path| pack.path(path));
    pack.to(&mut archive).unwrap_or_else(|error| panic!("packing {paths:?} failed: {error}"));
    archive
}

/// As it is by default.
pub fn plain(_: &mut PackOptions) {}

/// The events, without their entries.
pub fn events(packed: &Packed) -> Vec<EventKind> {
    packed.events.iter().map(|event| event.what.clone()).collect()
}

/// Unpacks it with ours, by default; what is there then must be removed by the caller.
#[track_caller]
pub fn unpacked(archive: &[u8], scratch: &Scratch, name: &str) -> std::path::PathBuf {
    let dest = scratch.dir(name);
    let untar = Untar::open(&dest).expect("destination").program(program());
    untar.apply(archive).unwrap_or_else(|error| panic!("unpacking failed: {error}"));
    dest
}

/// One entry as another reader has it: the `tar` crate's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub name: Vec<u8>,
    pub kind: u8,
    pub link: Vec<u8>,
    pub mode: u32,
    pub owner: (u64, u64),
    pub size: u64,
    pub records: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn record(&self, key: &str) -> Option<&[u8]> {
        self.records.iter().find(|(name, _)| name == key).map(|(_, value)| &value[..])
    }
}

/// All entries of it, in order; records are read here, since the crate's are lines.
#[track_caller]
pub fn entries(archive: &[u8]) -> Vec<Seen> {
    use std::io::Read;
    let mut archive = tar::Archive::new(archive);
    let mut records = Vec::new();
    let mut all = Vec::new();
    for entry in archive.entries().expect("an archive").raw(true) {
        let mut entry = entry.expect("an entry");
        let header = entry.header().clone();
        let mut body = Vec::new();
        entry.read_to_end(&mut body).expect("a body");
        if header.entry_type().as_byte() == b'x' {
            records = parse(&body);
            continue;
        }
        let record =
            |key: &str| records.iter().find(|(name, _)| name == key).map(|(_, value): &(_, Vec<u8>)| value.clone());
        all.push(Seen {
            name: record("path").or(record("GNU.sparse.name")).unwrap_or_else(|| header.path_bytes().into_owned()),
            kind: header.entry_type().as_byte(),
            link: record("linkpath").or(header.link_name_bytes().map(|link| link.into_owned())).unwrap_or_default(),
            mode: header.mode().expect("a mode"),
            owner: (header.uid().expect("an id"), header.gid().expect("an id")),
            size: header.entry_size().expect("a size"),
            records: std::mem::take(&mut records),
            body,
        });
    }
    all
}

/// `LENGTH KEY=VALUE\n`, again and again.
fn parse(mut body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let blank = body.iter().position(|byte| *byte == b' ').expect("a length");
        let length: usize = std::str::from_utf8(&body[..blank]).expect("digits").parse().expect("a number");
        let (record, rest) = body.split_at(length);
        assert_eq!(record.last(), Some(&b'\n'));
        let record = &record[blank + 1..length - 1];
        let equals = record.iter().position(|byte| *byte == b'=').expect("a key");
        records.push((String::from_utf8_lossy(&record[..equals]).into_owned(), record[equals + 1..].to_vec()));
        body = rest;
    }
    records
}

/// The names of all entries, with blanks between them.
#[track_caller]
pub fn names_of(archive: &[u8]) -> String {
    let names: Vec<_> = entries(archive).iter().map(|seen| String::from_utf8_lossy(&seen.name).into_owned()).collect();
    names.join(" ")
}
