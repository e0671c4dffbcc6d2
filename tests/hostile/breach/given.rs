//! Calls by which an attacker in the helper would give owner, mode, times or attributes to a name, or to what the archive
//! comes from.

use std::path::Path;

use nix::libc;

use super::captive::{Answer, Captive};

pub type Call = fn(&mut Captive) -> Answer;

const AT_FDCWD: u64 = libc::AT_FDCWD as i64 as u64;
const NOFOLLOW: u64 = libc::AT_SYMLINK_NOFOLLOW as u64;
const EMPTY: u64 = libc::AT_EMPTY_PATH as u64;
const SYS_FCHMODAT2: i64 = 452;
const SYS_SETXATTRAT: i64 = 463;
const SYS_REMOVEXATTRAT: i64 = 466;
const OWNER: u64 = 1234;
const MODE: u64 = 0o4755;

/// What the names lead to.
pub fn before(dest: &Path) {
    std::fs::write(dest.join("victim"), "victim").expect("victim");
}

fn victim(c: &mut Captive) -> u64 {
    c.text("victim")
}

/// `struct xattr_args` with a value of one byte.
fn value(c: &mut Captive) -> u64 {
    let byte = c.put(b"1");
    c.put(&[&byte.to_ne_bytes()[..], &1_u32.to_ne_bytes(), &[0; 4]].concat())
}

fn setxattrat(c: &mut Captive, dir: u64, name: &str, flags: u64) -> Answer {
    let (path, attribute, value) = (c.text(name), c.text("trusted.x"), value(c));
    c.call(SYS_SETXATTRAT, &[dir, path, flags, attribute, value, 16])
}

fn removexattrat(c: &mut Captive, dir: u64, name: &str, flags: u64) -> Answer {
    let (path, attribute) = (c.text(name), c.text("trusted.x"));
    c.call(SYS_REMOVEXATTRAT, &[dir, path, flags, attribute])
}

fn setxattr(c: &mut Captive, number: i64) -> Answer {
    let (path, attribute, byte) = (victim(c), c.text("trusted.x"), c.put(b"1"));
    c.call(number, &[path, attribute, byte, 1, 0])
}

fn removexattr(c: &mut Captive, number: i64) -> Answer {
    let (path, attribute) = (victim(c), c.text("trusted.x"));
    c.call(number, &[path, attribute])
}

fn fchownat(c: &mut Captive, dir: u64, name: &str, flags: u64) -> Answer {
    let path = c.text(name);
    c.call(libc::SYS_fchownat, &[dir, path, OWNER, OWNER, flags])
}

fn fchmodat2(c: &mut Captive, dir: u64, name: &str, flags: u64) -> Answer {
    let path = c.text(name);
    c.call(SYS_FCHMODAT2, &[dir, path, MODE, flags])
}

fn utimensat(c: &mut Captive, dir: u64, name: &str, flags: u64) -> Answer {
    let (path, times) = (c.text(name), c.put(&[0; 32]));
    c.call(libc::SYS_utimensat, &[dir, path, times, flags])
}

fn linkat(c: &mut Captive, dir: u64, name: &str, flags: u64) -> Answer {
    let (path, to) = (c.text(name), c.text("linked"));
    c.call(libc::SYS_linkat, &[dir, path, AT_FDCWD, to, flags])
}

fn by_path(c: &mut Captive, number: i64, rest: [u64; 2]) -> Answer {
    let path = victim(c);
    c.call(number, &[path, rest[0], rest[1]])
}

pub const CALLS: &[(&str, Call)] = &[
    ("chown", |c| by_path(c, libc::SYS_chown, [OWNER, OWNER])),
    ("lchown", |c| by_path(c, libc::SYS_lchown, [OWNER, OWNER])),
    ("fchownat", |c| fchownat(c, AT_FDCWD, "victim", 0)),
    ("fchownat, no link followed", |c| fchownat(c, AT_FDCWD, "victim", NOFOLLOW)),
    ("chmod", |c| by_path(c, libc::SYS_chmod, [MODE, 0])),
    ("fchmodat", |c| {
        let path = victim(c);
        c.call(libc::SYS_fchmodat, &[AT_FDCWD, path, MODE])
    }),
    ("fchmodat2", |c| fchmodat2(c, AT_FDCWD, "victim", 0)),
    ("fchmodat2, no link followed", |c| fchmodat2(c, AT_FDCWD, "victim", NOFOLLOW)),
    ("setxattr", |c| setxattr(c, libc::SYS_setxattr)),
    ("lsetxattr", |c| setxattr(c, libc::SYS_lsetxattr)),
    ("setxattrat", |c| setxattrat(c, AT_FDCWD, "victim", NOFOLLOW)),
    ("removexattr", |c| removexattr(c, libc::SYS_removexattr)),
    ("lremovexattr", |c| removexattr(c, libc::SYS_lremovexattr)),
    ("removexattrat", |c| removexattrat(c, AT_FDCWD, "victim", NOFOLLOW)),
    ("utime", |c| by_path(c, libc::SYS_utime, [0, 0])),
    ("utimes", |c| by_path(c, libc::SYS_utimes, [0, 0])),
    ("futimesat", |c| {
        let path = victim(c);
        c.call(libc::SYS_futimesat, &[AT_FDCWD, path, 0])
    }),
    ("utimensat", |c| utimensat(c, AT_FDCWD, "victim", 0)),
    ("utimensat, no link followed", |c| utimensat(c, AT_FDCWD, "victim", NOFOLLOW)),
    ("another working directory", |c| c.call(libc::SYS_fchdir, &[0])),
    ("linkat, following", |c| linkat(c, AT_FDCWD, "victim", libc::AT_SYMLINK_FOLLOW as u64)),
    ("linkat of the archive's descriptor", |c| linkat(c, 0, "", EMPTY)),
    ("fchownat of the archive's descriptor", |c| fchownat(c, 0, "", EMPTY)),
    ("fchmodat2 of the archive's descriptor", |c| fchmodat2(c, 0, "", EMPTY)),
    ("utimensat of the archive's descriptor", |c| utimensat(c, 0, "", EMPTY)),
    ("futimens of the archive's descriptor", |c| c.call(libc::SYS_utimensat, &[0, 0, 0, 0])),
    ("setxattrat of the archive's descriptor", |c| setxattrat(c, 0, "", EMPTY)),
    ("removexattrat of the archive's descriptor", |c| removexattrat(c, 0, "", EMPTY)),
    ("fsetxattr of the archive's descriptor", |c| {
        let (attribute, byte) = (c.text("trusted.x"), c.put(b"1"));
        c.call(libc::SYS_fsetxattr, &[0, attribute, byte, 1, 0])
    }),
    ("fremovexattr of the archive's descriptor", |c| {
        let attribute = c.text("trusted.x");
        c.call(libc::SYS_fremovexattr, &[0, attribute])
    }),
];
