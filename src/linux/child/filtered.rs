//! A helper that SIGSYS has killed: whose filter it was, and at which call. Asked before it is reaped.

use crate::error::Filtered;
use crate::proc;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, fstat, makedev};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime};

/// The kernel's log, which a thread of the kernel's writes: it is behind by less than that.
const LOG: &str = "/dev/kmsg";
const BEHIND: u16 = 100;
/// The age is not known more exactly.
const SLACK: Duration = Duration::from_secs(1);
/// No record is longer, and no log has more of them.
const RECORD: usize = 8 << 10;
const RECORDS: usize = 1 << 16;

/// Calls that come before the helper's own filter, and those of its program's start.
const NAMES: [(libc::c_long, &str); 31] = [
    (libc::SYS_capget, "capget"),
    (libc::SYS_capset, "capset"),
    (libc::SYS_chroot, "chroot"),
    (libc::SYS_clone3, "clone3"),
    (libc::SYS_close_range, "close_range"),
    (libc::SYS_execve, "execve"),
    (libc::SYS_fchdir, "fchdir"),
    (libc::SYS_fcntl, "fcntl"),
    (libc::SYS_landlock_add_rule, "landlock_add_rule"),
    (libc::SYS_landlock_create_ruleset, "landlock_create_ruleset"),
    (libc::SYS_landlock_restrict_self, "landlock_restrict_self"),
    (libc::SYS_mount, "mount"),
    (libc::SYS_mount_setattr, "mount_setattr"),
    (libc::SYS_move_mount, "move_mount"),
    (libc::SYS_open_tree, "open_tree"),
    (libc::SYS_openat, "openat"),
    (libc::SYS_openat2, "openat2"),
    (libc::SYS_pivot_root, "pivot_root"),
    (libc::SYS_prctl, "prctl"),
    (libc::SYS_prlimit64, "prlimit64"),
    (libc::SYS_recvfrom, "recvfrom"),
    (libc::SYS_sched_getaffinity, "sched_getaffinity"),
    (libc::SYS_sched_setscheduler, "sched_setscheduler"),
    (libc::SYS_seccomp, "seccomp"),
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_setgroups, "setgroups"),
    (libc::SYS_setresgid, "setresgid"),
    (libc::SYS_setresuid, "setresuid"),
    (libc::SYS_statx, "statx"),
    (libc::SYS_umount2, "umount2"),
    (libc::SYS_unshare, "unshare"),
];

/// `age`: how long ago it was started; `told`: it has said that it is confined.
pub(super) fn look(pid: u32, age: Duration, told: bool) -> Filtered {
    let (ours, its) = (proc::text("self/status"), proc::text(&format!("{pid}/status")));
    let around = field(&ours, "Seccomp:").is_some_and(|mode| mode != 0);
    // Linux 5.9. Nobody takes a filter off again, so a helper that has one more than this process has its own.
    let counted = field(&its, "Seccomp_filters:").zip(field(&ours, "Seccomp_filters:")).map(|(its, ours)| its > ours);
    let own = if told { Some(true) } else { counted };
    let number = SystemTime::now().checked_sub(age + SLACK).and_then(|since| logged(pid, since));
    let name = |number| NAMES.iter().find(|(call, _)| *call == libc::c_long::from(number)).map(|(_, name)| *name);
    Filtered { own, around, call: number.map(|number| (number, name(number))) }
}

fn field(status: &str, name: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// The number of the call in the audit record of its death, where this process may read the kernel's log.
fn logged(pid: u32, since: SystemTime) -> Option<i32> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let log = open(LOG, flags, Mode::empty()).ok()?;
    // In a root that somebody else has filled it may be anything.
    fstat(&log).ok().filter(|stat| stat.st_rdev == makedev(1, 11))?;
    let mut record = [0; RECORD];
    for _ in 0..RECORDS {
        match nix::unistd::read(&log, &mut record) {
            Ok(length) => {
                let call = killed(&String::from_utf8_lossy(&record[..length]), pid, since);
                if call.is_some() {
                    return call;
                }
            }
            // Overwritten meanwhile.
            Err(Errno::EPIPE | Errno::EINTR) => {}
            Err(Errno::EAGAIN) if comes(&log) => {}
            Err(_) => break,
        }
    }
    None
}

fn comes(log: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(log.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::from(BEHIND)), Ok(n) if n > 0)
}

/// `audit: type=1326 audit(1795840776.365:3324): … pid=30740 … sig=31 arch=c000003e syscall=116 …`, and no older one
/// of another process with this number.
fn killed(record: &str, pid: u32, since: SystemTime) -> Option<i32> {
    let value = |name: &str| record.split_ascii_whitespace().find_map(|word| word.strip_prefix(name));
    let at: u64 = value("audit(")?.split('.').next()?.parse().ok()?;
    let since = since.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let is_it = value("type=") == Some("1326") && value("sig=") == Some("31") && value("pid=")?.parse() == Ok(pid);
    value("syscall=").filter(|_| is_it && at >= since)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "5,3324,28064691085,-;audit: type=1326 audit(1795840776.365:3324): auid=4294967295 uid=0 gid=0 \
                          ses=4294967295 pid=30740 comm=\"exe\" exe=\"/x\" sig=31 arch=c000003e syscall=116 compat=0 \
                          ip=0x7ff0db353074 code=0x80000000\n";

    #[test]
    fn the_record_of_a_death_has_its_call() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (record, pid, since, want) in [
            (RECORD, 30_740, at(1_795_840_776), Some(116)),
            (RECORD, 30_741, at(0), None),
            (RECORD, 30_740, at(1_795_840_777), None),
            (&RECORD.replace("sig=31", "sig=0"), 30_740, at(0), None),
            (&RECORD.replace("type=1326", "type=1300"), 30_740, at(0), None),
            ("6,1,2,-;audit(", 30_740, at(0), None),
            ("", 30_740, at(0), None),
        ] {
            assert_eq!(killed(record, pid, since), want, "{record} {pid}");
        }
    }

    #[test]
    fn a_status_has_numbers() {
        let status = "NoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t3\n";
        assert_eq!([field(status, "Seccomp:"), field(status, "Seccomp_filters:")], [Some(2), Some(3)]);
        assert_eq!(field("Seccomp:\t2\n", "Seccomp_filters:"), None);
    }
}
