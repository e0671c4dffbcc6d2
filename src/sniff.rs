//! What an archive is by its first bytes: one answer for the parent, which looks at an image's blobs, and the helper.
//!
//! A plain tar begins with a name, and a name may begin with any magic. So as much is compared as each format says of
//! its first bytes, and not its magic alone. The checksum of a tar header would decide the rest, but is 512 bytes
//! away: a compressed archive may be shorter, its source may stay open, and a gzip file can be made that holds a tar
//! header in its extra field, which every other tool takes for gzip. What is left (a name that goes on as a block of
//! bzip2 or a frame of zstd does) is for [`Compression::None`] to say.

use crate::options::Compression;

/// Bytes that are looked at; fewer only where there are no more.
pub(crate) const FIRST: usize = 12;

impl Compression {
    /// Anything that is not compressed in a known way is [`Compression::None`]; what ends within a format's first bytes
    /// is of that format.
    pub(crate) fn sniff(first: &[u8]) -> Compression {
        match first {
            [0x1f, 0x8b, rest @ ..] if is_gzip(rest) => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, rest @ ..] if is_frame(rest) => Compression::Zstd,
            // A skippable frame first, as pzstd writes it.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, rest @ ..] if is_stream(rest) => Compression::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..] if is_block(rest) => Compression::Bzip2,
            _ => Compression::None,
        }
    }
}

/// RFC 1952: the method is 8, deflate; three flags are reserved and zero.
fn is_gzip(rest: &[u8]) -> bool {
    matches!(rest, [] | [8] | [8, 0..=0x1f, ..])
}

/// RFC 8878: a bit of the frame header's descriptor is reserved and zero.
fn is_frame(rest: &[u8]) -> bool {
    rest.first().is_none_or(|descriptor| descriptor & 8 == 0)
}

/// The flags of a stream and their CRC32, which is zero for none of them.
fn is_stream(rest: &[u8]) -> bool {
    !matches!(rest, [_, _, 0, 0, 0, 0, ..])
}

/// A block's magic, or the end of a stream that has none.
fn is_block(rest: &[u8]) -> bool {
    const BLOCK: [u8; 6] = *b"1AY&SY";
    const END: [u8; 6] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
    let magic = &rest[..rest.len().min(BLOCK.len())];
    BLOCK.starts_with(magic) || END.starts_with(magic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_begins_like_a_magic_is_a_name() {
        for (first, want) in [
            (&b"\x1f\x8b\x08\0\0\0\0\0\0\x03KL"[..], Compression::Gzip),
            (b"\x1f\x8b\x08\x08\0\0\0\0\0\x03na", Compression::Gzip),
            (b"\x1f\x8b\x08.gz\0\0\0\0\0\0", Compression::None),
            (b"\x1f\x8b\0\0\0\0\0\0\0\0\0\0", Compression::None),
            (b"\x28\xb5\x2f\xfd\x24\0\x01\0\0\x99\xe9\xd8", Compression::Zstd),
            (b"(\xb5/\xfdile\0\0\0\0\0", Compression::None),
            (b"\x5f\x2a\x4d\x18\0\0\0\0\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F", Compression::Xz),
            (b"\xfd7zXZ\0\0\0\0\0\0\0", Compression::None),
            (b"BZh91AY&SY\0\0", Compression::Bzip2),
            (b"BZh9\x17\x72\x45\x38\x50\x90\0\0", Compression::Bzip2),
            (b"BZh9/file\0\0\0", Compression::None),
            (b"BZh9\0\0\0\0\0\0\0\0", Compression::None),
            (b"BZh01AY&SY\0\0", Compression::None),
            (b"etc/passwd\0\0", Compression::None),
        ] {
            assert_eq!(Compression::sniff(first), want, "{}", first.escape_ascii());
        }
    }

    #[test]
    fn what_is_cut_short_is_what_it_began_as() {
        for (first, want, least) in [
            (&b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], Compression::Gzip, 2),
            (b"\x28\xb5\x2f\xfd\x24\0\x01\0\0\x99", Compression::Zstd, 4),
            (b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F", Compression::Xz, 6),
            (b"BZh91AY&SY\0\0", Compression::Bzip2, 4),
        ] {
            for end in 0..first.len() {
                let want = if end < least { Compression::None } else { want };
                assert_eq!(Compression::sniff(&first[..end]), want, "{}", first[..end].escape_ascii());
            }
        }
    }
}
