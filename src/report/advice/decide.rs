//! Which advice a failure gets.

use super::Advice;
use crate::report::{Call, Cause, Confinement, Damage, Failure, Limit, Malformed, MarkProblem, Namespace, Operand};
use crate::report::{Operation, Purpose, Refusal, Stage};
use nix::errno::Errno;

/// Bytes that Linux takes of an attribute: `XATTR_SIZE_MAX`.
const LARGEST_ATTRIBUTE: u64 = 64 << 10;

pub(super) fn advice(failure: &Failure, confinement: Option<&Confinement>) -> Option<Advice> {
    Some(match &failure.cause {
        Cause::Os(errno) => return of_errno(failure, confinement, Errno::from_raw(*errno)),
        Cause::Malformed { what: Malformed::Truncated, .. } => Advice::FetchAgain,
        Cause::NotTar { looks_like, .. } => Advice::OtherFormat(*looks_like),
        Cause::Empty => Advice::AllowEmpty,
        Cause::Compressed { what, .. } => return of_damage(*what),
        Cause::PathEscapes | Cause::LinkEscapes => Advice::ClampNames,
        Cause::CrossesMount | Cause::MountPoint { .. } if is_named(failure) => Advice::CrossMounts,
        Cause::CrossesMount => Advice::AllowMounts,
        Cause::MountPoint { .. } => Advice::Unmount,
        Cause::Limit { limit: Limit::XattrName, .. } => Advice::AttributeName,
        Cause::Limit { limit: Limit::XattrBytes, value } if *value >= LARGEST_ATTRIBUTE => Advice::AttributeValue,
        Cause::Limit { limit, .. } => Advice::RaiseLimit(*limit),
        Cause::Pattern { .. } | Cause::IgnoreLine { .. } => Advice::Patterns,
        Cause::LinkTargetMissing { .. } => Advice::TargetFirst,
        Cause::Refused(refusal) => return of_refusal(*refusal),
        Cause::UnmappedId { group: false, .. } => Advice::MapUser,
        Cause::UnmappedId { group: true, .. } => Advice::MapGroup,
        Cause::Landlock { .. } => Advice::Landlock,
        Cause::LowersNotHeld(_) => Advice::AllowNamespaces,
        Cause::Descriptors { .. } => Advice::Descriptors,
        Cause::Exchanged { .. } => Advice::DisturbedOrUnstable,
        Cause::Attribute { .. } => Advice::SoftAttributes,
        Cause::OverlayMark { what: MarkProblem::NeedsLowers, .. } => Advice::GiveLowers,
        Cause::OverlayMark { what: MarkProblem::OutOfReach, .. } => Advice::UserMarks,
        Cause::NoThread(_) => Advice::Threads,
        Cause::Panic { .. } => Advice::Report,
        Cause::Malformed { .. }
        | Cause::NotCovered(_)
        | Cause::Cancelled
        | Cause::Source(_)
        | Cause::ReservedName
        | Cause::OverlayMark { .. }
        | Cause::SameName { .. } => return None,
    })
}

/// It is of a path that was to be packed, before the first entry: leaving it out is what was not asked for.
fn is_named(failure: &Failure) -> bool {
    failure.stage == Stage::Walk && failure.entry.as_ref().is_some_and(|entry| entry.index.is_none())
}

fn of_damage(damage: Damage) -> Option<Advice> {
    match damage {
        Damage::Truncated => Some(Advice::FetchAgain),
        Damage::Corrupt => Some(Advice::CompareDigest),
        Damage::Memory => Some(Advice::SmallerWindow),
        Damage::TrailingGarbage => None,
        Damage::NotThisFormat => Some(Advice::DetectCompression),
    }
}

fn of_refusal(refusal: Refusal) -> Option<Advice> {
    match refusal {
        Refusal::Uid => Some(Advice::MapUser),
        Refusal::Gid => Some(Advice::MapGroup),
        Refusal::DirectoryConflict => Some(Advice::AllowConflict),
        Refusal::HeaderOnlySize => Some(Advice::AllowSizes),
        _ => None,
    }
}

