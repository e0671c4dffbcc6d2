//! `check`: whether containerd can use the differ, and whether it does.

use super::ask::{Answer, ask};
use super::containerd::{dump, said_by};
use super::docker;
use super::files::read;
use super::rows::{Row, State, any_bad, row};
use super::running::of_running;
use super::said::Said;
use super::version::{OLDEST, Version};
use crate::args::Check;
use crate::config::{Settings, Wrong};
use crate::exit;
use crate::log::one_line;
use crate::nameless::Places;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What starts the service, now and at every boot.
const START: &str = "systemctl enable --now untar-in-root-diffd.socket untar-in-root-diffd.service";
/// What tells why it does not answer.
const LOOK: &str = "see `systemctl status untar-in-root-diffd` and `journalctl -u untar-in-root-diffd`";

/// Which containerd is asked, and what this service's own configuration says.
pub(super) struct Machine<'a> {
    pub(super) containerd: &'a str,
    pub(super) config: &'a Path,
    pub(super) docker: &'a Path,
    pub(super) settings: &'a Result<Settings, Wrong>,
}

/// Prints a table; fails if containerd cannot use the differ.
pub(crate) fn check(asked: &Check, settings: &Result<Settings, Wrong>) -> ExitCode {
    let machine = Machine {
        containerd: &asked.containerd,
        config: &asked.containerd_config,
        docker: &asked.docker_config,
        settings,
    };
    let (mut rows, said) = looked(&machine);
    rows.extend(said.as_ref().and_then(of_running));
    rows.iter().for_each(Row::show);
    ExitCode::from(if any_bad(&rows) { exit::WANTING } else { exit::DONE })
}

/// The rows of what can be used at all, which is what `configure --write` has to mend.
pub(super) fn rows(machine: &Machine<'_>) -> Vec<Row> {
    looked(machine).0
}

