//! The hostile archives, by what they attack.

mod formats;
mod links;
mod metadata;
mod names;
mod nodes;
mod streams;
mod whiteouts;

use super::case::Case;
use crate::support::tarball::Tarball;

/// All of them.
pub fn all() -> Vec<Case> {
    let tables = [names::cases, links::cases, whiteouts::cases, nodes::cases, metadata::cases];
    tables.iter().chain(&[formats::cases as fn() -> Vec<Case>, streams::cases]).flat_map(|table| table()).collect()
}

fn tar() -> Tarball {
    Tarball::new()
}
