//! The assumed breach: a bug in a decoder has given the attacker the confined helper.
//!
//! No code is added to the helper for it. The test takes the real one over by `ptrace(2)` while it waits for
//! the archive, and makes system calls in its name: what the kernel then allows is what an attacker who runs
//! code in the helper could do.
#![cfg(target_arch = "x86_64")]

pub mod attempts;
mod beneath;
pub mod captive;
mod given;

use std::collections::BTreeMap;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use rustix::mount::{MountFlags, mount};
use untar_in_root::{ErrorKind, Isolation, Sandbox, Wall};

use crate::support::privilege::need_root;
use attempts::{ATTEMPTS, Verdict};
use captive::{Answer, Captive};

const BOTH: [Isolation; 2] = [Isolation::Pivot, Isolation::Chroot];
const ALL: [Isolation; 3] = [Isolation::Pivot, Isolation::Chroot, Isolation::Beneath];

fn walls(seccomp: Wall, landlock: Wall) -> Sandbox {
    let mut sandbox = Sandbox::default();
    (sandbox.seccomp, sandbox.landlock) = (seccomp, landlock);
    sandbox
}

/// Each attempt in a helper of its own.
fn try_all(isolation: Isolation, sandbox: Sandbox) -> BTreeMap<&'static str, Verdict> {
    let captive = || Captive::take_on(isolation, sandbox, with_mounts);
    ATTEMPTS.iter().map(|(name, attempt)| (*name, attempt(&mut captive()))).collect()
}

/// What the host has mounted below the root: a `/proc`, and a tmpfs with a secret.
pub fn with_mounts(dest: &std::path::Path) {
    for (name, kind) in [("proc", "proc"), ("data", "tmpfs")] {
        std::fs::create_dir(dest.join(name)).expect("directory");
        mount(kind, dest.join(name), kind, MountFlags::empty(), None).expect("mount");
    }
    std::fs::write(dest.join("data/secret"), "of the host").expect("secret");
}

fn out(verdicts: &BTreeMap<&'static str, Verdict>) -> Vec<&'static str> {
    verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Out(_))).map(|(name, _)| *name).collect()
}

#[test]
fn nothing_gets_out_of_a_helper_that_was_taken_over() {
    if !need_root() {
        return;
    }
    for isolation in ALL {
        let verdicts = try_all(isolation, walls(Wall::Required, Wall::Required));
        let killed = verdicts.values().filter(|v| matches!(v, Verdict::Killed(Signal::SIGSYS))).count();
        println!("breach, {isolation:?}: {} of {} got out, {killed} were killed", out(&verdicts).len(), verdicts.len());
        assert!(out(&verdicts).is_empty(), "{isolation:?}: {verdicts:#?}");
    }
}

/// The filter allows no call that gives something to a name, nor any on the descriptor that the archive comes by.
#[test]
fn a_helper_that_was_taken_over_gives_nothing_to_a_name() {
    if !need_root() {
        return;
    }
    for isolation in ALL {
        let sandbox = walls(Wall::Required, Wall::Required);
        let verdict = |attempt: given::Call| attempt(&mut Captive::take_on(isolation, sandbox, given::before));
        let verdicts: Vec<_> = given::CALLS.iter().map(|(name, attempt)| (*name, verdict(*attempt))).collect();
        let others: Vec<_> =
            verdicts.iter().filter(|(_, verdict)| *verdict != Answer::Killed(Signal::SIGSYS)).collect();
        println!(
            "breach, {isolation:?}: {} calls that give something, {} killed",
            verdicts.len(),
            verdicts.len() - others.len()
        );
        assert!(others.is_empty(), "{isolation:?}: {others:#?}");
    }
}

/// What only the system-call filter stops: none of it reaches a file of the host.
const ONLY_SECCOMP: &[&str] = &[
    "chmod of the archive's own descriptor",
    "chown of the archive's own descriptor",
    "clone, a process",
    "clone, users",
    "clone3",
    "executable memory",
    "fork",
    "io_uring_setup",
    "keyctl",
    "memory made executable",
    "personality",
    "prlimit64 on the parent",
    "socket, inet, datagrams",
    "socket, netlink",
    "time of the archive's own descriptor",
    "unshare, users",
];

