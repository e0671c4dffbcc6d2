//! Bytes in, entries out.

mod build;
mod ends;
mod go;
mod limits;
mod random;
mod rules;
mod sparse;
mod tools;
mod traps;
