//! The hostile archives once more on older kernels, and in containers: with system calls taken away by a filter that
//! answers `ENOSYS`, and by one that answers `EPERM`. The same results; weaker confinement is named in the report.
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
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use hostile::case::{Expect, Setting, run_all};
use nix::libc;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use support::privilege::{is_at_least, need_root};
use support::run::{self, layer, program_path};
use support::scratch::Scratch;
use support::tarball::Tarball;
use support::tree::{But, Tree, assert_same};
use untar_in_root::{Isolation, Program};

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
    Without { name: "getrandom", calls: &[libc::SYS_getrandom], expect: FULL },
    // Last, for everything at once.
    Without { name: "all-of-them", calls: &support::container::NEWER, expect: Expect { landlock: false, ..FULL } },
];

/// How a call is kept back: by a kernel that lacks it, or by a container's filter.
const ANSWERS: [(&str, i32); 2] = [("", libc::ENOSYS), (EPERM, libc::EPERM)];
const EPERM: &str = "-EPERM";

/// Linux before 5.8: no times without a name; answers `EINVAL`.
const NO_TIMES: Without = Without { name: "times", calls: &[libc::SYS_utimensat], expect: FULL };

/// Refused by name: a file system, or a container, where no device can be made, or no namespace.
const NO_DEVICES: Without = Without { name: "devices", calls: &[libc::SYS_mknodat], expect: FULL };
const NO_NAMESPACES: Without = Without { name: "namespaces", calls: &[libc::SYS_unshare], expect: FULL };

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
    if !need_root() {
        return ExitCode::SUCCESS;
    }
    overlay_whiteouts_where_devices_cannot_be_made_are_attributes();
    let scratch = Scratch::new();
    same_tree(&wrapper(&scratch, NO_SIGNALS.name), NO_SIGNALS.name);
    times_that_cannot_be_given_to_what_is_held_are_events();
    lower_directories_that_cannot_be_held_are_refused();
    mounts_below_that_cannot_be_covered_are_told();
    for (answer, _) in ANSWERS {
        older_ways_lead_to_the_same(answer);
    }
    hostile_archives();
    ExitCode::SUCCESS
}

/// Each call by itself, kept back in this way.
fn older_ways_lead_to_the_same(answer: &str) {
    for without in ALL {
        let scratch = Scratch::new();
        let name = format!("{}{answer}", without.name);
        let wrapper = wrapper(&scratch, &name);
        same_tree(&wrapper, &name);
        same_upper(&wrapper, &name);
        mounts_below_are_covered(&wrapper, &name);
        the_callers_own_root_is_pivoted(&wrapper, &name);
    }
}

fn hostile_archives() {
    let whole = env::var_os("UNTAR_WITHOUT_ALL").is_some();
    for (number, without) in ALL.iter().enumerate() {
        let scratch = Scratch::new();
        let wrapper = wrapper(&scratch, without.name);
        let mut cases = hostile::archives::all();
        if !whole {
            let mut index = 0;
            cases.retain(|_| {
                index += 1;
                index % 8 == number % 8
            });
        }
        let beneath = without.expect.landlock && !without.calls.contains(&libc::SYS_openat2);
        for setting in [Setting::Pivot, Setting::Chroot].into_iter().chain(beneath.then_some(Setting::Beneath)) {
            run_all(&format!("without {}", without.name), &cases, setting, &wrapper, without.expect);
        }
        if !beneath {
            no_root_is_entered_only_where_the_walls_stand(&wrapper, without.name);
        }
    }
}

/// There is no older way to what is all that confines the helper then.
fn no_root_is_entered_only_where_the_walls_stand(wrapper: &Program, name: &str) {
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    let mut untar = untar_in_root::Untar::open(&dest).expect("destination").program(wrapper.clone());
    untar.options_mut().jail.isolation = Isolation::Beneath;
    let error = untar.apply(&Tarball::new().file("f", "1").build()[..]).expect_err("a wall is missing");
    assert_eq!(error.advice(), Some(untar_in_root::Advice::Landlock), "without {name}: {error}");
    assert_eq!(fs::read_dir(&dest).expect("destination").count(), 0);
    println!("without {name}, Beneath: {error}");
}

