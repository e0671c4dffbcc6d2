//! What a helper is confined to, whatever it does in there.

use super::IdRange;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a helper is confined to, whatever it does in there: the root, what it sees of it, and what it may cost the
/// machine.
///
/// The default is as strict as the machine allows, with neither time nor memory bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Jail {
    /// How the root is entered.
    pub isolation: Isolation,
    /// Whether the helper makes a user namespace of its own.
    pub user_namespace: UserNamespace,
    /// What becomes of file systems mounted below the root.
    pub mounts: Mounts,
    /// seccomp and Landlock.
    pub sandbox: Sandbox,
    /// Bounds on the process, whatever the archive is.
    pub limits: ProcessLimits,
}

/// What becomes of file systems that are mounted below the root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Mounts {
    /// An entry that leads into one is [`Cause::CrossesMount`](crate::Cause::CrossesMount), and they are covered, so
    /// that a helper that was taken over reaches nothing there. See
    /// [`Confinement::mounts`](crate::Confinement::mounts).
    #[default]
    Refuse,
    /// They are covered too, and what leads into one or is in its way is left out, each entry with an event
    /// ([`EventKind::MountSkipped`](crate::EventKind::MountSkipped)): the run goes on. Removing a directory that has one
    /// below it, as a whiteout or a file in its place does, leaves the mount point and what leads to it, and removes the rest.
    /// For a live root, with its `/proc` and single files mounted.
    Skip,
    /// They are entered and changed like the rest.
    Cross,
}

/// Bounds on the helper as a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcessLimits {
    /// Address space in bytes (`RLIMIT_AS`, `setrlimit(2)`); `None` is unlimited, the default. A cgroup that the
    /// caller is in holds for the helper, too.
    pub memory_bytes: Option<u64>,
    /// Wall time, a slow source's included; `None` is unlimited, the default. It is counted in whole milliseconds,
    /// rounded up.
    pub timeout: Option<Duration>,
}

impl ProcessLimits {
    /// The time limit as errors tell it, in milliseconds. A time above zero does not become zero.
    #[cfg(target_os = "linux")]
    pub(crate) fn timeout_ms(&self) -> Option<u64> {
        self.timeout.map(|time| u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }
}

/// How the root is entered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Isolation {
    /// The best that is there: `pivot_root(2)`, in a user namespace where that takes one
    /// ([`UserNamespace::Auto`]); else `chroot(2)`, as in an ordinary container; else, for a caller that is not root and
    /// asks for no owners, [`Isolation::Beneath`]. The reason is in the report.
    #[default]
    Auto,
    /// `pivot_root(2)` or failure.
    Pivot,
    /// `chroot(2)`, even where pivoting would work.
    Chroot,
    /// No new root, for a user without any right: every step is taken from an open directory with `openat2(2)`
    /// (`RESOLVE_BENEATH`, `RESOLVE_NO_MAGICLINKS`, and `RESOLVE_NO_XDEV` unless mounts are crossed), links are followed by
    /// this library itself, and no capability is kept. Landlock's path rules (Linux 5.19) and the filter on system calls
    /// are required: without them the run fails before the archive is read, whatever [`Sandbox`] says of
    /// [`Wall::BestEffort`]. A helper that was taken over writes nothing outside and reads nothing there, but can find out
    /// which names exist, and what `stat(2)` tells of them.
    ///
    /// All that is made belongs to the caller ([`Owner::Caller`](crate::Owner::Caller) is implied), without set-id bits
    /// and file capabilities, and symlinks and FIFOs have the time of the run: events, the first two and the last once
    /// ([`EventKind::CallersOwn`](crate::EventKind::CallersOwn), [`EventKind::LinksUntimed`](crate::EventKind::LinksUntimed)).
    /// Devices are not made. Directories of the caller's are writable for him until the run is over.
    /// [`Owner::Mapped`](crate::Owner::Mapped), [`Owner::Forced`](crate::Owner::Forced), a user namespace and
    /// [`Wall::Off`] for Landlock contradict it: [`ErrorKind::Options`](crate::ErrorKind::Options).
    Beneath,
}

/// Whether the helper makes a user namespace of its own (`user_namespaces(7)`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum UserNamespace {
    /// It makes one only if the caller lacks the capabilities to enter the root, and does without where none can be made
    /// and `CAP_SYS_CHROOT` is there, or no root need be entered ([`Isolation::Auto`]); ids come from `/etc/subuid` and
    /// `/etc/subgid` through `newuidmap` and `newgidmap` where those are there, else the caller's one id
    /// becomes root.
    #[default]
    Auto,
    /// It never makes one.
    Never,
    /// It makes one always, with the caller's one id as root and nothing else mapped.
    Single,
    /// It makes one always, with these maps. The kernel reads them in both directions, so no two ranges of one map may overlap, inside
    /// or outside: [`ErrorKind::Options`](crate::ErrorKind::Options).
    Mapped {
        /// User ids.
        uids: Vec<IdRange>,
        /// Group ids.
        gids: Vec<IdRange>,
    },
}

/// The second walls, behind the switched root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sandbox {
    /// The system-call filter, `seccomp(2)`.
    pub seccomp: Wall,
    /// `landlock(7)`.
    pub landlock: Wall,
    /// Landlock's path rules with the pivot too, where they add little and cost 2.5 µs a file.
    pub landlock_paths: bool,
}

/// How much one wall is insisted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Wall {
    /// The wall is in force where the kernel has it; the report says so.
    #[default]
    BestEffort,
    /// The wall is in force, or the run fails before the archive is read.
    Required,
    /// The wall is not asked for.
    Off,
}
