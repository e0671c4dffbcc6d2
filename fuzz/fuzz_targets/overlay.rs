//! Overlayfs's attributes: no panic, no endless loop, and nothing shown that a mark forbids.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| untar_in_root::helper::fuzz_overlay(data));
