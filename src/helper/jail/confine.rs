//! Gives up rights, for good, before a byte of the archive is read: `capabilities(7)`, `PR_SET_NO_NEW_PRIVS`.

use super::landlock::{self, Paths, Restricted};
use super::right::{Read, Right, Write};
use super::root::Inside;
use super::seccomp::{self, Reach};
use crate::helper::fault::{Attempt, Fault, Result};
use crate::marks;
use crate::options::{Isolation, Jail, Mode, Mounts, Options, OverlayPrefix, Owner, UserNamespace, Wall};
use crate::report::{Call, Confinement, Purpose, RootSwitch};
use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::sched::sched_getaffinity;
use nix::sys::prctl;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{Pid, setgroups};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, remove_capability_from_bounding_set,
    set_capabilities,
};
use std::os::fd::OwnedFd;

/// Proof that rights have been given up but for this one; made only by [`drop_privileges`] and [`drop_to_reading`].
pub(crate) struct Confined<R> {
    /// `/`, opened for reading.
    pub(crate) root: OwnedFd,
    pub(crate) report: Confinement,
    /// Processors that this process may use.
    pub(crate) processors: usize,
    pub(crate) right: R,
    _made_here: (),
}

/// Keeps what the options need and nothing else. `initial`: this is the first user namespace, if that matters.
pub(crate) fn drop_privileges(inside: Inside<Write>, options: &Options, initial: bool) -> Result<Confined<Write>> {
    let beneath = inside.switch == RootSwitch::Beneath;
    let wanted = initial && !beneath && wants_trusted_marks(&options.mode);
    let trusted_marks = asks_for_trusted_marks(&options.mode) || wanted && marks::can_be_trusted(&inside.root);
    let none = options.list || beneath;
    let needed = if none { CapabilitySet::empty() } else { needed(options, trusted_marks, inside.nodev) };
    give_up(inside, &options.jail, needed, |inside| Write {
        group_from_directory: inside.group_from_directory,
        own: (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
        lowers: std::mem::take(&mut inside.lowers),
        trusted_marks,
        marks_fell_back: wanted && !trusted_marks,
    })
}

/// Keeps what reading any file takes, and for `trusted.*` attributes the right without which they are not even listed.
pub(crate) fn drop_to_reading(inside: Inside<Read>, jail: &Jail, trusted: bool) -> Result<Confined<Read>> {
    // In an ordinary container only the wider right is to be had; the mount, the filter and Landlock do not let it write.
    let mut needed = match holds(Capability::CAP_DAC_READ_SEARCH) {
        true => CapabilitySet::DAC_READ_SEARCH,
        false => CapabilitySet::DAC_OVERRIDE,
    };
    needed.set(CapabilitySet::SYS_ADMIN, trusted);
    if inside.switch == RootSwitch::Beneath {
        needed = CapabilitySet::empty();
    }
    give_up(inside, jail, needed, |inside| Read {
        covered: std::mem::take(&mut inside.covered),
        read_only: fstatvfs(&inside.root).is_ok_and(|s| s.flags().contains(FsFlags::ST_RDONLY)),
        lowers: std::mem::take(&mut inside.lowers),
    })
}

/// The walls, one after the other; what only this right finds is found behind them.
fn give_up<R: Right>(
    mut inside: Inside<R>,
    jail: &Jail,
    needed: CapabilitySet,
    right: impl FnOnce(&mut Inside<R>) -> R,
) -> Result<Confined<R>> {
    let groups_cleared = match setgroups(&[]) {
        Ok(()) => true,
        Err(_) => nix::unistd::getgroups().is_ok_and(|groups| groups.is_empty()),
    };
    let kept = reduce_capabilities(needed)?;
    prctl::set_no_new_privs().call(Call::Prctl, || "PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0")?;
    // std's own count reads /proc and /sys, which must not be looked for inside the root.
    let processors = sched_getaffinity(Pid::from_raw(0))
        .map_or(1, |set| (0..nix::sched::CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count());
    let no_new_privs = prctl::get_no_new_privs().unwrap_or(false);
    let landlock = bound::<R>(jail, &inside)?;
    let right = right(&mut inside);
    let seccomp = filtered::<R>(jail, &inside)?;
    let Inside { root, switch, fallback, over_first_mount, mount_restricted, mounts_below, below, .. } = inside;
    let report = Confinement {
        root: switch,
        fallback,
        over_first_mount,
        mount_restricted,
        mounts_below,
        mounts: below,
        capabilities: names(kept),
        groups_cleared,
        no_new_privs,
        seccomp,
        landlock_abi: landlock.abi,
        landlock_paths: landlock.paths,
        ..Confinement::default()
    };
    Ok(Confined { root, report, processors, right, _made_here: () })
}

/// Landlock. Where no root is entered it is one of two walls, and required.
fn bound<R: Right>(jail: &Jail, inside: &Inside<R>) -> Result<Restricted> {
    let paths = match inside.switch {
        RootSwitch::Beneath => Paths::Alone,
        RootSwitch::Pivot if !jail.sandbox.landlock_paths => Paths::None,
        _ => Paths::Inside,
    };
    landlock::restrict::<R>(jail.sandbox.landlock, &inside.root, &inside.lowers, paths)
        .map_err(|fault| meant(fault, inside.switch))
}

/// The filter. Where no root is entered it is the other, and required unless it was declined: what Landlock does not bind
/// (owner, mode, times, attributes) the filter alone does.
fn filtered<R: Right>(jail: &Jail, inside: &Inside<R>) -> Result<bool> {
    let beneath = inside.switch == RootSwitch::Beneath;
    let cross_mounts = jail.mounts == Mounts::Cross;
    let reach = match (R::READS_ONLY, beneath) {
        (true, _) => Reach::Reading { by_name: !beneath },
        (false, true) => Reach::Beneath { cross_mounts },
        (false, false) => Reach::Root,
    };
    let wall = jail.sandbox.seccomp;
    let wall = if beneath && wall == Wall::BestEffort { Wall::Required } else { wall };
    seccomp::restrict(wall, reach).map_err(|fault| meant(fault, inside.switch))
}

fn meant(fault: Fault, switch: RootSwitch) -> Fault {
    if switch == RootSwitch::Beneath { fault.meant(Purpose::Beneath) } else { fault }
}

/// The capabilities that applying entries with these options takes. Where a device could be used, none is made:
/// the policy for devices then applies.
fn needed(options: &Options, trusted_marks: bool, nodev: bool) -> CapabilitySet {
    let mut set = CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER | CapabilitySet::FSETID | CapabilitySet::SETFCAP;
    set.set(CapabilitySet::MKNOD, nodev);
    set.set(CapabilitySet::CHOWN, options.owner != Owner::Caller);
    set.set(CapabilitySet::SYS_ADMIN, options.trusted_xattrs || options.security_xattrs || trusted_marks);
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
/// reduced only while CAP_SETPCAP is effective.
fn reduce_capabilities(wanted: CapabilitySet) -> Result<CapabilitySet> {
    let permitted = held()?.permitted;
    let keep = wanted & permitted;
    if permitted.contains(CapabilitySet::SETPCAP) {
        reduce_bounding(keep)?;
    }
    // Kernels before 4.3 have no ambient set.
    if caps::runtime::ambient_set_supported().is_ok() {
        // The crate does not say the error number; a filter's is EPERM.
        caps::clear(None, CapSet::Ambient)
            .map_err(|_| Fault::os(Errno::EPERM, Call::Prctl, "PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0"))?;
    }
    let wanted = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    set_capabilities(None, wanted).call(Call::Capset, || CAPABILITIES)?;
    if held()? != wanted {
        return Err(Fault::os(Errno::EPERM, Call::Capget, CAPABILITIES));
    }
    Ok(keep)
}

/// Drops all others from the bounding set, one after the other, up to the first that this kernel does not have.
fn reduce_bounding(keep: CapabilitySet) -> Result<()> {
    let all = (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number));
    for capability in all.filter(|capability| !keep.contains(*capability)) {
        match remove_capability_from_bounding_set(capability) {
            Err(errno) if capability_is_in_bounding_set(capability).unwrap_or(false) => {
                return Err(errno).call(Call::Prctl, || format!("PR_CAPBSET_DROP, {}", names(capability).join("")));
            }
            Err(rustix::io::Errno::INVAL) => break,
            _ => {}
        }
    }
    Ok(())
}

/// What `capget(2)` and `capset(2)` are given.
const CAPABILITIES: &str = "<header>, <data>";

fn held() -> Result<CapabilitySets> {
    capabilities(None).call(Call::Capget, || CAPABILITIES)
}

fn names(set: CapabilitySet) -> Vec<String> {
    let mut names: Vec<String> = set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
    names.sort();
    names
}

/// Whether nothing is wanting for the strongest switch of root, and for the owners of what is made there.
pub(crate) fn can_enter() -> bool {
    [Capability::CAP_SYS_ADMIN, Capability::CAP_SYS_CHROOT, Capability::CAP_CHOWN].into_iter().all(holds)
}

/// Whether a user namespace of our own can be done without: a chroot takes one capability, as it is there in any container.
pub(crate) fn can_do_without_namespace(isolation: Isolation) -> bool {
    holds(if isolation == Isolation::Pivot { Capability::CAP_SYS_ADMIN } else { Capability::CAP_SYS_CHROOT })
}

/// Whether no root need be entered where none can be: by whoever is not root, and asks for nothing that takes one.
pub(crate) fn may_stay_beneath(options: &Options) -> bool {
    could_stay(&options.jail) && takes_a_root(options).is_none()
}

/// The same of reading, which has no owners to give.
pub(crate) fn may_read_beneath(jail: &Jail) -> bool {
    could_stay(jail) && !declines_a_wall(jail)
}

/// Which of the options are why a root must be entered, where without them none need be.
pub(crate) fn enters_for(options: &Options) -> Option<Purpose> {
    could_stay(&options.jail).then(|| takes_a_root(options)).flatten()
}

/// The same of reading.
pub(crate) fn reads_in_root_for(jail: &Jail) -> Option<Purpose> {
    (could_stay(jail) && declines_a_wall(jail)).then_some(Purpose::Walls)
}

fn could_stay(jail: &Jail) -> bool {
    let auto = jail.isolation == Isolation::Auto && jail.user_namespace == UserNamespace::Auto;
    auto && !nix::unistd::geteuid().is_root()
}

fn declines_a_wall(jail: &Jail) -> bool {
    jail.sandbox.landlock == Wall::Off || jail.sandbox.seccomp == Wall::Off
}

fn takes_a_root(options: &Options) -> Option<Purpose> {
    if declines_a_wall(&options.jail) {
        return Some(Purpose::Walls);
    }
    (!matches!(options.owner, Owner::Archive | Owner::Caller)).then_some(Purpose::Owners)
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
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}
