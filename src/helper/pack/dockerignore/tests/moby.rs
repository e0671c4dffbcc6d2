//! moby's own matcher, as Debian has it. `UNTAR_IGNORE_CASES` for how many.

use super::{Ignore, PATH, lines};
use crate::helper::pack::programs::{Scratch, build, need, need_path, output};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::fmt::Write as _;
use std::process::Command;

const CASES: usize = 20_000;
const SEED: [u8; 32] = [19; 32];

#[test]
fn rule_19_dockerignore_as_moby_has_it() {
    if !need("go") || !need_path("/usr/share/gocode/src/github.com/moby/patternmatcher") {
        return;
    }
    let scratch = Scratch::new("moby");
    let oracle = build(&scratch, include_str!("oracle.go"));
    let count = std::env::var("UNTAR_IGNORE_CASES").map_or(CASES, |count| count.parse().expect("a number"));
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &SEED));
    let strategy = (lines(), PATH);
    let mut cases = Vec::new();
    while cases.len() < count {
        let (lines, path) = strategy.new_tree(&mut runner).expect("a value").current();
        // A leading `/` is taken off by what reads the file, which this program leaves out.
        if !lines.iter().any(|line| line.trim_start_matches('!').starts_with('/')) {
            cases.push((lines, path));
        }
    }
    let mut told = format!("{count}\n");
    for (lines, path) in &cases {
        write!(told, "{}\n{}\n{path}\n", lines.len(), lines.join("\n")).expect("memory");
    }
    let said = output(&mut Command::new(oracle), told.as_bytes());
    assert_eq!(said.len(), count);
    for ((lines, path), verdict) in cases.iter().zip(&said) {
        let ours = match Ignore::parse(lines.join("\n").as_bytes()) {
            Ok(ignore) => b'0' + u8::from(ignore.excluded(path.as_bytes(), 0)),
            Err(_) => b'2',
        };
        assert_eq!(char::from(ours), char::from(*verdict), "{lines:?} {path:?}");
    }
    let excluded = said.iter().filter(|verdict| **verdict == b'1').count();
    assert!(excluded > count / 20 && excluded < count * 19 / 20, "{excluded} of {count} are excluded");
}
