//! Gives up rights, for good, before a byte of the archive is read: `capabilities(7)`, `PR_SET_NO_NEW_PRIVS`.

use super::landlock::{self, Paths, Restricted};
use super::root::Inside;
use super::seccomp::{self, Reach};
use crate::helper::fault::{Attempt, Fault, Result};
use crate::marks;
use crate::options::{Isolation, Jail, Mode, Mounts, Options, OverlayPrefix, Owner, UserNamespace, Wall};
use crate::report::{Call, Confinement, Purpose, RootSwitch};
use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sched::sched_getaffinity;
use nix::sys::prctl;
use nix::unistd::{Pid, setgroups};
use std::os::fd::OwnedFd;

/// Proof that rights have been given up; made only by [`drop_privileges`].
pub(crate) struct Confined {
    /// `/`, opened for reading.
    pub(crate) root: OwnedFd,
    pub(crate) report: Confinement,
    /// Files may take another group than the helper's even outside set-gid directories.
    pub(crate) group_from_directory: bool,
    /// Who the files that the helper makes belong to.
    pub(crate) own: (u32, u32),
    /// Processors that this process may use.
    pub(crate) processors: usize,
    /// Lower layers of overlay mode, detached and read-only.
    pub(crate) lowers: Vec<OwnedFd>,
    /// Overlay's marks go into `trusted.`; else `user.`.
    pub(crate) trusted_marks: bool,
    /// They would go into `trusted.`, but cannot be set there on this file system or by this process.
    pub(crate) marks_fell_back: bool,
    _made_here: (),
}

