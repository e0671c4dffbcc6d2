//! What to do about a failure, where we know it. Options are named as on the command line, and as in
//! [`Options`](crate::Options) where that differs by more than its dashes.

use crate::report::{Call, Cause, Damage, Failure, Limit, Malformed, Namespace, Operand, Refusal, Stage};
use nix::errno::Errno;

pub(super) fn of(failure: &Failure) -> Option<&'static str> {
    match &failure.cause {
        Cause::Os(errno) => {
            let call = failure.operation.as_ref().map(|operation| operation.call);
            let new_user = Operand::Namespace(Namespace::User);
            let user = failure.operation.as_ref().is_some_and(|operation| operation.on == new_user);
            of_call(failure.stage, call, user, Errno::from_raw(*errno))
        }
        Cause::Malformed { what: Malformed::Truncated, .. } => of_damage(Damage::Truncated),
        Cause::Malformed { .. } => None,
        Cause::Compressed { what, .. } => of_damage(*what),
        Cause::PathEscapes => Some("--escaping-names clamp keeps such names inside"),
        Cause::LinkEscapes => Some("--escaping-names clamp keeps such targets inside"),
        Cause::CrossesMount => Some("unmount it, or allow it with --cross-mounts"),
        Cause::Limit { limit, .. } => Some(of_limit(*limit)),
        Cause::LinkTargetMissing { .. } => Some(
            "a hardlink must come after its target; the target may be in a lower layer or left out by --include, \
             --exclude or --strip-components",
        ),
        Cause::Refused(refusal) => of_refusal(*refusal),
        Cause::LowersNotHeld(_) => {
            Some("allow unshare and mount, or do without --lower; `image` without --layers and --store flattens")
        }
        Cause::Thread(_) => Some("the limit of processes and threads (`ulimit -u`, pids.max) or of memory is reached"),
        Cause::Descriptors { .. } => of_storage(None, Errno::EMFILE),
        Cause::Exchanged { .. } => of_path(Errno::ESTALE),
        Cause::Attribute { errno, .. } if *errno == Errno::EPERM as i32 => {
            Some("the caller may not set it; leave attributes out with --xattrs none")
        }
        Cause::Attribute { .. } => {
            Some("links, devices and FIFOs get no attributes; --xattrs best-effort makes that a warning")
        }
        Cause::NotCovered(_) => None,
        Cause::Pattern { .. } => Some("see --include and --exclude"),
        Cause::Cancelled => None,
        Cause::Panic { .. } => Some("this is a bug of untar-in-root; please report it"),
    }
}

fn of_damage(damage: Damage) -> Option<&'static str> {
    match damage {
        Damage::Truncated => Some("the download or copy was cut short; get the archive again"),
        Damage::Corrupt => Some("get the archive again and compare its digest"),
        Damage::Memory => Some("compress it with a smaller window, or raise --max-memory if that is set"),
        Damage::TrailingGarbage => None,
        Damage::NotThisFormat => Some("--compression auto finds the format out"),
    }
}

/// The option that raises a limit.
fn of_limit(limit: Limit) -> &'static str {
    match limit {
        Limit::TotalBytes => "if the archive can be trusted, raise --max-total-bytes (Limits::total_bytes)",
        Limit::FileBytes => "if the archive can be trusted, raise --max-file-bytes (Limits::file_bytes)",
        Limit::Entries => "if the archive can be trusted, raise --max-entries (Limits::entries)",
        Limit::Ratio => "likely a decompression bomb; if it can be trusted, raise --max-ratio (Limits::ratio)",
        Limit::Depth => "raise --max-depth (Limits::depth)",
        Limit::NameBytes => "raise --max-name-bytes (Limits::name_bytes)",
        Limit::ExtendedHeaderBytes => "raise --max-extended-header-bytes (Limits::extended_header_bytes)",
        Limit::Xattrs => "raise --max-xattrs (Limits::xattrs), or leave them out with --xattrs none",
        Limit::XattrBytes => "raise --max-xattr-bytes (Limits::xattr_bytes), or leave them out with --xattrs none",
        Limit::SparseRegions => "raise --max-sparse-regions (Limits::sparse_regions)",
        Limit::Timeout => "the source is slow or the archive large; raise --timeout (ProcessLimits::timeout)",
        Limit::Memory => "raise --max-memory (ProcessLimits::memory_bytes)",
    }
}

fn of_refusal(refusal: Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::Uid => Some("add a range to --uid-map, or set the owner with --chown or --no-same-owner"),
        Refusal::Gid => Some("add a range to --gid-map, or set the owner with --chown or --no-same-owner"),
        Refusal::DirectoryConflict => Some("--no-overwrite-dir-nondir forbids that"),
        Refusal::HeaderOnlySize => Some("without --strict-sizes it is taken, with a warning"),
        _ => None,
    }
}

