//! What confines the helper.

use super::Tame;
use super::errno::Number;
use crate::{Confinement, Fallback, IdRange, RootSwitch, UserNamespaceReport};
use std::fmt::{self, Display, Formatter};

impl Display for RootSwitch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RootSwitch::None => "root not entered",
            RootSwitch::Pivot => "pivot_root",
            RootSwitch::ChrootInNamespace => "chroot in a mount namespace of its own",
            RootSwitch::Chroot => "chroot",
        })
    }
}

/// `pivot_root(".", ".") = -1 EINVAL (Invalid argument)`, or `asked for`.
impl Display for Fallback {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.errno {
            0 => f.write_str("asked for"),
            errno => write!(f, "{} = -1 {}", self.operation, Number(errno)),
        }
    }
}

/// One line: the walls that stand.
impl Display for Confinement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root)?;
        if let Some(fallback) = &self.fallback {
            write!(f, " ({fallback})")?;
        }
        if self.mount_restricted {
            f.write_str(", nosuid nodev noexec")?;
        }
        if let Some(user_namespace) = &self.user_namespace {
            write!(f, ", user namespace ({user_namespace})")?;
        }
        let names: Vec<String> = self.capabilities.iter().map(|name| Tame(name).to_string()).collect();
        write!(f, ", capabilities {}", if names.is_empty() { "none".to_owned() } else { names.join(" ") })?;
        for (stands, wall) in [
            (self.groups_cleared, "supplementary groups cleared"),
            (self.no_new_privs, "no_new_privs"),
            (self.seccomp, "seccomp"),
        ] {
            write!(f, ", {}{wall}", if stands { "" } else { "no " })?;
        }
        match (self.landlock_abi, self.landlock_paths) {
            (0, _) => f.write_str(", no Landlock"),
            (abi, paths) => write!(f, ", Landlock ABI {abi}{}", if paths { " with path rules" } else { "" }),
        }
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
