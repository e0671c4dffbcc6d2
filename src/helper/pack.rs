//! A tree to an archive.

pub(crate) mod dockerignore;
pub(crate) mod encode;
pub(crate) mod header;
#[cfg(test)]
pub(in crate::helper) mod programs;
