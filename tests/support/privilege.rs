//! What this test process may do, and a loud word when a test cannot run.
//!
//! libtest has no skipping at run time: a test that cannot run prints `SKIPPED name: why` and
//! returns; with `UNTAR_REQUIRE_ALL=1`, which `.ci/run` sets, it fails instead. The name is that of the thread.

use std::fs;
use std::process::{Command, Stdio};

const CAP_SYS_ADMIN: u32 = 21;
const CAP_MKNOD: u32 = 27;

/// The test that runs on this thread, as libtest names it; of a program with a `main` of its own, the program.
///
/// # Panics
/// On a thread that a test has started: it has no name.
pub fn test_name() -> String {
    let thread = std::thread::current();
    match thread.name().expect("the thread of a test") {
        "main" => env!("CARGO_CRATE_NAME").to_owned(),
        name => name.to_owned(),
    }
}

/// Says that a test cannot run; always false, so that `return` can follow.
///
/// # Panics
/// Where everything is required.
pub fn skip(why: &str) -> bool {
    let test = test_name();
    assert!(std::env::var_os("UNTAR_REQUIRE_ALL").is_none_or(|v| v != "1"), "{test} cannot run: {why}");
    println!("SKIPPED {test}: {why}");
    false
}

fn need(have: bool, why: &str) -> bool {
    have || skip(why)
}

/// Root in the initial user namespace, with the right to mount and to make devices.
pub fn need_root() -> bool {
    need(is_root() && !in_user_namespace(), "not root in the initial user namespace")
        && need_capability(CAP_SYS_ADMIN, "CAP_SYS_ADMIN")
        && need_capability(CAP_MKNOD, "CAP_MKNOD")
}

/// uid 0, be it in a user namespace.
pub fn need_uid0() -> bool {
    need(is_root(), "not uid 0")
}

/// The right to mount here.
pub fn need_mount() -> bool {
    need_capability(CAP_SYS_ADMIN, "CAP_SYS_ADMIN")
}

/// New user namespaces with a map of our own id.
pub fn need_userns() -> bool {
    need(succeeds("unshare", &["--user", "--map-root-user", "true"]), "no new user namespaces")
}

/// A program in the PATH, or in the sbin directories that it may lack.
pub fn need_tool(tool: &str) -> bool {
    need(find_tool(tool), &format!("no program `{tool}`"))
}

/// Several programs.
pub fn need_tools(tools: &[&str]) -> bool {
    tools.iter().all(|tool| need_tool(tool))
}

/// Effective uid 0.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Is this a user namespace below the initial one? The initial one maps everything to itself.
pub fn in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"]
}

/// Is this capability effective?
pub fn has_capability(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or("0");
    u64::from_str_radix(field.trim(), 16).unwrap_or(0) >> number & 1 == 1
}

fn need_capability(number: u32, name: &str) -> bool {
    need(has_capability(number), &format!("no {name}"))
}

fn find_tool(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&path).chain(extra).any(|dir| dir.join(tool).is_file())
}

fn succeeds(tool: &str, args: &[&str]) -> bool {
    let mut command = Command::new(tool);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Whether the kernel is of this version or younger.
///
/// # Panics
/// Where `/proc` is not mounted.
pub fn is_at_least(major: u32, minor: u32) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("release");
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}
