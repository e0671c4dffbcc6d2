//! `untar-in-root check`: what this machine lets the helper do, by trying it.

mod archive;
mod overlay;

use crate::args::Check;
use crate::exit::{self, Exit};
use crate::json;
use crate::proc;
use crate::screen::Screen;
use crate::trouble::Trouble;
use nix::errno::Errno;
use serde_json::json;
use std::path::{Path, PathBuf};
use untar_in_root::{Advice, Confinement, Devices, Error, EventKind, Program, Report, RootSwitch, Untar};

/// One thing, and whether it can be had.
struct Item {
    what: &'static str,
    state: State,
    detail: String,
    /// What to do about it.
    remedy: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Yes,
    /// It works, but is not as strong or complete as it could be.
    Partly,
    No,
}

const TRUSTED: &str = "trusted.* attributes";

pub(crate) fn run(args: &Check) -> Exit {
    if let (true, Some(dir)) = (args.mount_here, &args.dir) {
        return overlay::mount_here(dir);
    }
    let mut screen = Screen::new();
    let parent = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    // Whoever mounts changes its directory.
    let parent = std::path::absolute(&parent).unwrap_or(parent);
    let scratch = match Scratch::new(&parent) {
        Ok(scratch) => scratch,
        Err(error) => {
            let trouble = Trouble::Scratch { dir: parent, given: args.dir.is_some(), error };
            screen.say(&trouble);
            return Exit::Code(trouble.exit());
        }
    };
    // A user namespace may not set trusted.* attributes: then all the rest is tried without them.
    let with_all = try_helper(&scratch.0.join("all"), true);
    let (tried, trusted) = match with_all {
        Ok(report) => (Ok(report), None),
        Err(error) => (try_helper(&scratch.0.join("rest"), false), Some(not_set(&error))),
    };
    let mut items = match &tried {
        Ok(report) => of_report(report, trusted),
        Err(error) => vec![Item {
            what: "applying an archive",
            state: State::No,
            detail: error.to_string(),
            remedy: Some(match error.advice() {
                Some(Advice::Threads) => "more processes and threads: `ulimit -u`, and pids.max of the cgroup",
                _ => rights(),
            }),
        }],
    };
    let has_trusted = items.iter().any(|item| item.what == TRUSTED && item.state == State::Yes);
    items.push(overlay::item(&scratch.0, has_trusted));
    let code = exit_code(tried.as_ref().ok());
    show(&mut screen, args, &items, tried.as_ref().ok(), &parent);
    drop(scratch);
    match screen.finish() {
        Err(error) if code == exit::DONE => Exit::Code(Trouble::Output(error).exit()),
        _ => Exit::Code(code),
    }
}

fn exit_code(report: Option<&Report>) -> u8 {
    if report.is_some() { exit::DONE } else { exit::JAIL }
}

/// A directory that is gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(parent: &Path) -> std::io::Result<Scratch> {
        Ok(Scratch(nix::unistd::mkdtemp(&parent.join("untar-in-root-check-XXXXXX"))?))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        overlay::make_removable(&self.0);
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Applies a small archive of one thing of each kind; what could not be had is an event.
fn try_helper(root: &Path, trusted_xattrs: bool) -> Result<Report, Error> {
    // If it cannot be made, opening it says why.
    let _ = std::fs::create_dir(root);
    let mut untar = Untar::open(root)?.program(Program::this()?);
    let options = untar.options_mut();
    options.devices = Devices::Skip;
    options.ignore_chown_errors = true;
    options.trusted_xattrs = trusted_xattrs;
    untar.apply(&archive::of_each_kind()[..])
}

/// Shorter than the error, which has an entry of ours in it.
fn not_set(error: &Error) -> String {
    let errno = error.raw_os_error().map(Errno::from_raw);
    errno.map_or_else(|| error.to_string(), |errno| format!("not set: {errno:?} ({})", errno.desc()))
}

fn of_report(report: &Report, trusted: Option<String>) -> Vec<Item> {
    let mut items = confinement(report);
    items.extend(files(report, trusted));
    items
}

