//! Whether overlayfs can be mounted, and how its marks are then read: in a namespace of a process of its own.

use super::{Item, State};
use crate::exit::Exit;
use crate::proc;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::path::Path;
use std::process::Command;

/// Exit codes of the process that mounts.
const TRUSTED: u8 = 10;
const USER: u8 = 11;
const NEITHER: u8 = 12;

/// `trusted`: such attributes can be set here; else overlay mode writes its marks in `user.`, whoever mounts.
pub(super) fn item(scratch: &Path, trusted: bool) -> Item {
    let what = "overlay mount";
    let place = scratch.join("overlay");
    let made =
        ["", "lower", "upper", "work", "merged"].iter().try_for_each(|name| std::fs::create_dir(place.join(name)));
    let status = made
        .and_then(|()| proc::this_program())
        .and_then(|program| Command::new(program).arg("check").arg("--mount-here").arg(&place).output());
    let output = match status {
        Ok(output) => output,
        Err(error) => {
            return Item { what, state: State::No, detail: format!("could not be tried: {error}"), remedy: None };
        }
    };
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let remedy = "root, or Linux 5.11 or later with user namespaces allowed; a file system that can be an upper \
                  directory (not overlayfs itself)";
    match output.status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(TRUSTED) if trusted => {
            Item { what, state: State::Yes, detail: "yes, with trusted.overlay.* marks".into(), remedy: None }
        }
        Some(TRUSTED) => {
            Item { what, state: State::Yes, detail: "yes, with user.overlay.* marks (userxattr)".into(), remedy: None }
        }
        Some(USER) => Item {
            what,
            state: State::Yes,
            detail: "yes, in a user namespace, with user.overlay.* marks (userxattr)".into(),
            remedy: None,
        },
        _ => Item { what, state: State::No, detail: said, remedy: Some(remedy) },
    }
}

/// overlayfs leaves a directory of mode 0000 in its work directory.
pub(super) fn make_removable(scratch: &Path) {
    let left = scratch.join("overlay/work/work");
    let _ = std::fs::set_permissions(left, std::os::unix::fs::PermissionsExt::from_mode(0o700));
}

/// The process that mounts; it says how by its exit status, and its namespace goes with it.
pub(super) fn mount_here(place: &Path) -> Exit {
    // Before a namespace is made: in it, who we were is no longer told.
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let first = unshare(CloneFlags::CLONE_NEWNS).and_then(|()| mount_overlay(place, ""));
    if first.is_ok() {
        return Exit::Code(TRUSTED);
    }
    let second = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).and_then(|()| {
        #[allow(clippy::disallowed_methods, reason = "the kernel's, and nobody has named it")]
        let map = |file: &str, text: String| std::fs::write(file, text).map_err(|_| Errno::EPERM);
        map("/proc/self/setgroups", "deny".into())?;
        map("/proc/self/uid_map", format!("0 {uid} 1"))?;
        map("/proc/self/gid_map", format!("0 {gid} 1"))?;
        mount_overlay(place, ",userxattr")
    });
    match (first, second) {
        (_, Ok(())) => Exit::Code(USER),
        (first, second) => {
            let name = |result: nix::Result<()>| result.err().map_or("", Errno::desc);
            crate::screen::Screen::new().note(&format_args!(
                "as we are: {}; in a user namespace: {}",
                name(first),
                name(second)
            ));
            Exit::Code(NEITHER)
        }
    }
}

fn mount_overlay(place: &Path, more: &str) -> nix::Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    // Relative names: nothing in the path has to be escaped.
    nix::unistd::chdir(place)?;
    let options = format!("lowerdir=lower,upperdir=upper,workdir=work{more}");
    mount(Some("overlay"), "merged", Some("overlay"), MsFlags::empty(), Some(options.as_str()))
}
