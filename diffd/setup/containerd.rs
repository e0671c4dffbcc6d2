//! Asking containerd itself: what version it is of, and what it makes of a configuration.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a program says on standard output, if it says it with success.
///
/// # Errors
///
/// It cannot be started, or fails; in its own words.
pub(super) fn said_by(program: &str, words: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(words.lines().rev().find(|line| !line.trim().is_empty()).map_or("it fails without a word", str::trim).into())
}

/// The whole configuration that this file leads to. 1.7 starts without the file, and prints none then.
///
/// # Errors
///
/// It is none that containerd reads; in its own words.
pub(super) fn dump(program: &str, config: &Path) -> Result<String, String> {
    let dumped = said_by(program, &["--config", &config.to_string_lossy(), "config", "dump"]);
    let file = std::fs::File::open(config).map_err(|e| e.kind());
    match file {
        Err(ErrorKind::NotFound) => dumped.or_else(|_| said_by(program, &["config", "default"])),
        Err(ErrorKind::PermissionDenied) => Err("this user may not read it: ask as root".into()),
        _ => dumped,
    }
}
