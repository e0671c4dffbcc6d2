//! `check`: whether containerd can use the differ, and whether it does.

use super::containerd::{dump, said_by};
use super::said::Said;
use super::version::{OLDEST, Version};
use crate::args::Check;
use crate::log::print;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// One row: what was looked at, and what came of it.
struct Row {
    what: &'static str,
    state: State,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// It can be used, and is not yet, or not everywhere.
    Open,
    /// It cannot be used.
    Bad,
}

/// Prints a table; fails if containerd cannot use the differ.
pub(crate) fn check(asked: &Check, content_root: &Path) -> ExitCode {
    let rows = rows(asked, content_root);
    for Row { what, state, text } in &rows {
        let mark = match state {
            State::Good => "ok",
            State::Open => "--",
            State::Bad => "NO",
        };
        print(&format_args!("{mark}  {what:<14} {}\n", printable(text)));
    }
    if rows.iter().any(|row| row.state == State::Bad) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn rows(asked: &Check, content_root: &Path) -> Vec<Row> {
    let version = said_by(&asked.containerd, &["--version"]).map(|text| Version::find(&text));
    let mut rows = vec![of_version(&asked.containerd, &version)];
    if let Ok(Some(version)) = version
        && version >= OLDEST
    {
        let config = &asked.containerd_config;
        match dump(&asked.containerd, config).and_then(|text| Said::by(&text)) {
            Ok(said) => rows.extend(of_configuration(&said, version, content_root)),
            Err(words) => {
                let text = format!("{} is none that containerd reads: {words}", config.display());
                rows.push(row("configuration", State::Bad, text));
            }
        }
    }
    rows
}

/// What is from elsewhere may hold what a terminal obeys, or a row of its own.
fn printable(text: &str) -> String {
    let plain = |c| matches!(c, '"' | '\'' | '\\');
    text.chars().map(|c| if plain(c) { c.to_string() } else { c.escape_debug().to_string() }).collect()
}

fn row(what: &'static str, state: State, text: impl Into<String>) -> Row {
    Row { what, state, text: text.into() }
}

fn of_version(program: &str, version: &Result<Option<Version>, String>) -> Row {
    match version {
        Err(words) => row("containerd", State::Bad, format!("{program} --version: {words}")),
        Ok(None) => row("containerd", State::Bad, format!("{program} --version says no version")),
        Ok(Some(version)) if *version < OLDEST => {
            let text =
                format!("{version} has no plug-ins of type diff, and may not start with one: {OLDEST} is the first");
            row("containerd", State::Bad, text)
        }
        Ok(Some(version)) => row("containerd", State::Good, version.to_string()),
    }
}

fn of_configuration(said: &Said, version: Version, content_root: &Path) -> Vec<Row> {
    let switched = |on: bool, doors: &str| {
        let state = if on { State::Good } else { State::Open };
        (state, format!("{} for {doors}", if on { "on" } else { "off" }))
    };
    let (service, service_text) = switched(said.by_service, "Docker, nerdctl, ctr --local, and 1.7's CRI");
    let (transfer, transfer_text) = switched(said.by_transfer, "the CRI and ctr of 2.1 on");
    let mut rows = vec![
        row("configuration", State::Good, said.version.map_or("no version".into(), |v| format!("version {v}"))),
        of_snapshotter(said.snapshotter.as_deref()),
        of_socket(said.socket.as_deref(), said.by_service || said.by_transfer),
        row("diff-service", service, service_text),
        row("transfer", transfer, transfer_text),
        of_root(said.root.as_deref(), content_root),
    ];
    if said.side_by_side && version.loses_whiteouts_side_by_side() {
        let text =
            "max_concurrent_unpacks > 1 loses whiteouts in 2.2.0 to 2.2.2, whoever applies them: 2.2.3 has it mended";
        rows.push(row("side by side", State::Bad, text));
    }
    rows
}

fn of_snapshotter(name: Option<&str>) -> Row {
    match name {
        Some(name @ ("overlayfs" | "native")) => row("snapshotter", State::Good, name),
        Some(name) => row("snapshotter", State::Open, format!("{name}: its layers are left to the next differ")),
        None => row("snapshotter", State::Good, "none named, so containerd's own: overlayfs"),
    }
}

fn of_socket(socket: Option<&str>, on: bool) -> Row {
    let Some(path) = socket else {
        return row("plug-in", State::Open, "not configured; `untar-in-root-diffd configure` shows how");
    };
    match UnixStream::connect(path) {
        Ok(_) => row("plug-in", State::Good, format!("answers at {path}")),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            row("plug-in", State::Open, format!("{path}: this user may not ask it: ask as root"))
        }
        Err(error) if on => row("plug-in", State::Bad, format!("{path}: {error}; every pull fails until it answers")),
        Err(error) => row("plug-in", State::Open, format!("{path}: {error}")),
    }
}

fn of_root(root: Option<&str>, content_root: &Path) -> Row {
    match root.map(Path::new) {
        Some(root) if real(root) != real(content_root) => {
            let (root, ours) = (root.display(), content_root.display());
            row(
                "content",
                State::Bad,
                format!("containerd has it below {root}, we look below {ours}: --content-root {root}"),
            )
        }
        _ => row("content", State::Good, content_root.display().to_string()),
    }
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
