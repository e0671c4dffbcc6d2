//! The same bytes with any number of threads, and others read them.

mod failure;

use super::{Encoder, Encoding, NoThread, Sums};
use crate::helper::pack::programs::{Scratch, need, output, run};
use crate::report::Digest;
use nix::errno::Errno;
use proptest::prelude::*;
use sha2::Digest as _;
use std::io::{self, Write};
use std::process::Command;
use std::sync::{Arc, Mutex};

const BLOCK: usize = super::BLOCK;
const JOB: usize = 2 << 20;
const IN_CHILD: &str = "UNTAR_ENCODES";
const ENCODINGS: [Encoding; 6] = [
    Encoding::Plain,
    Encoding::Gzip { level: 1 },
    Encoding::Gzip { level: 6 },
    Encoding::Gzip { level: 9 },
    Encoding::Zstd { level: 1 },
    Encoding::Zstd { level: 3 },
];

/// Bytes as archives have them: of all sorts, in runs; the same for the same seed.
fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::with_capacity(length + 8192);
    while bytes.len() < length {
        let run = next() as usize % 8192;
        match next() % 4 {
            0 => bytes.resize(bytes.len() + run, 0),
            1 => (0..run).for_each(|_| bytes.push(next() as u8)),
            2 => (0..run / 8).for_each(|_| bytes.extend(format!("{:08}", next() % 1000).bytes())),
            _ => {
                let start = if bytes.is_empty() { 0 } else { next() as usize % bytes.len() };
                bytes.extend_from_within(start..(start + run).min(bytes.len()));
            }
        }
    }
    bytes.truncate(length);
    bytes
}

fn encode(content: &[u8], encoding: Encoding, threads: usize, piece: usize) -> (Vec<u8>, Sums) {
    let mut encoder = Encoder::new(Vec::new(), encoding, threads).expect("an encoder");
    content.chunks(piece).for_each(|piece| encoder.write_all(piece).expect("memory"));
    assert_eq!(encoder.lacking(), None);
    encoder.finish().expect("memory")
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest(sha2::Sha256::digest(bytes).into())
}

fn program(encoding: Encoding) -> Option<&'static str> {
    match encoding {
        Encoding::Plain => None,
        Encoding::Gzip { .. } => Some("gzip"),
        Encoding::Zstd { .. } => Some("zstd"),
    }
}