fn confinement(report: &Report) -> Vec<Item> {
    let c = &report.confinement;
    vec![root_switch(c), restricted_mount(c), user_namespace(c), capabilities(c), seccomp(c), landlock(c)]
}

/// In force or not, and then with a remedy.
fn yes_or_no(what: &'static str, stands: bool, yes: &str, no: &str, remedy: &'static str) -> Item {
    Item {
        what,
        state: if stands { State::Yes } else { State::No },
        detail: if stands { yes } else { no }.into(),
        remedy: (!stands).then_some(remedy),
    }
}

fn root_switch(c: &Confinement) -> Item {
    let pivoted = c.root == RootSwitch::Pivot;
    let why = c.fallback.as_ref().map(|fallback| format!(", because {fallback}")).unwrap_or_default();
    let how = if c.over_first_mount { " over the first mount, an initramfs, which stays below" } else { "" };
    // Root's rights are not what the kernel misses.
    let in_chroot = proc::is_mounted() && errno_of(c) == Some(Errno::EINVAL);
    let remedy = if in_chroot { OUTSIDE } else { rights() };
    Item {
        what: "root switch",
        state: if pivoted { State::Yes } else { State::Partly },
        detail: format!("{}{how}{why}", c.root),
        remedy: (!pivoted).then_some(remedy),
    }
}

const OUTSIDE: &str =
    "a caller that is not in a chroot: mount(2) and pivot_root(2) take a root that is the root of a mount";

fn errno_of(c: &Confinement) -> Option<Errno> {
    c.fallback.as_ref()?.errno.map(Errno::from_raw)
}

/// What to do for a stronger switch of root, or for any.
fn rights() -> &'static str {
    match nix::unistd::geteuid().is_root() {
        _ if !proc::is_mounted() => {
            "first of all /proc (mount -t proc proc /proc), without which no user namespace can be mapped and nothing is told of \
             mounts; then what this says with it"
        }
        true => {
            "CAP_SYS_ADMIN, or user namespaces (user.max_user_namespaces>0), and in a container a seccomp and AppArmor \
             profile that permit unshare, mount and pivot_root; CAP_SYS_CHROOT is enough for chroot"
        }
        false => {
            "user namespaces (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces>0, AppArmor's \
             kernel.apparmor_restrict_unprivileged_userns=0; in a container its seccomp profile); only root needs none"
        }
    }
}

fn restricted_mount(c: &Confinement) -> Item {
    let what = "mount without devices, set-uid, execution";
    let remedy = "Linux 5.12 or later, and the right to mount";
    yes_or_no(what, c.mount_restricted, "nosuid, nodev, noexec", "not in force", remedy)
}

fn user_namespace(c: &Confinement) -> Item {
    let (state, detail, remedy) = match &c.user_namespace {
        None if c.root == RootSwitch::Pivot => (State::Yes, "not needed: the caller has the rights".to_owned(), None),
        None => (State::Partly, "none, and none needed for this root switch".to_owned(), None),
        Some(maps) if maps.uids.iter().map(|range| u64::from(range.count)).sum::<u64>() > 1 => {
            (State::Yes, maps.to_string(), None)
        }
        Some(maps) if c.map_refusal.is_some() => {
            let why = c.map_refusal.iter().map(ToString::to_string).collect::<String>();
            (State::Partly, format!("{maps}: one id only, since {why}"), None)
        }
        Some(maps) => (
            State::Partly,
            format!("{maps}: one id only"),
            Some(
                "for owners other than yourself: install newuidmap and newgidmap (package uidmap) and give yourself \
                  ranges in /etc/subuid and /etc/subgid",
            ),
        ),
    };
    Item { what: "user namespace", state, detail, remedy }
}

fn capabilities(c: &Confinement) -> Item {
    let left = if c.capabilities.is_empty() { "none".into() } else { c.capabilities.join(" ") };
    let groups = if c.groups_cleared { ", supplementary groups cleared" } else { "" };
    Item {
        what: "capabilities dropped",
        state: if c.no_new_privs { State::Yes } else { State::No },
        detail: format!("left: {left}; no_new_privs{groups}"),
        remedy: None,
    }
}