fn of_call(stage: Stage, call: Option<Call>, user: bool, errno: Errno) -> Option<&'static str> {
    match stage {
        Stage::Enter => of_entering(call, user, errno),
        Stage::Read => of_reading(errno),
        _ => of_privilege(call, errno).or_else(|| of_storage(call, errno)).or_else(|| of_path(errno)),
    }
}

fn of_entering(call: Option<Call>, user: bool, errno: Errno) -> Option<&'static str> {
    match (call?, errno) {
        (Call::Unshare, Errno::EPERM) if user => Some(
            "unprivileged user namespaces are forbidden here (sysctl kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns), or this process is in a chroot; run it as root",
        ),
        (Call::Unshare, Errno::ENOSPC | Errno::EUSERS) => {
            Some("too many namespaces; see sysctl user.max_user_namespaces and user.max_mnt_namespaces")
        }
        (Call::Unshare | Call::Mount | Call::OpenTree | Call::Chroot, Errno::EPERM) => {
            Some("that takes CAP_SYS_ADMIN: run it as root, or let it make a user namespace with --userns auto")
        }
        (Call::PivotRoot, _) => Some("--isolation auto falls back to chroot"),
        (Call::Write, Errno::EPERM | Errno::EINVAL) => Some(
            "the map must lie within the caller's ranges in /etc/subuid and /etc/subgid, and newuidmap and \
                 newgidmap (package uidmap or shadow-utils) be installed",
        ),
        _ => None,
    }
}

fn of_reading(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::EISDIR => Some("the archive is a directory"),
        Errno::EBADF => Some("the archive is not open for reading"),
        Errno::EIO => Some("the disk that the archive is on is failing; look at dmesg"),
        _ => None,
    }
}

fn of_privilege(call: Option<Call>, errno: Errno) -> Option<&'static str> {
    match (call?, errno) {
        (Call::Mknodat, Errno::EPERM) => Some(
            "devices cannot be made in a user namespace or without CAP_MKNOD; leave them out with --devices skip, \
             or take --devices placeholder",
        ),
        (Call::Fchown | Call::Fchownat, Errno::EINVAL) => Some(
            "this id has no mapping in the user namespace: give the user enough ids in /etc/subuid and /etc/subgid, \
             or use --chown, --no-same-owner or --ignore-chown-errors",
        ),
        (Call::Fchown | Call::Fchownat, Errno::EPERM) => Some(
            "only root may give files away: run it as root or in a user namespace, or use --no-same-owner or \
             --ignore-chown-errors",
        ),
        (Call::Fsetxattr, Errno::EOPNOTSUPP) => {
            Some("this file system has no such attributes; --xattrs best-effort makes that a warning")
        }
        (Call::Fsetxattr, Errno::ENOSPC | Errno::E2BIG | Errno::ERANGE) => {
            Some("the attributes are too large for this file system, or it is full; leave them out with --xattrs none")
        }
        (Call::Fsetxattr, Errno::EPERM) => Some("the caller may not set it; leave attributes out with --xattrs none"),
        (Call::Unlinkat | Call::Openat | Call::Mkdirat | Call::Linkat | Call::Fchmod, Errno::EPERM) => {
            Some("the file or its directory may be immutable or append-only; look with lsattr")
        }
        _ => None,
    }
}

fn of_storage(call: Option<Call>, errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::ENOSPC => Some("the file system of the root is full; look at its space (df) and its inodes (df -i)"),
        Errno::EDQUOT => Some("the owner's disk quota is used up"),
        Errno::EROFS => Some("the file system of the root is mounted read-only"),
        Errno::EIO => Some("the disk is failing; look at dmesg"),
        Errno::EFBIG => Some("the file is too large for this file system or for `ulimit -f`"),
        Errno::EMLINK => Some("this file system allows no more links to one file"),
        Errno::ENOMEM => Some("out of memory; if --max-memory is set, raise it"),
        Errno::EMFILE | Errno::ENFILE => Some("too many open files; raise `ulimit -n`"),
        Errno::EBUSY if call == Some(Call::Unlinkat) => Some("something is mounted on it"),
        _ => None,
    }
}

fn of_path(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::ENOTDIR => Some("something in its path is not a directory"),
        Errno::ELOOP => Some("its path leads through more than 40 symlinks"),
        Errno::ENAMETOOLONG => Some("a component of its name is longer than this file system allows"),
        Errno::EACCES => Some("the caller has no permission there"),
        Errno::EEXIST | Errno::ENOENT | Errno::ESTALE | Errno::ENOTEMPTY => {
            Some("something else seems to be changing the destination meanwhile")
        }
        _ => None,
    }
}