#[test]
fn law_5_and_6_the_same_bytes_with_one_two_and_eight_threads() {
    let edges = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, JOB - 1, JOB, JOB + 1, 3 * JOB + 4711];
    for encoding in ENCODINGS {
        for (seed, length) in (1u64..).zip(edges) {
            let content = content(seed, length);
            let (blob, sums) = encode(&content, encoding, 1, BLOCK);
            for (threads, piece) in [(2, 4096), (8, 511), (1, 1 << 20), (3, 300_001)] {
                let other = encode(&content, encoding, threads, piece);
                assert!(other == (blob.clone(), sums), "{encoding:?}, {length} bytes, {threads} threads");
            }
            assert_eq!((sums.size, sums.blob_size), (length as u64, blob.len() as u64));
            assert_eq!((sums.diff_id, sums.digest), (Some(sha256(&content)), Some(sha256(&blob))));
            match program(encoding) {
                None => assert!(blob == content),
                Some(name) if need(name) => {
                    let back = output(Command::new(name).args(["-d", "-c"]), &blob);
                    assert!(back == content, "{name}: {encoding:?}, {length} bytes");
                }
                Some(_) => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn law_5_whatever_the_content(
        seed: u64, length in 0usize..2_000_000, level in 1u32..=9, zstd: bool, threads in 2usize..9, piece in 1usize..600_000,
    ) {
        let encoding = match zstd {
            true => Encoding::Zstd { level: level as i32 },
            false => Encoding::Gzip { level },
        };
        let content = content(seed, length);
        let alone = encode(&content, encoding, 1, BLOCK);
        prop_assert!(alone == encode(&content, encoding, threads, piece));
    }
}

/// A version that changes bytes says so in the change log: digests and caches of what others have packed depend on them.
#[test]
fn rule_20_the_bytes_are_those_of_the_last_version() {
    let content = content(20, 5 << 20);
    let found: Vec<String> = [
        Encoding::Gzip { level: 1 },
        Encoding::Gzip { level: 6 },
        Encoding::Gzip { level: 9 },
        Encoding::Zstd { level: 1 },
        Encoding::Zstd { level: 3 },
        Encoding::Zstd { level: 19 },
    ]
    .into_iter()
    .map(|encoding| {
        let (_, sums) = encode(&content, encoding, 2, BLOCK);
        format!("{encoding:?} {} {}", sums.blob_size, sums.digest.expect("a digest"))
    })
    .collect();
    let want: Vec<&str> = include_str!("tests/bytes.txt").lines().collect();
    assert_eq!(found, want);
}

#[test]
fn rule_20_gzip_has_a_header_without_name_and_time_and_one_member() {
    let (blob, _) = encode(&content(3, 3 * BLOCK), Encoding::Gzip { level: 6 }, 2, BLOCK);
    assert_eq!(blob[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    let mut member = flate2::bufread::GzDecoder::new(&blob[..]);
    assert_eq!(io::copy(&mut member, &mut io::sink()).expect("a member"), 3 * BLOCK as u64);
    assert!(member.into_inner().is_empty(), "a second member");
}

#[test]
fn rule_20_zstd_is_one_frame_with_a_check_sum() {
    let (blob, _) = encode(&content(4, 3 * JOB), Encoding::Zstd { level: 3 }, 2, BLOCK);
    assert_eq!((&blob[..4], blob[4] & 4), (&[0x28, 0xb5, 0x2f, 0xfd][..], 4));
    let frame = ::zstd::zstd_safe::find_frame_compressed_size(&blob).expect("a frame");
    assert_eq!(frame, blob.len());
}

#[test]
fn law_6_the_digests_are_those_of_sha256sum() {
    if !need("sha256sum") {
        return;
    }
    let scratch = Scratch::new("sums");
    let content = content(5, 700_000);
    for encoding in ENCODINGS {
        let (blob, sums) = encode(&content, encoding, 2, 10_000);
        for (bytes, digest) in [(&content, sums.diff_id), (&blob, sums.digest)] {
            let file = scratch.file("bytes", bytes);
            let said = output(Command::new("sha256sum").arg(file), b"");
            let said = String::from_utf8_lossy(&said);
            let hex = said.split(' ').next().unwrap_or_default();
            assert_eq!(digest.map(|digest| digest.to_string()), Some(format!("sha256:{hex}")));
        }
    }
}

#[test]
fn digests_can_be_left_out() {
    for encoding in ENCODINGS {
        let mut encoder = Encoder::new(Vec::new(), encoding, 2).expect("an encoder").without_digests();
        encoder.write_all(&content(6, JOB)).expect("memory");
        let (blob, sums) = encoder.finish().expect("memory");
        assert_eq!((sums.size, sums.blob_size, sums.diff_id, sums.digest), (JOB as u64, blob.len() as u64, None, None));
    }
}

#[test]
fn rule_20_what_is_read_into_its_place_is_as_if_it_were_written() {
    let content = content(14, 3 * JOB);
    for encoding in [Encoding::Plain, Encoding::Gzip { level: 1 }] {
        let mut encoder = Encoder::new(Vec::new(), encoding, 2).expect("an encoder");
        let failed = encoder.fill(9, |_| Err(io::Error::from(io::ErrorKind::TimedOut)));
        assert_eq!(failed.expect_err("its own").kind(), io::ErrorKind::TimedOut);
        let mut at = 0;
        for most in [1, BLOCK, 10, BLOCK - 5, usize::MAX].into_iter().cycle() {
            let rest = &content[at..];
            let read = |to: &mut Vec<u8>| {
                // More than is wanted, and no more than there is room for.
                let room = to.capacity() - to.len();
                to.extend_from_slice(&rest[..rest.len().min(room)]);
                Ok::<_, io::Error>(rest.len().min(room))
            };
            let came = encoder.fill(most.min(rest.len()), read).expect("memory");
            assert!(came <= most && (came > 0 || rest.is_empty()));
            at += came;
            if at == content.len() {
                break;
            }
        }
        assert!(encoder.finish().expect("memory") == encode(&content, encoding, 1, BLOCK));
    }
}

#[test]
fn levels_that_are_none_are_refused() {
    for encoding in [
        Encoding::Gzip { level: 0 },
        Encoding::Gzip { level: 10 },
        Encoding::Zstd { level: 0 },
        Encoding::Zstd { level: 20 },
    ] {
        let error = Encoder::new(Vec::new(), encoding, 1).err().expect("an error");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{encoding:?}");
    }
}

/// Not a test: what the child of the one below does, where no thread can be had.
#[test]
fn encodes_without_threads_where_it_is_asked_to() {
    if std::env::var_os(IN_CHILD).is_none() {
        return;
    }
    let content = content(10, 5 * JOB);
    let want: Vec<_> = ENCODINGS[..4].iter().map(|encoding| encode(&content, *encoding, 4, BLOCK)).collect();
    // Begun before, at work after.
    let mut begun = Encoder::new(Vec::new(), Encoding::Zstd { level: 3 }, 4).expect("an encoder");
    refuse_threads();
    assert!(no_thread(begun.write_all(&content).expect_err("an error")));
    for (encoding, want) in ENCODINGS[..4].iter().zip(want) {
        let mut encoder = Encoder::new(Vec::new(), *encoding, 4).expect("an encoder");
        encoder.write_all(&content).expect("memory");
        assert_eq!(encoder.lacking(), Some(Errno::EAGAIN as i32), "{encoding:?}");
        assert!(encoder.finish().expect("memory") == want, "{encoding:?}");
    }
    assert!(no_thread(Encoder::new(Vec::new(), Encoding::Zstd { level: 3 }, 4).err().expect("an error")));
}

fn no_thread(error: io::Error) -> bool {
    error.downcast::<NoThread>().is_ok_and(|lacking| lacking.errno == Errno::EAGAIN as i32)
}

/// `EAGAIN`, as where the limit on processes is reached.
fn refuse_threads() {
    use seccompiler::{SeccompAction, SeccompFilter, TargetArch};
    let calls = [libc::SYS_clone, libc::SYS_clone3].into_iter().map(|call| (call, Vec::new())).collect();
    let arch = TargetArch::try_from(std::env::consts::ARCH).expect("an architecture");
    let again = SeccompAction::Errno(libc::EAGAIN.cast_unsigned());
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, again, arch).expect("a filter");
    let program: seccompiler::BpfProgram = filter.try_into().expect("a program");
    seccompiler::apply_filter(&program).expect("a filter");
}

/// Decision 9: gzip goes on alone, with the same bytes; zstd, whose bytes would be others, says why it cannot.
#[test]
fn rule_20_without_threads_gzip_goes_on_alone_and_zstd_says_so() {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    let test = "helper::pack::encode::tests::encodes_without_threads_where_it_is_asked_to";
    let said = output(child.args(["--exact", test, "--nocapture"]).env(IN_CHILD, "1"), b"");
    assert!(String::from_utf8_lossy(&said).contains("1 passed"), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn blocks_are_no_more_than_so_many() {
    let mut blocks = super::Blocks::new(10, 3);
    let held: Vec<_> = (0..3).map(|_| blocks.take()).collect();
    let waits = std::thread::scope(|scope| {
        let taken = scope.spawn(move || blocks.take().fill(b"abcdefghijklm"));
        drop(held);
        taken.join().expect("a block")
    });
    assert_eq!(waits, 10);
}

#[test]
fn rule_20_small_blocks_with_a_window_before_them_are_deflated() {
    let bytes = content(12, 400_000);
    for level in 1..=9 {
        for (before, block) in [(0, 1), (1, 1), (33_000, 10), (32_768, 32_768), (100, 262_144), (100_000, 262_144)] {
            for last in [false, true] {
                super::deflated(level, &bytes[..before], &bytes[before..before + block], last);
            }
        }
    }
}
