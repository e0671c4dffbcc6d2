//! Landlock, the wall that does not depend on the switched root: `landlock(7)`. No network, no signals, no
//! abstract sockets, always; with chroot, and where no root is entered, also path rules, so that what is outside stays closed.

use super::right::Right;
use crate::helper::fault::{Fault, Result};
use crate::helper::sys;
use crate::options::Wall;
use crate::report::{Call, Cause};
use landlock::{
    ABI, Access, AccessFs, AccessNet, AddRuleError, AddRulesError, LandlockStatus, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
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

/// What is asked of it besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paths {
    /// No path rules.
    None,
    /// Path rules for the root that was entered, and for the lower layers.
    Inside,
    /// Path rules that are all there is, since no root was entered.
    Alone,
}

/// Hardlinks from one directory to another are a right of their own (`REFER`); below this none is ever made.
const ALONE: u32 = ABI::V2 as u32;

/// Restricts this thread and those it starts.
pub(crate) fn restrict<R: Right>(wall: Wall, root: &OwnedFd, lowers: &[OwnedFd], paths: Paths) -> Result<Restricted> {
    if wall == Wall::Off {
        return Ok(Restricted::default());
    }
    let restricted = rules::<R>(root, lowers, paths).map_err(refused)?;
    let least = match paths {
        Paths::Alone if !R::READS_ONLY => ALONE,
        Paths::Alone => 1,
        _ if wall == Wall::Required => 1,
        _ => 0,
    };
    if restricted.abi.unwrap_or(0) < least {
        return Err(wanting(least));
    }
    Ok(restricted)
}

fn rules<R: Right>(root: &OwnedFd, lowers: &[OwnedFd], wanted: Paths) -> Result<Restricted, RulesetError> {
    let (mut ruleset, paths) = (Ruleset::default(), wanted != Paths::None);
    if paths {
        ruleset = ruleset.handle_access(AccessFs::from_all(WANTED))?;
    }
    ruleset = ruleset.handle_access(AccessNet::from_all(WANTED))?.scope(Scope::from_all(WANTED))?;
    let mut created = ruleset.create()?;
    if paths {
        // Everything but running programs and speaking to devices; REFER, or every hardlink is EXDEV.
        let mut inside = AccessFs::from_all(WANTED) & !(AccessFs::Execute | AccessFs::IoctlDev);
        if wanted == Paths::Alone {
            inside &= !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeSock);
        }
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        created = created.add_rule(PathBeneath::new(root, if R::READS_ONLY { read } else { inside }))?;
        for lower in lowers {
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

/// Which of its calls failed.
fn refused(error: RulesetError) -> Fault {
    let (call, arguments) = match &error {
        // It looks first whether it has a directory.
        RulesetError::AddRules(AddRulesError::Fs(AddRuleError::Compat(_))) => (Call::Fstat, "<directory>, <stat>"),
        RulesetError::AddRules(_) => (Call::LandlockAddRule, "<rules>, LANDLOCK_RULE_PATH_BENEATH, <rule>, 0"),
        RulesetError::RestrictSelf(_) => (Call::LandlockRestrictSelf, "<rules>, 0"),
        _ => (Call::LandlockCreateRuleset, "<rights>, <size>, 0"),
    };
    Fault::os(Errno::from_raw(*landlock::Errno::from(error)), call, arguments)
}

/// Why there is not as much of it as there must be: the crate goes on without, so the kernel is asked.
fn wanting(least: u32) -> Fault {
    match sys::landlock_version() {
        Err(errno) => Fault::os(errno, Call::LandlockCreateRuleset, "NULL, 0, LANDLOCK_CREATE_RULESET_VERSION"),
        Ok(abi) => Cause::Landlock { abi, least }.into(),
    }
}
