//! The system-call filter: an allow-list of what reading and applying takes; anything else ends the process.
//! `seccomp(2)`. Paths, pointers and descriptors are beyond a filter: those are the switched root's business.

mod tree;

use crate::helper::fault::{Fault, Result};
use crate::options::Wall;
use crate::report::Call;
use nix::errno::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use tree::Verdict;

/// The calls that the helper makes once confined, whatever their arguments.
const ALLOWED: &[libc::c_long] = &[
    // Input, output and the control socket.
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_ppoll,
    libc::SYS_close,
    libc::SYS_lseek,
    // Looking and opening, relative to open directories.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    // Making and removing.
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_unlinkat,
    // Metadata: read here, set below.
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    SYS_LISTXATTRAT,
    libc::SYS_fsync,
    libc::SYS_syncfs,
    // Memory, threads and time.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The calls that change what their first argument leads to, which is never the archive: descriptor 0 can be a
/// file of the host, and the attacker's own bytes, made set-uid there, would be the way out.
const NOT_ON_THE_ARCHIVE: &[libc::c_long] = &[
    libc::SYS_write,
    libc::SYS_pwrite64,
    // It can be a connection of the host's.
    libc::SYS_sendto,
    libc::SYS_ftruncate,
    libc::SYS_fchown,
    libc::SYS_fchmod,
    libc::SYS_fsetxattr,
    libc::SYS_fremovexattr,
    // A copy of it would do as well.
    libc::SYS_dup,
];

/// Calls of older ABIs that a libc may make in place of those above.
#[cfg(target_arch = "x86_64")]
const OLDER: &[libc::c_long] = &[libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[];

const SYS_FCHMODAT2: libc::c_long = 452;
const SYS_LISTXATTRAT: libc::c_long = 465;

/// What tells a thread from a process, and every namespace that clone could make.
const CLONE_FLAGS: i32 = libc::CLONE_THREAD
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// Installs the filter for this thread and those it starts. True if the kernel says that it is in force.
pub(crate) fn restrict(wall: Wall) -> Result<bool> {
    restrict_on(std::env::consts::ARCH, wall)
}

/// On a processor that the compiler of filters does not know there is none, and the report says so.
fn restrict_on(arch: &str, wall: Wall) -> Result<bool> {
    if wall == Wall::Off {
        return Ok(false);
    }
    match target(arch).and_then(filters).and_then(|filters| install(&filters)) {
        Ok(()) => Ok(true),
        Err(fault) if wall == Wall::Required => Err(fault),
        Err(_) => Ok(false),
    }
}

fn install(filters: &[BpfProgram]) -> Result<()> {
    for filter in filters {
        seccompiler::apply_filter(filter).map_err(|_| refused())?;
    }
    Ok(())
}

fn refused() -> Fault {
    Fault::os(Errno::last(), Call::Seccomp, "SECCOMP_SET_MODE_FILTER, 0, <program>")
}

/// There is none for this machine, or none can be put together.
fn no_filter() -> Fault {
    Fault::as_if(Errno::EOPNOTSUPP)
}

/// One program where the compiler's output allows it.
fn filters(arch: TargetArch) -> Result<Vec<BpfProgram>> {
    one(arch).map(|filter| vec![filter]).or_else(|_| two(arch).map(Vec::from))
}

/// What the number decides is searched for; only calls with conditions are looked for in turn.
fn one(arch: TargetArch) -> Result<BpfProgram> {
    let plain = ALLOWED.iter().chain(OLDER).map(|call| (*call, Verdict::Allow));
    let guarded = NOT_ON_THE_ARCHIVE.iter().map(|call| (*call, Verdict::NotOnTheArchive));
    let rules = conditional()?;
    let others = rules.keys().map(|call| (*call, Verdict::Other));
    // The flags of clone3 are beyond a filter; libc falls back to clone.
    let calls: Vec<_> = plain.chain(guarded).chain(others).chain([(libc::SYS_clone3, Verdict::Unknown)]).collect();
    let compiled = compile(arch, rules, SeccompAction::KillProcess, SeccompAction::Allow)?;
    tree::search_first(compiled, &calls).ok_or_else(no_filter)
}

/// The same filter as two lists: one answers `clone3`, one is the allow-list. The kernel takes the stricter verdict.
fn two(arch: TargetArch) -> Result<[BpfProgram; 2]> {
    let clone3 = [(libc::SYS_clone3, Vec::new())].into();
    let no_clone3 = compile(arch, clone3, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS.cast_unsigned()))?;
    let mut rules = conditional()?;
    for call in NOT_ON_THE_ARCHIVE {
        rules.insert(*call, vec![all_of(vec![other_than(0, 0)?])?]);
    }
    rules.extend(ALLOWED.iter().chain(OLDER).chain([&libc::SYS_clone3]).map(|call| (*call, Vec::new())));
    Ok([no_clone3, compile(arch, rules, SeccompAction::KillProcess, SeccompAction::Allow)?])
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn target(arch: &str) -> Result<TargetArch> {
    TargetArch::try_from(arch).map_err(|_| no_filter())
}

fn compile(arch: TargetArch, rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<BpfProgram> {
    let filter = SeccompFilter::new(rules, otherwise, matched, arch).map_err(|_| no_filter())?;
    filter.try_into().map_err(|_| no_filter())
}

/// What is allowed only with certain arguments, other than those of `NOT_ON_THE_ARCHIVE`.
fn conditional() -> Result<Rules> {
    let mut rules = Rules::new();
    // Threads, never processes or namespaces.
    rules.insert(libc::SYS_clone, vec![masked(0, bits(CLONE_FLAGS), bits(libc::CLONE_THREAD))?]);
    // Neither a copy of the archive nor signals to a descriptor's owner (F_SETOWN, F_SETSIG).
    let copies = all_of(vec![other_than(0, 0)?, is(1, libc::F_DUPFD_CLOEXEC)?])?;
    // F_SETFD is between them.
    let flags = all_of(vec![
        condition(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Ge, bits(libc::F_GETFD))?,
        condition(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Le, bits(libc::F_GETFL))?,
    ])?;
    rules.insert(libc::SYS_fcntl, vec![copies, flags]);
    // No memory that could be executed, and none of a file.
    rules.insert(libc::SYS_mprotect, vec![masked(2, bits(libc::PROT_EXEC), 0)?]);
    let anonymous = bits(libc::MAP_ANONYMOUS);
    let plain = vec![
        condition(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(bits(libc::PROT_EXEC)), 0)?,
        condition(3, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(anonymous), anonymous)?,
    ];
    rules.insert(libc::SYS_mmap, vec![all_of(plain)?]);
    rules.insert(libc::SYS_prctl, vec![equal(0, libc::PR_SET_NAME)?, equal(0, libc::PR_SET_VMA)?]);
    // Metadata is given to what is held, never to a name, and not to the archive either.
    let held = |flags| all_of(vec![other_than(0, 0)?, has(flags, libc::AT_EMPTY_PATH)?]);
    rules.insert(libc::SYS_fchownat, vec![held(4)?]);
    rules.insert(SYS_FCHMODAT2, vec![held(3)?]);
    // futimens(3) has no name at all.
    let nameless = all_of(vec![other_than(0, 0)?, condition(1, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?])?;
    rules.insert(libc::SYS_utimensat, vec![nameless, held(3)?]);
    // Names are linked, not descriptors (AT_EMPTY_PATH), nor what a link in a /proc leads to (AT_SYMLINK_FOLLOW).
    rules.insert(libc::SYS_linkat, vec![equal(4, 0)?]);
    // abort(3) of the main thread.
    rules.insert(libc::SYS_tkill, vec![equal(0, nix::unistd::getpid().as_raw())?]);
    rules.insert(libc::SYS_tgkill, vec![equal(0, nix::unistd::getpid().as_raw())?]);
    Ok(rules)
}

/// These bits of the argument are just those.
fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompRule> {
    rule(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
}

/// A C flag as a register holds it.
fn bits(flag: i32) -> u64 {
    flag.cast_unsigned().into()
}

fn equal(argument: u8, value: i32) -> Result<SeccompRule> {
    all_of(vec![is(argument, value)?])
}

fn is(argument: u8, value: i32) -> Result<SeccompCondition> {
    condition(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, bits(value))
}

/// The argument has this flag.
fn has(argument: u8, flag: i32) -> Result<SeccompCondition> {
    condition(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(bits(flag)), bits(flag))
}

fn other_than(argument: u8, value: i32) -> Result<SeccompCondition> {
    condition(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, bits(value))
}

fn rule(argument: u8, length: SeccompCmpArgLen, op: SeccompCmpOp, value: u64) -> Result<SeccompRule> {
    all_of(vec![condition(argument, length, op, value)?])
}

fn all_of(conditions: Vec<SeccompCondition>) -> Result<SeccompRule> {
    SeccompRule::new(conditions).map_err(|_| no_filter())
}

fn condition(argument: u8, length: SeccompCmpArgLen, op: SeccompCmpOp, value: u64) -> Result<SeccompCondition> {
    SeccompCondition::new(argument, length, op, value).map_err(|_| no_filter())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No filter is installed here: the architecture is found wanting before.
    #[test]
    fn an_architecture_without_filters_is_told_or_refused() {
        assert_eq!(restrict_on("s390x", Wall::BestEffort), Ok(false));
        let fault = restrict_on("s390x", Wall::Required).expect_err("it was required");
        assert_eq!(fault, no_filter());
        for arch in ["x86_64", "aarch64", "riscv64"] {
            target(arch).expect(arch);
        }
    }
}
