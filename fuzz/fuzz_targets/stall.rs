//! The decoders over a source that comes in pieces and stalls: as in one go.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| untar_in_root::helper::fuzz_stall(data));
