//! A confined helper under our control.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc::{self, user_regs_struct};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use untar_in_root::{Error, Isolation, Packing, Report, Sandbox, Session};

use crate::pack::packer;
use crate::support::run::untar;
use crate::support::scratch::Scratch;

/// The kernel's answer to one system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Value(i64),
    Refused(nix::errno::Errno),
    Killed(Signal),
}

pub struct Captive {
    pub scratch: Scratch,
    pub pid: Pid,
    session: Option<Session>,
    /// Held, so that it lives.
    _packing: Option<Packing>,
    regs: user_regs_struct,
    /// The next free address for strings and structures, below the stack.
    next: u64,
    stopped: bool,
    killed: Option<Signal>,
}

impl Captive {
    /// Starts a helper and stops it where it waits for the archive.
    pub fn take(isolation: Isolation, sandbox: Sandbox) -> Captive {
        Captive::take_on(isolation, sandbox, |_| {})
    }

    /// The same in a destination that somebody has prepared.
    pub fn take_on(isolation: Isolation, sandbox: Sandbox, before: impl FnOnce(&Path)) -> Captive {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        before(&dest);
        let session = untar(&dest, |options| {
            options.jail.isolation = isolation;
            options.jail.sandbox = sandbox;
        })
        .spawn()
        .expect("helper");
        Captive::hold(scratch, &dest, Some(session), None)
    }

    /// Starts a packer on a tree that is larger than what it can write before somebody reads.
    pub fn take_packing(isolation: Isolation, sandbox: Sandbox, before: impl FnOnce(&Path)) -> Captive {
        let scratch = Scratch::new();
        let root = scratch.dir("dest");
        before(&root);
        let packing = packer(&root, |options| {
            options.jail.isolation = isolation;
            options.jail.sandbox = sandbox;
            options.dense = true;
        })
        .spawn()
        .expect("helper");
        Captive::hold(scratch, &root, None, Some(packing))
    }

    /// The same of a layer, over a directory `lower` beside the tree that has a file `f`.
    pub fn take_packing_layer(isolation: Isolation, sandbox: Sandbox, before: impl FnOnce(&Path)) -> Captive {
        let scratch = Scratch::new();
        let upper = scratch.dir("dest");
        before(&upper);
        let lower = scratch.dir("lower");
        scratch.file("lower/f", "of a lower layer");
        let change = |options: &mut untar_in_root::PackOptions| {
            options.jail.isolation = isolation;
            options.jail.sandbox = sandbox;
            options.jail.mounts = untar_in_root::Mounts::Skip;
        };
        let packing = crate::diff::over(&upper, &[lower], change).spawn().expect("helper");
        Captive::hold(scratch, &upper, None, Some(packing))
    }

    fn hold(scratch: Scratch, root: &Path, session: Option<Session>, packing: Option<Packing>) -> Captive {
        let pid = find(root);
        ptrace::seize(pid, ptrace::Options::empty()).expect("seize");
        ptrace::interrupt(pid).expect("interrupt");
        waitpid(pid, None).expect("stop");
        let regs = ptrace::getregs(pid).expect("registers");
        // Behind the red zone.
        let next = (regs.rsp - 65_536) & !15;
        Captive { scratch, pid, session, _packing: packing, regs, next, stopped: true, killed: None }
    }

