//! Apply a tar stream or a container-image layer to a directory, from inside a process that can see
//! nothing but that directory.

mod options;
mod report;
mod text;
pub mod wire;

pub use options::*;
pub use report::*;
pub use text::Escaped;

#[cfg(feature = "helper")]
pub mod helper;
