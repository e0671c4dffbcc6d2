//! The headers that Go writes. `UNTAR_HEADER_CASES` for how many, `UNTAR_HEADER_SEED` for others.

use super::sample::{Sample, any_header, samples};
use crate::helper::pack::header::flag;
use crate::helper::pack::programs::{Scratch, build, need, output};
use std::process::Command;

/// Seeds under which something was found, or might be.
const SEEDS: [u64; 3] = [18, 0xC0FFEE, 20_261_128];
const CASES: usize = 2000;

#[test]
fn rule_07_headers_are_those_of_go() {
    if !need("go") {
        return;
    }
    let scratch = Scratch::new("go");
    let oracle = build(&scratch, include_str!("oracle.go"));
    let cases = variable("UNTAR_HEADER_CASES").map_or(CASES, |cases| usize::try_from(cases).expect("a number"));
    let seeds = variable("UNTAR_HEADER_SEED").map_or(SEEDS.to_vec(), |seed| vec![seed]);
    for seed in seeds {
        let samples = samples(seed, cases, any_header());
        let theirs = as_go(&oracle, &samples);
        let different: Vec<_> = samples
            .iter()
            .zip(&theirs)
            .enumerate()
            .filter(|(_, (sample, theirs))| sample.written().ok() != **theirs)
            .collect();
        if let Some((at, (sample, theirs))) = different.first() {
            panic!(
                "seed {seed}: {} of {cases} differ, first {at}: {sample:?}\n{:?}\n{theirs:?}",
                different.len(),
                sample.written()
            );
        }
        assert!(theirs.iter().all(Option::is_some), "Go refuses some");
        let extended = theirs.iter().flatten().filter(|bytes| bytes.len() > 512).count();
        assert!(extended > cases / 4 && extended < cases * 95 / 100, "{extended} of {cases} are extended");
    }
}

/// Both refuse the same.
#[test]
fn rule_07_what_go_refuses_is_refused() {
    if !need("go") {
        return;
    }
    let scratch = Scratch::new("refusals");
    let oracle = build(&scratch, include_str!("oracle.go"));
    let long = vec![b'v'; 1 << 20];
    let with = |key: &str, value: &[u8]| Sample {
        records: vec![(key.as_bytes().to_vec(), value.to_vec())],
        ..Sample::file(b"a")
    };
    let refused = [
        Sample::file(b"a\0b"),
        Sample::file(b"a/"),
        Sample { link: b"a\0".to_vec(), ..Sample::file(b"a") },
        Sample { device: Some((1 << 21, 0)), ..Sample::file(b"a") },
        with("SCHILY.xattr.user.a=b", b""),
        with("SCHILY.xattr.user.a\0", b""),
        with("SCHILY.xattr.user.a", &long),
    ];
    for (sample, theirs) in refused.iter().zip(as_go(&oracle, &refused)) {
        assert_eq!(theirs, None, "{sample:?}");
        assert!(sample.written().is_err(), "{sample:?}");
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// What the oracle writes of each; `None` where it refuses.
fn as_go(oracle: &std::path::Path, samples: &[Sample]) -> Vec<Option<Vec<u8>>> {
    let mut told = (samples.len() as i64).to_le_bytes().to_vec();
    samples.iter().for_each(|sample| tell(sample, &mut told));
    let said = output(&mut Command::new(oracle), &told);
    let mut rest = &said[..];
    let written = samples.iter().map(|_| {
        let (length, after) = rest.split_first_chunk().expect("a length");
        let length = usize::try_from(i64::from_le_bytes(*length)).ok();
        let (bytes, after) = after.split_at(length.unwrap_or(0));
        rest = after;
        length.map(|_| bytes.to_vec())
    });
    let written = written.collect();
    assert!(rest.is_empty());
    written
}

fn tell(sample: &Sample, told: &mut Vec<u8>) {
    let number = |value: u64, told: &mut Vec<u8>| told.extend(value.to_le_bytes());
    let text = |text: &[u8], told: &mut Vec<u8>| {
        told.extend((text.len() as u64).to_le_bytes());
        told.extend(text);
    };
    number(flag(sample.kind).expect("a type").into(), told);
    text(&sample.name, told);
    text(&sample.link, told);
    let (major, minor) = sample.device.unwrap_or_default();
    let seconds = sample.mtime.seconds.cast_unsigned();
    let numbers = [
        u64::from(sample.mode),
        sample.uid,
        sample.gid,
        sample.size,
        seconds,
        sample.mtime.nanoseconds.into(),
        major.into(),
        minor.into(),
        sample.records.len() as u64,
    ];
    numbers.into_iter().for_each(|value| number(value, told));
    for (key, value) in &sample.records {
        text(key, told);
        text(value, told);
    }
}
