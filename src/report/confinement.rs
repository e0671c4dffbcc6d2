//! What confines the helper.

use super::Operation;
use serde::{Deserialize, Serialize};

/// What confines the helper, as the kernel confirmed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Confinement {
    /// Which switch of root is in force.
    pub root: RootSwitch,
    /// The step that kept a stronger switch from being used, and its error number.
    pub fallback: Option<Fallback>,
    /// The caller's root was the first mount of all, as in an initramfs, with which `pivot_root(2)` changes no places before
    /// Linux 7: the new root was laid over it and pivoted there. What is in the first mount stays below, out of reach.
    pub over_first_mount: bool,
    /// The root's mount is nosuid, nodev and noexec.
    pub mount_restricted: bool,
    /// Mount points below the root, relative to it.
    pub mounts_below: Vec<Vec<u8>>,
    /// What the helper can see of them.
    pub mounts: MountsBelow,
    /// The helper's user namespace, if it made one.
    pub user_namespace: Option<UserNamespaceReport>,
    /// Why fewer ids are mapped in it than the caller has, or has asked for.
    pub map_refusal: Option<MapRefusal>,
    /// Capabilities that remain, by name.
    pub capabilities: Vec<String>,
    /// Supplementary groups are gone.
    pub groups_cleared: bool,
    /// `no_new_privs` is set.
    pub no_new_privs: bool,
    /// The seccomp filter is in force.
    pub seccomp: bool,
    /// The Landlock ABI in force, if one is.
    pub landlock_abi: Option<u32>,
    /// Landlock's path rules are in force.
    pub landlock_paths: bool,
}

/// A set-uid program that maps ids has not done so: `newuidmap(1)`, `newgidmap(1)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MapRefusal {
    /// Which.
    pub program: String,
    /// What it said, at most 1 KiB; how it ended, if it said nothing.
    pub words: String,
    /// `no_new_privs` is set in the caller: it takes a set-uid program's rights away.
    pub no_new_privs: bool,
}

/// What the helper can see of what is mounted below its root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MountsBelow {
    /// Nothing: something empty and read-only lies over each, if there are any.
    #[default]
    Covered,
    /// All of it: mounts may be crossed, or there is no mount namespace in which they could be covered.
    InSight,
    /// Neither `/proc` nor the kernel could be asked whether there are any.
    Unknown,
}

/// How the helper's root was switched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RootSwitch {
    /// No root has been entered yet.
    #[default]
    None,
    /// `pivot_root(2)`, the old root detached; or below, if it is the first mount ([`Confinement::over_first_mount`]).
    Pivot,
    /// `chroot(2)` in a mount namespace of its own.
    ChrootInNamespace,
    /// `chroot(2)` alone.
    Chroot,
    /// None: Landlock's path rules, and steps beneath open directories ([`Isolation::Beneath`](crate::Isolation::Beneath)).
    Beneath,
}

/// Why a stronger switch of root is not in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Fallback {
    /// The call that failed, or was not tried.
    pub operation: Operation,
    /// Its error number; `None` if the caller asked for the weaker switch, so that it was not tried.
    pub errno: Option<i32>,
}

/// The helper's own user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserNamespaceReport {
    /// User ids, as the kernel shows the map.
    pub uids: Vec<crate::options::IdRange>,
    /// Group ids, as the kernel shows the map.
    pub gids: Vec<crate::options::IdRange>,
}
