//! A helper that has entered no root, taken over by who knows where its table of openings lies. It runs as root, so
//! owners and modes stop nothing outside: what does are Landlock and the filter.

use std::fs;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use untar_in_root::{Isolation, Wall};

use super::captive::{Answer, Captive};
use super::walls;
use crate::support::privilege::{is_at_least, need_root};
use crate::support::tree::{Tree, assert_same};

const AT_FDCWD: u64 = libc::AT_FDCWD as i64 as u64;
const EMPTY: u64 = libc::AT_EMPTY_PATH as u64;
/// `RESOLVE_NO_XDEV`, `RESOLVE_NO_MAGICLINKS`, `RESOLVE_BENEATH`.
const HERE: u64 = 0x0b;
const SIZE: u64 = 24;

const DIRECTORY: [u64; 3] = [(libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC) as u64, 0, HERE];
const ACROSS: [u64; 3] = [DIRECTORY[0], 0, 0x0a];
const PATH: [u64; 3] = [(libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC) as u64, 0, HERE];
const CREATE: i32 = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
const NEW: [u64; 3] = [(libc::O_WRONLY | CREATE) as u64, 0o600, HERE];
const NAMELESS: [u64; 3] = [(libc::O_RDWR | libc::O_TMPFILE | libc::O_CLOEXEC) as u64, 0o600, HERE];
const PASSING: [u64; 3] = [(libc::O_RDWR | CREATE) as u64, 0o600, HERE];
const ROWS: [[u64; 3]; 6] = [DIRECTORY, ACROSS, PATH, NEW, NAMELESS, PASSING];

const KILLED: Answer = Answer::Killed(Signal::SIGSYS);

fn bytes(how: [u64; 3]) -> Vec<u8> {
    how.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn take() -> Captive {
    take_behind(Wall::Required)
}

/// Beside the destination are a directory and a file; in it a file, a directory and a link to outside.
fn take_behind(seccomp: Wall) -> Captive {
    Captive::take_on(Isolation::Beneath, walls(seccomp, Wall::Required), |dest| {
        let outside = dest.with_file_name("outside");
        fs::create_dir(&outside).expect("outside");
        fs::write(outside.join("f"), "of the host").expect("outside");
        fs::write(dest.join("victim"), "victim").expect("victim");
        fs::create_dir(dest.join("d")).expect("directory");
        std::os::unix::fs::symlink("../outside", dest.join("l")).expect("link");
    })
}

impl Captive {
    /// Where the helper has this entry; found as an attacker would, who can read its memory.
    fn row(&self, how: [u64; 3]) -> u64 {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid)).expect("maps");
        let memory = fs::File::open(format!("/proc/{}/mem", self.pid)).expect("memory");
        for line in maps.lines().filter(|line| line.contains(" r--p ") && line.contains("untar-in-root")) {
            let (from, to) = line.split_once(' ').expect("a range").0.split_once('-').expect("a range");
            let [from, to] = [from, to].map(|word| u64::from_str_radix(word, 16).expect("an address"));
            let mut page = vec![0; usize::try_from(to - from).expect("a size")];
            if memory.read_exact_at(&mut page, from).is_err() {
                continue;
            }
            let want = bytes(how);
            if let Some(at) = (0..page.len()).step_by(8).find(|at| page[*at..].starts_with(&want)) {
                return from + at as u64;
            }
        }
        panic!("the table lacks {how:x?}");
    }

    fn opens(&mut self, dir: u64, name: &str, how: [u64; 3]) -> Answer {
        let (row, name) = (self.row(how), self.text(name));
        self.call(libc::SYS_openat2, &[dir, name, row, SIZE])
    }

    #[track_caller]
    fn opened(&mut self, name: &str, how: [u64; 3]) -> u64 {
        match self.opens(AT_FDCWD, name, how) {
            Answer::Value(fd) => fd.cast_unsigned(),
            answer => panic!("{name}: {answer:?}"),
        }
    }

    fn outside(&self) -> Tree {
        Tree::read(&self.scratch.join("outside"))
    }
}

/// Names that lead out.
fn ways_out(c: &Captive) -> Vec<String> {
    let outside = c.scratch.join("outside").display().to_string();
    let new = |dir: &str| format!("{dir}/new");
    vec![
        format!("{outside}/f"),
        new(&outside),
        new("../outside"),
        "../outside/f".into(),
        new("l"),
        "l/f".into(),
        "d/../../outside/f".into(),
        "/etc/passwd".into(),
        "/proc/self/fd/0".into(),
        format!("/proc/self/root{outside}/f"),
        "..".into(),
        "/".into(),
    ]
}

