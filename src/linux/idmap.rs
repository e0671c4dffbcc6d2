//! Maps the ids of the helper's user namespace, from outside it: `user_namespaces(7)`.

use super::child::spawned;
use crate::namespace;
use crate::options::{IdRange, UserNamespace};
use crate::proc;
use crate::report::{Call, Descriptor, MapRefusal, Operand, Operation, Purpose};
use crate::text::Strace;
use crate::wire::IdMapFailure;
use nix::fcntl::OFlag;
use nix::unistd::{Uid, User, getegid, geteuid};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Users or groups: each has its map, and neither map can be written twice.
struct Kind {
    file: &'static str,
    program: &'static str,
    subordinate: &'static str,
    own: fn() -> u32,
    here: fn() -> Vec<IdRange>,
}

const UIDS: Kind = Kind {
    file: "uid_map",
    program: "newuidmap",
    subordinate: "/etc/subuid",
    own: || geteuid().as_raw(),
    here: namespace::uids,
};
const GIDS: Kind = Kind {
    file: "gid_map",
    program: "newgidmap",
    subordinate: "/etc/subgid",
    own: || getegid().as_raw(),
    here: namespace::gids,
};

/// What is kept of what a program says.
const WORDS: u64 = 1 << 10;

/// Writes the maps that the caller asked for, and tells which program would not.
pub(super) fn write(helper: &Child, wanted: &UserNamespace) -> (Result<(), IdMapFailure>, Option<MapRefusal>) {
    let (pid, mut refusal) = (helper.id(), None);
    let uids = of(pid, &UIDS, wanted, &mut refusal);
    (uids.and_then(|()| of(pid, &GIDS, wanted, &mut refusal)), refusal)
}

fn of(pid: u32, kind: &Kind, wanted: &UserNamespace, refusal: &mut Option<MapRefusal>) -> Result<(), IdMapFailure> {
    match wanted {
        UserNamespace::Mapped { uids, gids } => {
            explicit(pid, kind, if kind.file == UIDS.file { uids } else { gids }, refusal)
        }
        UserNamespace::Single => single(pid, kind),
        UserNamespace::Auto | UserNamespace::Never => automatic(pid, kind, refusal),
    }
}

/// All that the caller may map: as root everything, else subordinate ranges, else its one id.
fn automatic(pid: u32, kind: &Kind, refusal: &mut Option<MapRefusal>) -> Result<(), IdMapFailure> {
    // Root without the capabilities to mount, or the like.
    if geteuid().is_root() && put(pid, kind.file, &lines(&identity(kind))).is_ok() {
        return Ok(());
    }
    match subordinate(kind) {
        Some(ranges) if run(kind.program, pid, &ranges, refusal) => Ok(()),
        _ => single(pid, kind),
    }
}

/// The identity over what is mapped here.
fn identity(kind: &Kind) -> Vec<IdRange> {
    (kind.here)().into_iter().map(|r| IdRange { outside: r.inside, ..r }).collect()
}

fn explicit(pid: u32, kind: &Kind, ranges: &[IdRange], refusal: &mut Option<MapRefusal>) -> Result<(), IdMapFailure> {
    put(pid, kind.file, &lines(ranges)).or_else(|first| match ranges {
        [one] if one.count == 1 && one.outside == (kind.own)() => only(pid, kind, one).map_err(|_| first),
        _ if run(kind.program, pid, ranges, refusal) => Ok(()),
        _ => Err(first),
    })
}

fn single(pid: u32, kind: &Kind) -> Result<(), IdMapFailure> {
    only(pid, kind, &IdRange { inside: 0, outside: (kind.own)(), count: 1 })
}

