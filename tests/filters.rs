//! Filters on system calls that somebody else has put around the program: a service manager's, an old container's.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::support::layout::{Layout, Packing};
use crate::support::privilege::need_root;
use crate::support::run::{line, program_path};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;
use crate::support::tree::Tree;

/// A call, and the first argument with which it is meant; any if there is none.
type Call = (i64, Option<u64>);

const FILTER: &str = "a filter";

/// The program behind a filter that does this to these calls and allows all others.
fn behind(action: SeccompAction, calls: &[Call], words: &[&Path]) -> Output {
    let rules = calls.iter().map(|(call, first)| {
        let is = |value| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value).expect(FILTER);
        (*call, first.map(|value| SeccompRule::new(vec![is(value)]).expect(FILTER)).into_iter().collect())
    });
    let arch = std::env::consts::ARCH.try_into().expect(FILTER);
    let filter = SeccompFilter::new(rules.collect(), SeccompAction::Allow, action, arch).expect(FILTER);
    let filter: BpfProgram = filter.try_into().expect(FILTER);
    let mut command = Command::new(program_path());
    // To have a group makes the standard library fork: what the filter is for is the program, not its start.
    command.args(words).gid(0);
    // A filter is for a thread and what it starts.
    let started = std::thread::spawn(move || {
        seccompiler::apply_filter(&filter).expect(FILTER);
        command.output().expect("the program")
    });
    started.join().expect("no panic")
}

fn setting(archive: &Tarball) -> (Scratch, [std::path::PathBuf; 2]) {
    let scratch = Scratch::new();
    let paths = [scratch.dir("dest"), scratch.file("archive.tar", archive.build())];
    (scratch, paths)
}

#[test]
fn a_filter_that_kills_before_the_archive_is_read_is_told_and_the_archive_is_not_accused() {
    const NO_NEW_PRIVS: u64 = 38;
    if !need_root() {
        return;
    }
    for call in [
        (libc::SYS_setgroups, None),
        (libc::SYS_capset, None),
        (libc::SYS_prctl, Some(NO_NEW_PRIVS)),
        (libc::SYS_landlock_create_ruleset, None),
    ] {
        let (_scratch, [dest, archive]) = setting(&Tarball::new().file("f", "1"));
        let output = behind(SeccompAction::KillProcess, &[call], &[&dest, &archive]);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{call:?}: {err}");
        assert!(
            err.contains("SIGSYS before it had read anything: a filter that this program was started under"),
            "{err}"
        );
        assert!(!err.contains("do not trust") && !err.contains("violated"), "{err}");
        assert_eq!(fs::read_dir(&dest).expect("destination").count(), 0);
    }
}

/// runc before 1.0-rc93 answers `EPERM` to what it does not know, and so do its kin; other filters, and kernels that
/// lack a call, `ENOSYS`. glibc believes the former, and starts neither a thread nor a process by `clone3` then.
#[test]
fn calls_that_are_kept_back_from_both_processes_are_followed_by_older_ones() {
    const CALLS: [i64; 7] = [
        libc::SYS_clone3,
        libc::SYS_close_range,
        libc::SYS_faccessat2,
        libc::SYS_mount_setattr,
        libc::SYS_openat2,
        libc::SYS_renameat2,
        libc::SYS_statx,
    ];
    if !need_root() {
        return;
    }
    let files = (0..150).fold(Tarball::new(), |tar, i| tar.file(format!("d{}/f{i}", i % 7), vec![b'x'; 10_000]));
    let (scratch, [dest, archive]) = setting(&files);
    Layout::new().layer(&files, Packing::Gzip).write(&scratch.join("oci"));
    crate::support::run::apply(&dest, &files.build(), |_| {}).expect("applied");
    let want = line(&Tree::read(&dest));
    for errno in [libc::EPERM, libc::ENOSYS] {
        let answer = || SeccompAction::Errno(errno.cast_unsigned());
        for call in CALLS {
            let made = ["plain", "atomic", "image"].map(|name| scratch.join(format!("{name}-{call}-{errno}")));
            fs::create_dir(&made[0]).expect("a directory");
            let [plain, atomic, image] = made.each_ref().map(|made| made.as_path());
            for words in [
                &[plain, &archive][..],
                &[Path::new("--atomic"), atomic, &archive],
                &[Path::new("image"), &scratch.join("oci"), image],
            ] {
                let output = behind(answer(), &[(call, None)], words);
                let err = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success() && err.is_empty(), "{call}, {errno}, {words:?}: {err}");
            }
            for made in made {
                assert_eq!(line(&Tree::read(&made)), want, "{}", made.display());
                fs::remove_dir_all(made).expect("removed");
            }
        }
    }
    // The helper's own filter has glibc look for the older call; without it there are no threads, and that is told.
    let words = [Path::new("--seccomp=off"), &dest, &archive];
    let output = behind(SeccompAction::Errno(libc::EPERM.cast_unsigned()), &[(libc::SYS_clone3, None)], &words);
    let err = String::from_utf8_lossy(&output.stderr);
    // musl never asks for it.
    assert_eq!((output.status.code(), err.contains("forbids clone3")), (Some(0), cfg!(target_env = "gnu")), "{err}");
}
