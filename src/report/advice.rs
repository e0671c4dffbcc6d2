//! What may help against a failure: a value to decide by, apart from the fact.

#[cfg(target_os = "linux")]
mod decide;

use super::{Confinement, Failure, Limit, LooksLike};
use crate::kind::ErrorKind;
use std::io;

/// What may help, where that is known. `Display` says it in a sentence that fits every program; which of its own options
/// it comes to is the program's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Advice {
    /// The archive was cut short: get it again.
    FetchAgain,
    /// What it looks like is no tar archive, but can perhaps be made one.
    OtherFormat(LooksLike),
    /// What should have written the archive may have failed; without [`Options::refuse_empty`](crate::Options::refuse_empty)
    /// it is taken.
    AllowEmpty,
    /// The destination must be there: make it, or have it made whole ([`Untar::atomic`](crate::Untar::atomic)).
    MakeRoot,
    /// The directory that the result is to appear in must be there.
    MakeParent,
    /// The archive is damaged: get it again and compare its digest.
    CompareDigest,
    /// The compressed stream needs more memory than there is.
    SmallerWindow,
    /// Let the format be found out: [`Compression::Detect`](crate::Compression::Detect).
    DetectCompression,
    /// Keep what climbs above the destination inside: [`EscapingNames::Clamp`](crate::EscapingNames::Clamp).
    ClampNames,
    /// Unmount what is there, leave it out or enter it: [`Jail::mounts`](crate::Jail::mounts).
    AllowMounts,
    /// What was named to be packed is mounted there: unmount it or enter it, [`Mounts::Cross`](crate::Mounts::Cross).
    CrossMounts,
    /// If the archive can be trusted, raise the limit.
    RaiseLimit(Limit),
    /// No limit of this program: Linux has no longer names of attributes.
    AttributeName,
    /// No limit of this program alone: Linux has no larger attributes. They can be read and left out.
    AttributeValue,
    /// Look at the patterns: [`Options::include`](crate::Options::include), [`Options::exclude`](crate::Options::exclude).
    Patterns,
    /// The target of a hardlink must come before it.
    TargetFirst,
    /// The map of users, or that of groups, lacks the owner: [`Options::owner`](crate::Options::owner).
    MapUser,
    /// The map of groups lacks it.
    MapGroup,
    /// [`Options::no_overwrite_dir_nondir`](crate::Options::no_overwrite_dir_nondir) forbids it.
    AllowConflict,
    /// Without [`Options::strict_sizes`](crate::Options::strict_sizes) it is an event.
    AllowSizes,
    /// Lower directories need a mount namespace.
    AllowNamespaces,
    /// What the attribute speaks of is in lower directories: [`Diff::lowers`](crate::Diff::lowers).
    GiveLowers,
    /// Unprivileged user namespaces are forbidden here.
    AllowUserNamespaces,
    /// A user namespace was needed, and without `/proc` none can be mapped.
    MountProc,
    /// The user namespace that was made gives no rights.
    PowerlessNamespace,
    /// Too many namespaces.
    MoreNamespaces,
    /// It takes `CAP_SYS_ADMIN`, which a user namespace would give.
    MountRights,
    /// No user namespace was made, and `CAP_SYS_CHROOT` is wanting.
    ChrootRight,
    /// Owners were asked for, which takes a user namespace; without them [`Isolation::Beneath`](crate::Isolation::Beneath)
    /// is what there is.
    AskNoOwners,
    /// Landlock or the filter on system calls was declined; with both [`Isolation::Beneath`](crate::Isolation::Beneath) is
    /// what there is.
    KeepWalls,
    /// Where no root can be entered Landlock and the filter on system calls are what there is.
    Landlock,
    /// Another way into the root may be allowed: [`Isolation::Auto`](crate::Isolation::Auto).
    OtherIsolation,
    /// The map goes beyond what the caller may map.
    SubordinateIds,
    /// A store of layers is root's: make a directory for each layer, `image::Unpack::layers`.
    LayersInstead,
    /// The archive is a directory.
    NoDirectory,
    /// The archive is not open for reading.
    OpenForReading,
    /// The disk of the archive is failing.
    ArchiveDisk,
    /// The disk of the destination is failing.
    Disk,
    /// Devices need `CAP_MKNOD` in the first user namespace: [`Options::devices`](crate::Options::devices).
    LeaveDevices,
    /// The id is not mapped in the user namespace.
    UnmappedOwner,
    /// The same, since a program that maps ids would not: [`Confinement::map_refusal`](crate::Confinement::map_refusal).
    RefusedMap,
    /// Only root may give files away: [`Options::owner`](crate::Options::owner).
    KeepOwner,
    /// Root may not give files away here: [`Options::owner`](crate::Options::owner).
    NoOwners,
    /// The file system has no such attributes: [`Options::xattrs`](crate::Options::xattrs).
    SoftAttributes,
    /// The attributes are too large for the file system.
    LargeAttributes,
    /// The caller may not set the attribute.
    LeaveAttributes,
    /// Overlay mode needs a file system that holds overlayfs's attributes.
    MarksUnsupported,
    /// `trusted.*` marks are the first user namespace's, and not to be had on every file system: [`OverlayPrefix::User`](crate::OverlayPrefix::User).
    UserMarks,
    /// The file or its directory is immutable or append-only.
    Immutable,
    /// The file system may have no symlinks, FIFOs or sockets.
    NoSpecialFiles,
    /// The file system may have no hardlinks, or a rule of the system's forbids this one.
    NoLinks,
    /// It belongs to another, or something forbids it that the kernel does not name.
    Forbidden,
    /// Set-id bits may be forbidden to this process.
    SetIdForbidden,
    /// The file system is full.
    Space,
    /// There is no room where an archive of an image is unpacked first: another directory for staging.
    StagingElsewhere,
    /// The owner's quota is used up.
    Quota,
    /// The file system is mounted read-only.
    ReadOnly,
    /// The file is too large for the file system or the process.
    FileSize,
    /// The file system allows no more links to one file.
    Links,
    /// A filter on system calls, or a security module, keeps back a call that giving up rights takes.
    AllowCall,
    /// Memory is out.
    Memory,
    /// Descriptors are out.
    Descriptors,
    /// The system's open files are out.
    FileTable,
    /// Processes and threads are out.
    Threads,
    /// Something is mounted on it: unmount that, or leave it out ([`Mounts::Skip`](crate::Mounts::Skip)).
    Unmount,
    /// Something uses it.
    Busy,
    /// A hardlink ends at its mount, and at its project where the disk has quotas for those.
    LinkAcross,
    /// The destination of a copy is in no directory that is there, or is to be one itself and is not there.
    NoSuchDirectory,
    /// Something in the path is not a directory.
    NotADirectory,
    /// The path leads through too many symlinks.
    Symlinks,
    /// A component of the name is too long for the file system.
    LongName,
    /// The target of a symlink is too long.
    LongTarget,
    /// The file system does not take such a name.
    ForeignName,
    /// The caller has no permission.
    Permission,
    /// Something else seems to be changing the destination.
    Disturbed,
    /// Something else changes it, or the file system has no stable inode numbers.
    DisturbedOrUnstable,
    /// A bug of this library.
    Report,
}

