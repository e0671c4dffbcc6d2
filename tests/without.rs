//! The hostile archives once more on older kernels: with system calls taken away by a filter that answers
//! `ENOSYS`. The same results; weaker confinement is named in the report.
//!
//! This program is both: the test, and the wrapper that the library starts as the helper. It is told what to
//! take away by the name of the directory that it lies in, since a helper has neither arguments nor environment.
//!
//! `UNTAR_WITHOUT_ALL=1` tries every archive; without it, every eighth.
#![allow(clippy::print_stdout, reason = "a test that cannot run says so")]
#![allow(dead_code, unused_imports, reason = "the support is there for other tests, too")]
#![allow(unreachable_pub, reason = "`pub` marks what tests may use of a support module")]

mod hostile {
    pub mod archives;
    pub mod case;
}
mod support;

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use hostile::case::{Expect, Setting, run_all};
use nix::libc;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use support::privilege::need_root;
use support::run::{self, layer, program_path};
use support::scratch::Scratch;
use support::tarball::Tarball;
use support::tree::{But, Tree, assert_same};
use untar_in_root::Program;

const ARGV0: &str = "untar-in-root:helper";
const ENV: &str = "the filter";

/// What older kernels lack.
struct Without {
    name: &'static str,
    calls: &'static [i64],
    expect: Expect,
}

const FULL: Expect = Expect { seccomp: true, landlock: true, trusted: false };

const ALL: &[Without] = &[
    Without { name: "openat2", calls: &[libc::SYS_openat2], expect: FULL },
    Without {
        name: "mount-api",
        calls: &[libc::SYS_open_tree, libc::SYS_move_mount, libc::SYS_mount_setattr],
        expect: FULL,
    },
    Without { name: "mount_setattr", calls: &[libc::SYS_mount_setattr], expect: FULL },
    Without {
        name: "landlock",
        calls: &[libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self],
        expect: Expect { landlock: false, ..FULL },
    },
    Without { name: "fchmodat2", calls: &[452], expect: FULL },
    Without { name: "close_range", calls: &[libc::SYS_close_range], expect: FULL },
    Without { name: "statx", calls: &[libc::SYS_statx], expect: FULL },
    Without { name: "statmount", calls: &[457, 458], expect: FULL },
    Without { name: "listmount", calls: &[458], expect: FULL },
    Without { name: "listxattrat", calls: &[465], expect: FULL },
    Without { name: "clone3", calls: &[libc::SYS_clone3], expect: FULL },
    // As an older filter of somebody else answers.
    Without { name: "fchmodat2-EPERM", calls: &[452], expect: FULL },
    Without { name: "listxattrat-EPERM", calls: &[465], expect: FULL },
    Without { name: "openat2-EPERM", calls: &[libc::SYS_openat2], expect: FULL },
    Without { name: "statx-EPERM", calls: &[libc::SYS_statx], expect: FULL },
    // Last, for everything at once.
    Without {
        name: "all-of-them",
        calls: &[
            libc::SYS_openat2,
            libc::SYS_open_tree,
            libc::SYS_move_mount,
            libc::SYS_mount_setattr,
            libc::SYS_landlock_create_ruleset,
            452,
            457,
            458,
            465,
            libc::SYS_close_range,
            libc::SYS_statx,
            libc::SYS_clone3,
        ],
        expect: Expect { landlock: false, ..FULL },
    },
];

/// Linux before 5.8: no times without a name; answers `EINVAL`.
const NO_TIMES: Without = Without { name: "times", calls: &[libc::SYS_utimensat], expect: FULL };

/// A file system, or a container, where no device can be made; answers `EPERM`.
const NO_DEVICES: Without = Without { name: "devices", calls: &[libc::SYS_mknodat], expect: FULL };

/// A filter around that keeps descriptors from signalling: the helper is then not tied to its parent, and works.
const NO_SIGNALS: Without = Without { name: "signals-of-descriptors", calls: &[libc::SYS_fcntl], expect: FULL };