fn of_errno(failure: &Failure, confinement: Option<&Confinement>, errno: Errno) -> Option<Advice> {
    let operation = failure.operation.as_ref();
    // What the process lacks, whatever it was doing.
    if let Some(scarce) = Advice::of_open_files(errno as i32).or((errno == Errno::ENOMEM).then_some(Advice::Memory)) {
        return Some(scarce);
    }
    if operation.is_some_and(|operation| operation.purpose == Purpose::Beneath) {
        return Some(Advice::Landlock);
    }
    if errno == Errno::ENOENT && operation.is_some_and(|operation| operation.purpose == Purpose::Landing) {
        return Some(Advice::NoSuchDirectory);
    }
    match failure.stage {
        Stage::Enter => of_entering(operation?, errno),
        // No file has anything to do with it.
        Stage::Confine if errno == Errno::EPERM => Some(Advice::AllowCall),
        Stage::Read => of_reading(errno),
        // What is packed is never written.
        Stage::Walk => match errno {
            Errno::EACCES => Some(Advice::Permission),
            errno => of_storage(operation, errno),
        },
        // These would speak of the root, and the archive goes elsewhere; without a call nothing has failed on a disk.
        Stage::Write => match errno {
            Errno::ENOSPC | Errno::EDQUOT | Errno::EROFS => None,
            Errno::EIO if operation.is_none() => None,
            errno => of_storage(operation, errno),
        },
        _ => operation
            .and_then(|operation| of_privilege(operation, confinement, errno))
            .or_else(|| of_storage(operation, errno))
            .or_else(|| of_path(operation, errno)),
    }
}

fn of_entering(operation: &Operation, errno: Errno) -> Option<Advice> {
    let new_user = operation.on == Operand::Namespace(Namespace::User);
    match (operation.call, errno) {
        _ if operation.purpose == Purpose::Owners => Some(Advice::AskNoOwners),
        _ if operation.purpose == Purpose::Walls => Some(Advice::KeepWalls),
        (Call::Openat, Errno::ENOENT | Errno::ENOTDIR) if is_in_proc(&operation.on) => Some(Advice::MountProc),
        (Call::Openat | Call::Fchdir, Errno::EACCES) => Some(Advice::Permission),
        (Call::Unshare, Errno::EPERM) if new_user => Some(Advice::AllowUserNamespaces),
        (Call::Unshare, Errno::ENOSPC | Errno::EUSERS) => Some(Advice::MoreNamespaces),
        (_, Errno::EPERM | Errno::EACCES) if operation.purpose == Purpose::InNewNamespace => {
            Some(Advice::PowerlessNamespace)
        }
        (Call::Unshare | Call::Mount | Call::OpenTree, Errno::EPERM) => Some(Advice::MountRights),
        (Call::Chroot, Errno::EPERM) => Some(Advice::ChrootRight),
        // In a chroot, whose root is the root of no mount, already the first call.
        (Call::PivotRoot, _) | (Call::Mount, Errno::EINVAL) => Some(Advice::OtherIsolation),
        (Call::Write, Errno::EPERM) if operation.purpose == Purpose::MapOfRoot => Some(Advice::ChrootRight),
        (Call::Write | Call::Openat, Errno::EPERM | Errno::EINVAL) => Some(Advice::SubordinateIds),
        _ => None,
    }
}

fn is_in_proc(on: &Operand) -> bool {
    matches!(on, Operand::Name { name, .. } if name.starts_with(b"/proc/"))
}

fn of_reading(errno: Errno) -> Option<Advice> {
    match errno {
        Errno::EISDIR => Some(Advice::NoDirectory),
        Errno::EBADF => Some(Advice::OpenForReading),
        Errno::EIO => Some(Advice::ArchiveDisk),
        _ => None,
    }
}

