//! Headers beside those of Go, and read by everybody.

mod go;
mod readers;
mod rules;
mod sample;
