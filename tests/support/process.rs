//! Looking at helper processes from outside, through `/proc`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// What takes longer hangs. It is no measure of speed: the suite shares its processors with others.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How soon whoever has lost the other side must have noticed: within a second. That is a matter of a quiet machine, as
/// the step of `.ci/run` has it that sets `UNTAR_QUIET=1`; else who notices nothing never ends.
pub fn soon() -> Duration {
    let quiet = std::env::var_os("UNTAR_QUIET").is_some_and(|value| value == "1");
    Duration::from_secs(if quiet { 1 } else { 20 })
}

/// Waits for something that is going to happen.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The first word of a helper's command line.
const ARGV0: &[u8] = b"untar-in-root:helper";

/// Is there no such process, or only its remains?
pub fn is_gone(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X'])),
        Err(_) => true,
    }
}

/// Whether every thread of it waits for something or is held.
pub fn all_wait(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let state = |task: fs::DirEntry| fs::read_to_string(task.path().join("stat")).unwrap_or_default();
    tasks
        .map(state)
        .all(|stat| stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with(['S', 'D', 't'])))
}

/// Waits until it has come to rest, in several looks one after the other: between two things to do a thread sleeps, too.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn wait_until_at_rest(pid: u32) {
    let mut looks = 0;
    while looks < 3 {
        wait_until("the process comes to rest", || all_wait(pid));
        std::thread::sleep(Duration::from_millis(5));
        looks = if all_wait(pid) { looks + 1 } else { 0 };
    }
}

/// Is there nobody in this process group, or only remains? Whoever was to reap them may take his time.
pub fn is_group_gone(group: u32) -> bool {
    let stats = fs::read_dir("/proc").expect("proc").flatten();
    let stats = stats.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    !stats.into_iter().any(|stat| {
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
        fields.get(2).is_some_and(|field| *field == group.to_string()) && !["Z", "X"].contains(&fields[0])
    })
}

/// The children of this process.
pub fn children_of(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Those that are helpers.
pub fn helpers_of(parent: u32) -> Vec<u32> {
    children_of(parent).into_iter().filter(|pid| is_helper(*pid)).collect()
}

fn is_helper(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.split(|b| *b == 0).next() == Some(ARGV0))
}

/// One of them.
pub fn helper_of(parent: u32) -> Option<u32> {
    helpers_of(parent).into_iter().next()
}

/// The child of this very process that works on this directory: other tests run beside this one. The
/// helper is not dumpable, so only a privileged test sees where it is; else a single one is taken.
pub fn my_helper_now(dest: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let all = helpers_of(std::process::id());
    let want = fs::metadata(dest).ok().map(|m| (m.dev(), m.ino()))?;
    let there = |pid: &u32| {
        let cwd = fs::metadata(format!("/proc/{pid}/cwd")).ok();
        cwd.is_some_and(|m| (m.dev(), m.ino()) == want)
    };
    let found = all.iter().copied().find(there);
    let single = if let [one] = all[..] { Some(one) } else { None };
    found.or(single.filter(|_| !super::privilege::is_root()))
}

/// The same, waited for: while it enters the root, its directory is another for a moment.
pub fn my_helper_on(dest: &Path) -> Option<u32> {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let found = my_helper_now(dest);
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