#[test]
fn who_knows_the_table_opens_what_is_below_and_nothing_else() {
    if !need_root() {
        return;
    }
    let mut tried = 0;
    let mut c = take();
    let before = c.outside();
    for how in ROWS.into_iter().filter(|how| *how != ACROSS) {
        let inside = if how == DIRECTORY || how == NAMELESS { "d" } else { "victim" };
        let inside = if how == NEW || how == PASSING { format!("new{:x}", how[0]) } else { inside.to_owned() };
        c.opened(&inside, how);
        for name in ways_out(&c) {
            for dir in c.descriptors().into_iter().filter(|fd| *fd > 2).map(|fd| fd as u64).chain([AT_FDCWD]) {
                let answer = c.opens(dir, &name, how);
                assert!(matches!(answer, Answer::Refused(_)), "{how:x?} of {name}: {answer:?}");
                tried += 1;
            }
        }
    }
    assert_same("outside", &c.outside(), &before, &[]);
    println!("breach, Beneath: {tried} openings outside, 0 done");
}

/// A copy of an entry, an entry that crosses mounts where none are crossed, more than an entry, and `openat`.
#[test]
fn nothing_is_opened_but_by_the_table() {
    if !need_root() {
        return;
    }
    for how in ROWS {
        let mut c = take();
        let (copy, name) = (c.put(&bytes(how)), c.text("d"));
        assert_eq!(c.call(libc::SYS_openat2, &[AT_FDCWD, name, copy, SIZE]), KILLED, "{how:x?}");
    }
    assert_eq!(take().opens(AT_FDCWD, "d", ACROSS), KILLED);
    let mut c = take();
    let (row, name) = (c.row(DIRECTORY), c.text("d"));
    assert_eq!(c.call(libc::SYS_openat2, &[AT_FDCWD, name, row, SIZE + 8]), KILLED);
    let mut c = take();
    let name = c.text("victim");
    assert_eq!(c.call(libc::SYS_openat, &[AT_FDCWD, name, 0]), Answer::Refused(Errno::ENOSYS));
    assert_eq!(c.call(libc::SYS_open, &[name, 0]), KILLED);
}

/// The kernel seals it since Linux 6.10.
#[test]
fn the_table_stays_what_it_is() {
    if !need_root() || !is_at_least(6, 10) {
        return;
    }
    let mut c = take();
    let page = c.row(NEW) & !4095;
    let writable = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED) as u64;
    let sealed = Answer::Refused(Errno::EPERM);
    assert_eq!(c.call(libc::SYS_mprotect, &[page, 4096, writable]), sealed);
    assert_eq!(c.call(libc::SYS_mmap, &[page, 4096, writable, flags, u64::MAX, 0]), sealed);
    assert_eq!(c.call(libc::SYS_munmap, &[page, 4096]), sealed);
}

/// Names are made, linked and removed below; anywhere else Landlock says no, with the filter and without.
#[test]
fn no_name_outside_is_made_linked_or_removed() {
    if !need_root() {
        return;
    }
    let mut tried = 0;
    for seccomp in [Wall::Required, Wall::Off] {
        let mut c = take_behind(seccomp);
        let before = c.outside();
        let inside = ["d/new"].map(str::to_owned).to_vec();
        for (names, done) in [(inside, true), (ways_out(&c), false)] {
            for name in names {
                let (to, target, victim, fifo) = (c.text(&name), c.text("x"), c.text("victim"), c.text("d/fifo"));
                let calls: [(i64, &[u64]); 6] = [
                    (libc::SYS_mkdirat, &[AT_FDCWD, to, 0o755]),
                    (libc::SYS_unlinkat, &[AT_FDCWD, to, libc::AT_REMOVEDIR as u64]),
                    (libc::SYS_symlinkat, &[target, AT_FDCWD, to]),
                    (libc::SYS_unlinkat, &[AT_FDCWD, to, 0]),
                    (libc::SYS_linkat, &[AT_FDCWD, victim, AT_FDCWD, to, 0]),
                    (libc::SYS_linkat, &[AT_FDCWD, to, AT_FDCWD, fifo, 0]),
                ];
                for (call, arguments) in calls {
                    let answer = c.call(call, arguments);
                    let as_wanted =
                        if done { answer == Answer::Value(0) } else { matches!(answer, Answer::Refused(_)) };
                    assert!(as_wanted, "{call} of {name}, filter {seccomp:?}: {answer:?}");
                    tried += u32::from(!done);
                }
                let fifo = [AT_FDCWD, to, u64::from(libc::S_IFIFO | 0o600), 0];
                let answer = c.call(libc::SYS_mknodat, &fifo);
                assert!(matches!(answer, Answer::Refused(_)), "{name}: {answer:?}");
            }
        }
        assert_same("outside", &c.outside(), &before, &[]);
    }
    println!("breach, Beneath: {tried} names outside made, linked or removed, 0 done");
}

