//! Compression: detection, members and frames, damage.

use untar_in_root::{Compression, ErrorKind, Report};

use crate::support::run::{apply, line, literal};
use crate::support::scratch::Scratch;
use crate::support::tarball::{Tarball, bz2, gz, xz, zst};
use crate::support::tree::Tree;

type Pack = fn(&[u8]) -> Vec<u8>;

const PACKERS: [(Compression, Pack); 4] =
    [(Compression::Gzip, gz), (Compression::Zstd, zst), (Compression::Xz, xz), (Compression::Bzip2, bz2)];

/// Content that does not compress to nothing.
fn archive() -> Vec<u8> {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let body: Vec<u8> = (0..20_000).map(|_| noise()).collect();
    Tarball::new().file("a", "1").file("noise", body).file("z", "2").build()
}

fn run(bytes: &[u8]) -> (Result<Report, untar_in_root::Error>, String) {
    let scratch = Scratch::new();
    let result = apply(scratch.path(), bytes, literal);
    (result, line(&Tree::read(scratch.path())))
}

#[test]
fn trap_compression_is_told_by_its_magic() {
    for (format, pack) in PACKERS {
        let (result, tree) = run(&pack(&archive()));
        assert_eq!(result.expect("applied").compression, format);
        assert!(tree.starts_with("a=1 noise=sha256") && tree.ends_with("z=2"), "{tree}");
    }
    assert_eq!(run(&archive()).0.expect("applied").compression, Compression::None);
}

/// A name may begin as each format's magic does; what must follow in the format does not follow in a name.
#[test]
fn trap_a_tar_whose_first_name_begins_like_compressed_data_is_a_tar() {
    let names: [&[u8]; 9] = [
        b"BZh9",
        b"BZh91",
        b"BZh91AY&S.tar",
        b"BZh1-notes",
        b"\x1f\x8b",
        b"\x1f\x8b.gz",
        b"\x1f\x8b\x08.gz",
        b"\xfd7zXZ",
        b"(\xb5/\xfdile",
    ];
    for name in names {
        let (result, tree) = run(&Tarball::new().file(name, "content").build());
        let report = result.unwrap_or_else(|error| panic!("{}: {error}", name.escape_ascii()));
        assert_eq!(report.compression, Compression::None, "{}", name.escape_ascii());
        assert!(tree.ends_with("=content"), "{}: {tree}", name.escape_ascii());
    }
}

#[test]
fn trap_compression_can_be_forced() {
    for (format, pack) in PACKERS {
        let scratch = Scratch::new();
        apply(scratch.path(), &pack(&archive()), |o| o.compression = format).expect("right");
        let error = apply(scratch.path(), &archive(), |o| o.compression = format).expect_err("not compressed");
        assert_eq!(error.kind(), ErrorKind::Archive, "{format:?}: {error:?}");
        let error =
            apply(scratch.path(), &pack(&archive()), |o| o.compression = Compression::None).expect_err("no tar");
        assert_eq!(error.kind(), ErrorKind::Archive, "{format:?}: {error:?}");
    }
}

#[test]
fn trap_several_members_are_one_stream() {
    let bytes = archive();
    for (format, pack) in PACKERS {
        for cut in [1, 512, 5000, bytes.len() - 1] {
            let (result, tree) = run(&[pack(&bytes[..cut]), pack(&bytes[cut..])].concat());
            let report = result.unwrap_or_else(|e| panic!("{format:?} at {cut}: {e:?}"));
            assert_eq!(report.bytes_tar, bytes.len() as u64);
            assert!(tree.ends_with("z=2"));
        }
        // Empty ones first, between and last.
        let empty = pack(b"");
        let (result, _) =
            run(&[&empty[..], &empty, &pack(&bytes[..999]), &empty, &pack(&bytes[999..]), &empty].concat());
        result.unwrap_or_else(|e| panic!("{format:?} with empty members: {e:?}"));
    }
}

#[test]
fn trap_many_empty_members_do_not_exhaust_the_stack() {
    for (format, pack) in PACKERS {
        let bytes = [pack(b"").repeat(20_000), pack(&archive())].concat();
        run(&bytes).0.unwrap_or_else(|e| panic!("{format:?}: {e:?}"));
    }
}