/// The caller's own id and no other.
fn only(pid: u32, kind: &Kind, own: &IdRange) -> Result<(), IdMapFailure> {
    if kind.file == GIDS.file {
        // Without a capability a group may be mapped only once setgroups is denied.
        put(pid, "setgroups", "deny")?;
    }
    put(pid, kind.file, &lines(&[*own])).map_err(|mut failure| {
        if own.outside == 0 {
            failure.operation.purpose = Purpose::MapOfRoot;
        }
        failure
    })
}

fn lines(ranges: &[IdRange]) -> String {
    ranges.iter().fold(String::new(), |mut text, r| {
        let _ = writeln!(text, "{} {} {}", r.inside, r.outside, r.count);
        text
    })
}

fn put(pid: u32, file: &str, text: &str) -> Result<(), IdMapFailure> {
    let name = format!("{pid}/{file}");
    let path = format!("/proc/{name}");
    let failed = |operation, error: &io::Error| IdMapFailure { operation, errno: error.raw_os_error().unwrap_or(0) };
    let opened = proc::file(&name, OFlag::O_WRONLY).map_err(|error| {
        let on = Operand::Name { dir: Descriptor::Cwd, name: path.clone().into() };
        failed(Operation::new(Call::Openat, on, "O_WRONLY|O_CLOEXEC"), &error)
    });
    io::Write::write_all(&mut opened?, text.as_bytes()).map_err(|error| {
        let on = Operand::Descriptor(Descriptor::Path(path[1..].into()));
        failed(Operation::new(Call::Write, on, format!("{}, {}", Strace(text.as_bytes()), text.len())), &error)
    })
}

/// The caller's own id as root, and its subordinate ranges from 1 on, as `subuid(5)` grants them.
fn subordinate(kind: &Kind) -> Option<Vec<IdRange>> {
    let user = User::from_uid(Uid::effective()).ok().flatten();
    let name = user.map(|u| u.name);
    let text = fs::read_to_string(kind.subordinate).ok()?;
    let mut ranges = vec![IdRange { inside: 0, outside: (kind.own)(), count: 1 }];
    let mut inside = 1;
    for (first, count) in text.lines().filter_map(|line| subordinate_line(line, name.as_deref())) {
        ranges.push(IdRange { inside, outside: first, count });
        inside = inside.checked_add(count)?;
    }
    (ranges.len() > 1).then_some(ranges)
}

/// `name:first:count` or `uid:first:count`, if it is the caller's.
fn subordinate_line(line: &str, name: Option<&str>) -> Option<(u32, u32)> {
    let mut fields = line.split(':');
    let owner = fields.next()?;
    let ours = Some(owner) == name || owner.parse() == Ok(geteuid().as_raw());
    let range = (fields.next()?.parse().ok()?, fields.next()?.trim().parse().ok()?);
    (ours && range.1 > 0).then_some(range)
}

/// The set-uid programs of shadow-utils check the ranges against `/etc/subuid` and `/etc/subgid`.
fn run(program: &str, pid: u32, ranges: &[IdRange], refusal: &mut Option<MapRefusal>) -> bool {
    let mut command = Command::new(program);
    command.arg(pid.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    for r in ranges {
        command.args([r.inside, r.outside, r.count].map(|n| n.to_string()));
    }
    let words = match said(&mut command) {
        Ok((status, _)) if status.success() => return true,
        Ok((status, words)) if words.is_empty() => status.to_string(),
        Ok((_, words)) => words,
        Err(error) => error.to_string(),
    };
    let no_new_privs = nix::sys::prctl::get_no_new_privs().unwrap_or(false);
    refusal.get_or_insert(MapRefusal { program: program.to_owned(), words, no_new_privs });
    false
}

/// How it ended, and the beginning of what it said.
fn said(command: &mut Command) -> io::Result<(ExitStatus, String)> {
    let mut child = spawned(command)?;
    let mut words = Vec::new();
    if let Some(errors) = child.stderr.take() {
        errors.take(WORDS).read_to_end(&mut words)?;
    }
    Ok((child.wait()?, String::from_utf8_lossy(&words).trim().to_owned()))
}
