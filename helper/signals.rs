//! SIGINT, SIGTERM and SIGHUP cancel the run; then they end the program as they would have.

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::pipe2;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use untar_in_root::Canceller;

/// How long the run may take to end before the signal ends the program where it stands: the main thread may
/// be writing to a terminal that nobody reads. The helper then sees the hang-up and leaves by itself.
const PATIENCE_MS: u16 = 1000;
/// The same time where a tree may have to be removed first.
const LONG_PATIENCE_MS: u16 = 30_000;

/// The signals that end the program.
const OURS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// The signals, blocked.
#[must_use = "watched or let go, or they are lost"]
pub(crate) struct Signals {
    fd: SignalFd,
    patience_ms: u16,
    /// How many helpers there are at once.
    helpers: usize,
}

/// What has been caught, and the thread that waits for it.
pub(crate) struct Caught {
    told: Arc<AtomicI32>,
    /// It stays for as long as it is there.
    _watcher: Option<Watcher>,
}

struct Watcher {
    thread: JoinHandle<()>,
    /// Closed, it ends the thread.
    stay: OwnedFd,
}

impl Watcher {
    fn end(self) {
        drop(self.stay);
        let _ = self.thread.join();
    }
}

impl Caught {
    pub(crate) fn signal(&self) -> Option<Signal> {
        Signal::try_from(self.told.load(Ordering::Acquire)).ok()
    }

    /// Waits for a signal after the helper has died of one: what all of the process group got is on its way to us.
    pub(crate) fn signal_soon(&self) -> Option<Signal> {
        (0..20).find_map(|_| {
            self.signal().or_else(|| {
                std::thread::sleep(Duration::from_millis(5));
                None
            })
        })
    }
}

impl Signals {
    /// Blocks those that are not ignored (as under nohup), before there are threads. The helper inherits that
    /// and takes it back first of all.
    pub(crate) fn block() -> nix::Result<Signals> {
        let ignored = ignored();
        let mask: SigSet = OURS.into_iter().filter(|s| !is_in(ignored, *s)).collect();
        mask.thread_block()?;
        let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC)?;
        Ok(Signals { fd, patience_ms: PATIENCE_MS, helpers: 1 })
    }

    /// Gives the run time to remove what it has made.
    pub(crate) fn patient(self) -> Signals {
        Signals { patience_ms: LONG_PATIENCE_MS, ..self }
    }

    /// Blocks them no longer: nothing has been made that would have to be removed.
    pub(crate) fn let_go(self) {
        let _ = SigSet::from_iter(OURS).thread_unblock();
    }

    /// The run has two helpers, of which one hands over to the other.
    pub(crate) fn of_two_helpers(self) -> Signals {
        Signals { helpers: 2, ..self }
    }

    /// Waits in a thread of its own. `clean_up` is for the case that the main thread does not get to it.
    pub(crate) fn watch(self, canceller: Canceller, clean_up: impl FnOnce() + Send + 'static) -> Caught {
        let told = Arc::<AtomicI32>::default();
        let (tells, helpers) = (Arc::clone(&told), self.helpers);
        let watcher = pipe2(OFlag::O_CLOEXEC).map_err(io::Error::from).and_then(|(leave, stay)| {
            let wait = move || {
                let Some(first) = self.next(&leave, PollTimeout::NONE) else { return };
                tells.store(first as i32, Ordering::Release);
                canceller.cancel();
                let second = self.next(&leave, PollTimeout::from(self.patience_ms));
                clean_up();
                die_of(second.unwrap_or(first));
            };
            let thread = std::thread::Builder::new().name("signals".into()).spawn(wait)?;
            Ok(Watcher { thread, stay })
        });
        // Without a thread to spare, or with one in the place of a helper, the signals do what they always did.
        let watcher = match watcher {
            Ok(watcher) if !are_to_be_had(helpers) => {
                watcher.end();
                None
            }
            watcher => watcher.ok(),
        };
        if watcher.is_none() {
            let _ = SigSet::all().thread_unblock();
        }
        Caught { told, _watcher: watcher }
    }

    fn next(&self, leave: &OwnedFd, timeout: PollTimeout) -> Option<Signal> {
        loop {
            let mut fds = [self.fd.as_fd(), leave.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut fds, timeout) {
                Err(nix::errno::Errno::EINTR) => continue,
                Ok(0) | Err(_) => return None,
                Ok(_) if fds[0].any() != Some(true) => return None,
                Ok(_) => {}
            }
            let info = self.fd.read_signal().ok().flatten()?;
            return Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok();
        }
    }
}

/// Does what may wait for another program. Meanwhile the signals end this one at once, so nothing may have been made that would
/// have to be removed.
pub(crate) fn let_through<T>(work: impl FnOnce() -> T) -> T {
    let before = SigSet::from_iter(OURS).thread_swap_mask(SigmaskHow::SIG_UNBLOCK);
    let done = work();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    done
}

/// Threads and processes are counted together: what can be had as a thread can be had as a helper.
fn are_to_be_had(helpers: usize) -> bool {
    let gate = Mutex::new(());
    std::thread::scope(|scope| {
        let _closed = gate.lock();
        (0..helpers).all(|_| std::thread::Builder::new().spawn_scoped(scope, || drop(gate.lock())).is_ok())
    })
}

/// Ends this process as the signal would have. Returns only where it is ignored.
pub(crate) fn die_of(signal: Signal) {
    let _ = SigSet::from_iter([signal]).thread_unblock();
    let _ = raise(signal);
}

/// What a shell shows.
pub(crate) fn status_of(signal: Signal) -> u8 {
    u8::try_from(128 + signal as i32).unwrap_or(u8::MAX)
}

/// The mask of ignored signals; asking the kernel by `sigaction(2)` would take `unsafe`.
fn ignored() -> u64 {
    let status = crate::proc::status();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
    u64::from_str_radix(mask.trim(), 16).unwrap_or(0)
}

fn is_in(mask: u64, signal: Signal) -> bool {
    mask >> (signal as i32 - 1) & 1 == 1
}