#[test]
fn trap_zstd_skippable_frames_first_and_between() {
    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let bytes = archive();
    for pieces in [
        vec![skippable.clone(), zst(&bytes)],
        vec![zst(&bytes[..700]), skippable.clone(), skippable.clone(), zst(&bytes[700..])],
        vec![zst(&bytes), skippable.clone()],
    ] {
        run(&pieces.concat()).0.expect("applied");
    }
}

#[test]
fn trap_zero_padding_after_the_last_member_is_fine() {
    for (format, pack) in PACKERS {
        // The xz format allows multiples of four only.
        for zeros in [1, 4, 512, 100_000].into_iter().filter(|n| format != Compression::Xz || n % 4 == 0) {
            let (result, _) = run(&[pack(&archive()), vec![0; zeros]].concat());
            result.unwrap_or_else(|e| panic!("{format:?}, {zeros} zeros: {e:?}"));
        }
    }
}

#[test]
fn trap_garbage_after_the_last_member_is_an_error() {
    for (format, pack) in PACKERS {
        for garbage in [&b"garbage that is no member"[..], b"\0\0\0x", b"\x1f"] {
            let (result, _) = run(&[&pack(&archive())[..], garbage].concat());
            let error = result.expect_err("garbage");
            assert_eq!(error.kind(), ErrorKind::Archive, "{format:?}: {error:?}");
        }
    }
}

#[test]
fn trap_truncation_is_an_error_even_if_every_entry_was_applied() {
    for (format, pack) in PACKERS {
        let whole = pack(&archive());
        let lengths = (1..12).chain((12..whole.len()).step_by(whole.len() / 23)).chain(whole.len() - 12..whole.len());
        for length in lengths {
            let error = run(&whole[..length]).0.expect_err("truncated");
            assert_eq!(error.kind(), ErrorKind::Archive, "{format:?} cut at {length}: {error:?}");
        }
    }
}

#[test]
fn trap_damage_in_the_check_sum_is_an_error() {
    for (format, pack) in PACKERS {
        let whole = pack(&archive());
        // gzip: CRC and length at the end; the others have theirs within the last bytes, too.
        let places: &[usize] = match format {
            Compression::Gzip => &[8, 5, 4, 1],
            Compression::Bzip2 => &[4],
            Compression::Xz => &[2, 40],
            _ => &[],
        };
        for place in places {
            let mut damaged = whole.clone();
            let at = damaged.len() - place;
            damaged[at] ^= 0x10;
            let error = run(&damaged).0.expect_err("damaged");
            assert_eq!(error.kind(), ErrorKind::Archive, "{format:?} at {at}: {error:?}");
        }
        // The zstd of these tests has no check sum.
        if format == Compression::Zstd {
            continue;
        }
        let mut damaged = whole;
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x10;
        assert_eq!(run(&damaged).0.expect_err("damaged").kind(), ErrorKind::Archive, "{format:?}");
    }
}

#[test]
fn trap_a_bomb_ends_at_the_ratio() {
    let zeros = Tarball::new().file("zeros", vec![0; 100 << 20]).build();
    for (format, pack) in [(Compression::Gzip, gz as Pack), (Compression::Zstd, zst), (Compression::Bzip2, bz2)] {
        let scratch = Scratch::new();
        let error = apply(scratch.path(), &pack(&zeros), |o| o.limits.ratio = 100).expect_err("a bomb");
        assert_eq!(error.kind(), ErrorKind::Limit, "{format:?}: {error:?}");
    }
}

#[test]
fn nothing_and_noise_are_malformed() {
    let (result, _) = run(b"");
    // No byte at all is an archive without an end marker, as it is for Go and GNU tar.
    assert!(result.is_ok_and(|report| report.event_count == 1));
    for bytes in [&b"x"[..], b"hello, world", &[0xff; 5000], &[b'a'; 512]] {
        assert_eq!(run(bytes).0.expect_err("noise").kind(), ErrorKind::Archive);
    }
}
