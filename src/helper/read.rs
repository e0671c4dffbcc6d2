//! From descriptor 0 to checked entries: waiting, decompressing, digesting, parsing.

pub(super) mod decode;
pub(super) mod entry;
pub(super) mod input;
pub(super) mod pool;
pub(super) mod stream;
