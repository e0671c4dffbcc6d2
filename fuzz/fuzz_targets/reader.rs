//! The tar reader: no panic, no endless loop, and the same entries in any chunks.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| untar_in_root::helper::fuzz_reader(data));
