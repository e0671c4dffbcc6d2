//! Damage and bombs in each compression.

use untar_in_root::{Compression, Options};

use super::super::case::{Case, bytes};
use super::tar;
use crate::support::tarball::{bz2, gz, xz, zst};

type Packer = (&'static str, fn(&[u8]) -> Vec<u8>);

const PACKERS: [Packer; 4] = [("gzip", gz), ("zstd", zst), ("xz", xz), ("bzip2", bz2)];

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
    let zeros = tar().file("zeros", vec![0; 80 << 20]).build();
    let mut all = vec![
        bytes("a bomb of zeros in none of them", zeros[..2 << 20].to_vec()).with(little).limited("TotalBytes"),
        bytes("gzip in zstd's clothes", gz(&plain))
            .with(|o| o.compression = Compression::Zstd)
            .malformed("NotThisFormat"),
        bytes("ten thousand empty gzip members (CVE-2022-30631)", [gz(b"").repeat(10_000), gz(&plain)].concat())
            .fact("g", "content", "1")
            .applied(),
        bytes("ten thousand empty zstd frames", [zst(b"").repeat(10_000), zst(&plain)].concat())
            .fact("g", "content", "1")
            .applied(),
        bytes("ten thousand skippable zstd frames", [skippable(0).repeat(10_000), zst(&plain)].concat()).applied(),
        bytes("a skippable zstd frame of 4 GiB that is not there", skippable(u32::MAX)).malformed("Truncated"),
        bytes("a zstd window of 2 GiB", window(31)).malformed("Memory"),
        bytes("a zstd window beyond all limits", window(41)).malformed(""),
        bytes("an xz dictionary of 4 GiB", dictionary(&xz(&plain))).malformed(""),
        bytes(
            "a gzip comment that never ends",
            [&b"\x1f\x8b\x08\x10\0\0\0\0\0\x03"[..], &vec![b'x'; 3 << 20]].concat(),
        )
        .malformed(""),
        bytes("a gzip extra field that is not there", b"\x1f\x8b\x08\x04\0\0\0\0\0\x03\xff\xff".to_vec())
            .malformed("Truncated"),
        bytes("a tar in a gzip in a gzip", gz(&gz(&plain))).malformed(""),
        bytes("xz of what is no tar, more than a pipe holds (CVE-2021-20291)", xz(&noise(3 << 20)))
            .malformed("Checksum"),
        bytes("a zip bomb's neighbour", b"PK\x03\x04".repeat(200)).malformed("Checksum"),
    ];
    for (format, pack) in PACKERS {
        let packed = pack(&plain);
        let half = packed.len() / 2;
        let flipped = |at: usize| {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x40;
            damaged
        };
        all.extend([
            bytes(name(format, "cut in half"), packed[..half].to_vec()).malformed("Truncated"),
            bytes(name(format, "without its last byte"), packed[..packed.len() - 1].to_vec()).malformed(""),
            bytes(name(format, "the magic alone"), packed[..6].to_vec()).malformed(""),
            bytes(name(format, "a flipped bit in the middle"), flipped(half)),
            bytes(name(format, "a flipped bit in the check sum"), flipped(packed.len() - 5)),
            bytes(name(format, "a flipped bit in the header"), flipped(7)),
            bytes(name(format, "garbage behind it"), [&packed[..], b"evil"].concat()).malformed(""),
            bytes(name(format, "zeros behind it"), [&packed[..], &[0; 4_096]].concat()).applied(),
            bytes(name(format, "a second archive behind it"), packed.repeat(2)).applied(),
            bytes(name(format, "no tar in it"), pack(&noise(10_000))).malformed("Checksum"),
            bytes(name(format, "nothing in it"), pack(b"")),
            bytes(name(format, "a bomb of zeros"), pack(&zeros)).limited("Ratio"),
            bytes(name(format, "a bomb of zeros, total bytes"), pack(&zeros)).with(little).limited("TotalBytes"),
            bytes(name(format, "zeros after the end of the archive"), pack(&[&plain[..], &vec![0; 8 << 20]].concat()))
                .with(little)
                .limited("TotalBytes"),
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