/// This program, in a directory that tells it what to take away.
fn wrapper(scratch: &Scratch, name: &str) -> Program {
    let path = scratch.dir(name).join("wrapper");
    fs::copy(env::current_exe().expect("this program"), &path).expect("a copy of this program");
    Program::at(path)
}

/// Started as the helper: takes the calls away and becomes the real one.
fn wrap() -> ExitCode {
    let path = env::current_exe().expect(ENV);
    let name = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).expect(ENV);
    let by_name = [NO_DEVICES, NO_NAMESPACES, NO_SIGNALS, NO_TIMES];
    let forbidden = by_name.iter().find(|without| without.name == name);
    let (plain, errno) = match name.strip_suffix(EPERM) {
        Some(plain) => (plain, libc::EPERM),
        None if name == NO_TIMES.name => (name, libc::EINVAL),
        None => (name, if forbidden.is_some() { libc::EPERM } else { libc::ENOSYS }),
    };
    let without = forbidden.or_else(|| ALL.iter().find(|without| without.name == plain)).expect(ENV);
    let conditions = match plain {
        _ if plain == NO_SIGNALS.name => commands(),
        _ if plain == NO_TIMES.name => nameless(),
        _ => Vec::new(),
    };
    let rules = without.calls.iter().map(|call| (*call, conditions.clone())).collect();
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

/// Times of what a descriptor holds.
fn nameless() -> Vec<SeccompRule> {
    let empty = libc::AT_EMPTY_PATH as u64;
    let held = SeccompCondition::new(3, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(empty), empty).expect(ENV);
    vec![SeccompRule::new(vec![held]).expect(ENV)]
}