#[test]
fn no_wall_stands_alone() {
    if !need_root() {
        return;
    }
    let settings = [("no seccomp", Wall::Required), ("no seccomp, no Landlock", Wall::Off)];
    for isolation in BOTH {
        for (what, landlock) in settings {
            let verdicts = try_all(isolation, walls(Wall::Off, landlock));
            let out = out(&verdicts);
            println!("breach, {isolation:?}, {what}: {} of {} got out: {out:?}", out.len(), verdicts.len());
            let beyond: Vec<_> = out.iter().filter(|name| attempts::REACHES_THE_HOST.contains(name)).collect();
            assert!(beyond.is_empty(), "{isolation:?}, {what}: {beyond:?} {verdicts:#?}");
            if landlock == Wall::Required {
                let new: Vec<_> = out.iter().filter(|name| !ONLY_SECCOMP.contains(name)).collect();
                assert!(new.is_empty(), "{isolation:?}, {what}: {new:?} {verdicts:#?}");
            }
        }
    }
}

/// What the host has mounted below the root is in the helper's sight, a `/proc` with the kernel's settings for example.
#[test]
fn nothing_is_written_on_mounts_below_the_root() {
    if !need_root() {
        return;
    }
    let host = |dest: &std::path::Path| {
        for (name, kind) in [("proc", "proc"), ("m", "tmpfs"), ("m/n", "tmpfs")] {
            let place = dest.join(name);
            std::fs::create_dir_all(&place).expect("directory");
            mount(kind, &place, kind, MountFlags::empty(), None).expect("mount");
        }
    };
    for (isolation, wall) in
        BOTH.into_iter().flat_map(|isolation| [(isolation, Wall::Required), (isolation, Wall::Off)])
    {
        let mut captive = Captive::take_on(isolation, walls(wall, wall), host);
        for path in ["/proc/sys/kernel/core_pattern", "/m/file", "/m/n/file"] {
            let name = captive.text(path);
            let flags = (libc::O_WRONLY | if path.starts_with("/m") { libc::O_CREAT } else { 0 }) as u64;
            let answer = captive.call(libc::SYS_openat, &[libc::AT_FDCWD as i64 as u64, name, flags, 0o644]);
            // What lies over them is empty and read-only.
            let refused = matches!(answer, Answer::Refused(Errno::EROFS | Errno::ENOENT));
            assert!(refused, "{isolation:?}, {wall:?}: {path}: {answer:?}");
        }
        let name = captive.text("/file");
        let flags = (libc::O_WRONLY | libc::O_CREAT) as u64;
        let answer = captive.call(libc::SYS_openat, &[libc::AT_FDCWD as i64 as u64, name, flags, 0o644]);
        assert!(matches!(answer, Answer::Value(_)), "{isolation:?}: the root itself can be written: {answer:?}");
    }
}

/// Descriptor 0 may be a file of the host's.
#[test]
fn whatever_changes_the_archive_itself_is_a_violation() {
    if !need_root() {
        return;
    }
    for (name, attempt) in attempts::ON_THE_ARCHIVE {
        let mut captive = Captive::take(Isolation::Pivot, walls(Wall::Required, Wall::Required));
        assert_eq!(attempt(&mut captive), Verdict::Killed(Signal::SIGSYS), "{name}");
    }
}

#[test]
fn a_violation_is_told_as_one() {
    if !need_root() {
        return;
    }
    for isolation in ALL {
        let captive = Captive::take(isolation, walls(Wall::Required, Wall::Required));
        let error = captive.let_go_into(nix::libc::SYS_socket).expect_err("no helper lives through that");
        assert_eq!(error.kind(), ErrorKind::Confinement, "{error:?}");
        assert!(error.to_string().contains("SIGSYS") && error.to_string().contains("do not trust"), "{error}");
    }
}
