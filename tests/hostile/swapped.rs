//! Somebody exchanges what the helper has just made for another file, in the moment before it is given anything: what
//! has come to the name keeps owner, mode, times and attributes, and the run ends with `ESTALE`.
//!
//! The moment is no matter of luck: the helper is stopped by `ptrace(2)` as its call returns.
#![cfg(target_arch = "x86_64")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use untar_in_root::{Error, Report};

use super::breach::captive::find;
use crate::support::privilege::need_root;
use crate::support::run::untar;
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

/// When the helper is stopped: at its first call of this number.
#[derive(Clone, Copy)]
enum Moment {
    Before(i64),
    After(i64),
}

/// Applies an archive to `dest`, and does something in this moment.
fn run(scratch: &Scratch, archive: &Tarball, moment: Moment, exchange: impl FnOnce()) -> Result<Report, Error> {
    let dest = scratch.join("dest");
    let mut session = untar(&dest, |options| options.trusted_xattrs = true).spawn().expect("helper");
    let pid = find(&dest);
    ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACESYSGOOD).expect("seize");
    ptrace::interrupt(pid).expect("interrupt");
    waitpid(pid, None).expect("stop");
    session.write_all(&archive.build()).expect("room");
    go_to(pid, moment);
    exchange();
    ptrace::detach(pid, None).expect("detach");
    session.finish()
}

fn go_to(pid: Pid, moment: Moment) {
    loop {
        ptrace::syscall(pid, None).expect("going on");
        match waitpid(pid, None).expect("stop") {
            WaitStatus::PtraceSyscall(_) => {}
            WaitStatus::Stopped(..) | WaitStatus::PtraceEvent(..) => continue,
            other => panic!("it never came to that call: {other:?}"),
        }
        let regs = ptrace::getregs(pid).expect("registers");
        // What the kernel puts there until the call returns.
        let entered = regs.rax.cast_signed() == -i64::from(libc::ENOSYS);
        match moment {
            Moment::Before(call) if entered && regs.orig_rax == call.cast_unsigned() => return,
            Moment::After(call) if regs.orig_rax == call.cast_unsigned() && regs.rax == 0 => return,
            _ => {}
        }
    }
}

const OTHER: u32 = 65_534;

/// What the attacker puts to the name; made outside.
type Victim = fn(&Path);

const VICTIMS: &[(&str, Victim)] = &[
    ("root's set-uid program", |path| {
        fs::write(path, "program").expect("victim");
        fs::set_permissions(path, fs::Permissions::from_mode(0o4755)).expect("victim");
        fs::hard_link(path, path.with_extension("kept")).expect("victim");
    }),
    ("another's program", |path| {
        fs::write(path, "program").expect("victim");
        chown(path, Some(OTHER), Some(OTHER)).expect("victim");
    }),
    ("another's FIFO", |path| {
        nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o600)).expect("victim");
        chown(path, Some(OTHER), Some(OTHER)).expect("victim");
    }),
    ("a FIFO with two names", |path| {
        nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o600)).expect("victim");
        fs::hard_link(path, path.with_extension("kept")).expect("victim");
    }),
    ("another device", |path| {
        mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(1, 5)).expect("victim");
    }),
    ("another's link", |path| {
        symlink("there", path).expect("victim");
        lchown(path, Some(OTHER), Some(OTHER)).expect("victim");
    }),
    ("another's directory", |path| {
        fs::create_dir(path).expect("victim");
        chown(path, Some(OTHER), Some(OTHER)).expect("victim");
    }),
    ("root's directory with something in it", |path| {
        fs::create_dir(path).expect("victim");
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("victim");
        fs::write(path.join("secret"), "secret").expect("victim");
        // Made long ago, not in the same tick of the clock as what is in it.
        let time = |seconds| rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time(8), last_modification: time(8) };
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::empty()).expect("victim");
    }),
];

fn look(path: &Path) -> String {
    let stat = fs::symlink_metadata(path).expect("victim");
    let mut names = [0_u8; 4096];
    let size = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let time = (stat.mtime(), stat.mtime_nsec());
    let names = names[..size].escape_ascii();
    format!("{} {:o} {}:{} {time:?} {names}", stat.ino(), stat.mode(), stat.uid(), stat.gid())
}

/// What goes wrong where each victim comes to the name of what this archive makes first.
fn exchanged(what: &str, archive: impl Fn() -> Tarball, name: &str, moment: Moment) -> Vec<String> {
    let mut wrong = Vec::new();
    for (victim, make) in VICTIMS {
        let scratch = Scratch::new();
        let (made, outside) = (scratch.dir("dest").join(name), scratch.dir("outside").join("victim"));
        make(&outside);
        let before = look(&outside);
        let result = run(&scratch, &archive(), moment, || {
            fs::rename(&made, scratch.join("taken")).expect("what was made");
            fs::rename(&outside, &made).expect("exchange");
        });
        let after = look(&made);
        if after != before {
            wrong.push(format!("{what}, {victim}: {before} became {after}"));
        }
        match result {
            Err(error) if error.raw_os_error() == Some(Errno::ESTALE as i32) => {}
            Err(error) => wrong.push(format!("{what}, {victim}: {error}")),
            Ok(_) => wrong.push(format!("{what}, {victim}: no error")),
        }
    }
    wrong
}

#[test]
fn what_comes_to_the_name_of_something_just_made_is_given_nothing() {
    if !need_root() {
        return;
    }
    let with = |e: &mut crate::support::tarball::Entry| {
        _ = e.mode(0o4755).uid(1234).gid(1234).mtime(9).pax("SCHILY.xattr.trusted.label", "1");
    };
    let wrong = [
        exchanged("a FIFO", || Tarball::new().fifo("p").with(with), "p", Moment::After(libc::SYS_mknodat)),
        exchanged("a device", || Tarball::new().char_dev("c", 1, 3).with(with), "c", Moment::After(libc::SYS_mknodat)),
        exchanged("a link", || Tarball::new().symlink("l", "t").with(with), "l", Moment::After(libc::SYS_symlinkat)),
        exchanged("a directory", || Tarball::new().dir("d").with(with), "d", Moment::After(libc::SYS_mkdirat)),
        exchanged("an implied one", || Tarball::new().file("d/f", "1"), "d", Moment::After(libc::SYS_mkdirat)),
    ]
    .concat();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A hardlink's target is looked at, then linked by its name.
#[test]
fn what_comes_to_the_name_of_a_hardlinks_target_is_told() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let (dest, victim) = (scratch.dir("dest"), scratch.dir("outside").join("victim"));
    VICTIMS[0].1(&victim);
    let before = look(&victim);
    let archive = Tarball::new().file("a", "1").hardlink("h", "a").with(|e| _ = e.uid(1234).mode(0o4777));
    let result = run(&scratch, &archive, Moment::Before(libc::SYS_linkat), || {
        fs::rename(dest.join("a"), scratch.join("taken")).expect("what was made");
        fs::rename(&victim, dest.join("a")).expect("exchange");
    });
    let error = result.expect_err("another file was linked");
    assert_eq!(error.raw_os_error(), Some(Errno::ESTALE as i32), "{error:?}");
    assert_eq!(look(&dest.join("a")), before);
}
