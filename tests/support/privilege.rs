//! What this test process may do, and a loud word when a test cannot run.
//!
//! libtest has no skipping at run time: a test that cannot run prints `SKIPPED name: why` and
//! returns; with `UNTAR_REQUIRE_ALL=1`, which `.ci/run` sets, it fails instead.

use std::fs;
use std::process::{Command, Stdio};

const CAP_SYS_ADMIN: u32 = 21;
const CAP_MKNOD: u32 = 27;

/// Says that a test cannot run; always false, so that `return` can follow.
///
/// # Panics
/// Where everything is required.
pub fn skip(test: &str, why: &str) -> bool {
    assert!(std::env::var_os("UNTAR_REQUIRE_ALL").is_none_or(|v| v != "1"), "{test} cannot run: {why}");
    println!("SKIPPED {test}: {why}");
    false
}

fn need(have: bool, test: &str, why: &str) -> bool {
    have || skip(test, why)
}

/// Root in the initial user namespace, with the right to mount and to make devices.
pub fn need_root(test: &str) -> bool {
    need(is_root() && !in_user_namespace(), test, "not root in the initial user namespace")
        && need_capability(test, CAP_SYS_ADMIN, "CAP_SYS_ADMIN")
        && need_capability(test, CAP_MKNOD, "CAP_MKNOD")
}

/// uid 0, be it in a user namespace.
pub fn need_uid0(test: &str) -> bool {
    need(is_root(), test, "not uid 0")
}

/// The right to mount here.
pub fn need_mount(test: &str) -> bool {
    need_capability(test, CAP_SYS_ADMIN, "CAP_SYS_ADMIN")
}

/// New user namespaces with a map of our own id.
pub fn need_userns(test: &str) -> bool {
    need(succeeds("unshare", &["--user", "--map-root-user", "true"]), test, "no new user namespaces")
}

/// A program in the PATH, or in the sbin directories that it may lack.
pub fn need_tool(test: &str, tool: &str) -> bool {
    need(find_tool(tool), test, &format!("no program `{tool}`"))
}

/// Several programs.
pub fn need_tools(test: &str, tools: &[&str]) -> bool {
    tools.iter().all(|tool| need_tool(test, tool))
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

fn need_capability(test: &str, number: u32, name: &str) -> bool {
    need(has_capability(number), test, &format!("no {name}"))
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
