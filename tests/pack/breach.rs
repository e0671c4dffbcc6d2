//! The assumed breach, of a packer: whatever an attacker who runs code in it may do, nothing is changed, and nothing
//! outside is read.
#![cfg(target_arch = "x86_64")]

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use untar_in_root::{Isolation, Sandbox, Wall};

use crate::hostile::breach::attempts::{ATTEMPTS, Verdict};
use crate::hostile::breach::captive::{Answer, Captive};
use crate::hostile::breach::with_mounts;
use crate::support::privilege::need_root;

const EACH: [Isolation; 3] = [Isolation::Pivot, Isolation::Chroot, Isolation::Beneath];
const AT_FDCWD: u64 = libc::AT_FDCWD as i64 as u64;

fn walls(seccomp: Wall, landlock: Wall) -> Sandbox {
    let mut sandbox = Sandbox::default();
    (sandbox.seccomp, sandbox.landlock) = (seccomp, landlock);
    sandbox
}

/// More than the pipe and the encoder hold, so that the packer waits.
fn full(root: &Path) {
    fs::File::create(root.join("large")).and_then(|file| file.set_len(64 << 20)).expect("a large file");
    fs::write(root.join("small"), "content").expect("file");
}

#[test]
fn nothing_gets_out_of_a_packer_that_was_taken_over() {
    if !need_root() {
        return;
    }
    let before = |root: &Path| {
        full(root);
        with_mounts(root);
    };
    for isolation in EACH {
        let sandbox = walls(Wall::Required, Wall::Required);
        let mut verdicts = Vec::new();
        // That it may write there is what it is for.
        for (name, attempt) in ATTEMPTS.iter().filter(|(name, _)| *name != "writing to the archive's own descriptor") {
            verdicts.push((*name, attempt(&mut Captive::take_packing(isolation, sandbox, before))));
        }
        let out: Vec<_> = verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Out(_))).collect();
        println!("breach of a packer, {isolation:?}: {} of {} got out", out.len(), verdicts.len());
        assert!(out.is_empty(), "{isolation:?}: {out:#?}");
    }
}

type Call = fn(&mut Captive) -> Answer;

