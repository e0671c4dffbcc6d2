//! Landlock, the wall that does not depend on the switched root: `landlock(7)`. No network, no signals, no
//! abstract sockets, always; with chroot also path rules, so that what is outside the root stays closed.

use crate::helper::fault::{Fault, Result};
use crate::options::Wall;
use crate::report::Call;
use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope,
};
use nix::errno::Errno;
use std::os::fd::OwnedFd;

/// The newest set of rights asked for; the kernel's own may be smaller or larger.
const WANTED: ABI = ABI::V6;

/// What is in force.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Restricted {
    /// The ABI of the rights in force.
    pub(crate) abi: Option<u32>,
    pub(crate) paths: bool,
}

/// Restricts this thread and those it starts.
pub(crate) fn restrict(wall: Wall, root: &OwnedFd, lowers: &[OwnedFd], paths: bool) -> Result<Restricted> {
    if wall == Wall::Off {
        return Ok(Restricted::default());
    }
    let restricted = rules(root, lowers, paths).map_err(|_| refused())?;
    if wall == Wall::Required && restricted.abi.is_none() {
        return Err(refused());
    }
    Ok(restricted)
}

fn rules(root: &OwnedFd, lowers: &[OwnedFd], paths: bool) -> Result<Restricted, RulesetError> {
    let mut ruleset = Ruleset::default();
    if paths {
        ruleset = ruleset.handle_access(AccessFs::from_all(WANTED))?;
    }
    ruleset = ruleset.handle_access(AccessNet::from_all(WANTED))?.scope(Scope::from_all(WANTED))?;
    let mut created = ruleset.create()?;
    if paths {
        // Everything but running programs and speaking to devices; REFER, or every hardlink is EXDEV.
        let inside = AccessFs::from_all(WANTED) & !(AccessFs::Execute | AccessFs::IoctlDev);
        created = created.add_rule(PathBeneath::new(root, inside))?;
        for lower in lowers {
            let read = AccessFs::ReadFile | AccessFs::ReadDir;
            created = created.add_rule(PathBeneath::new(lower, read))?;
        }
    }
    let status = created.restrict_self()?;
    let enforced = status.ruleset != RulesetStatus::NotEnforced;
    let abi = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } if enforced => {
            Some((effective_abi as u32).min(WANTED as u32)).filter(|abi| *abi > 0)
        }
        _ => None,
    };
    Ok(Restricted { abi, paths: paths && abi.is_some() })
}

fn refused() -> Fault {
    Fault::os(Errno::EOPNOTSUPP, Call::LandlockRestrictSelf, "<rules>, 0")
}
