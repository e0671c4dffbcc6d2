//! What is no tar, by its first bytes. Asked only once the check of the first header has failed, so nothing here can
//! refuse an archive.

use crate::options::Compression;
use crate::report::LooksLike;

/// Bytes of text that say something: an archive that is cut short in its first name is one, however little is left.
const LEAST: usize = 4;
/// Of text so much is repeated to the caller.
const QUOTED: usize = 64;

/// What these first bytes are, if anything that is known, and of text the beginning.
pub(super) fn recognise(first: &[u8]) -> Option<(LooksLike, Vec<u8>)> {
    if let Some(looks_like) = binary(first) {
        return Some((looks_like, Vec::new()));
    }
    text(first).map(|looks_like| (looks_like, line(first).to_vec()))
}

/// What stands at the beginning of a format, and nothing but that.
const MAGICS: &[(&[u8], LooksLike)] = &[
    (b"\x04\x22\x4d\x18", LooksLike::Lz4),
    (b"\x02\x21\x4c\x18", LooksLike::Lz4),
    (b"LZIP", LooksLike::Lzip),
    (b"\x89LZO\0\r\n\x1a\n", LooksLike::Lzop),
    (b"LRZI", LooksLike::Lrzip),
    (b"\x1f\x9d", LooksLike::Compress),
    (b"\x1f\x1e", LooksLike::Pack),
    (b"\x1f\xa0", LooksLike::Pack),
    (b"\xff\x06\0\0sNaPpY", LooksLike::Snappy),
    (b"PK\x03\x04", LooksLike::Zip),
    (b"PK\x05\x06", LooksLike::Zip),
    (b"PK\x07\x08", LooksLike::Zip),
    (b"7z\xbc\xaf\x27\x1c", LooksLike::SevenZip),
    (b"Rar!\x1a\x07", LooksLike::Rar),
    (b"MSCF\0\0\0\0", LooksLike::Cab),
    (b"MSWIM\0\0\0", LooksLike::Wim),
    (b"xar!", LooksLike::Xar),
    (b"070701", LooksLike::Cpio),
    (b"070702", LooksLike::Cpio),
    (b"070707", LooksLike::Cpio),
    (b"\xc7\x71", LooksLike::Cpio),
    (b"\x71\xc7", LooksLike::Cpio),
    (b"!<arch>\ndebian-", LooksLike::Deb),
    (b"!<arch>\n", LooksLike::Ar),
    (b"!<thin>\n", LooksLike::Ar),
    (b"\xed\xab\xee\xdb", LooksLike::Rpm),
    (b"# v2 git bundle\n", LooksLike::GitBundle),
    (b"# v3 git bundle\n", LooksLike::GitBundle),
    (b"PACK\0\0\0", LooksLike::GitBundle),
    (b"version https://git-lfs.github.com/spec/", LooksLike::GitLfs),
    (b"version https://hawser.github.com/spec/", LooksLike::GitLfs),
    (b"hsqs", LooksLike::Squashfs),
    (b"sqsh", LooksLike::Squashfs),
    (b"\x45\x3d\xcd\x28", LooksLike::RomFs),
    (b"\x28\xcd\x3d\x45", LooksLike::RomFs),
    (b"-rom1fs-", LooksLike::RomFs),
    (b"QFI\xfb", LooksLike::VirtualDisk),
    (b"KDMV", LooksLike::VirtualDisk),
    (b"conectix", LooksLike::VirtualDisk),
    (b"vhdxfile", LooksLike::VirtualDisk),
    (b"<<< Oracle VM VirtualBox", LooksLike::VirtualDisk),
    (b"\x7fELF", LooksLike::Program),
    (b"\xcf\xfa\xed\xfe", LooksLike::Program),
    (b"\xca\xfe\xba\xbe", LooksLike::Program),
    (b"\0asm", LooksLike::Program),
    (b"age-encryption.org/", LooksLike::Encrypted),
    (b"-----BEGIN AGE ENCRYPTED", LooksLike::Encrypted),
    (b"-----BEGIN PGP MESSAGE", LooksLike::Encrypted),
    (b"Salted__", LooksLike::Encrypted),
    (b"%PDF-", LooksLike::Media),
    (b"\x89PNG\r\n", LooksLike::Media),
    (b"\xff\xd8\xff", LooksLike::Media),
    (b"GIF8", LooksLike::Media),
    (b"OggS", LooksLike::Media),
    (b"ID3", LooksLike::Media),
];