fn seccomp(c: &Confinement) -> Item {
    let remedy = "a kernel with CONFIG_SECCOMP_FILTER, on x86_64, aarch64 or riscv64";
    yes_or_no("seccomp", c.seccomp, "filter in force", "no filter", remedy)
}

fn landlock(c: &Confinement) -> Item {
    let absent = c.landlock_abi.is_none();
    let paths = if c.landlock_paths { ", path rules" } else { "" };
    Item {
        what: "Landlock",
        state: if absent { State::Partly } else { State::Yes },
        detail: c.landlock_abi.map_or_else(|| "not there".into(), |abi| format!("ABI {abi}{paths}")),
        remedy: absent.then_some("Linux 5.13 or later with landlock among the modules of `lsm=`"),
    }
}

fn files(report: &Report, trusted: Option<String>) -> Vec<Item> {
    let failed = |wanted: fn(&EventKind) -> bool| {
        report.events.iter().find(|event| wanted(&event.what)).map(|event| event.what.to_string())
    };
    let attribute = |prefix: &'static [u8]| {
        report.events.iter().find_map(|event| match &event.what {
            EventKind::XattrUnsupported { name, .. } | EventKind::XattrDropped { name } if name.starts_with(prefix) => {
                Some(event.what.to_string())
            }
            _ => None,
        })
    };
    let item = |what, failure: Option<String>, state, remedy| match failure {
        None => Item { what, state: State::Yes, detail: "yes".into(), remedy: None },
        Some(detail) => Item { what, state, detail, remedy: Some(remedy) },
    };
    vec![
        item(
            "any owner",
            failed(|what| matches!(what, EventKind::OwnerIgnored { .. } | EventKind::CallersOwn)),
            State::Partly,
            "CAP_CHOWN, or subordinate ids (see user namespace); else use --no-same-owner or --ignore-chown-errors",
        ),
        item(
            "devices",
            failed(|what| matches!(what, EventKind::DeviceSkipped { .. })),
            State::Partly,
            "only CAP_MKNOD in the first user namespace makes devices, and only where a mount of the helper's own keeps them \
             from being opened: use --devices skip or placeholder",
        ),
        item(
            "user.* attributes",
            attribute(b"user."),
            State::Partly,
            "another file system; tmpfs has them since Linux 6.6",
        ),
        item(
            "file capabilities",
            attribute(b"security.capability"),
            State::Partly,
            match report.confinement.root {
                RootSwitch::Beneath => "a root that is entered (see root switch): without one, no capability is held",
                _ => "another file system, or CAP_SETFCAP",
            },
        ),
        item("ACLs", attribute(b"system.posix_acl"), State::Partly, "a file system mounted with ACLs, and any owner"),
        item(
            TRUSTED,
            trusted.or_else(|| attribute(b"trusted.")),
            State::Partly,
            "only root in the first user namespace has them; overlay marks then go into user.overlay.*, and the \
             mount takes userxattr",
        ),
    ]
}

fn show(screen: &mut Screen, args: &Check, items: &[Item], report: Option<&Report>, dir: &Path) {
    let system = nix::sys::utsname::uname().ok();
    let kernel = system.as_ref().and_then(|system| system.release().to_str()).unwrap_or_default();
    if args.json {
        let items: Vec<_> = items
            .iter()
            .map(|item| {
                json!({ "what": item.what, "state": word(item.state), "detail": item.detail, "remedy": item.remedy })
            })
            .collect();
        let confinement = report.map(|report| json::plain(&report.confinement));
        let value = json!({ "ok": report.is_some(), "exit": exit_code(report), "error": null, "kernel": kernel,
            "dir": dir.to_string_lossy(), "confinement": confinement, "items": items });
        screen.print(&json::line(&value));
        return;
    }
    screen.print(&format_args!(
        "Linux {kernel}, tried in {}",
        untar_in_root::Escaped(dir.as_os_str().as_encoded_bytes())
    ));
    for item in items {
        screen.print(&format_args!("{:<7} {}: {}", word(item.state), item.what, item.detail));
        if let Some(remedy) = item.remedy {
            screen.print(&format_args!("        to have it: {remedy}"));
        }
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Yes => "yes",
        State::Partly => "partly",
        State::No => "no",
    }
}
