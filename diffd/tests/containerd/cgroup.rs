//! A cgroup of a machine's own (`cgroups(7)`, version 2): whatever runs there is in it, so that what is left of it is
//! found, and ended.

use crate::support::process::wait_until;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The machine's root of the hierarchy. Its processes are a level below, since Docker's cgroups come beside them.
pub struct Cgroup(PathBuf);

/// How long what was killed may take to go.
const SOON: Duration = Duration::from_secs(10);

impl Cgroup {
    /// # Errors
    ///
    /// There is no such hierarchy, or it is not for this process to change.
    pub fn new() -> io::Result<Cgroup> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let cgroup = Cgroup(mine()?.join(format!("untar-in-root-test.{}.{number}", std::process::id())));
        fs::create_dir(&cgroup.0)?;
        fs::create_dir(cgroup.members())?;
        Ok(cgroup)
    }

    pub fn top(&self) -> &Path {
        &self.0
    }

    pub fn members(&self) -> PathBuf {
        self.0.join("members")
    }

    fn is_empty(&self) -> bool {
        fs::read_to_string(self.0.join("cgroup.events")).expect("its events").contains("populated 0")
    }

    /// Waits for the end of all that runs there, and ends what does not end: the command lines of that.
    pub fn end(&self) -> Vec<String> {
        let begun = Instant::now();
        while !self.is_empty() && begun.elapsed() < SOON {
            std::thread::sleep(Duration::from_millis(5));
        }
        // One without a command line is at its end already: the last of a machine gives back gigabytes of memory.
        let at_work = |line: &String| !line.ends_with(": ");
        let left = directories(&self.0).iter().flat_map(|dir| command_lines(dir)).filter(at_work).collect();
        if !self.is_empty() {
            fs::write(self.0.join("cgroup.kill"), "1").expect("killed");
            wait_until("what was killed is gone", || self.is_empty());
        }
        left
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let begun = Instant::now();
        for dir in directories(&self.0) {
            // The kernel may have some of its own to do with what has just ended.
            while fs::remove_dir(&dir).is_err() && dir.exists() && begun.elapsed() < SOON {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// The one of this process, as a directory.
fn mine() -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    let mount = mount.ok_or_else(|| io::Error::other("no cgroup v2 is mounted"))?;
    let all = fs::read_to_string("/proc/self/cgroup")?;
    let path = all.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    Ok(Path::new(mount).join(path))
}

/// The deepest first.
fn directories(dir: &Path) -> Vec<PathBuf> {
    let below =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    below.flat_map(|path| directories(&path)).chain([dir.to_owned()]).collect()
}

/// Of all that are in it, and in none below.
pub fn command_lines(dir: &Path) -> Vec<String> {
    let pids = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let line = |pid: &str| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    pids.lines().map(|pid| format!("{pid}: {}", String::from_utf8_lossy(&line(pid)).replace('\0', " "))).collect()
}
