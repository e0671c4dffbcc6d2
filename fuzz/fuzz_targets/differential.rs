//! Our tar reader against tar-core's: what both accept must be the same entries at the same places, so that no
//! archive has entries that only one of two careful readers sees.
//!
//! Entries are compared in order until one of the readers refuses or a difference that is allowed is met:
//!
//! - We refuse, tar-core goes on: it skips a single block of zeros and takes broken fields for 0.
//! - tar-core refuses, we go on: it wants UTF-8 in PAX keys, numbers without sign or fraction, known fields even
//!   where they are not used, and no second extended header, which docs/semantics.md (as Go) lets replace the first.
//! - A header-only type with a size: it has no body for us, as for Go; for tar-core it has one.
//! - A meta flag in a V7 header: an extended header for us, as for Go and GNU tar; an entry for tar-core.
//! - A global header after an extended one: it ends the extended one's wait in tar-core, not for us.
//! - star's shorter prefix, and what Go before 1.8 wrote into GNU headers, a ustar prefix over the times: unknown
//!   to tar-core.
//! - A ustar magic without the version `00`: ustar for us, as for Go and GNU tar; V7 for tar-core.
//! - A number behind a NUL: a number for us, as for Go and GNU tar; 0 for tar-core. Negative numbers in base 256:
//!   negative for us; tar-core knows no sign.
//! - A NUL in a GNU long name ends it for us, as for Go and GNU tar, and an empty one leaves the header's in force;
//!   tar-core keeps both.
//! - GNU long names beside PAX ones: the long name wins for us, as in Go; the PAX one in tar-core.
//! - An empty PAX value keeps the header's for us; it is a value or an error for tar-core.
//! - Names and sizes of PAX sparse files: only the place of the body is compared.

#![no_main]

use tar_core::parse::{Limits, ParseEvent, ParsedEntry, Parser};
use tar_core::{EntryType, Header};
use untar_in_root::EntryKind;
use untar_in_root::helper::{Seen, fuzz_entries};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((_, data)) = data.split_first() else { return };
    let (bytes, ours, refusal) = fuzz_entries(data);
    let mut parser = Parser::new(Limits::permissive());
    let mut at = 0;
    for mine in &ours {
        let theirs = match step(&mut parser, &bytes, &mut at) {
            Step::Entry(theirs) => theirs,
            Step::End => panic!("they are at the end, we have {mine:?}"),
            Step::Refused => return,
        };
        if allowed(&theirs) {
            return;
        }
        compare(mine, &theirs, at as u64);
        at += theirs.entry.padded_size() as usize;
    }
    if refusal.is_none()
        && let Step::Entry(theirs) = step(&mut parser, &bytes, &mut at)
    {
        panic!("we are at the end, they have {:?}", theirs.entry);
    }
});

/// Their entry, with all blocks that lead to its body.
struct Theirs<'a> {
    entry: ParsedEntry<'a>,
    /// The size of a sparse file.
    real_size: Option<u64>,
    headers: &'a [u8],
}

enum Step<'a> {
    Entry(Box<Theirs<'a>>),
    End,
    /// An error, the end of the bytes, or what is not comparable any more.
    Refused,
}

fn step<'a>(parser: &mut Parser, bytes: &'a [u8], at: &mut usize) -> Step<'a> {
    loop {
        let Some(rest) = bytes.get(*at..) else { return Step::Refused };
        let (entry, real_size, consumed) = match parser.parse(rest) {
            Ok(ParseEvent::Entry { consumed, entry }) => (entry, None, consumed),
            Ok(ParseEvent::SparseEntry { consumed, entry, real_size, .. }) => (entry, Some(real_size), consumed),
            Ok(ParseEvent::GlobalExtensions { consumed, .. }) if rest[156] == b'g' => {
                *at += consumed;
                continue;
            }
            Ok(ParseEvent::End { .. }) => return Step::End,
            Ok(ParseEvent::GlobalExtensions { .. } | ParseEvent::NeedData { .. }) | Err(_) => return Step::Refused,
        };
        *at += consumed;
        return Step::Entry(Box::new(Theirs { entry, real_size, headers: &rest[..consumed] }));
    }
}

