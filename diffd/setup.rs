//! Whether this machine's containerd can use the differ, and having it do so: `check` and `configure`.

mod check;
mod configure;
mod docker;
mod tables;
mod version;

pub(crate) use check::check;
pub(crate) use configure::configure;

use std::process::{Command, Stdio};

/// What a program says on standard output, if it says it with success.
fn said_by(program: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