/// What is held by its path alone answers `EBADF` to what the filter leaves, and what it does not leave ends the helper.
#[test]
fn metadata_goes_to_what_is_open_and_to_nothing_else() {
    if !need_root() {
        return;
    }
    let times = |c: &mut Captive| c.put(&[0; 32]);
    let mut c = take();
    let held = c.opened("victim", PATH);
    let (name, one, times_at) = (c.text("user.x"), c.put(b"1"), times(&mut c));
    let bad = Answer::Refused(Errno::EBADF);
    assert_eq!(c.call(libc::SYS_fchmod, &[held, 0o777]), bad);
    assert_eq!(c.call(libc::SYS_fsetxattr, &[held, name, one, 1, 0]), bad);
    assert_eq!(c.call(libc::SYS_fremovexattr, &[held, name]), bad);
    assert_eq!(c.call(libc::SYS_utimensat, &[held, 0, times_at, 0]), bad);
    let open = c.opened("d", DIRECTORY);
    assert_eq!(c.call(libc::SYS_fchmod, &[open, 0o777]), Answer::Value(0));
    assert_eq!(c.call(libc::SYS_utimensat, &[open, 0, times_at, 0]), Answer::Value(0));
    let killed: &[(&str, Attempt)] = &[
        ("fchown", |c, fd| c.call(libc::SYS_fchown, &[fd, 7, 7])),
        ("fchownat", |c, fd| on_the_empty_name(c, libc::SYS_fchownat, fd, [7, 7, EMPTY])),
        ("fchmodat2", |c, fd| on_the_empty_name(c, 452, fd, [0o777, EMPTY, 0])),
        ("utimensat", |c, fd| on_the_empty_name(c, libc::SYS_utimensat, fd, [0, EMPTY, 0])),
        ("setxattrat", |c, fd| on_the_empty_name(c, 463, fd, [EMPTY, 0, 0])),
        ("set-uid", |c, fd| c.call(libc::SYS_fchmod, &[fd, 0o4755])),
        ("set-gid", |c, fd| c.call(libc::SYS_fchmod, &[fd, 0o2755])),
        ("a device", |c, _| node(c, libc::S_IFCHR | 0o666)),
        ("a whiteout", |c, _| node(c, libc::S_IFCHR)),
        ("a socket", |c, _| node(c, libc::S_IFSOCK | 0o666)),
        ("a file by mknodat", |c, _| node(c, libc::S_IFREG | 0o666)),
        ("a set-uid FIFO", |c, _| node(c, libc::S_IFIFO | 0o4666)),
        ("renameat2", |c, fd| c.call(libc::SYS_renameat2, &[fd, 0, fd, 0, 0])),
        ("truncate", |c, _| c.call(libc::SYS_truncate, &[0, 0])),
    ];
    for (what, attempt) in killed {
        let mut c = take();
        let open = c.opened("d", DIRECTORY);
        assert_eq!(attempt(&mut c, open), KILLED, "{what}");
    }
    println!("breach, Beneath: {} calls on what is held, all killed", killed.len());
}

/// On an open directory.
type Attempt = fn(&mut Captive, u64) -> Answer;

fn on_the_empty_name(c: &mut Captive, number: i64, fd: u64, rest: [u64; 3]) -> Answer {
    let empty = c.text("");
    c.call(number, &[fd, empty, rest[0], rest[1], rest[2]])
}

fn node(c: &mut Captive, mode: u32) -> Answer {
    let name = c.text("node");
    c.call(libc::SYS_mknodat, &[AT_FDCWD, name, mode.into(), 0])
}

/// Somebody on the host moves a directory out while it is open here.
#[test]
fn nothing_is_made_in_a_directory_that_was_moved_away() {
    if !need_root() {
        return;
    }
    let mut c = take();
    let moved = c.opened("d", DIRECTORY);
    let (name, up) = (c.text("new"), c.text("../f"));
    fs::rename(c.scratch.join("dest/d"), c.scratch.join("outside/d")).expect("rename");
    let before = c.outside();
    assert!(matches!(c.call(libc::SYS_mkdirat, &[moved, name, 0o755]), Answer::Refused(Errno::EACCES)));
    assert!(matches!(c.opens(moved, "new", NEW), Answer::Refused(Errno::EACCES)));
    assert!(matches!(c.opens(moved, "../f", PATH), Answer::Refused(Errno::EXDEV)));
    assert!(matches!(c.call(libc::SYS_unlinkat, &[moved, up, 0]), Answer::Refused(Errno::EACCES)));
    assert_same("outside", &c.outside(), &before, &[]);
}

/// What SECURITY.md says is reached: whether a name exists, and what `stat(2)` and `readlink(2)` tell of it.
#[test]
fn which_names_exist_elsewhere_can_be_found_out() {
    if !need_root() {
        return;
    }
    let mut c = take();
    let (there, not_there, room) = (c.text("../outside/f"), c.text("../outside/g"), c.put(&[0; 256]));
    assert_eq!(c.call(libc::SYS_newfstatat, &[AT_FDCWD, there, room, 0]), Answer::Value(0));
    assert_eq!(c.call(libc::SYS_newfstatat, &[AT_FDCWD, not_there, room, 0]), Answer::Refused(Errno::ENOENT));
}
