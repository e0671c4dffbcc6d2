//! Sources that come in pieces and stall at any byte: nothing is lost, nothing is held back, nothing is let through.

use super::Decoder;
use crate::helper::fuzz::same_decoded;
use crate::helper::fuzz::script::{Piece, Script};
use crate::helper::read::input::Input;
use crate::options::Compression;
use crate::report::{Cause, Damage};
use flate2::{Compression as Level, GzBuilder};
use proptest::prelude::*;
use std::io::Write as _;

/// Bytes that compress a little, others for each seed.
fn content(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8 & 0x1f
    };
    (0..length).map(|_| next()).collect()
}

fn gzip(content: &[u8], fields: bool) -> Vec<u8> {
    let mut builder = GzBuilder::new();
    if fields {
        builder = builder.filename("name").comment("a comment").extra("extra");
    }
    let mut out = builder.write(Vec::new(), Level::default());
    out.write_all(content).expect("memory");
    out.finish().expect("memory")
}

fn bzip2(content: &[u8]) -> Vec<u8> {
    let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    out.write_all(content).expect("memory");
    out.finish().expect("memory")
}

fn zstd(content: &[u8], sized: bool) -> Vec<u8> {
    let mut out = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("encoder");
    out.include_checksum(true).expect("parameter");
    if sized {
        out.set_pledged_src_size(Some(content.len() as u64)).expect("size");
    }
    out.write_all(content).expect("memory");
    out.finish().expect("memory")
}

fn skippable(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("short");
    [&[0x53, 0x2a, 0x4d, 0x18][..], &length.to_le_bytes(), content].concat()
}

fn xz(content: &[u8]) -> Vec<u8> {
    let mut out = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(0)).expect("preset");
    out.write_all(content).expect("memory");
    out.finish().expect("memory")
}

/// One member of a format; `kind` varies it.
fn member(format: Compression, content: &[u8], kind: u8) -> Vec<u8> {
    match format {
        Compression::Gzip => gzip(content, kind.is_multiple_of(2)),
        Compression::Bzip2 => bzip2(content),
        Compression::Zstd if kind.is_multiple_of(3) => [skippable(content), zstd(content, true)].concat(),
        Compression::Zstd => zstd(content, kind.is_multiple_of(2)),
        Compression::Xz => xz(content),
        Compression::None | Compression::Detect => content.to_vec(),
    }
}

const FORMATS: [Compression; 5] =
    [Compression::Gzip, Compression::Bzip2, Compression::Zstd, Compression::Xz, Compression::None];