fn allowed(theirs: &Theirs<'_>) -> bool {
    let Theirs { entry, headers, .. } = theirs;
    let header = entry.header.as_bytes();
    let directory_by_name = header[156] == 0 && entry.path.ends_with(b"/");
    let header_only = matches!(header[156], b'1'..=b'6') || directory_by_name;
    let empty_value = entry.pax.is_some_and(|pax| pax.windows(2).any(|pair| pair == b"=\n"));
    (header_only && entry.size > 0)
        || (header[257..263] == *b"ustar\0" && !entry.header.is_ustar())
        || matches!(entry.entry_type, EntryType::GnuLongName | EntryType::GnuLongLink | EntryType::XHeader)
        || (entry.header.is_ustar() && header[508..] == *b"tar\0")
        || (entry.header.is_gnu() && header[345..369].iter().any(|byte| *byte != 0))
        || (entry.pax.is_some() && any_header(headers, |block| matches!(block[156], b'L' | b'K')))
        || any_header(headers, |block| FIELDS.iter().any(|field| odd_number(&block[field.clone()])))
        || empty_value
        // Their one block of zeros.
        || headers[..512].iter().all(|byte| *byte == 0)
}

/// Mode, owner, group, size, time.
const FIELDS: [std::ops::Range<usize>; 5] = [100..108, 108..116, 116..124, 124..136, 136..148];

fn odd_number(field: &[u8]) -> bool {
    let start = field.iter().position(|byte| !matches!(byte, 0 | b' ')).unwrap_or(field.len());
    field[..start].contains(&0) && start < field.len() || field[0] & 0xc0 == 0xc0
}

/// Is there such a header block among those that lead to the body?
fn any_header(mut headers: &[u8], is: impl Fn(&[u8; 512]) -> bool) -> bool {
    while let Some((block, rest)) = headers.split_first_chunk::<512>() {
        if is(block) {
            return true;
        }
        if !matches!(block[156], b'L' | b'K' | b'x') {
            return false;
        }
        let size = Header::from_bytes(block).entry_size().unwrap_or(0).next_multiple_of(512) as usize;
        headers = rest.get(size..).unwrap_or_default();
    }
    false
}

fn before_nul(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn compare(mine: &Seen, theirs: &Theirs<'_>, at: u64) {
    let Theirs { entry, real_size, .. } = theirs;
    let all = || format!("{mine:?}\n{entry:?} {real_size:?} at {at}");
    let flag = entry.entry_type.to_byte();
    let kind = match flag {
        b'0' | 0 if mine.path.ends_with(b"/") => EntryKind::Directory,
        b'0' | 0 | b'7' | b'S' => EntryKind::File,
        b'5' | b'D' => EntryKind::Directory,
        b'1' => EntryKind::Hardlink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharDevice,
        b'4' => EntryKind::BlockDevice,
        b'6' => EntryKind::Fifo,
        other => EntryKind::Other(other),
    };
    assert_eq!(mine.kind, kind, "{}", all());
    assert_eq!(mine.body.0, at, "{}", all());
    assert!(mine.kind != EntryKind::File || mine.body.1 == entry.size, "{}", all());
    assert_eq!(mine.mode, entry.mode & 0o7777, "{}", all());
    assert_eq!((mine.ids.0 as u64, mine.ids.1 as u64, mine.mtime as u64), (entry.uid, entry.gid, entry.mtime), "{}", all());
    let pax_sparse = entry.pax.is_some_and(|pax| pax.windows(11).any(|word| word == b"GNU.sparse."));
    if pax_sparse {
        return;
    }
    let (path, link) = (before_nul(&entry.path), entry.link_target.as_deref().map(before_nul));
    assert!(path.is_empty() || mine.path == path, "{}", all());
    if matches!(mine.kind, EntryKind::Hardlink | EntryKind::Symlink) {
        assert!(link == Some(b"") || link == Some(&mine.link[..]), "{}", all());
    }
    if let Some(real_size) = real_size {
        assert_eq!(mine.size, *real_size, "{}", all());
    }
}