/// An archive with a bit of everything, on a layer with a bit of everything, comes to the same tree.
fn same_tree(wrapper: &Program, name: &str) {
    let plain = tree(&Program::at(program_path()));
    let other = tree(wrapper);
    // Directories that no entry lists have the time of the run.
    let mut but = vec![But::Of("dir", "mtime")];
    if ["fchmodat2", "all-of-them"].contains(&name.trim_end_matches(EPERM)) {
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
    let wrapper = wrapper(&scratch, NO_DEVICES.name);
    let (below, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    let lower = Tarball::new().file("d/gone", "1").file("d/kept", "2").file("top", "3").file("e/f", "4");
    run::apply(&below, &lower.build(), layer).expect("lower");
    let mut untar = untar_in_root::Untar::open(&upper).expect("destination").program(wrapper);
    untar.options_mut().mode = untar_in_root::Mode::Overlay(run::over([&below]));
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

/// On a lower directory, the upper one comes to the same.
fn same_upper(wrapper: &Program, name: &str) {
    let (plain, other) = (upper(&Program::at(program_path())), upper(wrapper));
    assert_same(&format!("upper without {name}"), &other, &plain, &[But::Of("dir", "mtime"), But::Of("char", "mtime")]);
}

fn upper(program: &Program) -> Tree {
    let scratch = Scratch::new();
    let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    let below = Tarball::new().dir("d").with(|e| _ = e.mode(0o700).uid(7).gid(8)).file("d/f", "1").file("g", "2");
    run::apply(&lower, &below.build(), layer).expect("lower");
    let layer = Tarball::new().file("d/new", "3").whiteout("g").hardlink("h", "d/f");
    overlaid(program, &lower, &upper, &layer, |_| {}).expect("upper");
    let tree = Tree::read(&upper);
    assert_eq!(["uid", "gid", "mode"].map(|field| tree.get("d", field)), ["7", "8", "0700"]);
    tree
}

fn overlaid(
    program: &Program,
    lower: &Path,
    upper: &Path,
    layer: &Tarball,
    change: impl FnOnce(&mut untar_in_root::Options),
) -> Result<untar_in_root::Report, untar_in_root::Error> {
    let mut untar = untar_in_root::Untar::open(upper).expect("destination").program(program.clone());
    untar.options_mut().mode = untar_in_root::Mode::Overlay(run::over([lower]));
    change(untar.options_mut());
    untar.apply(&layer.build()[..])
}

/// Dropped without a word, they would give directories another owner and mode.
fn lower_directories_that_cannot_be_held_are_refused() {
    for isolation in [Isolation::Auto, Isolation::Pivot, Isolation::Chroot] {
        let scratch = Scratch::new();
        let wrapper = wrapper(&scratch, NO_NAMESPACES.name);
        let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
        let layer = Tarball::new().file("d/f", "1");
        let error =
            overlaid(&wrapper, &lower, &upper, &layer, |o| o.jail.isolation = isolation).expect_err("no namespace");
        assert_eq!(error.kind(), untar_in_root::ErrorKind::Root);
        let text = error.to_string();
        assert!(text.contains("a lower directory is held only in a mount namespace"), "{isolation:?}: {text}");
        assert_eq!(fs::read_dir(&upper).expect("upper").count(), 0);
        println!("without namespaces: {text}");
    }
}

fn mounts_below_that_cannot_be_covered_are_told() {
    let scratch = Scratch::new();
    let wrapper = wrapper(&scratch, NO_NAMESPACES.name);
    let dest = scratch.dir("dest");
    scratch.tmpfs("dest/m", 1 << 16).expect("tmpfs");
    let apply = |archive: Tarball| {
        let untar = untar_in_root::Untar::open(&dest).expect("destination").program(wrapper.clone());
        untar.apply(&archive.build()[..])
    };
    let confinement = apply(Tarball::new().file("f", "1")).expect("applied").confinement;
    assert_eq!(confinement.root, untar_in_root::RootSwitch::Chroot);
    assert_eq!(confinement.mounts_below, [b"m".to_vec()]);
    assert_eq!(confinement.mounts, untar_in_root::MountsBelow::InSight);
    let error = apply(Tarball::new().file("m/f", "1")).expect_err("a mount");
    assert_eq!(error.kind(), untar_in_root::ErrorKind::Refused);
}

/// A directory and a file, whatever calls there are for it.
fn mounts_below_are_covered(wrapper: &Program, name: &str) {
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    let mounted = scratch.tmpfs("dest/m", 1 << 16).expect("tmpfs");
    let secret = scratch.file("secret", "of the host");
    fs::write(mounted.join("secret"), "of the host").expect("secret");
    rustix::mount::mount_bind(&secret, scratch.file("dest/file", "")).expect("bind");
    for isolation in [Isolation::Pivot, Isolation::Chroot] {
        let mut untar = untar_in_root::Untar::open(&dest).expect("destination").program(wrapper.clone());
        untar.options_mut().jail.isolation = isolation;
        let session = untar.spawn().expect("helper");
        let root = root_of_the_helper_on(&dest);
        assert_eq!(fs::read_dir(root.join("m")).expect("m").count(), 0, "{name}, {isolation:?}");
        assert_eq!(fs::read_to_string(root.join("file")).expect("file"), "", "{name}, {isolation:?}");
        drop(session);
    }
}

/// The name `/` leads below what is mounted there.
fn the_callers_own_root_is_pivoted(wrapper: &Program, name: &str) {
    let mut untar = untar_in_root::Untar::open("/").expect("/").program(wrapper.clone());
    untar.options_mut().jail.isolation = Isolation::Pivot;
    untar.options_mut().list = true;
    let report = untar.apply(&Tarball::new().file("f", "1").build()[..]).unwrap_or_else(|e| panic!("{name}: {e}"));
    let walls = &report.confinement;
    assert!(walls.root == untar_in_root::RootSwitch::Pivot && walls.mount_restricted && !walls.over_first_mount);
    assert!(!Path::new("/f").exists());
}

/// Once it is inside.
fn root_of_the_helper_on(dest: &Path) -> PathBuf {
    let deadline = Instant::now() + Duration::from_secs(20);
    let inode = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    loop {
        let root = support::process::my_helper_on(dest).map(|pid| PathBuf::from(format!("/proc/{pid}/root")));
        match root {
            Some(root) if inode(&root) == inode(dest) => return root,
            _ => assert!(Instant::now() < deadline, "no helper is inside"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
