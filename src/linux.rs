//! What the public types do on Linux: spawn the helper, stream the archive, collect the outcome.

mod child;
mod copy;
mod feeder;
mod idmap;
pub(crate) mod opened;
pub(crate) mod own;
mod pack;
mod root;
mod run;
mod source;
mod start;
#[cfg(feature = "tokio")]
mod task;
mod verdict;
mod whiteouts;

pub(crate) use copy::copy;
pub(crate) use opened::open_lower;
pub(crate) use own::this_program;
pub(crate) use pack::{PackRun, start_packing};
pub(crate) use root::Root;
#[cfg(feature = "image")]
pub(crate) use root::open_root;
pub(crate) use run::Run;
pub(crate) use source::{run, start_fd};
#[cfg(feature = "image")]
pub(crate) use start::emptier;
pub(crate) use start::spawn;
#[cfg(feature = "tokio")]
pub(crate) use task::{PackTask, Task, apply_async};