impl Advice {
    /// What may help a call that failed for want of open files: `EMFILE` and `ENFILE` of `errno(3)`, `None` for every
    /// other error number.
    #[must_use]
    pub fn of_open_files(errno: i32) -> Option<Advice> {
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        match errno {
            EMFILE => Some(Advice::Descriptors),
            ENFILE => Some(Advice::FileTable),
            _ => None,
        }
    }

    /// What may help a call of the parent's that failed. A helper, a thread or a pipe that could not be made is a matter of
    /// the machine and not of the root.
    pub(crate) fn of_parent(error: &io::Error, kind: ErrorKind) -> Option<Advice> {
        let files = error.raw_os_error().and_then(Advice::of_open_files);
        files.or(match error.kind() {
            io::ErrorKind::WouldBlock if kind == ErrorKind::Helper => Some(Advice::Threads),
            io::ErrorKind::OutOfMemory if kind == ErrorKind::Helper => Some(Advice::Memory),
            _ => None,
        })
    }
}

impl Failure {
    /// What may help, where that is known. [`Error::advice`](crate::Error::advice) knows more: how the helper was
    /// confined.
    #[must_use]
    pub fn advice(&self) -> Option<Advice> {
        self.advice_within(None)
    }

    pub(crate) fn advice_within(&self, confinement: Option<&Confinement>) -> Option<Advice> {
        #[cfg(target_os = "linux")]
        return decide::advice(self, confinement);
        #[cfg(not(target_os = "linux"))]
        {
            let _ = confinement;
            None
        }
    }
}
