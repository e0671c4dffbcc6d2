//! Nothing is left behind: many runs in one process, every second one failing in a way of its own.
//!
//! `UNTAR_LEAK_RUNS=2000` says how many; without it, 200.

use std::fs;
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::time::Duration;

use rustix::process::{WaitOptions, wait};
use untar_in_root::{Digest, Error, Isolation, Options, Program, Report, Untar};

use crate::support::child::Job;
use crate::support::privilege::is_root;
use crate::support::process::helpers_of;
use crate::support::scratch::Scratch;
use crate::support::tarball::{Tarball, gz};

/// What the heap may grow by over all runs, in KiB: not by a page for each.
const GROWTH: u64 = 1024;

#[test]
fn many_runs_leave_nothing_behind() {
    let runs = std::env::var("UNTAR_LEAK_RUNS").unwrap_or("200".into());
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    let before = mounts();
    let said = Job::new(&dest, &dest, &format!("many {runs}")).run(&scratch);
    println!("{runs} runs: {}", said.get("leaks"));
    said.begins("leaks", "none");
    let left: Vec<_> =
        mounts().into_iter().filter(|line| line.contains("untar-in-root-") && !before.contains(line)).collect();
    // Other tests mount beside this one, in directories of their own.
    let left: Vec<_> = left.iter().filter(|line| line.contains(&*dest.to_string_lossy())).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn mounts() -> Vec<String> {
    fs::read_to_string("/proc/self/mountinfo").expect("mounts").lines().map(str::to_owned).collect()
}

/// What this process has of what could leak.
#[derive(Debug, PartialEq, Eq)]
struct Have {
    descriptors: Vec<String>,
    threads: usize,
    helpers: Vec<u32>,
    /// Not one, not even a dead one.
    childless: bool,
    below_dest: Vec<String>,
}

impl Have {
    fn now(dest: &Path) -> Have {
        let dest = dest.to_string_lossy().into_owned();
        // The directory that is being listed is one of them, each time.
        let list = |dir: &str| fs::read_dir(dir).expect("proc").flatten().map(|e| e.path()).collect::<Vec<_>>();
        let mut descriptors: Vec<_> = list("/proc/self/fd").iter().map(|path| path.display().to_string()).collect();
        descriptors.sort();
        Have {
            descriptors,
            threads: list("/proc/self/task").len(),
            helpers: helpers_of(std::process::id()),
            childless: matches!(wait(WaitOptions::NOHANG), Err(rustix::io::Errno::CHILD)),
            below_dest: mounts().into_iter().filter(|line| line.contains(&dest)).collect(),
        }
    }
}

/// What the child does.
pub fn child(dest: &Path, words: &str, program: &Program) -> String {
    let runs: usize = words.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("how many");
    let archives = Archives::new();
    // Each way once: what is allocated once and for all is.
    let warm = 2 * WAYS.len();
    (0..warm).for_each(|run| one(run, dest, program, &archives));
    let (before, resident) = (Have::now(dest), resident());
    (warm..warm + runs).for_each(|run| one(run, dest, program, &archives));
    let (after, grown) = (Have::now(dest), self::resident().saturating_sub(resident));
    if before == after && after.childless && after.helpers.is_empty() && grown <= GROWTH {
        return format!("leaks: none; {grown} KiB more resident, {} descriptors", after.descriptors.len());
    }
    format!("leaks: {before:?} and then {after:?}, {grown} KiB more resident")
}

/// A good run, then a bad one.
fn one(run: usize, dest: &Path, program: &Program, archives: &Archives) {
    let untar = |program: &Program| {
        let mut untar = Untar::open(dest).expect("destination").program(program.clone());
        if is_root() && run.is_multiple_of(3) {
            untar.options_mut().jail.isolation = Isolation::Chroot;
        }
        untar
    };
    if run.is_multiple_of(2) {
        untar(program).apply(&archives.good[..]).expect("a good run");
        return;
    }
    let (name, way) = WAYS[run / 2 % WAYS.len()];
    let result = way(&untar, program, archives);
    assert!(result.is_err(), "{name} did not fail: {result:?}");
}

struct Archives {
    good: Vec<u8>,
    /// Larger than the pipe, so that the helper is still there when it is stopped.
    large: Vec<u8>,
}

impl Archives {
    fn new() -> Archives {
        let good = Tarball::new().dir("d").file("d/f", "1").symlink("d/s", "f").build();
        Archives { good, large: Tarball::new().file("large", vec![b'x'; 3 << 20]).build() }
    }
}

type Start<'a> = &'a dyn Fn(&Program) -> Untar;
type Way = fn(Start<'_>, &Program, &Archives) -> Result<Report, Error>;

fn with(untar: Untar, change: impl FnOnce(&mut Options)) -> Untar {
    let mut untar = untar;
    change(untar.options_mut());
    untar
}

const WAYS: &[(&str, Way)] = &[
    ("no such program", |start, _, a| start(&Program::at("/missing")).apply(&a.good[..])),
    ("not a helper", |start, _, a| start(&Program::at("/bin/true")).apply(&a.good[..])),
    ("an echo", |start, _, a| start(&Program::at("/bin/cat")).apply(&a.good[..])),
    ("cut short", |start, p, a| start(p).apply(&a.good[..400])),
    ("damaged", |start, p, a| {
        let mut bytes = gz(&a.large);
        let at = bytes.len() / 2;
        bytes[at..at + 9].fill(0x55);
        start(p).apply(&bytes[..])
    }),
    ("wrong digest", |start, p, a| start(p).expect_digest(Digest([7; 32])).apply(&a.good[..])),
    ("out of the root", |start, p, _| start(p).apply(&Tarball::new().file("../x", "").build()[..])),
    ("no such target", |start, p, _| start(p).apply(&Tarball::new().hardlink("h", "missing").build()[..])),
    ("a limit", |start, p, a| with(start(p), |o| o.limits.file_bytes = 10).apply(&a.large[..])),
    ("out of time", |start, p, _| {
        let (read, write) = io::pipe().expect("pipe");
        let result = with(start(p), |o| o.jail.limits.timeout = Some(std::time::Duration::from_millis(20)))
            .apply_fd(std::os::fd::OwnedFd::from(read));
        drop(write);
        result
    }),
    ("a reader that fails", |start, p, a| start(p).apply((&a.large[..1 << 20]).chain(Fails))),
    ("abandoned", |start, p, a| {
        let mut session = start(p).spawn()?;
        _ = session.write_all(&a.large[..1 << 20]);
        Err(session.abandon(io::Error::other("changed my mind")))
    }),
    ("cancelled", |start, p, _| {
        let session = start(p).spawn()?;
        let canceller = session.canceller();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(3));
            canceller.cancel();
        });
        let parts = session.into_parts()?;
        let result = parts.pending.wait();
        drop(parts.pipe);
        thread.join().expect("thread");
        result
    }),
    ("killed", |start, p, a| {
        let mut session = start(p).spawn()?;
        _ = session.write_all(&a.large[..1 << 20]);
        for pid in helpers_of(std::process::id()) {
            let pid = rustix::process::Pid::from_raw(pid as i32).expect("pid");
            _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        session.finish()
    }),
    ("dropped", |start, p, a| {
        let mut session = start(p).spawn()?;
        _ = session.write_all(&a.large[..1 << 20]);
        drop(session);
        start(&Program::at("/missing")).apply(&a.good[..])
    }),
    ("taken apart and dropped", |start, p, a| {
        drop(start(p).spawn()?.into_parts()?);
        start(&Program::at("/missing")).apply(&a.good[..])
    }),
];

struct Fails;

impl Read for Fails {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the source is gone"))
    }
}

/// KiB of memory held now.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let field = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    field.trim().trim_end_matches(" kB").parse().expect("a number")
}
