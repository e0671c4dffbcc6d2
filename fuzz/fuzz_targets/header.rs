//! The header writer: what it writes the reader reads as it was meant.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| untar_in_root::helper::fuzz_header(data));
