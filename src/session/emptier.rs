//! Empties directories of what only a user namespace's root may remove: a helper does it, as a layer of whiteouts.

use super::Untar;
use crate::options::Mode;
use crate::program::Program;
use crate::staging::Emptier;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// By this program, or the present one where it can be a helper.
pub(crate) fn emptier(program: Option<Program>) -> Emptier {
    Arc::new(move |root: OwnedFd, names: &[CString]| {
        let Some(program) = program.clone().or_else(|| Program::this().ok()) else { return };
        let mut untar = Untar::new(root).program(program);
        untar.options_mut().mode = Mode::Layer;
        // An emptier may fail.
        let _ = untar.apply(&hide(names)[..]);
    })
}

/// An archive of whiteouts.
fn hide(names: &[CString]) -> Vec<u8> {
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
