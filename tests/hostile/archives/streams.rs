//! Damage and bombs in each compression.

use std::sync::OnceLock;

use untar_in_root::{Compression, Damage, Limit, LooksLike, Malformed, Options};

use super::super::case::{Case, bytes};
use super::tar;
use crate::support::expected::Expected;
use crate::support::tarball::{bz2, gz, xz, zst};

/// A compression, and what comes of damage to it.
struct Packer {
    format: &'static str,
    pack: fn(&[u8]) -> Vec<u8>,
    /// Of a bit flipped in the middle: nothing where the content has no checksum.
    in_the_middle: Option<Expected>,
    /// Of one flipped in its byte 7: in gzip the time, which means nothing.
    in_the_header: Option<Expected>,
    behind: Damage,
}

const CORRUPT: Option<Expected> = Some(Expected::Compressed(Damage::Corrupt));
/// It decodes, but to something else.
const NO_TAR: Option<Expected> = Some(Expected::Malformed(Malformed::Checksum));

const PACKERS: [Packer; 4] = [
    Packer { format: "gzip", pack: gz, in_the_middle: CORRUPT, in_the_header: None, behind: Damage::TrailingGarbage },
    Packer {
        format: "zstd",
        pack: zst,
        in_the_middle: None,
        in_the_header: Some(Expected::Compressed(Damage::Truncated)),
        behind: Damage::TrailingGarbage,
    },
    Packer { format: "xz", pack: xz, in_the_middle: CORRUPT, in_the_header: CORRUPT, behind: Damage::Corrupt },
    Packer {
        format: "bzip2",
        pack: bz2,
        in_the_middle: NO_TAR,
        in_the_header: NO_TAR,
        behind: Damage::TrailingGarbage,
    },
];

fn damaged(case: Case, cause: Option<Expected>) -> Case {
    match cause {
        Some(cause) => case.malformed(cause),
        None => case.applied(),
    }
}

/// Names are kept for the whole run of the tests.
fn name(format: &str, what: &str) -> &'static str {
    format!("{format}: {what}").leak()
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn little(o: &mut Options) {
    o.limits.total_bytes = 1 << 20;
}

pub fn cases() -> Vec<Case> {
    let plain = tar().file("f", noise(20_000)).file("g", "1").build();
    // The table is made for each setting anew, and these take most of that time.
    static BOMBS: OnceLock<(Vec<u8>, [Vec<u8>; 4])> = OnceLock::new();
    let (zeros, bombs) = BOMBS.get_or_init(|| {
        let zeros = tar().file("zeros", vec![0; 80 << 20]).build();
        let packed = PACKERS.map(|packer| (packer.pack)(&zeros));
        (zeros[..2 << 20].to_vec(), packed)
    });
    let mut all = vec![
        bytes("a bomb of zeros in none of them", zeros.clone()).with(little).limited(Limit::TotalBytes),
        bytes("gzip in zstd's clothes", gz(&plain))
            .with(|o| o.compression = Compression::Zstd)
            .malformed(Damage::NotThisFormat),
        bytes("ten thousand empty gzip members (CVE-2022-30631)", [gz(b"").repeat(10_000), gz(&plain)].concat())
            .fact("g", "content", "1")
            .applied(),
        bytes("ten thousand empty zstd frames", [zst(b"").repeat(10_000), zst(&plain)].concat())
            .fact("g", "content", "1")
            .applied(),
        bytes("ten thousand skippable zstd frames", [skippable(0).repeat(10_000), zst(&plain)].concat()).applied(),
        bytes("a skippable zstd frame of 4 GiB that is not there", skippable(u32::MAX)).malformed(Damage::Truncated),
        bytes("a zstd window of 2 GiB", window(31)).malformed(Damage::Memory),
        bytes("a zstd window beyond all limits", window(41)).malformed(Damage::Memory),
        bytes("an xz dictionary of 4 GiB", dictionary(&xz(&plain))).malformed(Damage::Memory),
        bytes(
            "a gzip comment that never ends",
            [&b"\x1f\x8b\x08\x10\0\0\0\0\0\x03"[..], &vec![b'x'; 3 << 20]].concat(),
        )
        .malformed(Damage::Corrupt),
        bytes("a gzip extra field that is not there", b"\x1f\x8b\x08\x04\0\0\0\0\0\x03\xff\xff".to_vec())
            .malformed(Damage::Truncated),
        bytes("a tar in a gzip in a gzip", gz(&gz(&plain))).malformed(LooksLike::Gzip),
        bytes("xz of what is no tar, more than a pipe holds (CVE-2021-20291)", xz(&noise(3 << 20)))
            .malformed(Malformed::Checksum),
        bytes("a zip bomb's neighbour", b"PK\x03\x04".repeat(200)).malformed(LooksLike::Zip),
    ];
    for (&Packer { format, pack, in_the_middle, in_the_header, behind }, bomb) in PACKERS.iter().zip(bombs) {
        let packed = pack(&plain);
        let half = packed.len() / 2;
        let flipped = |at: usize| {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x40;
            damaged
        };
        all.extend([
            bytes(name(format, "cut in half"), packed[..half].to_vec()).malformed(Damage::Truncated),
            bytes(name(format, "without its last byte"), packed[..packed.len() - 1].to_vec())
                .malformed(Damage::Truncated),
            bytes(name(format, "the magic alone"), packed[..6].to_vec()).malformed(Damage::Truncated),
            damaged(bytes(name(format, "a flipped bit in the middle"), flipped(half)), in_the_middle),
            damaged(bytes(name(format, "a flipped bit in the check sum"), flipped(packed.len() - 5)), CORRUPT),
            damaged(bytes(name(format, "a flipped bit in the header"), flipped(7)), in_the_header),
            bytes(name(format, "garbage behind it"), [&packed[..], b"evil"].concat()).malformed(behind),
            bytes(name(format, "zeros behind it"), [&packed[..], &[0; 4_096]].concat()).applied(),
            bytes(name(format, "a second archive behind it"), packed.repeat(2)).applied(),
            bytes(name(format, "no tar in it"), pack(&noise(10_000))).malformed(Malformed::Checksum),
            bytes(name(format, "nothing in it"), pack(b"")).tree(""),
            bytes(name(format, "a bomb of zeros"), bomb.clone()).limited(Limit::Ratio),
            bytes(name(format, "a bomb of zeros, total bytes"), bomb.clone()).with(little).limited(Limit::TotalBytes),
            bytes(name(format, "zeros after the end of the archive"), pack(&[&plain[..], &vec![0; 8 << 20]].concat()))
                .with(little)
                .limited(Limit::TotalBytes),
        ]);
    }
    all
}

fn skippable(length: u32) -> Vec<u8> {
    [&[0x50, 0x2a, 0x4d, 0x18][..], &length.to_le_bytes()].concat()
}

/// A zstd frame header that asks for a window of 2 to this power, and one empty block.
fn window(log: u8) -> Vec<u8> {
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x00][..], &[(log - 10) << 3], &[1, 0, 0]].concat()
}

/// The first block's LZMA2 dictionary as large as the format can say, its check sum made right.
fn dictionary(packed: &[u8]) -> Vec<u8> {
    let mut out = packed.to_vec();
    let start = 12;
    let length = (usize::from(out[start]) + 1) * 4;
    let header = &mut out[start..start + length];
    let at = header.windows(2).position(|pair| pair == [0x21, 1]).expect("an LZMA2 filter") + 2;
    header[at] = 40;
    let crc = crc32(&header[..length - 4]);
    header[length - 4..].copy_from_slice(&crc.to_le_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1)))
    })
}