fn main() -> ExitCode {
    if env::args_os().next().is_some_and(|name| name == ARGV0) {
        return wrap();
    }
    // `cargo test NAME` gives the name to every program of tests.
    let wanted: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let listing = env::args().any(|argument| argument == "--list");
    if listing || (!wanted.is_empty() && !wanted.iter().any(|name| "without".contains(name.as_str()))) {
        return ExitCode::SUCCESS;
    }
    if !need_root("without") {
        return ExitCode::SUCCESS;
    }
    overlay_whiteouts_where_devices_cannot_be_made_are_attributes();
    let scratch = Scratch::new();
    same_tree(&wrapper(&scratch, &NO_SIGNALS), NO_SIGNALS.name);
    times_that_cannot_be_given_to_what_is_held_are_events();
    let whole = env::var_os("UNTAR_WITHOUT_ALL").is_some();
    for (number, without) in ALL.iter().enumerate() {
        let scratch = Scratch::new();
        let wrapper = wrapper(&scratch, without);
        same_tree(&wrapper, without.name);
        let mut cases = hostile::archives::all();
        if !whole {
            let mut index = 0;
            cases.retain(|_| {
                index += 1;
                index % 8 == number % 8
            });
        }
        for setting in [Setting::Pivot, Setting::Chroot] {
            run_all(&format!("without {}", without.name), &cases, setting, &wrapper, without.expect);
        }
    }
    ExitCode::SUCCESS
}

/// This program, in a directory that tells it what to take away.
fn wrapper(scratch: &Scratch, without: &Without) -> Program {
    let path = scratch.dir(without.name).join("wrapper");
    fs::copy(env::current_exe().expect("this program"), &path).expect("a copy of this program");
    Program::at(path)
}

/// Started as the helper: takes the calls away and becomes the real one.
fn wrap() -> ExitCode {
    let path = env::current_exe().expect(ENV);
    let name = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).expect(ENV);
    let without = ALL.iter().chain([&NO_DEVICES, &NO_SIGNALS, &NO_TIMES]);
    let without = without.into_iter().find(|without| without.name == name).expect(ENV);
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> =
        without.calls.iter().map(|call| (*call, Vec::new())).collect();
    if name == NO_SIGNALS.name {
        rules.values_mut().for_each(|rules| *rules = commands());
    }
    if name == NO_TIMES.name {
        let empty = libc::AT_EMPTY_PATH as u64;
        let held = SeccompCondition::new(3, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(empty), empty).expect(ENV);
        rules.insert(libc::SYS_utimensat, vec![SeccompRule::new(vec![held]).expect(ENV)]);
    }
    let refused = [NO_DEVICES.name, NO_SIGNALS.name].contains(&name) || name.ends_with("-EPERM");
    let errno = match name == NO_TIMES.name {
        true => libc::EINVAL,
        false if refused => libc::EPERM,
        false => libc::ENOSYS,
    };
    let refusal = SeccompAction::Errno(errno.cast_unsigned());
    let arch = TargetArch::try_from(env::consts::ARCH).expect(ENV);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, arch).expect(ENV);
    let program: seccompiler::BpfProgram = filter.try_into().expect(ENV);
    seccompiler::apply_filter(&program).expect(ENV);
    let error = Command::new(program_path()).arg0(ARGV0).env_clear().exec();
    panic!("{error}");
}

/// `F_SETOWN` and `F_SETSIG`, and no other command of `fcntl`.
fn commands() -> Vec<SeccompRule> {
    let is = |command| SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, command).expect(ENV);
    [8, 10].map(|command| SeccompRule::new(vec![is(command)]).expect(ENV)).into()
}

/// An archive with a bit of everything, on a layer with a bit of everything, comes to the same tree.
fn same_tree(wrapper: &Program, name: &str) {
    let plain = tree(&Program::at(program_path()));
    let other = tree(wrapper);
    // Directories that no entry lists have the time of the run.
    let mut but = vec![But::Of("dir", "mtime")];
    if name.starts_with("fchmodat2") || name == "all-of-them" {
        // Their set-id bits are told to be lacking; the sticky bit is there.
        but.push(But::Of("char", "mode"));
        assert_eq!(other.get("d/new/special", "mode"), "1622");
    }
    assert_same(&format!("without {name}"), &other, &plain, &but);
    assert_eq!(other.get("d/new", "mtime"), "77.000000000");
    println!("without {name}: {} paths are the same", plain.paths().len());
}

fn tree(program: &Program) -> Tree {
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    for archive in [below(), above()] {
        let mut untar = untar_in_root::Untar::open(&dest).expect("destination").program(program.clone());
        layer(untar.options_mut());
        untar.apply(&archive.build()[..]).expect("a layer");
    }
    Tree::read(&dest)
}

fn below() -> Tarball {
    let all = Tarball::new().dir("./").dir("d").dir("d/e").dir("gone/x/y").file("gone/x/f", "1").file("d/old", "2");
    all.symlink("l", "d/e").fifo("d/p").char_dev("d/c", 1, 3).file("gone-too", "3")
}

