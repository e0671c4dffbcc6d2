//! The system-call filter: an allow-list of what reading and applying takes; anything else ends the process.
//! `seccomp(2)`. Paths, pointers and descriptors are beyond a filter: those are the switched root's business. Where none
//! was entered, less is allowed: nothing is opened but by the table of `open.rs`, known by where its entries lie, and owner,
//! mode, times and attributes are given only to what is open for reading or writing. Nothing outside the root is, since that
//! is what Landlock binds.

mod reading;
mod tree;

use crate::helper::fault::{Fault, Result};
use crate::helper::open;
use crate::helper::sys::How;
use crate::options::Wall;
use crate::report::Call;
use nix::errno::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use tree::Verdict;

/// What a filter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Names lead nowhere but into the root that was entered.
    Root,
    /// No root was entered.
    Beneath { cross_mounts: bool },
    /// Nothing may be changed, and nothing but attributes is asked for by a name that may lead elsewhere, and not even those
    /// where no root was entered.
    Reading { by_name: bool },
}

/// What every helper calls, whatever it is for: memory, threads and time.
const EVERY: &[libc::c_long] = &[
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

/// The calls that applying makes once confined, whatever their arguments, besides.
const ALLOWED: &[libc::c_long] = &[
    // Input, output and the control socket.
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_ppoll,
    libc::SYS_close,
    libc::SYS_lseek,
    // Looking and opening, relative to open directories.
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    // Making and removing.
    libc::SYS_mkdirat,
    libc::SYS_symlinkat,
    libc::SYS_unlinkat,
    // Metadata: read here, set below.
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_fsync,
    libc::SYS_syncfs,
];

/// And those that it makes inside a root.
const ALLOWED_INSIDE: &[libc::c_long] = &[libc::SYS_openat, libc::SYS_openat2, libc::SYS_mknodat, SYS_LISTXATTRAT];

/// The calls that change what their first argument leads to, which is never the archive: descriptor 0 can be a
/// file of the host, and the attacker's own bytes, made set-uid there, would be the way out.
const NOT_ON_THE_ARCHIVE: &[libc::c_long] = &[
    libc::SYS_write,
    libc::SYS_pwrite64,
    // It can be a connection of the host's.
    libc::SYS_sendto,
    libc::SYS_ftruncate,
    libc::SYS_fsetxattr,
    libc::SYS_fremovexattr,
    // A copy of it would do as well.
    libc::SYS_dup,
];

/// And inside a root.
const NOT_ON_THE_ARCHIVE_INSIDE: &[libc::c_long] = &[libc::SYS_fchown, libc::SYS_fchmod];

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
pub(crate) fn restrict(wall: Wall, reach: Reach) -> Result<bool> {
    restrict_on(std::env::consts::ARCH, wall, reach)
}

/// On a processor that the compiler of filters does not know there is none, and the report says so.
fn restrict_on(arch: &str, wall: Wall, reach: Reach) -> Result<bool> {
    if wall == Wall::Off {
        return Ok(false);
    }
    match target(arch).and_then(|arch| filters(arch, reach)).and_then(|filters| install(&filters)) {
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
fn filters(arch: TargetArch, reach: Reach) -> Result<Vec<BpfProgram>> {
    one(arch, reach).map(|filter| vec![filter]).or_else(|_| two(arch, reach).map(Vec::from))
}

/// Calls that are allowed, that are but on the archive, and that are answered with `ENOSYS`.
fn calls(reach: Reach) -> [Vec<libc::c_long>; 3] {
    if let Reach::Reading { by_name } = reach {
        let names = if by_name { reading::BY_NAME } else { &[] };
        // As below.
        let unknown = if by_name { vec![libc::SYS_clone3] } else { vec![libc::SYS_clone3, libc::SYS_openat] };
        return [[EVERY, reading::ALLOWED, names, OLDER].concat(), Vec::new(), unknown];
    }
    let inside = |calls: &'static [libc::c_long]| if reach == Reach::Root { calls } else { &[] };
    // The flags of clone3 are beyond a filter; libc falls back to clone.
    let mut unknown = vec![libc::SYS_clone3];
    if reach != Reach::Root {
        // No call of ours: a libc looks into /proc as it gives memory back, and does without.
        unknown.push(libc::SYS_openat);
    }
    [
        [EVERY, ALLOWED, OLDER, inside(ALLOWED_INSIDE)].concat(),
        [NOT_ON_THE_ARCHIVE, inside(NOT_ON_THE_ARCHIVE_INSIDE)].concat(),
        unknown,
    ]
}

/// What the number decides is searched for; only calls with conditions are looked for in turn.
fn one(arch: TargetArch, reach: Reach) -> Result<BpfProgram> {
    let rules = conditional(reach)?;
    let others = rules.keys().map(|call| (*call, Verdict::Other));
    let verdicts = [Verdict::Allow, Verdict::NotOnTheArchive, Verdict::Unknown];
    let by_number = calls(reach).into_iter().zip(verdicts);
    let by_number = by_number.flat_map(|(calls, verdict)| calls.into_iter().map(move |call| (call, verdict)));
    let all: Vec<_> = by_number.chain(others).collect();
    let compiled = compile(arch, rules, SeccompAction::KillProcess, SeccompAction::Allow)?;
    tree::search_first(compiled, &all).ok_or_else(no_filter)
}

/// The same filter as two lists: one answers what is not known, one is the allow-list. The kernel takes the stricter verdict.
fn two(arch: TargetArch, reach: Reach) -> Result<[BpfProgram; 2]> {
    let [allowed, guarded, unknown] = calls(reach);
    let answered = unknown.iter().map(|call| (*call, Vec::new())).collect();
    let enosys = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let answers = compile(arch, answered, SeccompAction::Allow, enosys)?;
    let mut rules = conditional(reach)?;
    for call in guarded {
        rules.insert(call, vec![all_of(vec![other_than(0, 0)?])?]);
    }
    rules.extend(allowed.into_iter().chain(unknown).map(|call| (call, Vec::new())));
    Ok([answers, compile(arch, rules, SeccompAction::KillProcess, SeccompAction::Allow)?])
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
fn conditional(reach: Reach) -> Result<Rules> {
    let mut rules = match reach {
        Reach::Root => inside()?,
        Reach::Beneath { cross_mounts } => beneath(cross_mounts)?,
        Reach::Reading { by_name } => reading::conditional(by_name)?,
    };
    // Threads, never processes or namespaces.
    rules.insert(libc::SYS_clone, vec![masked(0, bits(CLONE_FLAGS), bits(libc::CLONE_THREAD))?]);
    // Neither a copy of the archive nor signals to a descriptor's owner (F_SETOWN, F_SETSIG).
    let copies = all_of(vec![other_than(0, 0)?, is(1, libc::F_DUPFD_CLOEXEC)?])?;
    // F_SETFD is between them.
    let flags = all_of(vec![
        condition(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Ge, bits(libc::F_GETFD))?,
        condition(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Le, bits(libc::F_GETFL))?,
    ])?;
    // Who only reads makes no copies and no links.
    let makes = !matches!(reach, Reach::Reading { .. });
    rules.insert(libc::SYS_fcntl, if makes { vec![copies, flags] } else { vec![flags] });
    // No memory that could be executed, and none of a file.
    rules.insert(libc::SYS_mprotect, vec![masked(2, bits(libc::PROT_EXEC), 0)?]);
    let anonymous = bits(libc::MAP_ANONYMOUS);
    let plain = vec![flagged(2, bits(libc::PROT_EXEC), 0)?, flagged(3, anonymous, anonymous)?];
    rules.insert(libc::SYS_mmap, vec![all_of(plain)?]);
    rules.insert(libc::SYS_prctl, vec![equal(0, libc::PR_SET_NAME)?, equal(0, libc::PR_SET_VMA)?]);
    // Names are linked, not descriptors (AT_EMPTY_PATH), nor what a link in a /proc leads to (AT_SYMLINK_FOLLOW).
    if makes {
        rules.insert(libc::SYS_linkat, vec![equal(4, 0)?]);
    }
    // abort(3) of the main thread.
    rules.insert(libc::SYS_tkill, vec![equal(0, nix::unistd::getpid().as_raw())?]);
    rules.insert(libc::SYS_tgkill, vec![equal(0, nix::unistd::getpid().as_raw())?]);
    Ok(rules)
}

/// Metadata is given to what is held, never to a name, and not to the archive either.
fn inside() -> Result<Rules> {
    let held = |flags| all_of(vec![other_than(0, 0)?, has(flags, libc::AT_EMPTY_PATH)?]);
    Ok(Rules::from([
        (libc::SYS_fchownat, vec![held(4)?]),
        (SYS_FCHMODAT2, vec![held(3)?]),
        (libc::SYS_utimensat, vec![nameless(None)?, held(3)?]),
    ]))
}

/// Metadata is given to what is open for reading or writing: these calls answer `EBADF` where it is held by its path.
fn beneath(cross_mounts: bool) -> Result<Rules> {
    // No set-id bits, for nobody but us would be who they are for; no devices and no sockets.
    let set_id = u64::from(libc::S_ISUID | libc::S_ISGID);
    let (kind, fifo) = (u64::from(libc::S_IFMT), u64::from(libc::S_IFIFO));
    Ok(Rules::from([
        (libc::SYS_openat2, tabled(open::Use::Writing { cross_mounts })?),
        (libc::SYS_mknodat, vec![masked(2, kind | set_id, fifo)?]),
        (libc::SYS_fchmod, vec![all_of(vec![other_than(0, 0)?, flagged(1, set_id, 0)?])?]),
        (libc::SYS_utimensat, vec![nameless(Some(0))?]),
    ]))
}

/// Nothing is opened but by the table.
fn tabled(used: open::Use) -> Result<Vec<SeccompRule>> {
    let by = |how: *const How| all_of(vec![whole(2, how.addr() as u64)?, whole(3, How::SIZE as u64)?]);
    open::table(used).map(by).collect()
}

/// `futimens(3)` has no name at all.
fn nameless(flags: Option<i32>) -> Result<SeccompRule> {
    let mut conditions = vec![other_than(0, 0)?, whole(1, 0)?];
    if let Some(flags) = flags {
        conditions.push(is(3, flags)?);
    }
    all_of(conditions)
}

/// All 64 bits of the argument are this.
fn whole(argument: u8, value: u64) -> Result<SeccompCondition> {
    condition(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
}

/// These bits of the argument are just those.
fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompRule> {
    all_of(vec![flagged(argument, mask, value)?])
}

fn flagged(argument: u8, mask: u64, value: u64) -> Result<SeccompCondition> {
    condition(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
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
    flagged(argument, bits(flag), bits(flag))
}

fn other_than(argument: u8, value: i32) -> Result<SeccompCondition> {
    condition(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, bits(value))
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
        assert_eq!(restrict_on("s390x", Wall::BestEffort, Reach::Root), Ok(false));
        let fault = restrict_on("s390x", Wall::Required, Reach::Root).expect_err("it was required");
        assert_eq!(fault, no_filter());
        for arch in ["x86_64", "aarch64", "riscv64"] {
            target(arch).expect(arch);
        }
    }
}
