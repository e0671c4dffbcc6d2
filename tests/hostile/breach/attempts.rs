//! What an attacker in the helper would try.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;

use super::captive::{Answer, Captive};

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The kernel ended the helper.
    Killed(Signal),
    /// The kernel said no.
    Refused(Errno),
    /// It went on, but led nowhere outside.
    Inside,
    /// It succeeded, this far.
    Out(String),
}

pub type Attempt = fn(&mut Captive) -> Verdict;

const AT_FDCWD: u64 = libc::AT_FDCWD as i64 as u64;
const READ: u64 = libc::O_RDONLY as u64;
const DIRECTORY: u64 = (libc::O_PATH | libc::O_DIRECTORY) as u64;
const CLONE_NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
const CLONE_NEWNS: u64 = libc::CLONE_NEWNS as u64;
/// Which signal a descriptor sends: `fcntl(2)`.
const F_SETSIG: i32 = 10;
const NOBODY: u64 = 65_534;

/// These would touch what is the host's: not one wall alone may be what stops them.
pub const REACHES_THE_HOST: &[&str] = &[
    "the host's /etc/shadow",
    "/proc/1/root",
    "a new /proc",
    "`..` from every descriptor",
    "`..` a hundred times",
    "chroot out",
    "chroot out by a directory moved away",
    "a device",
    "a device that is there",
    "mount",
    "bind mount",
    "remount",
    "umount",
    "the mount API",
    "pivot_root",
    "setns by the parent's pidfd",
    "unshare, mounts",
    "ptrace of the parent",
    "memory of the parent",
    "a descriptor of the parent",
    "execve",
    "capabilities back",
    "another's handle",
    "init_module",
    "reboot",
    "unshare, users, then chroot out",
    "unshare, users, then a new /proc",
    "unshare, users, then remount",
    "unshare, users, then a device",
    "/proc/self/fd",
    "/proc/self/exe, written",
    "/proc/1/mem",
    "a tmpfs below, listed",
    "a tmpfs below, read",
    "a tmpfs below, written",
    "umount of what lies over a mount",
    "unshare, users, then umount of what lies over a mount",
];