fn binary(first: &[u8]) -> Option<LooksLike> {
    let magic = MAGICS.iter().find(|(magic, _)| first.starts_with(magic)).map(|(_, looks_like)| *looks_like);
    magic.or_else(|| compressed(first)).or_else(|| by_fields(first))
}

fn compressed(first: &[u8]) -> Option<LooksLike> {
    match Compression::sniff(first) {
        Compression::Gzip => Some(LooksLike::Gzip),
        Compression::Zstd => Some(LooksLike::Zstd),
        Compression::Xz => Some(LooksLike::Xz),
        Compression::Bzip2 => Some(LooksLike::Bzip2),
        Compression::None | Compression::Detect => None,
    }
}

/// Formats whose first bytes are numbers within bounds.
fn by_fields(first: &[u8]) -> Option<LooksLike> {
    match first {
        _ if is_lzma(first) => Some(LooksLike::Lzma),
        [b'M', b'Z', rest @ ..] if rest.contains(&0) => Some(LooksLike::Program),
        [_, _, b'-', b'l', b'h' | b'z', _, b'-', ..] => Some(LooksLike::Lha),
        // RFC 1950: deflate, and a check of the two bytes.
        [0x78, flags @ (0x01 | 0x5e | 0x9c | 0xda), ..] if (0x7800 + u16::from(*flags)) % 31 == 0 => {
            Some(LooksLike::Zlib)
        }
        [.., 0x55, 0xaa] if first.len() == 512 => Some(LooksLike::Disk),
        // Something else than text stands behind it in SIF.
        [b'#', b'!', ..] if !is_text(first) => Some(LooksLike::Script),
        // UTF-16 of either order, which begins with a letter or so.
        [0xff, 0xfe, letter, 0, ..] | [0xfe, 0xff, 0, letter, ..] if letter.is_ascii_graphic() => Some(LooksLike::Text),
        _ => None,
    }
}

/// As liblzma guesses: the usual properties, a dictionary of 2^n or 2^n + 2^(n-1) bytes, a size that is not known or below 256 GiB.
fn is_lzma(first: &[u8]) -> bool {
    let Some([0x5d, d0, d1, d2, d3, size @ ..]) = first.first_chunk::<13>() else { return false };
    let dictionary = u32::from_le_bytes([*d0, *d1, *d2, *d3]);
    let top = 1_u32.checked_shl(31 - dictionary.leading_zeros().min(31)).unwrap_or(0);
    let rest = dictionary & !top;
    let size = u64::from_le_bytes(*size);
    dictionary >= 1 << 12 && (rest == 0 || rest == top >> 1) && (size == u64::MAX || size < 1 << 38)
}

fn text(first: &[u8]) -> Option<LooksLike> {
    if !is_text(first) {
        return None;
    }
    let start = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first).trim_ascii_start();
    let begins = |with: &[u8]| start.get(..with.len()).is_some_and(|there| there.eq_ignore_ascii_case(with));
    Some(match start {
        [b'#', b'!', ..] => LooksLike::Script,
        [b'<', ..] if HTML.iter().any(|tag| begins(tag)) => LooksLike::Html,
        // A page that begins with a comment, or a document of XML that is one.
        [b'<', ..] if contains(start, b"<html") || contains(start, b"<!doctype html") => LooksLike::Html,
        [b'<', b'?' | b'!' | b'a'..=b'z' | b'A'..=b'Z', ..] => LooksLike::Xml,
        [b'{', rest @ ..] if matches!(rest.trim_ascii_start(), [] | [b'"' | b'}', ..]) => LooksLike::Json,
        [b'[', rest @ ..] if matches!(rest.trim_ascii_start(), [b'{' | b'"' | b'[' | b']', ..]) => LooksLike::Json,
        _ => LooksLike::Text,
    })
}

const HTML: [&[u8]; 8] = [b"<!doctype html", b"<html", b"<head", b"<body", b"<title", b"<meta", b"<script", b"<center"];

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|there| there.eq_ignore_ascii_case(word))
}

/// No control characters but those of text, and UTF-8 as far as it goes; some of it.
fn is_text(first: &[u8]) -> bool {
    let plain = |byte: &u8| *byte >= b' ' && *byte != 0x7f || matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b);
    let cut = |error: std::str::Utf8Error| error.error_len().is_none();
    first.trim_ascii().len() >= LEAST && first.iter().all(plain) && std::str::from_utf8(first).err().is_none_or(cut)
}