fn above() -> Tarball {
    let deep = format!("deep/{}f", "x/".repeat(300));
    let tar = Tarball::new()
        .file("l/through", "a")
        .with(|e| _ = e.uid(7).gid(8).mode(0o4711).mtime_ns(5, 6).xattr("user.a", "b"))
        .whiteout("gone")
        .whiteout("gone-too")
        .opaque("d")
        .dir("d/new")
        .with(|e| _ = e.mode(0o2750).uid(9).gid(10).mtime(77).xattr("user.dir", "1"))
        .file("d/new/f", "x".repeat(300_000))
        .hardlink("d/new/h", "d/new/f")
        .symlink("d/new/s", "../..")
        .with(|e| _ = e.uid(3).gid(4).mtime_ns(9, 1))
        .fifo("d/new/p")
        .with(|e| _ = e.mode(0o622).uid(3).gid(4))
        .fifo("d/new/special")
        .with(|e| _ = e.mode(0o1622))
        .char_dev("d/new/c", 1, 5)
        .with(|e| _ = e.mode(0o2660).uid(3))
        .char_dev("d/new/set-uid", 1, 7)
        .with(|e| _ = e.mode(0o6660))
        .symlink("d/new/attributes", "x")
        .with(|e| _ = e.pax("SCHILY.xattr.trusted.a", "1"));
    (0..300).fold(tar, |tar, i| tar.file(format!("many/{i}"), "y".repeat(i))).file(deep, "deep")
}

fn times_that_cannot_be_given_to_what_is_held_are_events() {
    let scratch = Scratch::new();
    let wrapper = wrapper(&scratch, NO_TIMES.name);
    let dest = scratch.dir("dest");
    let untar = untar_in_root::Untar::open(&dest).expect("destination").program(wrapper);
    let at = |e: &mut support::tarball::Entry| _ = e.mtime(9);
    let archive = Tarball::new().file("f", "1").with(at).symlink("l", "f").with(at).fifo("p").with(at);
    let report = untar.apply(&archive.build()[..]).expect("applied");
    let told: Vec<_> = report.events.into_iter().map(|event| event.what).collect();
    let ignored = || untar_in_root::EventKind::TimesIgnored { errno: libc::EINVAL };
    assert_eq!(told, [ignored(), ignored()]);
    assert_eq!(Tree::read(&dest).get("f", "mtime"), "9.000000000");
    println!("without times of what is held: told");
}

/// Whiteouts are files with overlay's attribute then, as overlayfs reads them since Linux 6.7.
fn overlay_whiteouts_where_devices_cannot_be_made_are_attributes() {
    let scratch = Scratch::new();
    let wrapper = wrapper(&scratch, &NO_DEVICES);
    let (below, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    let lower = Tarball::new().file("d/gone", "1").file("d/kept", "2").file("top", "3").file("e/f", "4");
    run::apply(&below, &lower.build(), layer).expect("lower");
    let mut untar = untar_in_root::Untar::open(&upper).expect("destination").program(wrapper);
    let mut overlay = untar_in_root::Overlay::default();
    overlay.lower = vec![below.clone()];
    untar.options_mut().mode = untar_in_root::Mode::Overlay(overlay);
    let layer = Tarball::new().whiteout("d/gone").whiteout("top").file("e/g", "5");
    untar.apply(&layer.build()[..]).expect("a layer");
    let tree = Tree::read(&upper);
    for path in ["d/gone", "top"] {
        let fields = ["type", "size", "xattr.trusted.overlay.whiteout"].map(|field| tree.get(path, field));
        assert_eq!(fields, ["file", "0", "y"], "{path}");
    }
    // Only where overlayfs is told to look for such whiteouts.
    let marked = ["d", ".", "e"].map(|path| tree.get(path, "xattr.trusted.overlay.opaque"));
    assert_eq!(marked, ["x", "x", ""]);
    let place = scratch.dir("merged");
    let data = format!("lowerdir={}:{}", upper.display(), below.display());
    let data = std::ffi::CString::new(data).expect("no NUL");
    rustix::mount::mount("overlay", &place, "overlay", rustix::mount::MountFlags::RDONLY, Some(data.as_c_str()))
        .expect("overlayfs");
    let shown = run::line(&Tree::read(&place));
    if is_at_least(6, 7) {
        assert_eq!(shown, "d/ d/kept=2 e/ e/f=4 e/g=5");
    }
    println!("without devices: {shown}");
}

fn is_at_least(major: u32, minor: u32) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("release");
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}
