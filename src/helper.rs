//! The child side.
#[allow(dead_code)]
mod entry;
mod fault;
