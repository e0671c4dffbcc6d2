//! Where paths lead, against the kernel.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| untar_in_root::helper::fuzz_resolver(data));