/// Members, what follows them, and how they come.
fn archives() -> impl Strategy<Value = (Compression, Vec<u8>, Vec<Piece>, u8)> {
    let member_of = (prop_oneof![0..40_usize, 0..3000_usize, 0..400_000_usize], any::<u32>(), any::<u8>());
    let piece = (prop_oneof![1..9_usize, 1..600_usize, 1..100_000_usize], any::<bool>());
    let damage = prop_oneof![4 => Just(None), 1 => any::<(prop::sample::Index, u8)>().prop_map(Some)];
    let tail = prop_oneof![2 => Just(0), 1 => (1..5_usize).prop_map(|n| n * 4), 1 => 0..9000_usize];
    let of = (0..FORMATS.len(), prop::collection::vec(member_of, 1..4), tail, damage);
    (of, prop::collection::vec(piece, 0..200), any::<u8>()).prop_map(|(of, pieces, reading)| {
        let (format, members, tail, damage) = of;
        let one = |(length, seed, kind): (usize, u32, u8)| member(FORMATS[format], &content(length, seed), kind);
        let mut bytes: Vec<u8> = members.into_iter().flat_map(one).chain(vec![0; tail]).collect();
        if let Some((at, by)) = damage
            && !bytes.is_empty()
        {
            let at = at.index(bytes.len());
            bytes[at] ^= by;
        }
        let pieces = pieces.into_iter().map(|(length, stall)| Piece { length, stall }).collect();
        (FORMATS[format], bytes, pieces, reading)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: rounds(60), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_members_in_any_stalled_pieces_are_as_in_one_go((_, bytes, pieces, reading) in archives()) {
        same_decoded(&bytes, &pieces, Compression::Detect, reading);
    }
}

/// `UNTAR_STALL_ROUNDS` multiplies.
fn rounds(times: u32) -> u32 {
    std::env::var("UNTAR_STALL_ROUNDS").map_or(times, |text| times * text.parse::<u32>().expect("a number"))
}

/// What comes out, and how the reading ended; `at`: where the source stalls.
fn stalled_at(bytes: &[u8], at: &[usize]) -> (Vec<u8>, Option<Cause>) {
    let mut from = 0;
    let pieces = at.iter().map(|at| {
        let length = at - from;
        from = *at;
        Piece { length, stall: true }
    });
    let pieces: Vec<Piece> = pieces.collect();
    let decoder = Decoder::open(Input::scripted(Script::new(bytes, &pieces)), Compression::Detect);
    let mut decoder = match decoder {
        Ok(decoder) => decoder,
        Err(fault) => return (Vec::new(), Some(fault.cause)),
    };
    let (mut out, mut buffer) = (Vec::new(), vec![0; 70_000]);
    loop {
        match decoder.fill(&mut buffer, || ()) {
            Ok(0) => return (out, None),
            Ok(filled) => out.extend_from_slice(&buffer[..filled]),
            Err(fault) => return (out, Some(fault.cause)),
        }
    }
}

/// Headers, blocks, trailers, padding: whatever the byte before the stall was part of.
#[test]
fn a_stall_at_any_byte_loses_nothing() {
    let (one, two) = (content(900, 1), content(700, 2));
    for format in FORMATS {
        let zeros = if format == Compression::None { 0 } else { 8 };
        for kinds in [[0, 1], [1, 2], [2, 3]] {
            let bytes = [member(format, &one, kinds[0]), member(format, &two, kinds[1]), vec![0; zeros]].concat();
            for at in 1..bytes.len() {
                let (out, fault) = stalled_at(&bytes, &[at]);
                assert!(out == [&one[..], &two].concat(), "{format:?} {kinds:?} at {at}: {} bytes", out.len());
                assert_eq!(fault, None, "{format:?} {kinds:?} at {at}");
            }
        }
    }
}

/// Where a stall falls into the padding, what follows it is still padding.
#[test]
fn a_stall_in_the_padding_lets_no_member_through() {
    let one = content(900, 1);
    for format in [Compression::Gzip, Compression::Bzip2, Compression::Zstd] {
        let first = member(format, &one, 1);
        let bytes = [&first[..], &[0; 5], &member(format, b"after the end", 1)].concat();
        for at in [
            vec![],
            vec![first.len()],
            vec![first.len() + 2],
            vec![first.len() + 5],
            vec![first.len(), first.len() + 1],
        ] {
            let (out, fault) = stalled_at(&bytes, &at);
            assert_eq!(out, one, "{format:?} {at:?}");
            let told = matches!(fault, Some(Cause::Compressed { what: Damage::TrailingGarbage, .. }));
            assert!(told, "{format:?} {at:?}: {fault:?}");
        }
    }
}

/// All of a member is there before anything is waited for, also if the buffer is full just where the codec has more.
#[test]
fn what_has_come_is_handed_on_before_anybody_waits() {
    let one = content(200_000, 3);
    for format in [Compression::Gzip, Compression::Bzip2, Compression::Zstd, Compression::None] {
        let first = member(format, &one, 1);
        let bytes = [first.clone(), member(format, &one, 1)].concat();
        for length in [1000, 4096, 99_999, 100_000, 200_000, 262_144] {
            let stall = [Piece { length: first.len(), stall: false }, Piece { length: 1, stall: true }];
            let input = Input::scripted(Script::new(&bytes, &stall));
            let mut decoder = Decoder::open(input, Compression::Detect).expect("a decoder");
            let (mut out, mut buffer) = (Vec::new(), vec![0; length]);
            while out.len() < one.len() {
                let filled = decoder.fill(&mut buffer, || ()).expect("more");
                out.extend_from_slice(&buffer[..filled]);
            }
            assert_eq!(decoder.bytes_in(), first.len() as u64, "{format:?}, {length} at once: it waited");
            assert!(out == one, "{format:?}, {length} at once");
        }
    }
}

/// Whoever gave something to be finished hears of it before the wait, and is not troubled without one; xz may wait at any time.
#[test]
fn who_waits_says_so_first() {
    let one = content(10_000, 3);
    for format in FORMATS {
        let first = member(format, &one, 1);
        let bytes = [&first[..], &first].concat();
        for stall in [false, true] {
            let pieces = [Piece { length: first.len(), stall: false }, Piece { length: first.len(), stall }];
            let input = Input::scripted(Script::new(&bytes, &pieces));
            let mut decoder = Decoder::open(input, Compression::Detect).expect("a decoder");
            let (mut had, mut buffer, told) = (0, vec![0; 1000], std::cell::Cell::new(None));
            while had < one.len() || decoder.bytes_in() == first.len() as u64 {
                let filled = decoder.fill(&mut buffer, || told.set(Some(had))).expect("more");
                had += filled;
            }
            let want = (stall || format == Compression::Xz).then_some(one.len());
            assert_eq!(told.get(), want, "{format:?}, stall: {stall}");
        }
    }
}

/// An error does not turn into an end.
#[test]
fn what_failed_stays_failed() {
    for format in [Compression::Gzip, Compression::Bzip2, Compression::Zstd, Compression::Xz] {
        let mut bytes = member(format, &content(5000, 1), 1);
        bytes.truncate(bytes.len() - 5);
        let mut decoder =
            Decoder::open(Input::scripted(Script::whole(&bytes)), Compression::Detect).expect("a decoder");
        let mut buffer = vec![0; 100_000];
        let first = loop {
            match decoder.fill(&mut buffer, || ()) {
                Ok(0) => panic!("{format:?}: an end"),
                Ok(_) => {}
                Err(fault) => break fault,
            }
        };
        assert_eq!(decoder.fill(&mut buffer, || ()), Err(first), "{format:?}");
    }
}

/// The header and the trailer are read here: as the crate reads them, whatever is in them.
#[test]
fn gzip_is_read_as_the_crate_reads_it() {
    use std::io::Read as _;
    let good = gzip(&content(300, 4), true);
    let mut with_sum = good.clone();
    with_sum[3] |= 2;
    for start in [good, with_sum] {
        for at in 0..start.len() {
            for by in [1, 2, 4, 8, 0x80, 0xff] {
                let mut bytes = start.clone();
                bytes[at] ^= by;
                let mut want = Vec::new();
                let fine = flate2::bufread::GzDecoder::new(&bytes[..]).read_to_end(&mut want).is_ok();
                let (out, fault) = stalled_at(&bytes, &[]);
                let (ours, detected) = (fault.is_none(), Compression::sniff(&bytes) == Compression::Gzip);
                assert!(detected || at < 4, "byte {at} ^ {by}");
                assert!(!detected || fine == ours, "byte {at} ^ {by}: {fault:?}");
                assert!(!detected || !fine || out == want, "byte {at} ^ {by}");
            }
        }
    }
}