pub const ATTEMPTS: &[(&str, Attempt)] = &[
    ("the host's /etc/shadow", |c| reads(c, "/etc/shadow")),
    ("/proc/1/root", |c| reads(c, "/proc/1/root/etc/shadow")),
    ("/proc/self/fd", |c| reads(c, "/proc/self/fd/0")),
    ("/proc/self/exe, written", |c| opens(c, "/proc/self/exe", libc::O_WRONLY)),
    ("/proc/1/mem", |c| opens(c, "/proc/1/mem", libc::O_RDWR)),
    ("a tmpfs below, listed", |c| lists(c, "/data")),
    ("a tmpfs below, read", |c| reads(c, "/data/secret")),
    ("a tmpfs below, written", |c| opens(c, "/data/new", libc::O_WRONLY | libc::O_CREAT)),
    ("umount of what lies over a mount", uncovers),
    ("unshare, users, then umount of what lies over a mount", |c| as_root_of_a_namespace(c, uncovers)),
    ("/sys", |c| reads(c, "/sys/kernel/uevent_helper")),
    ("a new /proc", |c| mounts(c, "proc", "proc", 0)),
    ("`..` from every descriptor", up_from_every_descriptor),
    ("`..` a hundred times", |c| up(c, AT_FDCWD, &"../".repeat(100))),
    ("chroot out", chroot_out),
    ("chroot out by a directory moved away", moved_away),
    ("a device", |c| device(c, libc::S_IFCHR, 1, 5)),
    ("a block device", |c| device(c, libc::S_IFBLK, 254, 0)),
    ("a device that is there", device_there),
    ("mount", |c| mounts(c, "none", "tmpfs", 0)),
    ("bind mount", |c| mounts(c, "/", "none", libc::MS_BIND)),
    ("remount", |c| mounts(c, "none", "none", libc::MS_REMOUNT | libc::MS_BIND)),
    ("umount", |c| {
        let root = c.text("/");
        one(c, libc::SYS_umount2, &[root, libc::MNT_DETACH as u64])
    }),
    ("the mount API", |c| {
        let name = c.text("tmpfs");
        one(c, libc::SYS_fsopen, &[name, 0])
    }),
    ("open_tree", |c| {
        let dot = c.text("/");
        one(c, libc::SYS_open_tree, &[AT_FDCWD, dot, 1])
    }),
    ("pivot_root", |c| {
        let dot = c.text(".");
        one(c, libc::SYS_pivot_root, &[dot, dot])
    }),
    ("unshare, mounts", |c| one(c, libc::SYS_unshare, &[CLONE_NEWNS])),
    ("unshare, users", |c| one(c, libc::SYS_unshare, &[CLONE_NEWUSER | CLONE_NEWNS])),
    ("unshare, users, then chroot out", |c| as_root_of_a_namespace(c, chroot_out)),
    ("unshare, users, then a new /proc", |c| as_root_of_a_namespace(c, |c| mounts(c, "proc", "proc", 0))),
    ("unshare, users, then remount", |c| {
        as_root_of_a_namespace(c, |c| mounts(c, "none", "none", libc::MS_REMOUNT | libc::MS_BIND))
    }),
    ("unshare, users, then a device", |c| as_root_of_a_namespace(c, |c| device(c, libc::S_IFCHR, 1, 5))),
    ("clone, users", |c| one(c, libc::SYS_clone, &[CLONE_NEWUSER | libc::SIGCHLD as u64])),
    ("clone, a process", |c| one(c, libc::SYS_clone, &[libc::SIGCHLD as u64])),
    ("fork", |c| one(c, libc::SYS_fork, &[])),
    ("clone3", |c| {
        let arguments = c.put(&[0; 88]);
        one(c, libc::SYS_clone3, &[arguments, 88])
    }),
    ("setns by the parent's pidfd", |c| {
        let fd = match c.call(libc::SYS_pidfd_open, &[parent(), 0]) {
            Answer::Value(fd) => fd,
            answer => return verdict(answer),
        };
        one(c, libc::SYS_setns, &[fd as u64, CLONE_NEWNS])
    }),
    ("ptrace of the parent", |c| one(c, libc::SYS_ptrace, &[u64::from(libc::PTRACE_SEIZE), parent(), 0, 0])),
    ("ptrace of pid 1", |c| one(c, libc::SYS_ptrace, &[u64::from(libc::PTRACE_SEIZE), 1, 0, 0])),
    ("memory of the parent", |c| {
        let byte = c.put(b"evil");
        let piece = [byte.to_ne_bytes(), 4u64.to_ne_bytes()].concat();
        let piece = c.put(&piece);
        one(c, libc::SYS_process_vm_writev, &[parent(), piece, 1, piece, 1, 0])
    }),
    ("a descriptor of the parent", |c| {
        let fd = match c.call(libc::SYS_pidfd_open, &[parent(), 0]) {
            Answer::Value(fd) => fd,
            answer => return verdict(answer),
        };
        one(c, libc::SYS_pidfd_getfd, &[fd as u64, 0, 0])
    }),
    ("kill of a process", |c| signals(c, |c, pid| c.call(libc::SYS_kill, &[pid, 9]))),
    ("tkill of a process", |c| signals(c, |c, pid| c.call(libc::SYS_tkill, &[pid, 9]))),
    ("tgkill of a process", |c| signals(c, |c, pid| c.call(libc::SYS_tgkill, &[pid, pid, 9]))),
    ("a queued signal", |c| {
        signals(c, |c, pid| {
            let info = c.put(&[&[9u8, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff][..], &[0; 116]].concat());
            c.call(libc::SYS_rt_sigqueueinfo, &[pid, 9, info])
        })
    }),
    ("a signal by pidfd", |c| {
        signals(c, |c, pid| match c.call(libc::SYS_pidfd_open, &[pid, 0]) {
            Answer::Value(fd) => c.call(libc::SYS_pidfd_send_signal, &[fd as u64, 9, 0, 0]),
            answer => answer,
        })
    }),
    ("a signal by a descriptor's owner", |c| {
        signals(c, |c, pid| {
            let calls = [(F_SETSIG, 9), (libc::F_SETOWN, pid), (libc::F_SETFL, libc::O_ASYNC as u64)];
            for (command, argument) in calls {
                match c.call(libc::SYS_fcntl, &[0, command as u64, argument]) {
                    Answer::Value(_) => {}
                    answer => return answer,
                }
            }
            c.feed(b"x");
            Answer::Value(0)
        })
    }),
    ("kill of the parent, signal 0", |c| one(c, libc::SYS_kill, &[parent(), 0])),
    ("prlimit64 on the parent", |c| {
        let limit = c.put(&[0; 16]);
        one(c, libc::SYS_prlimit64, &[parent(), libc::RLIMIT_NOFILE.into(), 0, limit])
    }),
    ("priority of the parent", |c| one(c, libc::SYS_setpriority, &[0, parent(), 19])),
    ("processor of the parent", |c| {
        let mask = c.put(&[1, 0, 0, 0, 0, 0, 0, 0]);
        one(c, libc::SYS_sched_setaffinity, &[parent(), 8, mask])
    }),
    ("socket, inet", |c| connects(c, libc::AF_INET, libc::SOCK_STREAM)),
    ("socket, inet, datagrams", |c| connects(c, libc::AF_INET, libc::SOCK_DGRAM)),
    ("socket, abstract", abstract_socket),
    ("socket, netlink", |c| one(c, libc::SYS_socket, &[libc::AF_NETLINK as u64, libc::SOCK_RAW as u64, 0])),
    ("socket, raw", |c| one(c, libc::SYS_socket, &[libc::AF_INET as u64, libc::SOCK_RAW as u64, 1])),
    ("socket, packets", |c| one(c, libc::SYS_socket, &[libc::AF_PACKET as u64, libc::SOCK_RAW as u64, 0])),
    ("execve", |c| {
        put_program(c);
        let name = c.text("/program");
        let none = c.put(&[0; 8]);
        one(c, libc::SYS_execve, &[name, none, none])
    }),
    ("execveat of a descriptor", |c| {
        put_program(c);
        let name = c.text("/program");
        let fd = match c.call(libc::SYS_openat, &[AT_FDCWD, name, READ]) {
            Answer::Value(fd) => fd,
            answer => return verdict(answer),
        };
        let (empty, none) = (c.text(""), c.put(&[0; 8]));
        one(c, libc::SYS_execveat, &[fd as u64, empty, none, none, libc::AT_EMPTY_PATH as u64])
    }),
    ("executable memory", |c| {
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        one(c, libc::SYS_mmap, &[0, 4096, prot as u64, flags as u64, u64::MAX, 0])
    }),
    ("memory made executable", |c| {
        let page = c.put(&[0; 8]) & !4095;
        one(c, libc::SYS_mprotect, &[page, 4096, (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC) as u64])
    }),
    ("executable memory of a file", |c| {
        put_program(c);
        let name = c.text("/program");
        let fd = match c.call(libc::SYS_openat, &[AT_FDCWD, name, READ]) {
            Answer::Value(fd) => fd,
            answer => return verdict(answer),
        };
        one(
            c,
            libc::SYS_mmap,
            &[0, 4096, (libc::PROT_READ | libc::PROT_EXEC) as u64, libc::MAP_PRIVATE as u64, fd as u64, 0],
        )
    }),
    ("another's handle", |c| {
        let handle = c.put(&[8, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        let root = match root_descriptor(c) {
            Some(fd) => fd,
            None => return Verdict::Inside,
        };
        one(c, libc::SYS_open_by_handle_at, &[root, handle, READ])
    }),
    ("capabilities back", |c| {
        let header = c.put(&[0x26, 0x05, 0x08, 0x20, 0, 0, 0, 0]);
        let data = c.put(&[0xff; 24]);
        one(c, libc::SYS_capset, &[header, data])
    }),
    ("setuid", |c| one(c, libc::SYS_setuid, &[NOBODY])),
    ("setgid", |c| one(c, libc::SYS_setgid, &[NOBODY])),
    ("setgroups", |c| {
        let groups = c.put(&[0; 4]);
        one(c, libc::SYS_setgroups, &[1, groups])
    }),
    ("personality", |c| one(c, libc::SYS_personality, &[0x0040_0000])),
    ("bpf", |c| {
        let attributes = c.put(&[1, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        one(c, libc::SYS_bpf, &[0, attributes, 20])
    }),
    ("io_uring_setup", |c| {
        let parameters = c.put(&[0; 120]);
        one(c, libc::SYS_io_uring_setup, &[4, parameters])
    }),
    ("keyctl", |c| one(c, libc::SYS_keyctl, &[0, -3i64 as u64, 1])),
    ("init_module", |c| {
        let (image, none) = (c.put(&[0; 64]), c.text(""));
        one(c, libc::SYS_init_module, &[image, 64, none])
    }),
    ("perf_event_open", |c| {
        let attributes = c.put(&[&[1, 0, 0, 0, 64, 0, 0, 0][..], &[0; 56]].concat());
        one(c, libc::SYS_perf_event_open, &[attributes, 0, u64::MAX, u64::MAX, 0])
    }),
    ("userfaultfd", |c| one(c, libc::SYS_userfaultfd, &[0])),
    ("memfd_create", |c| {
        let name = c.text("x");
        match one(c, libc::SYS_memfd_create, &[name, 0]) {
            Verdict::Out(_) => Verdict::Inside,
            verdict => verdict,
        }
    }),
    ("syslog", |c| one(c, libc::SYS_syslog, &[5, 0, 0])),
    ("reboot", |c| one(c, libc::SYS_reboot, &[0xfee1_dead, 672_274_793, 0, 0])),
    ("sethostname", |c| {
        let name = c.text("evil");
        one(c, libc::SYS_sethostname, &[name, 4])
    }),
    ("settimeofday", |c| {
        let time = c.put(&[0; 16]);
        one(c, libc::SYS_settimeofday, &[time, 0])
    }),
    ("swapon", |c| {
        let name = c.text("/x");
        one(c, libc::SYS_swapon, &[name, 0])
    }),
    ("kexec_load", |c| one(c, libc::SYS_kexec_load, &[0, 0, 0, 0])),
    ("ioperm", |c| one(c, libc::SYS_ioperm, &[0, 1, 1])),
    ("iopl", |c| one(c, libc::SYS_iopl, &[3])),
    ("chmod of the archive's own descriptor", |c| one(c, libc::SYS_fchmod, &[0, 0o4755])),
    ("chown of the archive's own descriptor", |c| one(c, libc::SYS_fchown, &[0, 0, 0])),
    ("time of the archive's own descriptor", time_of_the_archive),
    ("writing to the archive's own descriptor", |c| {
        let byte = c.put(b"x");
        one(c, libc::SYS_write, &[0, byte, 1])
    }),
    ("an attribute of the archive's own descriptor", |c| attribute_of_the_archive(c, 463)),
    ("an attribute off the archive's own descriptor", |c| attribute_of_the_archive(c, 466)),
    ("writing through every other descriptor", write_everywhere),
    ("input on a terminal", |c| {
        let byte = c.put(b"x");
        one(c, libc::SYS_ioctl, &[2, 0x5412, byte])
    }),
];

/// What changes what descriptor 0 leads to, by every call there is.
pub const ON_THE_ARCHIVE: &[(&str, Attempt)] = &[
    ("write", |c| one(c, libc::SYS_write, &[0, 0, 0])),
    ("pwrite64", |c| one(c, libc::SYS_pwrite64, &[0, 0, 0, 0])),
    ("sendto", |c| one(c, libc::SYS_sendto, &[0, 0, 0, 0, 0, 0])),
    ("writev", |c| one(c, libc::SYS_writev, &[0, 0, 0])),
    ("ftruncate", |c| one(c, libc::SYS_ftruncate, &[0, 0])),
    ("fallocate", |c| one(c, libc::SYS_fallocate, &[0, 0, 0, 1])),
    ("fchmod", |c| one(c, libc::SYS_fchmod, &[0, 0o4755])),
    ("fchmodat2", |c| on_the_empty_name(c, 452, [0o4755, EMPTY_PATH, 0])),
    ("fchown", |c| one(c, libc::SYS_fchown, &[0, 0, 0])),
    ("fchownat", |c| {
        let empty = c.text("");
        one(c, libc::SYS_fchownat, &[0, empty, 0, 0, EMPTY_PATH])
    }),
    ("utimensat", time_of_the_archive),
    ("fsetxattr", |c| one(c, libc::SYS_fsetxattr, &[0, 0, 0, 0, 0])),
    ("fremovexattr", |c| one(c, libc::SYS_fremovexattr, &[0, 0])),
    ("setxattrat", |c| attribute_of_the_archive(c, 463)),
    ("removexattrat", |c| attribute_of_the_archive(c, 466)),
    ("file_setattr", |c| on_the_empty_name(c, 469, [0, 0, EMPTY_PATH])),
    ("dup", |c| one(c, libc::SYS_dup, &[0])),
    ("dup2", |c| one(c, libc::SYS_dup2, &[0, 9])),
    ("dup3", |c| one(c, libc::SYS_dup3, &[0, 9, 0])),
    ("a copy by fcntl", |c| one(c, libc::SYS_fcntl, &[0, libc::F_DUPFD_CLOEXEC as u64, 9])),
];

const EMPTY_PATH: u64 = libc::AT_EMPTY_PATH as u64;

fn on_the_empty_name(c: &mut Captive, number: i64, rest: [u64; 3]) -> Verdict {
    let empty = c.text("");
    one(c, number, &[0, empty, rest[0], rest[1], rest[2]])
}

fn time_of_the_archive(c: &mut Captive) -> Verdict {
    let times = c.put(&[0; 32]);
    one(c, libc::SYS_utimensat, &[0, 0, times, 0])
}

/// `setxattrat` or `removexattrat`.
fn attribute_of_the_archive(c: &mut Captive, number: i64) -> Verdict {
    let (empty, name, nothing) = (c.text(""), c.text("user.x"), c.put(&[0; 16]));
    one(c, number, &[0, empty, EMPTY_PATH, name, nothing, 16])
}

fn parent() -> u64 {
    std::process::id().into()
}

fn verdict(answer: Answer) -> Verdict {
    match answer {
        Answer::Killed(signal) => Verdict::Killed(signal),
        Answer::Refused(errno) => Verdict::Refused(errno),
        Answer::Value(value) => Verdict::Out(format!("returned {value}")),
    }
}

fn one(c: &mut Captive, number: i64, arguments: &[u64]) -> Verdict {
    verdict(c.call(number, arguments))
}

fn reads(c: &mut Captive, path: &str) -> Verdict {
    opens(c, path, libc::O_RDONLY)
}

fn opens(c: &mut Captive, path: &str, flags: i32) -> Verdict {
    let name = c.text(path);
    one(c, libc::SYS_openat, &[AT_FDCWD, name, flags as u64, 0o600])
}

/// More than `.` and `..`, which take 24 bytes each.
fn lists(c: &mut Captive, path: &str) -> Verdict {
    let (name, room) = (c.text(path), c.put(&[0; 512]));
    let fd = match c.call(libc::SYS_openat, &[AT_FDCWD, name, libc::O_DIRECTORY as u64]) {
        Answer::Value(fd) => fd,
        answer => return verdict(answer),
    };
    match c.call(libc::SYS_getdents64, &[fd as u64, room, 512]) {
        Answer::Value(bytes) if bytes <= 48 => Verdict::Inside,
        answer => verdict(answer),
    }
}

fn uncovers(c: &mut Captive) -> Verdict {
    let name = c.text("/data");
    match one(c, libc::SYS_umount2, &[name, libc::MNT_DETACH as u64]) {
        Verdict::Out(_) => reads(c, "/data/secret"),
        verdict => verdict,
    }
}

fn mounts(c: &mut Captive, source: &str, kind: &str, flags: u64) -> Verdict {
    let (source, kind, target) = (c.text(source), c.text(kind), c.text("/"));
    one(c, libc::SYS_mount, &[source, target, kind, flags, 0])
}

/// Opens a way up; what is there must be the root or below it.
fn up(c: &mut Captive, from: u64, path: &str) -> Verdict {
    let name = c.text(path);
    match c.call(libc::SYS_openat, &[from, name, DIRECTORY]) {
        Answer::Value(fd) if is_inside(c, fd) || is_lower(c, fd) => Verdict::Inside,
        answer => verdict(answer),
    }
}

/// The lower directory of a layer, which its packer is to read; no other captive has one.
fn is_lower(c: &Captive, fd: i64) -> bool {
    let lower = std::fs::metadata(c.scratch.join("lower"));
    lower.is_ok_and(|lower| c.what_is(fd) == Some((lower.dev(), lower.ino())))
}

fn is_inside(c: &Captive, fd: i64) -> bool {
    let root = std::fs::metadata(c.scratch.join("dest")).expect("destination");
    c.what_is(fd) == Some((root.dev(), root.ino()))
}

fn up_from_every_descriptor(c: &mut Captive) -> Verdict {
    for fd in c.descriptors() {
        match up(c, fd as u64, "..") {
            Verdict::Refused(_) | Verdict::Inside => {}
            other => return other,
        }
    }
    Verdict::Inside
}

fn root_descriptor(c: &Captive) -> Option<u64> {
    c.descriptors().into_iter().find(|fd| is_inside(c, *fd)).map(|fd| fd as u64)
}

/// The classic: chroot deeper, then climb with the old working directory.
fn chroot_out(c: &mut Captive) -> Verdict {
    let name = c.text("deeper");
    if let Answer::Killed(signal) = c.call(libc::SYS_mkdirat, &[AT_FDCWD, name, 0o755]) {
        return Verdict::Killed(signal);
    }
    match c.call(libc::SYS_chroot, &[name]) {
        Answer::Value(_) => up(c, AT_FDCWD, &"../".repeat(60)),
        answer => verdict(answer),
    }
}

/// With all capabilities, but of a new user namespace.
fn as_root_of_a_namespace(c: &mut Captive, attempt: Attempt) -> Verdict {
    match c.call(libc::SYS_unshare, &[CLONE_NEWUSER | CLONE_NEWNS]) {
        Answer::Value(_) => attempt(c),
        answer => verdict(answer),
    }
}

/// Somebody on the host moves a directory of ours out of the root while we are in it.
fn moved_away(c: &mut Captive) -> Verdict {
    let (name, canary) = (c.text("moved"), c.text("../canary"));
    c.call(libc::SYS_mkdirat, &[AT_FDCWD, name, 0o755]);
    let fd = match c.call(libc::SYS_openat, &[AT_FDCWD, name, libc::O_DIRECTORY as u64]) {
        Answer::Value(fd) => fd,
        answer => return verdict(answer),
    };
    c.scratch.file("canary", "alive");
    std::fs::rename(c.scratch.join("dest/moved"), c.scratch.join("moved")).expect("rename");
    one(c, libc::SYS_openat, &[fd as u64, canary, READ])
}

fn device(c: &mut Captive, kind: u32, major: u32, minor: u32) -> Verdict {
    let name = c.text("device");
    let number = libc::makedev(major, minor);
    match c.call(libc::SYS_mknodat, &[AT_FDCWD, name, u64::from(kind | 0o666), number]) {
        Answer::Value(_) => one(c, libc::SYS_openat, &[AT_FDCWD, name, READ]),
        answer => verdict(answer),
    }
}

fn device_there(c: &mut Captive) -> Verdict {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    mknod(&c.scratch.join("dest/zero"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5))
        .expect("device");
    reads(c, "/zero")
}

fn put_program(c: &Captive) {
    std::fs::copy("/bin/true", c.scratch.join("dest/program")).expect("program");
}

/// A process of the host that must live through it.
fn signals(c: &mut Captive, attempt: fn(&mut Captive, u64) -> Answer) -> Verdict {
    let mut victim = Victim::new();
    let answer = attempt(c, victim.0.id().into());
    std::thread::sleep(std::time::Duration::from_millis(20));
    match victim.0.try_wait().expect("victim") {
        Some(status) => Verdict::Out(format!("it is dead: {status}")),
        None if matches!(answer, Answer::Value(_)) => Verdict::Inside,
        None => verdict(answer),
    }
}

struct Victim(Child);

impl Victim {
    fn new() -> Victim {
        let quiet = Stdio::null;
        Victim(Command::new("sleep").arg("60").stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn().expect("sleep"))
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// To a listener of the host on the loopback.
fn connects(c: &mut Captive, family: i32, kind: i32) -> Verdict {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
    let port = listener.local_addr().expect("address").port().to_be_bytes();
    let fd = match c.call(libc::SYS_socket, &[family as u64, kind as u64, 0]) {
        Answer::Value(fd) => fd,
        answer => return verdict(answer),
    };
    let address = c.put(&[&[2, 0][..], &port, &[127, 0, 0, 1], &[0; 8]].concat());
    one(c, libc::SYS_connect, &[fd as u64, address, 16])
}

fn abstract_socket(c: &mut Captive) -> Verdict {
    let name = format!("untar-in-root-breach-{}-{}", std::process::id(), c.pid);
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).expect("name")).expect("listener");
    let fd = match c.call(libc::SYS_socket, &[libc::AF_UNIX as u64, libc::SOCK_STREAM as u64, 0]) {
        Answer::Value(fd) => fd,
        answer => return verdict(answer),
    };
    let address = c.put(&[&[1, 0, 0][..], name.as_bytes()].concat());
    one(c, libc::SYS_connect, &[fd as u64, address, 3 + name.len() as u64])
}

/// Whatever the helper holds is a pipe, a socket or the root: no file of the host.
fn write_everywhere(c: &mut Captive) -> Verdict {
    let byte = c.put(b"x");
    for fd in c.descriptors().into_iter().filter(|fd| *fd > 2) {
        match c.call(libc::SYS_write, &[fd as u64, byte, 1]) {
            Answer::Killed(signal) => return Verdict::Killed(signal),
            Answer::Refused(_) => {}
            Answer::Value(_) if is_socket(c, fd) => {}
            answer => return verdict(answer),
        }
    }
    Verdict::Inside
}

/// Descriptor 1 and its copies, which the parent reads as frames of one that is not to be trusted.
fn is_socket(c: &Captive, fd: i64) -> bool {
    std::fs::read_link(format!("/proc/{}/fd/{fd}", c.pid)).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
}