fn of_privilege(operation: &Operation, confinement: Option<&Confinement>, errno: Errno) -> Option<Advice> {
    match (operation.call, operation.purpose, errno) {
        (_, Purpose::Unchangeable, Errno::EPERM) => Some(Advice::Immutable),
        (_, Purpose::Mark { trusted: true }, Errno::EPERM | Errno::ENOENT) => Some(Advice::UserMarks),
        (_, Purpose::Mark { .. }, Errno::EPERM | Errno::EOPNOTSUPP) => Some(Advice::MarksUnsupported),
        (_, Purpose::SetId, Errno::EPERM) => Some(Advice::SetIdForbidden),
        (Call::Mknodat, Purpose::Device, Errno::EPERM) => Some(Advice::LeaveDevices),
        (Call::Mknodat | Call::Symlinkat, _, Errno::EPERM) => Some(Advice::NoSpecialFiles),
        (Call::Linkat, _, Errno::EPERM) => Some(Advice::NoLinks),
        (Call::Linkat, _, Errno::EXDEV) => Some(Advice::LinkAcross),
        (Call::Fchown | Call::Fchownat, _, Errno::EINVAL) if is_refused_a_map(confinement) => Some(Advice::RefusedMap),
        (Call::Fchown | Call::Fchownat, _, Errno::EINVAL) => Some(Advice::UnmappedOwner),
        (Call::Fchown | Call::Fchownat, _, Errno::EPERM) if has(confinement, "CAP_CHOWN") => Some(Advice::NoOwners),
        (Call::Fchown | Call::Fchownat, _, Errno::EPERM) => Some(Advice::KeepOwner),
        (Call::Fsetxattr, _, Errno::EOPNOTSUPP) => Some(Advice::SoftAttributes),
        (Call::Fsetxattr, _, Errno::ENOSPC | Errno::E2BIG | Errno::ERANGE) => Some(Advice::LargeAttributes),
        (Call::Fsetxattr, _, Errno::EPERM) => Some(Advice::LeaveAttributes),
        (_, _, Errno::EPERM) => Some(Advice::Forbidden),
        _ => None,
    }
}

fn is_refused_a_map(confinement: Option<&Confinement>) -> bool {
    confinement.is_some_and(|confinement| confinement.map_refusal.is_some())
}

/// Whether the kernel cannot have meant that this capability is wanting.
fn has(confinement: Option<&Confinement>, capability: &str) -> bool {
    confinement.is_some_and(|confinement| {
        confinement.user_namespace.is_none() && confinement.capabilities.iter().any(|name| name == capability)
    })
}

fn of_storage(operation: Option<&Operation>, errno: Errno) -> Option<Advice> {
    match errno {
        Errno::ENOSPC => Some(Advice::Space),
        Errno::EDQUOT => Some(Advice::Quota),
        Errno::EROFS => Some(Advice::ReadOnly),
        Errno::EIO => Some(Advice::Disk),
        Errno::EFBIG => Some(Advice::FileSize),
        Errno::EMLINK => Some(Advice::Links),
        Errno::EBUSY if operation.is_some_and(|operation| operation.call == Call::Unlinkat) => Some(Advice::Busy),
        _ => None,
    }
}

/// Bytes of one component that nearly every file system takes.
const COMPONENT: usize = 255;

fn of_path(operation: Option<&Operation>, errno: Errno) -> Option<Advice> {
    let call = operation.map(|operation| operation.call);
    let short =
        || matches!(operation, Some(Operation { on: Operand::Name { name, .. }, .. }) if name.len() <= COMPONENT);
    match errno {
        Errno::ENAMETOOLONG if call == Some(Call::Symlinkat) && short() => Some(Advice::LongTarget),
        // What exFAT says of a name that is no UTF-8 is the last.
        Errno::EINVAL | Errno::EILSEQ | Errno::EOVERFLOW
            if matches!(call, Some(Call::Openat | Call::Mkdirat | Call::Symlinkat)) =>
        {
            Some(Advice::ForeignName)
        }
        Errno::ENOTDIR => Some(Advice::NotADirectory),
        Errno::ELOOP => Some(Advice::Symlinks),
        Errno::ENAMETOOLONG => Some(Advice::LongName),
        Errno::EACCES => Some(Advice::Permission),
        Errno::EEXIST | Errno::ENOENT | Errno::ENOTEMPTY => Some(Advice::Disturbed),
        // Said by the kernel, it is as often a server's that has forgotten a file.
        Errno::ESTALE => Some(Advice::DisturbedOrUnstable),
        _ => None,
    }
}
