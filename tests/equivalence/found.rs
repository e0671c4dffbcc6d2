//! What the random sequences have found.

use super::generate::Case;
use super::run::Bench;

/// All layers lead to the same tree in the three ways, with each number of writers and both prefixes.
#[track_caller]
fn same(test: &str, layers: &[&str]) {
    let Some(bench) = Bench::new(test) else { return };
    for (writers, userxattr) in [(1, false), (4, true)] {
        let case = Case { writers, userxattr, ..Case::of(layers) };
        bench.check(&case).unwrap_or_else(|text| panic!("{text}"));
    }
}

#[test]
fn finds_nothing_in_plain_layers() {
    same(
        "finds_nothing_in_plain_layers",
        &[
            "dir a mode=700 own=1:2 mtime=5.5 xattr=user,acl ; file a/b ; hard c = a/b ; link d -> a ; file d/x",
            "hide a/b",
        ],
    );
}
