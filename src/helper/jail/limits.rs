//! The process before it knows what to do: descriptors, signals, resources, core dumps.

use crate::helper::fault::{Attempt, Result};
use crate::helper::sys;
use crate::proc;
use crate::report::{Call, Cause};
use nix::fcntl::OFlag;
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use std::io::{self, Read, Write};

/// What the helper takes of a limit that is higher.
const DESCRIPTORS: u64 = 4096;
/// Directories of a run that are open; the deepest archive path of a real image is under 30.
pub(crate) const OPEN_DIRECTORIES: usize = 192;
/// Directories that a removal holds open on its way down.
const REMOVAL: usize = 256;
/// How many lower directories are held open at one path.
const LOWERS: usize = 512;
/// Each thread that makes files: the file, a directory that is listed, one that is entered.
const PER_THREAD: usize = 4;
/// With fewer descriptors than these nothing can be done.
const FEWEST: usize = 16;

/// Who may hold how many descriptors open: the one place that deals them out. What is held for longer than a call is
/// counted here, and all of it together fits below the limit of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Directories of the run.
    pub(crate) directories: usize,
    /// Directories that were left and are held by their path, where inode numbers change: half of what is left when all
    /// others have theirs.
    pub(crate) anchors: usize,
    /// Descriptors of each removal that is going on: one in each writer, and one besides.
    pub(crate) removal: usize,
    /// Lower directories that one path merges from.
    pub(crate) lowers: usize,
    pub(crate) writers: usize,
}

impl Descriptors {
    /// Shares out what the process's limit has above `used`, the numbers taken so far: the lowest are given out first.
    /// There are as many writers as are wanted, if that can be.
    pub(crate) fn share(limit: usize, used: usize, wanted: usize) -> Result<Descriptors> {
        Descriptors::of(limit.saturating_sub(used), wanted).ok_or_else(|| {
            let (limit, used) = (limit as u64, used as u64);
            Cause::Descriptors { limit, used }.into()
        })
    }

    fn of(free: usize, wanted: usize) -> Option<Descriptors> {
        let free = free.checked_sub(FEWEST)?;
        // Half goes to directories and removals. A writer is worth more descriptors than it holds.
        let writers = wanted.min(free / (8 * PER_THREAD));
        let directories = (4 + free / 4).min(OPEN_DIRECTORIES);
        let removal = (2 + free / 4 / (writers + 1)).min(REMOVAL);
        let lowers = (2 + free / 4).min(LOWERS);
        let held = directories + lowers + (writers + 1) * (removal + PER_THREAD);
        Some(Descriptors { directories, anchors: free.saturating_sub(held) / 2, removal, lowers, writers })
    }
}

/// Leaves nothing behind that came from the host: descriptors beyond 2, the umask, signals, a place behind all others
/// when memory runs out.
pub(crate) fn start_clean() {
    if sys::close_from(3).is_err_and(sys::is_absent) {
        let highest = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft.min(1 << 20));
        (3..highest).for_each(|fd| sys::close_number(i32::try_from(fd).unwrap_or(i32::MAX)));
    }
    umask(Mode::empty());
    // The standard library passes the caller's mask on, and a caller may have blocked signals to wait for them.
    let _ = SigSet::all().thread_unblock();
    // The parent decides when we stop; a full file is EFBIG and a closed socket EPIPE.
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE, Signal::SIGXFSZ] {
        sys::ignore(signal, SigHandler::SigIgn);
    }
    // Without /proc there is no way to it, and a filter around us may forbid it.
    let _ = proc::file("self/oom_score_adj", OFlag::O_RDWR).and_then(spare_no_longer);
}

/// A daemon that the kernel is to spare when memory runs out (containerd's score is -999) means itself, and not what reads
/// a hostile archive for it. Anybody may raise it to 0: before this process is undumpable, which gives the file to root.
fn spare_no_longer(mut score: impl Read + Write) -> io::Result<()> {
    let mut sign = [0];
    score.read_exact(&mut sign)?;
    if sign == *b"-" { score.write_all(b"0") } else { Ok(()) }
}

/// Forbids core dumps and tracing by others, bounds memory, and tells how many descriptors there may be.
pub(crate) fn bound_process(memory_bytes: Option<u64>) -> Result<usize> {
    // Threads that hand chunks to each other do not preempt each other for it: a fifth of the context switches.
    sys::schedule_as_batch();
    set_dumpable(false).call(Call::Prctl, || "PR_SET_DUMPABLE, SUID_DUMP_DISABLE")?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).call(Call::Prlimit64, || limit("RLIMIT_CORE", 0))?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).call(Call::Prlimit64, || "0, RLIMIT_NOFILE, NULL, <limit>")?;
    let descriptors = hard.min(DESCRIPTORS);
    setrlimit(Resource::RLIMIT_NOFILE, descriptors, descriptors)
        .call(Call::Prlimit64, || limit("RLIMIT_NOFILE", descriptors))?;
    if let Some(bytes) = memory_bytes {
        setrlimit(Resource::RLIMIT_AS, bytes, bytes).call(Call::Prlimit64, || limit("RLIMIT_AS", bytes))?;
    }
    Ok(usize::try_from(descriptors).unwrap_or(usize::MAX))
}

/// What every libc makes of `setrlimit(3)`.
fn limit(of: &str, value: u64) -> String {
    let shown = match value {
        value if value > 1024 && value % 1024 == 0 => format!("{}*1024", value / 1024),
        value => value.to_string(),
    };
    format!("0, {of}, {{rlim_cur={shown}, rlim_max={shown}}}, NULL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_that_would_spare_the_helper_is_put_to_0_and_others_stay() {
        for (given, written) in [("-999\n", true), ("-1\n", true), ("0\n", false), ("300\n", false)] {
            let mut score = io::Cursor::new(given.as_bytes().to_vec());
            spare_no_longer(&mut score).expect("read");
            assert_eq!(score.position() == 2 && score.get_ref()[1] == b'0', written, "{given}");
        }
    }

    #[test]
    fn all_who_hold_descriptors_stay_below_any_limit() {
        assert_eq!(Descriptors::of(FEWEST - 1, 8), None);
        for free in (FEWEST..5000).step_by(7) {
            for wanted in [0, 1, 8, 64] {
                let dealt = Descriptors::of(free, wanted).expect("enough");
                let threads = dealt.writers + 1;
                let held = dealt.directories + dealt.anchors + dealt.lowers + threads * (dealt.removal + PER_THREAD);
                assert!(held <= free, "{held} of {free}: {dealt:?}");
                assert!(dealt.directories >= 4 && dealt.removal >= 2 && dealt.lowers >= 2);
            }
        }
        let usual = Descriptors::of(1000, 8).expect("enough");
        assert_eq!((usual.directories, usual.writers), (192, 8));
    }
}