fn looked(machine: &Machine<'_>) -> (Vec<Row>, Option<Said>) {
    let version = said_by(machine.containerd, &["--version"]).map(|text| Version::find(&text));
    let mut rows = vec![of_version(machine.containerd, &version)];
    if let Ok(Some(version)) = version
        && version >= OLDEST
    {
        match dump(machine.containerd, machine.config).and_then(|text| Said::by(&text)) {
            Ok(said) => {
                rows.extend(of_configuration(&said, version, machine.settings));
                rows.extend(of_docker(machine.docker));
                return (rows, Some(said));
            }
            Err(words) => {
                let text = format!("{} is none that containerd reads: {words}", machine.config.display());
                rows.push(row("configuration", State::Bad, text));
            }
        }
    }
    (rows, None)
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

fn of_configuration(said: &Said, version: Version, settings: &Result<Settings, Wrong>) -> Vec<Row> {
    let switched = |on: bool, doors: &str| {
        let state = if on { State::Good } else { State::Open };
        (state, format!("{} for {doors}", if on { "on" } else { "off" }))
    };
    let (service, service_text) = switched(said.by_service, "Docker, nerdctl, ctr --local, and 1.7's CRI");
    let (transfer, transfer_text) = switched(said.by_transfer, "the CRI and ctr of 2.1 on");
    let answer = said.socket.as_deref().map(|socket| (socket, ask(socket)));
    let mut rows = vec![
        row("configuration", State::Good, said.version.map_or("no version".into(), |v| format!("version {v}"))),
        of_snapshotter(said.snapshotter.as_deref()),
        of_socket(answer.as_ref(), said.by_service || said.by_transfer),
        row("diff-service", service, service_text),
        row("transfer", transfer, transfer_text),
    ];
    rows.extend(of_settings(settings));
    rows.extend(of_content(said.root.as_deref(), answer.as_ref().map(|(_, answer)| answer), settings));
    if version.says_namespaces() {
        rows.push(of_containerd(said.address.as_deref(), answer.as_ref().map(|(_, answer)| answer), settings));
    }
    if said.side_by_side && version.loses_whiteouts_side_by_side() {
        let text =
            "max_concurrent_unpacks > 1 loses whiteouts in 2.2.0 to 2.2.2, whoever applies them: 2.2.3 has it mended";
        rows.push(row("side by side", State::Bad, text));
    }
    rows
}

/// What has its own way with layers, whatever containerd is told.
fn of_docker(config: &Path) -> Option<Row> {
    let text = read(config).ok().flatten()?;
    docker::remaps(&text).then(|| {
        let text = format!(
            "{} has userns-remap: dockerd leaves the containerd image store off, and its layers do not come here",
            config.display()
        );
        row("docker", State::Open, text)
    })
}

fn of_snapshotter(name: Option<&str>) -> Row {
    match name {
        Some(name @ ("overlayfs" | "native")) => row("snapshotter", State::Good, name),
        Some(name) => row("snapshotter", State::Open, format!("{name}: its layers are left to the next differ")),
        None => row("snapshotter", State::Good, "none named, so containerd's own: overlayfs"),
    }
}

/// `on`: whether containerd asks it, so that a pull fails that gets no answer.
fn of_socket(answer: Option<&(&str, Answer)>, on: bool) -> Row {
    let Some((path, answer)) = answer else {
        return row("plug-in", State::Open, "not configured; `untar-in-root-diffd configure` shows how");
    };
    let (state, every) = if on { (State::Bad, "; every pull fails until it answers") } else { (State::Open, "") };
    let wanting =
        |what: &dyn std::fmt::Display, remedy: &str| row("plug-in", state, format!("{path}: {what}{every}: {remedy}"));
    match answer {
        Answer::Ours(_) => row("plug-in", State::Good, format!("answers at {path}")),
        Answer::NoConnection(error) if error.kind() == ErrorKind::PermissionDenied => {
            row("plug-in", State::Open, format!("{path}: this user may not ask it: ask as root"))
        }
        // Refused: the name is left of one that was stopped.
        Answer::NoConnection(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            wanting(error, START)
        }
        Answer::NoConnection(error) => wanting(error, LOOK),
        Answer::Silence => wanting(&"takes a connection, and does not answer: the service is dead, or hangs", LOOK),
        Answer::HungUp(words) => {
            wanting(&format_args!("hangs up ({words}): the service does not start, or dies"), LOOK)
        }
        Answer::Another(words) => {
            wanting(&format_args!("{words}: that is not this service"), "who listens there, `ss -xlp` says")
        }
    }
}

/// Says so if the settings are wrong. A service that runs goes on with those that it has read before, until it is restarted.
fn of_settings(settings: &Result<Settings, Wrong>) -> Option<Row> {
    let wrong = settings.as_ref().err()?;
    let text =
        format!("{}: the service does not start with that, and every pull fails then", one_line(&wrong.to_string()));
    Some(row("settings", State::Bad, text))
}

/// The service's own word comes first: it may have been started with other words than this command.
fn of_content(root: Option<&str>, answer: Option<&Answer>, settings: &Result<Settings, Wrong>) -> Option<Row> {
    let (ours, who) = match (answer, settings) {
        (Some(Answer::Ours(Places { content_root: Some(ours), .. })), _) => (ours, "the service looks"),
        (_, Ok(settings)) => (&settings.content_root, "the service would look"),
        (_, Err(_)) => return None,
    };
    Some(match root.map(Path::new) {
        Some(root) if real(root) != real(ours) => {
            let text = format!(
                "containerd has it below {}, {who} below {}: {}",
                root.display(),
                ours.display(),
                put("content-root", root)
            );
            row("content", State::Bad, text)
        }
        _ => row("content", State::Good, ours.display().to_string()),
    })
}

/// Where layers that are made go.
fn of_containerd(address: Option<&str>, answer: Option<&Answer>, settings: &Result<Settings, Wrong>) -> Row {
    let (ours, who) = match (answer, settings) {
        (Some(Answer::Ours(Places { containerd: Some(ours), .. })), _) => (ours.as_path(), "the service takes"),
        (Some(Answer::Ours(_)), _) => {
            let text = "the service is of a version that makes no layers: restart it";
            return row("commit", State::Open, text);
        }
        (_, Ok(settings)) => (settings.containerd_address.as_path(), "the service would take"),
        (_, Err(_)) => (Path::new(crate::config::ADDRESS), "the service would take"),
    };
    match address.map(Path::new) {
        Some(address) if real(address) != real(ours) => {
            let text = format!(
                "containerd's socket is {}, {who} layers that it makes to {}: {}",
                address.display(),
                ours.display(),
                put("containerd-address", address)
            );
            row("commit", State::Bad, text)
        }
        _ => row("commit", State::Good, format!("layers go to {}", ours.display())),
    }
}

fn put(key: &str, path: &Path) -> String {
    let file = crate::config::FILE;
    format!("put {key} = \"{}\" into {file}, then `systemctl reload untar-in-root-diffd`", path.display())
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
