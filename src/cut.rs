//! What stands for an archive of which nothing came: the beginning of one, which every reader refuses. Rule 25 of
//! `docs/pack-semantics.md`. No byte at all is an empty archive to many of them.

/// What each gzip member of ours begins with: deflate; no name, no time, made by an unknown system.
pub(crate) const GZIP: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// What every zstd frame begins with.
pub(crate) const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The header of an extended header, a block of which never comes.
pub(crate) const TAR: [u8; BLOCK] = header();

const BLOCK: usize = 512;

const fn header() -> [u8; BLOCK] {
    let block = put([0; BLOCK], 0, b"PaxHeaders.0");
    let block = put(put(put(block, 100, b"0000000\0"), 108, b"0000000\0"), 116, b"0000000\0");
    let block = put(put(block, 124, b"00000001000\0"), 136, b"00000000000\0");
    let block = put(put(put(block, 148, b"        "), 156, b"x"), 257, b"ustar\x0000");
    let (mut sum, mut at) = (0_u32, 0);
    while at < BLOCK {
        sum += block[at] as u32;
        at += 1;
    }
    let mut digits = *b"000000\0 ";
    at = 6;
    while at > 0 {
        at -= 1;
        digits[at] = b'0' + (sum & 7) as u8;
        sum >>= 3;
    }
    put(block, 148, &digits)
}

const fn put(mut block: [u8; BLOCK], at: usize, bytes: &[u8]) -> [u8; BLOCK] {
    let mut next = 0;
    while next < bytes.len() {
        block[at + next] = bytes[next];
        next += 1;
    }
    block
}
