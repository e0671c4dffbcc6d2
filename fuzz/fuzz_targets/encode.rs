//! The encoders: the same bytes with any threads, which come back, and none of a block is too long.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| untar_in_root::helper::fuzz_encode(data));
