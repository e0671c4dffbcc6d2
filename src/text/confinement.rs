//! What confines the helper.

use super::errno::Number;
use super::{Escaped, Tame, line};
use crate::options::IdRange;
use crate::report::{Confinement, Fallback, MapRefusal, MountsBelow, RootSwitch, UserNamespaceReport};
use std::fmt::{self, Display, Formatter};

impl Display for RootSwitch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RootSwitch::None => "root not entered",
            RootSwitch::Pivot => "pivot_root",
            RootSwitch::ChrootInNamespace => "chroot in a mount namespace of its own",
            RootSwitch::Chroot => "chroot",
            RootSwitch::Beneath => "no new root, but steps beneath open directories",
        })
    }
}

/// Behind "mounts below".
impl Display for MountsBelow {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MountsBelow::Covered => "covered",
            MountsBelow::InSight => "in sight",
            MountsBelow::Unknown => "not known",
        })
    }
}

/// `pivot_root(".", ".") = -1 EINVAL (Invalid argument)`, or `asked for`.
impl Display for Fallback {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.errno {
            None => f.write_str("asked for"),
            Some(errno) => write!(f, "{} = -1 {}", self.operation, Number(errno)),
        }
    }
}

/// One line: the walls that stand.
impl Display for Confinement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        struct Walls<'a>(&'a Confinement);
        impl Display for Walls<'_> {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                walls(f, self.0)
            }
        }
        line(f, |out| write!(out, "{}", Walls(self)))
    }
}

fn walls(f: &mut Formatter<'_>, confinement: &Confinement) -> fmt::Result {
    write!(f, "{}", confinement.root)?;
    if let Some(fallback) = &confinement.fallback {
        write!(f, " ({fallback})")?;
    }
    if confinement.over_first_mount {
        f.write_str(" over the first mount, an initramfs, which stays below")?;
    }
    if confinement.mount_restricted {
        f.write_str(", nosuid nodev noexec")?;
    }
    match (confinement.mounts, confinement.mounts_below.is_empty()) {
        (MountsBelow::Covered, true) => {}
        (mounts, _) => write!(f, ", mounts below {mounts}")?,
    }
    if let Some(user_namespace) = &confinement.user_namespace {
        write!(f, ", user namespace ({user_namespace})")?;
    }
    let names: Vec<String> = confinement.capabilities.iter().map(|name| Tame(name).to_string()).collect();
    write!(f, ", capabilities {}", if names.is_empty() { "none".to_owned() } else { names.join(" ") })?;
    for (stands, wall) in [
        (confinement.groups_cleared, "supplementary groups cleared"),
        (confinement.no_new_privs, "no_new_privs"),
        (confinement.seccomp, "seccomp"),
    ] {
        write!(f, ", {}{wall}", if stands { "" } else { "no " })?;
    }
    match (confinement.landlock_abi, confinement.landlock_paths) {
        (None, _) => f.write_str(", no Landlock"),
        (Some(abi), paths) => write!(f, ", Landlock ABI {abi}{}", if paths { " with path rules" } else { "" }),
    }
}

/// In the program's own words.
impl Display for MapRefusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} did not map ids: {:?}", self.program, Escaped(self.words.as_bytes()))?;
        if self.no_new_privs {
            f.write_str(
                "; no_new_privs is set here (allowPrivilegeEscalation: false, Docker's no-new-privileges, \
                 NoNewPrivileges=), which takes its set-uid rights away",
            )?;
        }
        Ok(())
    }
}

impl Display for UserNamespaceReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("uids ")?;
        ranges(f, &self.uids)?;
        f.write_str(", gids ")?;
        ranges(f, &self.gids)
    }
}

fn ranges(f: &mut Formatter<'_>, ranges: &[IdRange]) -> fmt::Result {
    ranges.iter().enumerate().try_for_each(|(at, range)| write!(f, "{}{range}", if at > 0 { "," } else { "" }))
}

/// `inside:outside:count`
impl Display for IdRange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.inside, self.outside, self.count)
    }
}