/// Whatever makes, removes or changes anything.
const CHANGES: &[(&str, Call)] = &[
    ("a new file", |c| open(c, "new", libc::O_WRONLY | libc::O_CREAT)),
    ("a file for writing", |c| open(c, "small", libc::O_WRONLY)),
    ("a file for both", |c| open(c, "small", libc::O_RDWR)),
    ("a file cut short", |c| open(c, "small", libc::O_RDONLY | libc::O_TRUNC)),
    ("a nameless file", |c| open(c, ".", libc::O_TMPFILE | libc::O_RDWR)),
    ("mkdirat", |c| named(c, libc::SYS_mkdirat, "new", &[0o755])),
    ("mknodat", |c| named(c, libc::SYS_mknodat, "new", &[(libc::S_IFIFO | 0o600).into(), 0])),
    ("unlinkat", |c| named(c, libc::SYS_unlinkat, "small", &[0])),
    ("fchmodat", |c| named(c, libc::SYS_fchmodat, "small", &[0o777])),
    ("fchownat", |c| named(c, libc::SYS_fchownat, "small", &[5, 5, 0])),
    ("utimensat", |c| named(c, libc::SYS_utimensat, "small", &[0, 0])),
    ("renameat2", |c| two(c, libc::SYS_renameat2)),
    ("linkat", |c| two(c, libc::SYS_linkat)),
    ("symlinkat", |c| {
        let (to, name) = (c.text("to"), c.text("new"));
        c.call(libc::SYS_symlinkat, &[to, AT_FDCWD, name])
    }),
    ("setxattr", |c| attribute(c, libc::SYS_setxattr)),
    ("lsetxattr", |c| attribute(c, libc::SYS_lsetxattr)),
    ("removexattr", |c| attribute(c, libc::SYS_removexattr)),
    ("truncate", |c| {
        let name = c.text("small");
        c.call(libc::SYS_truncate, &[name, 0])
    }),
    ("openat2", |c| {
        let (name, how) = (
            c.text("small"),
            c.put(&[libc::O_RDWR as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        );
        c.call(libc::SYS_openat2, &[AT_FDCWD, name, how, 24])
    }),
    ("write to another descriptor", |c| c.call(libc::SYS_write, &[3, 0, 0])),
    ("pwrite64 to the archive", |c| c.call(libc::SYS_pwrite64, &[0, 0, 0, 0])),
    ("ftruncate of the archive", |c| c.call(libc::SYS_ftruncate, &[0, 0])),
    ("fchmod of the archive", |c| c.call(libc::SYS_fchmod, &[0, 0o4777])),
    ("fallocate", |c| c.call(libc::SYS_fallocate, &[0, 0, 0, 1])),
    ("sendto the archive", |c| c.call(libc::SYS_sendto, &[0, 0, 0, 0, 0, 0])),
    ("sendfile", |c| c.call(libc::SYS_sendfile, &[0, 3, 0, 1])),
    ("splice", |c| c.call(libc::SYS_splice, &[3, 0, 0, 0, 1, 0])),
    ("copy_file_range", |c| c.call(libc::SYS_copy_file_range, &[3, 0, 0, 0, 1, 0])),
    ("dup", |c| c.call(libc::SYS_dup, &[0])),
    ("a copy of a descriptor", |c| c.call(libc::SYS_fcntl, &[0, libc::F_DUPFD as u64, 0])),
    ("ioctl", |c| c.call(libc::SYS_ioctl, &[3, 0, 0])),
    ("open_by_handle_at", |c| c.call(libc::SYS_open_by_handle_at, &[3, 0, 0])),
];

fn open(c: &mut Captive, name: &str, flags: i32) -> Answer {
    let name = c.text(name);
    c.call(libc::SYS_openat, &[AT_FDCWD, name, flags as u64, 0o644])
}

fn named(c: &mut Captive, call: i64, name: &str, rest: &[u64]) -> Answer {
    let name = c.text(name);
    c.call(call, &[&[AT_FDCWD, name], rest].concat())
}

fn two(c: &mut Captive, call: i64) -> Answer {
    let (from, to) = (c.text("small"), c.text("new"));
    c.call(call, &[AT_FDCWD, from, AT_FDCWD, to, 0])
}

fn attribute(c: &mut Captive, call: i64) -> Answer {
    let (file, name, value) = (c.text("small"), c.text("user.x"), c.text("y"));
    c.call(call, &[file, name, value, 1, 0])
}

#[test]
fn a_packer_that_was_taken_over_changes_nothing() {
    if !need_root() {
        return;
    }
    for isolation in EACH {
        let sandbox = walls(Wall::Required, Wall::Required);
        let verdicts: Vec<_> = CHANGES
            .iter()
            .map(|(name, call)| (*name, call(&mut Captive::take_packing(isolation, sandbox, full))))
            .collect();
        // Where no root is entered the filter does not know this call.
        let unknown = |answer: &Answer| isolation == Isolation::Beneath && *answer == Answer::Refused(Errno::ENOSYS);
        let killed = |answer: &Answer| *answer == Answer::Killed(Signal::SIGSYS);
        let others: Vec<_> = verdicts.iter().filter(|(_, answer)| !killed(answer) && !unknown(answer)).collect();
        println!(
            "breach of a packer, {isolation:?}: {} calls that change something, {} killed or unknown",
            verdicts.len(),
            verdicts.len() - others.len()
        );
        assert!(others.is_empty(), "{isolation:?}: {others:#?}");
    }
    // Without the filter the mount itself is what cannot be written, with the rights of root.
    let sandbox = walls(Wall::Off, Wall::Off);
    for (name, call) in CHANGES.iter().take_while(|(name, _)| *name != "openat2") {
        let answer = call(&mut Captive::take_packing(Isolation::Pivot, sandbox, full));
        assert!(matches!(answer, Answer::Refused(_)), "{name}: {answer:?}");
    }
}

type CallIn = fn(&mut Captive, u64) -> Answer;

/// By the descriptor of a lower directory, which is held beside the root.
const IN_A_LOWER: &[(&str, CallIn)] = &[
    ("a file for writing", |c, dir| open_in(c, dir, "f", libc::O_WRONLY)),
    ("a new file", |c, dir| open_in(c, dir, "new", libc::O_WRONLY | libc::O_CREAT)),
    ("mkdirat", |c, dir| named_in(c, libc::SYS_mkdirat, dir, "new", &[0o755])),
    ("unlinkat", |c, dir| named_in(c, libc::SYS_unlinkat, dir, "f", &[0])),
    ("fchmodat", |c, dir| named_in(c, libc::SYS_fchmodat, dir, "f", &[0o777])),
    ("utimensat", |c, dir| named_in(c, libc::SYS_utimensat, dir, "f", &[0, 0])),
    ("linkat into the root", |c, dir| {
        let (from, to) = (c.text("f"), c.text("new"));
        c.call(libc::SYS_linkat, &[dir, from, AT_FDCWD, to, 0])
    }),
];

fn open_in(c: &mut Captive, dir: u64, name: &str, flags: i32) -> Answer {
    let name = c.text(name);
    c.call(libc::SYS_openat, &[dir, name, flags as u64, 0o644])
}

fn named_in(c: &mut Captive, call: i64, dir: u64, name: &str, rest: &[u64]) -> Answer {
    let name = c.text(name);
    c.call(call, &[&[dir, name], rest].concat())
}

/// The descriptors of the helper that are its lower directory.
fn lowers_of(captive: &Captive) -> Vec<u64> {
    use std::os::unix::fs::MetadataExt;
    let lower = fs::metadata(captive.scratch.join("lower")).expect("the lower directory");
    let is_lower = |fd: &i64| captive.what_is(*fd) == Some((lower.dev(), lower.ino()));
    captive.descriptors().into_iter().filter(is_lower).map(i64::cast_unsigned).collect()
}

#[test]
fn a_packer_of_a_layer_that_was_taken_over_reaches_its_layers_and_changes_nothing_there() {
    if !need_root() {
        return;
    }
    let before = |root: &Path| {
        full(root);
        with_mounts(root);
    };
    let (required, off) = (walls(Wall::Required, Wall::Required), walls(Wall::Off, Wall::Off));
    let mut verdicts = Vec::new();
    for (name, attempt) in ATTEMPTS.iter().filter(|(name, _)| *name != "writing to the archive's own descriptor") {
        verdicts.push((*name, attempt(&mut Captive::take_packing_layer(Isolation::Pivot, required, before))));
    }
    let out: Vec<_> = verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Out(_))).collect();
    println!("breach of a packer of a layer: {} of {} got out", out.len(), verdicts.len());
    assert!(out.is_empty(), "{out:#?}");
    for isolation in [Isolation::Pivot, Isolation::Chroot] {
        let lowers = lowers_of(&Captive::take_packing_layer(isolation, required, full));
        assert!(!lowers.is_empty(), "{isolation:?}: the lower directory is held");
        for (at, (name, call)) in (0..lowers.len()).flat_map(|at| IN_A_LOWER.iter().map(move |call| (at, call))) {
            let answer = |sandbox| {
                let mut captive = Captive::take_packing_layer(isolation, sandbox, full);
                let dir = lowers_of(&captive)[at];
                call(&mut captive, dir)
            };
            assert_eq!(answer(required), Answer::Killed(Signal::SIGSYS), "{isolation:?}: {name}");
            // Without the filter the mount itself is what cannot be written, with the rights of root.
            let alone = answer(off);
            let refused = matches!(alone, Answer::Refused(Errno::EROFS | Errno::EXDEV));
            assert!(refused, "{isolation:?}: {name}: {alone:?}");
        }
        // Up from there it is where it was.
        let mut captive = Captive::take_packing_layer(isolation, off, full);
        let dir = lowers_of(&captive)[0];
        for name in ["../dest/small", "../../etc/passwd", "../lower/f"] {
            let answer = open_in(&mut captive, dir, name, libc::O_RDONLY);
            assert_eq!(answer, Answer::Refused(Errno::ENOENT), "{isolation:?}: {name}");
        }
        assert!(matches!(open_in(&mut captive, dir, "../f", libc::O_RDONLY), Answer::Value(_)), "{isolation:?}");
    }
}

#[test]
fn a_packer_has_one_right() {
    let scratch = crate::support::scratch::Scratch::new();
    let root = scratch.dir("root");
    if !need_root() {
        return;
    }
    let (_, packed) = super::pack(&root, super::plain);
    assert_eq!(packed.confinement.capabilities, ["CAP_DAC_READ_SEARCH"]);
    let (_, packed) = super::pack(&root, |o| o.trusted_xattrs = true);
    assert_eq!(packed.confinement.capabilities, ["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"]);
}
