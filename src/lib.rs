//! Apply a tar stream or a container-image layer to a directory, from inside a process that can see nothing
//! but that directory.
//!
//! # From the top
//!
//! [`Untar`] describes one application: an open directory, [`Options`], expected digests. It starts a helper,
//! a second process, which enters the directory as its root with `pivot_root(2)`, gives up every right that
//! it does not need, and only then reads the archive: decompressing, parsing and applying happen there and
//! nowhere else. The parent streams the archive, hears events, and ends with a [`Report`] or an [`Error`]
//! that names the stage, the entry, the system call and its error number.
//!
//! ```no_run
//! use untar_in_root::{Error, Mode, Program, Untar};
//! # fn main() -> Result<(), Error> {
//! let mut untar = Untar::open("/var/lib/images/rootfs")?.program(Program::at("/usr/bin/untar-in-root"));
//! untar.options_mut().mode = Mode::Layer;
//! # let layer = std::fs::File::open("layer.tar.gz").unwrap();
//! let report = untar.apply_fd(layer)?;
//! println!("{} entries, {:?}", report.entries.total(), report.diff_id);
//! # Ok(())
//! # }
//! ```
//!
//! | to | use |
//! |---|---|
//! | apply a file, pipe or socket | [`Untar::apply_fd`] |
//! | apply what a reader gives | [`Untar::apply`] |
//! | write the archive yourself | [`Untar::spawn`], a [`Session`] that is an [`io::Write`](std::io::Write) |
//! | do that in an asynchronous program | [`Session::into_parts`] |
//! | end a run from another thread | [`Session::canceller`] |
//! | let your own program be the helper | [`helper::init`], then [`Program::this`] |
//!
//! The parent treats the helper as compromised: its frames are bounded and checked, its events capped, and
//! what the parent can know itself (bytes streamed, the digest of the archive) it does not ask. What is and
//! what is not a boundary is in `SECURITY.md`, how the program is built in `DESIGN.md`.
//!
//! # Features
//!
//! `helper` (on by default): the child side. Without it the crate is the parent alone, on serde, bincode, sha2
//! and nix, with no code that reads archives.

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

/// The README's examples compile.
#[cfg(all(doctest, feature = "helper"))]
#[doc = include_str!("../README.md")]
struct Readme;