    /// Makes the helper make this call.
    pub fn call(&mut self, number: i64, arguments: &[u64]) -> Answer {
        // An attempt goes on after a call that ended the helper.
        if let Some(signal) = self.killed {
            return Answer::Killed(signal);
        }
        self.prepare(number, arguments);
        ptrace::step(self.pid, None).expect("step");
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(self.pid), flags).expect("wait") {
            // Left for the library to reap.
            WaitStatus::Signaled(_, signal, _) => {
                self.stopped = false;
                self.killed = Some(signal);
                Answer::Killed(signal)
            }
            _ => {
                waitpid(self.pid, None).expect("stop");
                let value = ptrace::getregs(self.pid).expect("registers").rax.cast_signed();
                match value {
                    -4095..0 => Answer::Refused(nix::errno::Errno::from_raw(-value as i32)),
                    value => Answer::Value(value),
                }
            }
        }
    }

    fn prepare(&mut self, number: i64, arguments: &[u64]) {
        let mut a = [0; 6];
        a[..arguments.len()].copy_from_slice(arguments);
        let mut regs = self.regs;
        // It was stopped in a system call: the instruction before is `syscall`.
        regs.rip -= 2;
        regs.orig_rax = u64::MAX;
        regs.rax = number.cast_unsigned();
        [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = a;
        ptrace::setregs(self.pid, regs).expect("registers");
    }

    /// Puts bytes into its memory; their address.
    pub fn put(&mut self, bytes: &[u8]) -> u64 {
        let address = self.next;
        if self.killed.is_some() {
            return address;
        }
        for (i, word) in bytes.chunks(8).enumerate() {
            let mut whole = [0; 8];
            whole[..word.len()].copy_from_slice(word);
            let at = (address + 8 * i as u64) as ptrace::AddressType;
            ptrace::write(self.pid, at, i64::from_ne_bytes(whole)).expect("memory");
        }
        self.next += (bytes.len() as u64 + 31) & !15;
        address
    }

    pub fn text(&mut self, text: &str) -> u64 {
        self.put(&[text.as_bytes(), b"\0"].concat())
    }

    /// Something arrives at descriptor 0.
    pub fn feed(&mut self, bytes: &[u8]) {
        _ = self.session.as_mut().expect("session").write(bytes);
    }

    /// What a descriptor of the helper is, seen from the host.
    pub fn what_is(&self, fd: i64) -> Option<(u64, u64)> {
        let stat = fs::metadata(format!("/proc/{}/fd/{fd}", self.pid)).ok()?;
        Some((stat.dev(), stat.ino()))
    }

    pub fn descriptors(&self) -> Vec<i64> {
        let fds = fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("descriptors");
        fds.flatten().filter_map(|fd| fd.file_name().to_str()?.parse().ok()).collect()
    }

    /// Lets it run on into this call, and waits for the outcome.
    pub fn let_go_into(mut self, number: i64) -> Result<Report, Error> {
        self.prepare(number, &[]);
        ptrace::detach(self.pid, None).expect("detach");
        self.stopped = false;
        self.session.take().expect("session").finish()
    }
}

impl Drop for Captive {
    fn drop(&mut self) {
        if self.stopped {
            _ = ptrace::detach(self.pid, Signal::SIGKILL);
        }
    }
}

/// The helper whose root is this directory, or that works in it, once it waits for the archive.
pub fn find(dest: &Path) -> Pid {
    // File systems in memory have the same numbers.
    let identity = |stat: fs::Metadata| (stat.dev(), stat.ino());
    let want = identity(fs::metadata(dest).expect("destination"));
    let begun = Instant::now();
    loop {
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let is = |what| fs::metadata(format!("/proc/{pid}/{what}")).is_ok_and(|stat| identity(stat) == want);
            let inside = is("root") || is("cwd");
            if inside && waits(pid) {
                return Pid::from_raw(pid);
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "no helper");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// In a call that waits for the archive or for room, or for another thread that is in one.
fn waits(pid: i32) -> bool {
    let confined = fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|s| s.contains("NoNewPrivs:\t1"));
    let polls = |call| matches!(call, Some(libc::SYS_poll | libc::SYS_ppoll));
    let tasks = || fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let another = || tasks().any(|task| polls(call_of(&task.path())));
    let own = call_of(Path::new(&format!("/proc/{pid}")));
    confined && (polls(own) || own == Some(libc::SYS_futex) && another())
}

/// The number of the call that this thread is in.
fn call_of(thread: &Path) -> Option<i64> {
    fs::read_to_string(thread.join("syscall")).ok()?.split(' ').next()?.parse().ok()
}
