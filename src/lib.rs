//! Apply a tar stream or a container-image layer to a directory, from inside a process that can see
//! nothing but that directory.

mod error;
mod options;
mod program;
mod report;
mod session;
mod text;
mod wire;

pub use error::{Error, ErrorKind};
pub use options::*;
pub use program::Program;
pub use report::*;
pub use session::{Canceller, Pending, Session, Untar};
pub use text::Escaped;

#[cfg(feature = "helper")]
pub mod helper;