/// The first line that says anything, as far as it is repeated.
fn line(text: &[u8]) -> &[u8] {
    let start = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii_start();
    let end = start.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(start.len());
    let line = start.get(..end.min(QUOTED)).unwrap_or_default();
    match std::str::from_utf8(line) {
        Err(error) if error.error_len().is_none() => line.get(..error.valid_up_to()).unwrap_or_default(),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks_like(first: &[u8]) -> Option<LooksLike> {
        recognise(first).map(|(looks_like, _)| looks_like)
    }

    #[test]
    fn what_is_no_tar_is_known_by_its_first_bytes() {
        for (first, want) in [
            (&b"<!DOCTYPE html>\n<html>"[..], Some(LooksLike::Html)),
            (b"\xef\xbb\xbf\r\n  <HTML lang=en>", Some(LooksLike::Html)),
            (b"<!-- cached -->\n<html>", Some(LooksLike::Html)),
            (b"<?xml version=\"1.0\"?>\n<!DOCTYPE html PUBLIC", Some(LooksLike::Html)),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>", Some(LooksLike::Xml)),
            (b"<Error><Code>NoSuchKey</Code>", Some(LooksLike::Xml)),
            (b"{\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}", Some(LooksLike::Json)),
            (b"{\n  \"schemaVersion\": 2", Some(LooksLike::Json)),
            (b"[{\"Config\":1}]", Some(LooksLike::Json)),
            (b"{ }\n", None),
            (b"{  }", Some(LooksLike::Json)),
            (b"etc", None),
            (b"{ some text", Some(LooksLike::Text)),
            (b"404: Not Found", Some(LooksLike::Text)),
            (b"R\xc3\xa9sum\xc3", Some(LooksLike::Text)),
            (b"#!/bin/sh\necho", Some(LooksLike::Script)),
            (b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0", Some(LooksLike::Script)),
            (b"\xff\xfe<\0!\0D\0", Some(LooksLike::Text)),
            (b"version https://git-lfs.github.com/spec/v1\noid", Some(LooksLike::GitLfs)),
            (b"!<arch>\ndebian-binary   ", Some(LooksLike::Deb)),
            (b"!<arch>\n/               ", Some(LooksLike::Ar)),
            (b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0", Some(LooksLike::Lzma)),
            (b"\x5d\0\0\x40\0\x10\0\0\0\0\0\0\0\0", Some(LooksLike::Lzma)),
            (b"\x5d\0\0\x03\0\x10\0\0\0\0\0\0\0\0", Some(LooksLike::Lzma)),
            (b"\x5d\0\0\x05\0\x10\0\0\0\0\0\0\0\0", None),
            (b"\x5d\0\0\x80\0\x10\0\0\0\0\x01\0\0\0", None),
            (b"\x1f\x8b\x08\0\0\0\0\0\0\x03KL", Some(LooksLike::Gzip)),
            (b"\x78\x9c\x01\x02\x03", Some(LooksLike::Zlib)),
            (b"\x1e\0-lh5-\x03\x02", Some(LooksLike::Lha)),
            (b"MZ\x90\0\x03", Some(LooksLike::Program)),
            (b"MZ and more", Some(LooksLike::Text)),
            (b"name\0\0\0", None),
            (b"\x80\x81\x82", None),
            (b"  \n", None),
            (b"", None),
        ] {
            assert_eq!(looks_like(first), want, "{}", first.escape_ascii());
        }
        let mut disk = [0x90; 512];
        disk[510..].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(looks_like(&disk), Some(LooksLike::Disk));
    }

    #[test]
    fn of_text_the_first_line_is_repeated_and_no_more() {
        let begins = |first: &[u8]| recognise(first).map(|(_, begins)| begins).expect("text");
        assert_eq!(begins(b"\n\n404: Not Found\r\nmore"), b"404: Not Found");
        assert_eq!(begins(&[b'x'; 500]), [b'x'; QUOTED]);
        // Cut between characters.
        let long = "é".repeat(100);
        assert_eq!(begins(&[b"x", long.as_bytes()].concat()).len(), QUOTED - 1);
        assert_eq!(recognise(b"PK\x03\x04\x14\0"), Some((LooksLike::Zip, Vec::new())));
    }
}