/// Keeps what the options need and nothing else. `initial`: this is the first user namespace, if that matters.
pub(crate) fn drop_privileges(inside: Inside, options: &Options, initial: bool) -> Result<Confined> {
    let groups_cleared = match setgroups(&[]) {
        Ok(()) => true,
        Err(_) => nix::unistd::getgroups().is_ok_and(|groups| groups.is_empty()),
    };
    let beneath = inside.switch == RootSwitch::Beneath;
    let wanted = initial && !beneath && wants_trusted_marks(&options.mode);
    let trusted_marks = asks_for_trusted_marks(&options.mode) || wanted && marks::can_be_trusted(&inside.root);
    let marks_fell_back = wanted && !trusted_marks;
    let none = options.list || beneath;
    let needed = if none { CapsHashSet::new() } else { needed(options, trusted_marks, inside.nodev) };
    let capabilities = reduce_capabilities(&needed)?;
    prctl::set_no_new_privs().call(Call::Prctl, || "PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0")?;
    let own = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    // std's own count reads /proc and /sys, which must not be looked for inside the root.
    let processors = sched_getaffinity(Pid::from_raw(0))
        .map_or(1, |set| (0..nix::sched::CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count());
    let no_new_privs = prctl::get_no_new_privs().unwrap_or(false);
    let (landlock, seccomp) = walls(&options.jail, &inside)?;
    let Inside { root, lowers, switch, fallback, mount_restricted, mounts_below, below, group_from_directory, .. } =
        inside;
    let report = Confinement {
        root: switch,
        fallback,
        mount_restricted,
        mounts_below,
        mounts: below,
        capabilities: names(&capabilities),
        groups_cleared,
        no_new_privs,
        seccomp,
        landlock_abi: landlock.abi,
        landlock_paths: landlock.paths,
        ..Confinement::default()
    };
    Ok(Confined {
        root,
        own,
        processors,
        lowers,
        report,
        group_from_directory,
        trusted_marks,
        marks_fell_back,
        _made_here: (),
    })
}

/// Landlock and the filter. Where no root is entered they are what there is, and required unless the filter was declined:
/// what Landlock does not bind (owner, mode, times, attributes) the filter alone does.
fn walls(jail: &Jail, inside: &Inside) -> Result<(Restricted, bool)> {
    let sandbox = jail.sandbox;
    let beneath = inside.switch == RootSwitch::Beneath;
    let meant = |fault: Fault| if beneath { fault.meant(Purpose::Beneath) } else { fault };
    let paths = match inside.switch {
        RootSwitch::Beneath => Paths::Alone,
        RootSwitch::Pivot if !sandbox.landlock_paths => Paths::None,
        _ => Paths::Inside,
    };
    let landlock = landlock::restrict(sandbox.landlock, &inside.root, &inside.lowers, paths).map_err(meant)?;
    let cross_mounts = jail.mounts == Mounts::Cross;
    let reach = if beneath { Reach::Beneath { cross_mounts } } else { Reach::Root };
    let filter = if beneath && sandbox.seccomp == Wall::BestEffort { Wall::Required } else { sandbox.seccomp };
    let seccomp = seccomp::restrict(filter, reach).map_err(meant)?;
    Ok((landlock, seccomp))
}

/// The capabilities that applying entries with these options takes. Where a device could be used, none is made:
/// the policy for devices then applies.
fn needed(options: &Options, trusted_marks: bool, nodev: bool) -> CapsHashSet {
    let mut set = CapsHashSet::from([Capability::CAP_DAC_OVERRIDE, Capability::CAP_FOWNER, Capability::CAP_FSETID]);
    set.insert(Capability::CAP_SETFCAP);
    if nodev {
        set.insert(Capability::CAP_MKNOD);
    }
    if options.owner != Owner::Caller {
        set.insert(Capability::CAP_CHOWN);
    }
    if options.trusted_xattrs || options.security_xattrs || trusted_marks {
        set.insert(Capability::CAP_SYS_ADMIN);
    }
    set
}

/// They are wanted, if this is the first user namespace.
pub(crate) fn wants_trusted_marks(mode: &Mode) -> bool {
    matches!(mode, Mode::Overlay(overlay) if overlay.prefix != OverlayPrefix::User)
}

fn asks_for_trusted_marks(mode: &Mode) -> bool {
    matches!(mode, Mode::Overlay(overlay) if overlay.prefix == OverlayPrefix::Trusted)
}

/// All five sets, to those of `wanted` that are held, which it returns. The order matters: the bounding set can be
/// reduced only while CAP_SETPCAP is effective. Sets are read as rarely as can be: the crate hashes 41 names for it.
fn reduce_capabilities(wanted: &CapsHashSet) -> Result<CapsHashSet> {
    let mut keep = CapsHashSet::new();
    for capability in wanted {
        if has(CapSet::Permitted, *capability)? {
            keep.insert(*capability);
        }
    }
    if has(CapSet::Permitted, Capability::CAP_SETPCAP)? {
        for capability in caps::all().difference(&keep) {
            // Capabilities that this kernel does not have cannot be dropped and need not be.
            if caps::drop(None, CapSet::Bounding, *capability).is_err()
                && caps::has_cap(None, CapSet::Bounding, *capability).unwrap_or(false)
            {
                let arguments = format!("PR_CAPBSET_DROP, {capability}");
                return Err(Fault::os(Errno::EPERM, Call::Prctl, arguments));
            }
        }
    }
    // Kernels before 4.3 have no ambient set.
    if caps::runtime::ambient_set_supported().is_ok() {
        caps::clear(None, CapSet::Ambient)
            .map_err(|_| Fault::os(Errno::EPERM, Call::Prctl, "PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0"))?;
    }
    let none = CapsHashSet::new();
    for (set, wanted) in [(CapSet::Inheritable, &none), (CapSet::Effective, &keep), (CapSet::Permitted, &keep)] {
        caps::set(None, set, wanted).map_err(|_| refused(Call::Capset))?;
    }
    for set in [CapSet::Effective, CapSet::Permitted] {
        if caps::read(None, set).map_err(|_| refused(Call::Capget))? != keep {
            return Err(refused(Call::Capget));
        }
    }
    Ok(keep)
}

fn has(set: CapSet, capability: Capability) -> Result<bool> {
    caps::has_cap(None, set, capability).map_err(|_| refused(Call::Capget))
}

/// The crate does not say the error number; the kernel's only one here is EPERM.
fn refused(call: Call) -> Fault {
    Fault::os(Errno::EPERM, call, "<header>, <data>")
}

fn names(set: &CapsHashSet) -> Vec<String> {
    let mut names: Vec<String> = set.iter().map(ToString::to_string).collect();
    names.sort();
    names
}

/// Whether nothing is wanting for the strongest switch of root, and for the owners of what is made there.
pub(crate) fn can_enter() -> bool {
    let needed = [Capability::CAP_SYS_ADMIN, Capability::CAP_SYS_CHROOT, Capability::CAP_CHOWN];
    needed.into_iter().all(holds)
}

/// Whether a user namespace of our own can be done without: a chroot takes one capability, as it is there in any container.
pub(crate) fn can_do_without_namespace(isolation: Isolation) -> bool {
    holds(if isolation == Isolation::Pivot { Capability::CAP_SYS_ADMIN } else { Capability::CAP_SYS_CHROOT })
}

/// Whether no root need be entered where none can be: by whoever is not root, and asks for nothing that takes rights.
pub(crate) fn may_stay_beneath(options: &Options) -> bool {
    may_stay_but_for_owners(options) && !asks_for_owners(options)
}

/// Whether the owners that are asked for are why a root must be entered.
pub(crate) fn enters_for_owners(options: &Options) -> bool {
    may_stay_but_for_owners(options) && asks_for_owners(options)
}

fn asks_for_owners(options: &Options) -> bool {
    !matches!(options.owner, Owner::Archive | Owner::Caller)
}

fn may_stay_but_for_owners(options: &Options) -> bool {
    let jail = &options.jail;
    jail.isolation == Isolation::Auto
        && jail.user_namespace == UserNamespace::Auto
        && jail.sandbox.landlock != Wall::Off
        && !nix::unistd::geteuid().is_root()
}

/// Whether the parent, which has the helper's rights, may map uid 0 of the outer namespace: since Linux 5.12 that takes one of
/// its own. The helper of a root without it would have no id in its namespace, and no way back.
pub(crate) fn can_be_mapped() -> bool {
    !nix::unistd::geteuid().is_root() || holds(Capability::CAP_SETFCAP)
}

/// Whether `trusted.*` attributes may be set, but for the user namespace.
pub(crate) fn can_set_trusted() -> bool {
    holds(Capability::CAP_SYS_ADMIN)
}

fn holds(capability: Capability) -> bool {
    has(CapSet::Effective, capability).unwrap_or(false)
}
