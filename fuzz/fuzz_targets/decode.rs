//! The decoders: no panic, no endless loop, bounded memory.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| untar_in_root::helper::fuzz_decode(data));
