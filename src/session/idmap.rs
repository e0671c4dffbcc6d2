//! Maps the ids of the helper's user namespace, from outside it: `user_namespaces(7)`.

use crate::wire::{IdMapFailure, IdMaps};
use crate::{IdRange, Operation, UserNamespace};
use nix::unistd::{Uid, User, getegid, geteuid};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::process::{Child, Command, Stdio};

/// Writes the maps that the caller asked for.
pub(super) fn write(helper: &Child, wanted: &UserNamespace) -> Result<(), IdMapFailure> {
    let pid = helper.id();
    match wanted {
        UserNamespace::Mapped { uids, gids } => explicit(pid, &IdMaps { uids: uids.clone(), gids: gids.clone() }),
        UserNamespace::Single => single(pid),
        UserNamespace::Auto | UserNamespace::Never => automatic(pid),
    }
}

/// All that the caller may map: as root everything, else subordinate ranges, else its one id.
fn automatic(pid: u32) -> Result<(), IdMapFailure> {
    if geteuid().is_root() && map_all(pid).is_ok() {
        return Ok(());
    }
    match subordinate() {
        Some(maps) if through_helpers(pid, &maps).is_ok() => Ok(()),
        _ => single(pid),
    }
}

/// Root without the capabilities to mount, or the like: the identity over what is mapped here.
fn map_all(pid: u32) -> Result<(), IdMapFailure> {
    let identity = |file: &str| -> Vec<IdRange> {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().filter_map(parse_map_line).map(|r| IdRange { outside: r.inside, ..r }).collect()
    };
    direct(pid, &IdMaps { uids: identity("/proc/self/uid_map"), gids: identity("/proc/self/gid_map") })
}

/// `inside outside count`, as the kernel prints it.
fn parse_map_line(line: &str) -> Option<IdRange> {
    let mut numbers = line.split_ascii_whitespace().map(|n| n.parse().ok());
    Some(IdRange { inside: numbers.next()??, outside: numbers.next()??, count: numbers.next()?? })
}

fn explicit(pid: u32, maps: &IdMaps) -> Result<(), IdMapFailure> {
    direct(pid, maps).or_else(|first| through_helpers(pid, maps).map_err(|_| first))
}

fn single(pid: u32) -> Result<(), IdMapFailure> {
    // Without a capability a group may be mapped only once setgroups is denied.
    put(pid, "setgroups", "deny")?;
    let one = |outside| vec![IdRange { inside: 0, outside, count: 1 }];
    direct(pid, &IdMaps { uids: one(geteuid().as_raw()), gids: one(getegid().as_raw()) })
}

fn direct(pid: u32, maps: &IdMaps) -> Result<(), IdMapFailure> {
    put(pid, "uid_map", &lines(&maps.uids))?;
    put(pid, "gid_map", &lines(&maps.gids))
}

fn lines(ranges: &[IdRange]) -> String {
    ranges.iter().fold(String::new(), |mut text, r| {
        let _ = writeln!(text, "{} {} {}", r.inside, r.outside, r.count);
        text
    })
}

fn put(pid: u32, file: &str, text: &str) -> Result<(), IdMapFailure> {
    let path = format!("/proc/{pid}/{file}");
    let result =
        fs::OpenOptions::new().write(true).open(&path).and_then(|mut f| io::Write::write_all(&mut f, text.as_bytes()));
    result.map_err(|e| IdMapFailure {
        operation: Operation::new("write", format_args!("{path}, {text:?}")),
        errno: e.raw_os_error().unwrap_or(0),
    })
}

/// The caller's own id as root, and its subordinate ranges from 1 on, as `subuid(5)` grants them.
fn subordinate() -> Option<IdMaps> {
    let user = User::from_uid(Uid::effective()).ok().flatten();
    let name = user.map(|u| u.name);
    let ranges = |file, id: u32| -> Option<Vec<IdRange>> {
        let text = fs::read_to_string(file).ok()?;
        let mut ranges = vec![IdRange { inside: 0, outside: id, count: 1 }];
        let mut inside = 1;
        for (first, count) in text.lines().filter_map(|line| subordinate_line(line, name.as_deref())) {
            ranges.push(IdRange { inside, outside: first, count });
            inside = inside.checked_add(count)?;
        }
        (ranges.len() > 1).then_some(ranges)
    };
    Some(IdMaps { uids: ranges("/etc/subuid", geteuid().as_raw())?, gids: ranges("/etc/subgid", getegid().as_raw())? })
}

/// `name:first:count` or `uid:first:count`, if it is the caller's.
fn subordinate_line(line: &str, name: Option<&str>) -> Option<(u32, u32)> {
    let mut fields = line.split(':');
    let owner = fields.next()?;
    let ours = Some(owner) == name || owner.parse() == Ok(geteuid().as_raw());
    let range = (fields.next()?.parse().ok()?, fields.next()?.trim().parse().ok()?);
    (ours && range.1 > 0).then_some(range)
}

fn through_helpers(pid: u32, maps: &IdMaps) -> Result<(), IdMapFailure> {
    run("newuidmap", pid, &maps.uids)?;
    run("newgidmap", pid, &maps.gids)
}

/// The set-uid programs of shadow-utils check the ranges against `/etc/subuid` and `/etc/subgid`.
fn run(program: &str, pid: u32, ranges: &[IdRange]) -> Result<(), IdMapFailure> {
    let mut command = Command::new(program);
    command.arg(pid.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for r in ranges {
        command.args([r.inside, r.outside, r.count].map(|n| n.to_string()));
    }
    let failed = |errno| IdMapFailure {
        operation: Operation::new("execve", format_args!("{program} {pid} {}", lines(ranges).replace('\n', " "))),
        errno,
    };
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(failed(nix::errno::Errno::EPERM as i32)),
        Err(e) => Err(failed(e.raw_os_error().unwrap_or(0))),
    }
}
