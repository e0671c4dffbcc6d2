//! Advice in a sentence that fits every program: what is so, and what to look at; never an option of a command line.

use super::looks_like::remedy;
use crate::report::{Advice, Limit};
use std::fmt::{self, Display, Formatter};

impl Display for Advice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Advice::RaiseLimit(limit) => return raise(f, *limit),
            Advice::OtherFormat(looks_like) => remedy(*looks_like),
            Advice::AllowEmpty => "what should have written it may have failed; an empty archive can be allowed",
            Advice::MakeRoot => "make the directory first (mkdir -p), or have it made together with what is in it",
            Advice::MakeParent => "the directory that it goes into must be there: make it first (mkdir -p)",
            Advice::FetchAgain => "the download or copy was cut short; get the archive again",
            Advice::CompareDigest => "get the archive again and compare its digest",
            Advice::SmallerWindow => {
                "its window is larger than the 128 MiB that are decoded here: compress it with a smaller one, or \
                 decompress it first (zstd -d -M2048MB, xz -d)"
            }
            Advice::DetectCompression => "the format can be found out from the data",
            Advice::ClampNames => "such names can be kept inside",
            Advice::AllowMounts => "unmount it, leave such entries out, or allow mounts to be crossed",
            Advice::CrossMounts => "unmount it, or allow mounts to be crossed",
            Advice::Unmount => "unmount it, or leave such entries out",
            Advice::AttributeName => "Linux has no attribute with a longer name, so nobody can have had this one",
            Advice::AttributeValue => {
                "Linux has no larger attributes; raise Limits::xattr_bytes to read them, and leave attributes out"
            }
            Advice::Patterns => "look at the patterns that select entries",
            Advice::TargetFirst => {
                "a hardlink must come after its target; the target may be in a lower layer or be left out"
            }
            Advice::MapUser => "add a range to the map of users, or choose another owner",
            Advice::MapGroup => "add a range to the map of groups, or choose another owner",
            Advice::AllowConflict => {
                "remove what is there first: in a copy, and where Options::no_overwrite_dir_nondir is set, neither \
                 takes the other's place"
            }
            Advice::AllowSizes => "strict sizes were asked for; else it is taken, with a warning",
            Advice::AllowNamespaces => {
                "lower directories take CAP_SYS_ADMIN, the caller's or a user namespace's, and in a container a \
                 seccomp and AppArmor profile that permit unshare and mount"
            }
            Advice::GiveLowers => "it is in the lower directories of that overlay; name them",
            Advice::Report => "this is a bug of untar-in-root; please report it",
            _ => return elsewhere(f, *self),
        })
    }
}

/// What is so on this machine.
fn elsewhere(f: &mut Formatter<'_>, advice: Advice) -> fmt::Result {
    f.write_str(match advice {
        Advice::AllowUserNamespaces => {
            "user namespaces are forbidden here (sysctl kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns; in a container its seccomp profile), or this process is \
             in a chroot; a weaker isolation may do without one"
        }
        Advice::MountProc => {
            "nothing is mounted at /proc, without which no user namespace can be mapped: mount it (mount -t proc \
             proc /proc)"
        }
        Advice::PowerlessNamespace => {
            "the user namespace that was made gives no rights here (sysctl \
             kernel.apparmor_restrict_unprivileged_userns, or a filter on system calls); allow it by a profile, or \
             do without it"
        }
        Advice::MoreNamespaces => {
            "too many namespaces; see sysctl user.max_user_namespaces and user.max_mnt_namespaces"
        }
        Advice::AllowCall => {
            "a filter on system calls (SystemCallFilter= of systemd, a container's seccomp profile) or a security \
             module forbids this call, which it must allow"
        }
        Advice::MountRights => {
            "that takes CAP_SYS_ADMIN, the caller's or a user namespace's, and in a container a seccomp and AppArmor \
             profile that permit it"
        }
        Advice::ChrootRight => {
            "neither a user namespace nor CAP_SYS_CHROOT is to be had here: allow the one (sysctl \
             kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns; in a container its \
             seccomp profile), grant the other, or do without a new root, which is weaker"
        }
        Advice::AskNoOwners => {
            "owners were asked for, which takes a user namespace, and none is to be had here (sysctl \
             kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns, \
             user.max_user_namespaces; in a container its seccomp profile); without them all can belong to the caller"
        }
        Advice::KeepWalls => {
            "no user namespace is to be had here (sysctl kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns, user.max_user_namespaces; in a container its seccomp \
             profile), and without a new root neither Landlock nor the filter on system calls can be declined"
        }
        Advice::Landlock => {
            "without a new root that must be there: Linux 5.19 or later with landlock in `lsm=`, and where a filter \
             on system calls is around, landlock_*, openat2 and seccomp in it; or allow user namespaces (sysctl \
             kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns; in a container its \
             seccomp profile)"
        }
        Advice::OtherIsolation => "a chroot may be allowed",
        Advice::SubordinateIds => {
            "the map must lie within the caller's ranges in /etc/subuid and /etc/subgid, and newuidmap and newgidmap \
             (package uidmap or shadow-utils) be installed"
        }
        Advice::LayersInstead => {
            "run this under `unshare --map-root-user --map-auto`, or make a directory for each layer instead; where \
             user namespaces are forbidden, one of all layers is what can be made"
        }
        Advice::NoDirectory => "the archive is a directory",
        Advice::OpenForReading => "the archive is not open for reading",
        Advice::ArchiveDisk => "the disk that the archive is on is failing; look at dmesg",
        Advice::Disk => "the disk is failing; look at dmesg",
        Advice::LeaveDevices => {
            "devices cannot be made in a user namespace, without CAP_MKNOD, or where no mount of the helper's own \
             keeps them from being opened; they can be left out, or be empty files"
        }
        Advice::UnmappedOwner => {
            "this id has no mapping in the user namespace: give the user enough ids in /etc/subuid and /etc/subgid, or \
             choose another owner"
        }
        Advice::RefusedMap => {
            "the ids are not mapped in the user namespace, since a program that was to do it would \
             not"
        }
        Advice::KeepOwner => {
            "giving files away takes CAP_CHOWN, the caller's or a user namespace's; or keep the caller's own"
        }
        Advice::NoOwners => {
            "root may not give files away on this file system (vfat, CIFS, NFS with root_squash); keep the caller's own"
        }
        Advice::SoftAttributes => "not every file and file system has such attributes; that can be a warning",
        Advice::LargeAttributes => "the attributes are too large for this file system, or it is full",
        Advice::LeaveAttributes => "the caller may not set it; attributes can be left out",
        Advice::MarksUnsupported => {
            "this file system cannot hold overlayfs's attributes, without which whiteouts and opaque directories \
             are lost"
        }
        Advice::UserMarks => {
            "trusted attributes are set by root of the first user namespace only, and not on every file system \
             (fuse-overlayfs); overlayfs has user attributes for the others"
        }
        Advice::SetIdForbidden => {
            "set-uid and set-gid bits may be forbidden to this process by a filter (RestrictSUIDSGID= of systemd), or \
             this file system has none (vfat, exFAT)"
        }
        _ => return of_files(f, advice),
    })
}

