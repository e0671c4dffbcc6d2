//! Random headers, most of them near a boundary.

use crate::helper::pack::header::{Header, Unwritable};
use crate::helper::read::entry::Time;
use crate::report::EntryKind;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// A header that owns what it has.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: Time,
    pub(super) device: Option<(u32, u32)>,
    pub(super) records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Sample {
    /// A file of this name.
    pub(super) fn file(name: &[u8]) -> Sample {
        Sample {
            name: name.to_vec(),
            link: Vec::new(),
            kind: EntryKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Time::default(),
            device: None,
            records: Vec::new(),
        }
    }

    pub(super) fn header(&self) -> Header<'_> {
        Header {
            name: &self.name,
            link: &self.link,
            kind: self.kind,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            size: self.size,
            mtime: self.mtime,
            device: self.device,
            records: &self.records,
            sparse: None,
        }
    }

    pub(super) fn written(&self) -> Result<Vec<u8>, Unwritable> {
        let mut bytes = Vec::new();
        self.header().write(&mut bytes).map(|()| bytes)
    }
}

/// So many, the same ones for the same seed.
pub(super) fn samples(seed: u64, count: usize, of: impl Strategy<Value = Sample>) -> Vec<Sample> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    (0..count).map(|_| of.new_tree(&mut runner).expect("a value").current()).collect()
}

/// Any header that a walk can come to.
pub(super) fn any_header() -> impl Strategy<Value = Sample> {
    let numbers = (0..0o10000u32, id(), id(), size(), time(), (0..1u32 << 12, 0..1u32 << 20));
    (kind(), path(letters()), path(letters()), numbers, records()).prop_map(
        |(kind, name, link, (mode, uid, gid, size, mtime, device), records)| {
            put_together(Sample { name, link, kind, mode, uid, gid, size, mtime, device: Some(device), records })
        },
    )
}

/// One that all readers can show: characters, small files, years from 1970 to 2200.
pub(super) fn plain_header() -> impl Strategy<Value = Sample> {
    let letter =
        prop::sample::select(vec!["a", "b", "c", "Z", "-", "é", "☺"]).prop_map(|text| text.as_bytes().to_vec());
    let seconds = prop_oneof![0..8_000_000_000i64, Just(1 << 33)];
    let time = (seconds, prop_oneof![Just(0), 1..1_000_000_000u32])
        .prop_map(|(seconds, nanoseconds)| Time { seconds, nanoseconds });
    let numbers = (0..0o10000u32, id(), id(), 0..2000u64, time, (0..1u32 << 12, 0..1u32 << 20));
    (kind(), path(letter.clone()), path(letter), numbers).prop_map(
        |(kind, name, link, (mode, uid, gid, size, mtime, device))| {
            let device = Some(device);
            put_together(Sample { name, link, kind, mode, uid, gid, size, mtime, device, records: Vec::new() })
        },
    )
}

/// What its kind has not is left out.
fn put_together(mut sample: Sample) -> Sample {
    let kind = sample.kind;
    if kind == EntryKind::Directory {
        sample.name.push(b'/');
    }
    if !matches!(kind, EntryKind::Symlink | EntryKind::Hardlink) {
        sample.link.clear();
    }
    if kind != EntryKind::File {
        sample.size = 0;
    }
    if !matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
        sample.device = None;
    }
    sample
}

fn kind() -> impl Strategy<Value = EntryKind> {
    use EntryKind::{BlockDevice, CharDevice, Directory, Fifo, File, Hardlink, Symlink};
    prop::sample::select(vec![File, File, File, Directory, Directory, Hardlink, Symlink, CharDevice, BlockDevice, Fifo])
}

/// Bytes that names have: letters, other characters, half of one, what is no character at all.
fn letters() -> impl Strategy<Value = Vec<u8>> + Clone {
    let odd = vec![&b"\xc3\xa9"[..], b"\xe2\x98\xba", b"\xc3", b"\x80", b"\xff", b"\n", b"\\", b"\x7f", b"\x01", b"="];
    prop_oneof![400 => (b'a'..=b'z').prop_map(|byte| vec![byte]), 1 => prop::sample::select(odd).prop_map(<[u8]>::to_vec)]
}

/// Names of all lengths, often of one that matters.
fn path(letter: impl Strategy<Value = Vec<u8>> + Clone + 'static) -> impl Strategy<Value = Vec<u8>> {
    let part = |most: usize| vec(letter.clone(), 1..=most).prop_map(|letters| letters.concat());
    let several = |part, range| vec(part, range).prop_map(|parts: Vec<Vec<u8>>| parts.join(&b'/'));
    let exact =
        (prop::sample::select(vec![98, 99, 100, 101, 154, 155, 156, 157, 158, 254, 255, 256, 257]), 1..200usize)
            .prop_map(|(length, cut)| {
                let mut name = vec![b'n'; length];
                if let Some(byte) = name.get_mut(cut.min(length - 2)) {
                    *byte = b'/';
                }
                name
            });
    prop_oneof![
        4 => several(part(12).boxed(), 1..4),
        3 => several(part(60).boxed(), 1..7),
        2 => several(part(160).boxed(), 1..3),
        2 => exact,
        1 => several(part(255).boxed(), 1..10),
    ]
}

fn id() -> impl Strategy<Value = u64> {
    prop_oneof![12 => 0..70_000u64, 1 => (1u64 << 21) - 2..(1 << 21) + 2, 1 => 0..=u64::from(u32::MAX)]
}

fn size() -> impl Strategy<Value = u64> {
    prop_oneof![12 => 0..1u64 << 20, 1 => (1u64 << 33) - 2..(1 << 33) + 2, 1 => 0..=i64::MAX.cast_unsigned()]
}

fn time() -> impl Strategy<Value = Time> {
    let seconds = prop_oneof![
        16 => 0..1i64 << 31,
        1 => -5..5i64,
        1 => (1i64 << 33) - 2..(1 << 33) + 2,
        1 => -(1i64 << 40)..1 << 40,
    ];
    let nanoseconds = prop_oneof![
        6 => Just(0),
        1 => 0..1_000_000_000u32,
        1 => prop::sample::select(vec![1, 10, 999_999_999, 500_000_000, 250_000_000, 100]),
    ];
    let years_from_1 = |seconds: &i64| *seconds != -62_135_596_800;
    (seconds.prop_filter("no time at all, to Go", years_from_1), nanoseconds)
        .prop_map(|(seconds, nanoseconds)| Time { seconds, nanoseconds })
}

fn records() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let key = prop_oneof![
        4 => "SCHILY\\.xattr\\.user\\.[a-z]{1,8}",
        1 => Just("SCHILY.acl.access".to_owned()),
        1 => Just("SCHILY.acl.default".to_owned()),
        1 => "[a-z]{5,9}\\.x",
    ];
    let value =
        prop_oneof![5 => vec(any::<u8>(), 0..30), 2 => vec(any::<u8>(), 60..130), 1 => vec(any::<u8>(), 900..1100)];
    // Base64 of whole groups.
    let escaped = ("LIBARCHIVE\\.xattr\\.user\\.%3D[a-z]{1,4}", "([a-z]{4}){0,9}");
    let escaped = escaped.prop_map(|(key, value)| (key.into_bytes(), value.into_bytes()));
    let some = (btree_map(key.prop_map(String::into_bytes), value, 1..5), prop::option::weighted(0.2, escaped))
        .prop_map(|(map, escaped)| map.into_iter().chain(escaped).collect());
    prop_oneof![2 => Just(Vec::new()), 1 => some]
}
