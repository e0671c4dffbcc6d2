//! `docs/semantics.md`, rule by rule: archive → outcome. Each test names its rule.

mod directories;
mod disagree;
mod existing;
mod formats;
mod metadata;
mod names;
mod state;
mod traps;
mod types;
mod whiteouts;
mod xattrs;
