//! An archive of whiteouts: the only one that the library writes.

use std::ffi::CString;

/// Hides each of these names.
pub(super) fn hide(names: &[CString]) -> Vec<u8> {
    let mut archive: Vec<u8> = names.iter().flat_map(|name| whiteout(name.to_bytes())).collect();
    archive.extend([0; 1024]);
    archive
}

/// The header of one: of a name of our own, which is short.
fn whiteout(name: &[u8]) -> [u8; 512] {
    let mut block = [0_u8; 512];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, &[b".wh.", &name[..name.len().min(96)]].concat());
    put(100, b"0000600");
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, b"00000000000");
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}
