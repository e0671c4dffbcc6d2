//! `.dockerignore`: no panic, no endless loop, and nothing wanted below what is not listed.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| untar_in_root::helper::fuzz_ignore(data));
