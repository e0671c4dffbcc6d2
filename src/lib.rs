//! Apply a tar stream or a container-image layer to a directory, or pack a directory into one, from inside a process that
//! can see nothing but that directory.
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
//! let untar = Untar::open("/var/lib/images/rootfs")?.program(Program::at("/usr/bin/untar-in-root")).mode(Mode::Layer);
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
//! | apply what an asynchronous source gives | `Untar::apply_async`, with the feature `tokio` |
//! | write it in another asynchronous program | [`Session::into_parts`] |
//! | start a run and wait for it later | [`Untar::start_fd`], a [`Pending`] |
//! | look at what is in an archive | [`Untar::list`] |
//! | pack a directory into a file, pipe or socket | [`Pack::to_fd`] |
//! | read a directory as an archive | [`Pack::spawn`], a [`Packing`] that is an [`io::Read`](std::io::Read) |
//! | pack what a directory changes as a layer | [`Diff::upper`], [`Diff::between`] |
//! | copy from one directory into another | [`Copy`](struct@Copy) |
//! | end a run from another thread | [`Session::canceller`] |
//! | have a directory appear whole or not at all | [`Untar::atomic`] |
//! | let your own program be the helper | [`helper::init`], then [`Program::this`] |
//! | let your own tests be it | [`helper_at_start!`], then [`Program::this`] |
//!
//! [`Pack`] is the way back: the helper enters a directory that it cannot change, and writes the archive.
//!
//! The parent treats the helper as compromised: its frames are bounded and checked, its events capped, and
//! what the parent can know itself (bytes streamed, the digest of the archive) it does not ask. What is and
//! what is not a boundary is in `SECURITY.md`, how the program is built in `DESIGN.md`.
//!
//! # Features
//!
//! `helper` (on by default): the child side. Without it the crate is the parent alone, on serde, bincode, sha2
//! and nix, with no code that reads archives.
//!
//! `tokio`: `Untar::apply_async`, and a [`Pending`] that a task awaits. Parent side too. Off by default.
//!
//! `image` (Linux only): whole images, the module `image`. Parent side too: serde_json and rustix beside the
//! others.
//!
//! # Other systems than Linux
//!
//! The crate compiles there with the same interface, so that a program for several systems need not leave it
//! out, but nothing is applied: whatever can fail answers [`ErrorKind::Unsupported`].

// On other systems a run is described, but nobody reads the description.
#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

// What every system has: the vocabulary, and the public types.
mod beginning;
mod canceller;
mod cut;
mod error;
mod fd;
mod kind;
mod opened;
mod options;
mod plan;
mod program;
mod purse;
mod report;
mod session;
mod text;

pub use canceller::Canceller;
pub use error::Error;
pub use kind::ErrorKind;
pub use opened::Lower;
pub use options::*;
pub use program::Program;
pub use report::*;
#[cfg(feature = "tokio")]
pub use session::Running;
pub use session::{Copy, Diff, Pack, PackParts, Packing, Parts, Pending, PendingPack, Session, Untar};
pub use text::Escaped;

// The seam. What the public types do is in one of two modules with the same functions; tests on Linux see both.
#[cfg(any(test, not(target_os = "linux")))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
use elsewhere as system;
#[cfg(target_os = "linux")]
use linux as system;

#[cfg(all(not(target_os = "linux"), feature = "helper"))]
pub use elsewhere::helper;

// What only Linux has.
#[cfg(all(target_os = "linux", feature = "helper"))]
pub mod helper;
#[cfg(all(target_os = "linux", feature = "image"))]
pub mod image;
#[cfg(target_os = "linux")]
mod inode;
#[cfg(all(target_os = "linux", any(feature = "helper", feature = "image")))]
mod marks;
#[cfg(target_os = "linux")]
mod namespace;
#[cfg(target_os = "linux")]
mod proc;
#[cfg(all(target_os = "linux", any(feature = "helper", feature = "image")))]
mod sniff;
#[cfg(target_os = "linux")]
mod staging;
#[cfg(target_os = "linux")]
mod wire;

/// The guide's examples compile.
#[cfg(all(doctest, feature = "helper", feature = "tokio"))]
#[doc = include_str!("../docs/importing.md")]
struct Importing;

/// The README's examples compile.
#[cfg(all(doctest, feature = "helper"))]
#[doc = include_str!("../README.md")]
struct Readme;
