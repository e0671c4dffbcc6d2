//! The process before it knows what to do: descriptors, signals, resources, core dumps.

use super::fault::{Call, Result};
use super::sys;
use nix::errno::Errno;
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal};
use nix::sys::stat::{Mode, umask};

/// Enough for the cache of open directories and a removal's stack.
const DESCRIPTORS: u64 = 4096;

/// Leaves nothing behind that came from the host: descriptors beyond 2, the umask, signals.
pub(crate) fn start_clean() {
    if sys::close_from(3) == Err(Errno::ENOSYS) {
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
}

/// No core dumps, no tracing by others, bounded memory.
pub(crate) fn bound_process(memory_bytes: u64) -> Result<()> {
    // Threads that hand chunks to each other do not preempt each other for it: a fifth of the context switches.
    sys::schedule_as_batch();
    set_dumpable(false).call("prctl", || "PR_SET_DUMPABLE, 0")?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).call("setrlimit", || "RLIMIT_CORE, 0")?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).call("getrlimit", || "RLIMIT_NOFILE")?;
    let descriptors = hard.min(DESCRIPTORS);
    setrlimit(Resource::RLIMIT_NOFILE, descriptors, descriptors).call("setrlimit", || "RLIMIT_NOFILE")?;
    if memory_bytes > 0 {
        setrlimit(Resource::RLIMIT_AS, memory_bytes, memory_bytes).call("setrlimit", || "RLIMIT_AS")?;
    }
    Ok(())
}
