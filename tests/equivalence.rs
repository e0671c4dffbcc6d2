//! Layers applied in layer mode, in overlay mode and mounted, and by a naive model: the same tree.
//!
//! A sequence of layers is written as text, one layer a string, entries between `;`:
//!
//! ```text
//! dir a mode=700 own=1:2 mtime=5.5 xattr=user,acl ; file a/b ; link c -> ../a ; hard d = a/b ; fifo e ; null f
//! hide a/b ; opaque a
//! ```
//!
//! One exception to "the same": a hardlink to a file of a lower layer copies it up, so in the overlay the group
//! ends between the names of this layer and those below. The model knows both groupings and each is checked.

pub mod cost;
mod found;
mod generate;
mod model;
mod run;

pub use generate::{Case, cases, tar as layer_tar};
use proptest::test_runner::{Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use run::Bench;

const DEFAULT_CASES: u32 = 100;
const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/equivalence.seeds");

/// `UNTAR_EQUIVALENCE_CASES` sets how many sequences are tried, `UNTAR_EQUIVALENCE_SEED` which: the same
/// seed draws the same sequences. Without one the time is the seed; it is printed first, so that a run that
/// is cut short can be replayed too. The stored seeds come first in any case.
#[test]
fn random_layers_lead_to_the_same_tree() {
    let Some(bench) = Bench::new() else { return };
    let cases_wanted = number("UNTAR_EQUIVALENCE_CASES").map_or(DEFAULT_CASES, |n| n.try_into().expect("32 bits"));
    let seed = number("UNTAR_EQUIVALENCE_SEED").unwrap_or_else(time);
    println!("UNTAR_EQUIVALENCE_SEED={seed} UNTAR_EQUIVALENCE_CASES={cases_wanted}");
    let config = Config {
        cases: cases_wanted,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(SEEDS))),
        max_shrink_iters: 3000,
        ..Config::default()
    };
    let started = std::time::Instant::now();
    let mut runner = TestRunner::new_with_rng(config, rng(seed));
    let outcome = runner.run(&cases(), |case: Case| bench.check(&case).map_err(TestCaseError::fail));
    println!("seed {seed}: {} in {:.1} s", bench.tally(), started.elapsed().as_secs_f32());
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// A number in the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

fn time() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    since.as_secs() << 10 | u64::from(since.subsec_millis())
}

/// ChaCha, whose stream is the same on every machine and in every version.
fn rng(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}
