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

mod cost;
mod found;
mod generate;
mod model;
mod run;

pub use generate::{Case, cases, tar as layer_tar};
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};
use run::Bench;

const DEFAULT_CASES: u32 = 400;
const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/equivalence.seeds");

/// `UNTAR_EQUIVALENCE_CASES` sets how many sequences are tried.
#[test]
fn random_layers_lead_to_the_same_tree() {
    let Some(bench) = Bench::new("random_layers_lead_to_the_same_tree") else { return };
    let cases_wanted = std::env::var("UNTAR_EQUIVALENCE_CASES").ok().and_then(|n| n.parse().ok());
    let config = Config {
        cases: cases_wanted.unwrap_or(DEFAULT_CASES),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(SEEDS))),
        max_shrink_iters: 3000,
        ..Config::default()
    };
    let started = std::time::Instant::now();
    let outcome = TestRunner::new(config).run(&cases(), |case: Case| bench.check(&case).map_err(TestCaseError::fail));
    println!("{} in {:.1} s", bench.tally(), started.elapsed().as_secs_f32());
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
