//! The child side.
#[allow(dead_code)]
mod entry;
mod fault;
#[cfg(fuzzing)]
mod fuzz;

#[cfg(fuzzing)]
#[doc(hidden)]
pub use fuzz::fuzz_reader;