fn of_files(f: &mut Formatter<'_>, advice: Advice) -> fmt::Result {
    f.write_str(match advice {
        Advice::Immutable => {
            "the file or its directory is immutable or append-only (lsattr shows it); chattr -i -a takes that off"
        }
        Advice::NoSpecialFiles => "this file system may have no symlinks and no FIFOs (vfat, exFAT)",
        Advice::NoLinks => {
            "this file system may have no hardlinks (vfat, exFAT), or the target is another's (sysctl \
             fs.protected_hardlinks)"
        }
        Advice::Forbidden => {
            "it may belong to another (in a sticky directory, or with an id that the user namespace lacks), or the \
             file system, a security module or a filter forbids it"
        }
        Advice::Space => "the file system of the root is full; look at its space (df) and its inodes (df -i)",
        Advice::StagingElsewhere => {
            "archives of images are unpacked there first: it must be there (mkdir -p), with room for all of it; or \
             choose another directory for staging"
        }
        Advice::Quota => "the owner's disk quota is used up",
        Advice::ReadOnly => "the file system of the root is mounted read-only",
        Advice::FileSize => "the file is too large for this file system or for `ulimit -f`",
        Advice::Links => "this file system allows no more links to one file",
        Advice::Memory => "out of memory; if it is limited, allow more",
        Advice::Descriptors => {
            "raise RLIMIT_NOFILE (`ulimit -n`, systemd's LimitNOFILE=): 64 are enough, and one more for each lower \
             directory"
        }
        Advice::FileTable => "the system's table of open files is full; see sysctl fs.file-max",
        Advice::Threads => "the limit of processes and threads (`ulimit -u`, pids.max) or of memory is reached",
        Advice::Busy => "something is mounted on it or uses it",
        Advice::LinkAcross => {
            "a hardlink cannot lead to another mount, nor to another project where the disk has quotas for those"
        }
        Advice::NoSuchDirectory => {
            "no such directory: of the destination of a copy only the last name may be missing, and where it ends \
             in / for a directory alone"
        }
        Advice::NotADirectory => "something in its path is not a directory",
        Advice::Symlinks => "its path leads through more than 40 symlinks",
        Advice::LongName => "a component of its name is longer than this file system allows",
        Advice::LongTarget => "its target is longer than a symlink can hold",
        Advice::ForeignName => {
            "this file system does not take such a name (vfat, exFAT: none with one of \"*:<>?\\|, and none that is no \
             UTF-8)"
        }
        Advice::Permission => "the caller has no permission there",
        Advice::Disturbed => "something else seems to be changing the destination meanwhile",
        _ => {
            "something else changes the destination meanwhile, or its file system has no stable inode numbers \
             (overlayfs over several file systems, FUSE, vfat, a network's)"
        }
    })
}

fn raise(f: &mut Formatter<'_>, limit: Limit) -> fmt::Result {
    const TRUSTED: &str = "if the archive can be trusted, raise Limits";
    let (before, field) = match limit {
        Limit::TotalBytes => (TRUSTED, "total_bytes"),
        Limit::FileBytes => (TRUSTED, "file_bytes"),
        Limit::Entries => (TRUSTED, "entries"),
        Limit::Ratio => ("likely a decompression bomb; if it can be trusted, raise Limits", "ratio"),
        Limit::Depth => ("raise Limits", "depth"),
        Limit::NameBytes => ("raise Limits", "name_bytes"),
        Limit::ExtendedHeaderBytes => ("raise Limits", "extended_header_bytes"),
        Limit::Xattrs => ("raise Limits", "xattrs"),
        Limit::XattrBytes => ("raise Limits", "xattr_bytes"),
        Limit::SparseRegions => ("raise Limits", "sparse_regions"),
        Limit::Hardlinks => ("raise Limits", "hardlinks"),
        Limit::Timeout => ("the source is slow or the archive large; raise ProcessLimits", "timeout"),
        Limit::Memory => ("raise ProcessLimits", "memory_bytes"),
        Limit::XattrName => return Advice::AttributeName.fmt(f),
    };
    write!(f, "{before}::{field}")
}
