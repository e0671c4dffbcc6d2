//! The columns of the table: a policy on owners in a user namespace, and whose an id of the archive is on the host.

use std::fmt;
use std::os::unix::fs::chown;
use std::path::Path;

use untar_in_root::{IdRange, Mode, Options, Owner, UserNamespace};

/// The id that root of the user namespaces is on the host.
const OUTSIDE: u32 = 100_000;

/// Who in the archive is mapped, besides root.
pub const SOMEBODY: u32 = 1000;
/// Who is not.
pub const NOBODY: u32 = 70_000;

pub struct Setting {
    /// Of the table: 1 to 4.
    pub column: usize,
    /// `none`, `one`, `ranges`.
    pub namespace: &'static str,
}

fn ranges(of: &[(u32, u32, u32)]) -> Vec<IdRange> {
    of.iter().map(|(inside, outside, count)| IdRange { inside: *inside, outside: *outside, count: *count }).collect()
}

fn mapped(ranges: &[IdRange], id: u32) -> Option<u32> {
    ranges.iter().find(|r| (r.inside..r.inside + r.count).contains(&id)).map(|r| r.outside + (id - r.inside))
}

impl Setting {
    pub fn all(column: usize) -> impl Iterator<Item = Setting> {
        ["none", "one", "ranges"].into_iter().map(move |namespace| Setting { column, namespace })
    }

    /// Which of the three letters.
    pub fn place(&self) -> usize {
        ["none", "one", "ranges"].iter().position(|name| *name == self.namespace).expect("one of them")
    }

    fn namespace_map(&self) -> Vec<IdRange> {
        match self.namespace {
            "none" => Vec::new(),
            "one" => ranges(&[(0, OUTSIDE, 1)]),
            _ => ranges(&[(0, OUTSIDE, 65_536)]),
        }
    }

    fn owner_map(&self) -> Vec<IdRange> {
        match self.namespace {
            "none" => ranges(&[(0, 200_000, 65_536)]),
            // The only id that there is.
            "one" => ranges(&[(0, 0, 1), (SOMEBODY, 0, 1)]),
            _ => ranges(&[(0, 2_000, 60_000)]),
        }
    }

    fn forced(&self) -> u32 {
        if self.namespace == "one" { 0 } else { 1234 }
    }

    fn owner(&self) -> Owner {
        match self.column {
            1 => Owner::Archive,
            2 => Owner::Mapped { uids: self.owner_map(), gids: self.owner_map() },
            3 => Owner::Forced { uid: self.forced(), gid: self.forced() },
            _ => Owner::Caller,
        }
    }

    pub fn choose(&self, options: &mut Options, allowed: bool, upper: bool) {
        options.owner = self.owner();
        // A row has attributes of one kind.
        (options.trusted_xattrs, options.security_xattrs) = (allowed, allowed);
        if upper {
            options.mode = Mode::Overlay(untar_in_root::Overlay::default());
        }
        let map = self.namespace_map();
        options.jail.user_namespace = match self.namespace {
            "none" => UserNamespace::Never,
            _ => UserNamespace::Mapped { uids: map.clone(), gids: map },
        };
    }

    /// To the namespace's root.
    pub fn give(&self, dest: &Path) {
        let owner = mapped(&self.namespace_map(), 0).unwrap_or(0);
        chown(dest, Some(owner), Some(owner)).expect("chown");
    }

    /// Who the archive's root is for the owner policy, where all are one; else the id by the map.
    pub fn by_policy(&self, id: u32) -> Option<u32> {
        match self.column {
            1 => Some(id),
            2 => mapped(&self.owner_map(), id),
            3 => (id == 0).then(|| self.forced()),
            _ => (id == 0).then_some(0),
        }
    }

    /// Who that is on the host.
    pub fn on_host(&self, id: u32) -> Option<u32> {
        if self.namespace == "none" { Some(id) } else { mapped(&self.namespace_map(), id) }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = ["", "archive", "mapped", "forced", "caller"][self.column];
        write!(f, "{policy}, namespace {}", self.namespace)
    }
}
