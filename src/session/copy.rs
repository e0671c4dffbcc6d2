//! How a copy is described, and made.

use crate::canceller::Canceller;
use crate::error::Error;
use crate::fd::OwnedFd;
#[cfg(doc)]
use crate::kind::ErrorKind;
use crate::options::{Jail, Limits, Mounts, Options, PackOptions};
use crate::plan::{PackPlan, Plan, PlanPacks};
use crate::program::Program;
use crate::report::{Copied, Listed, Progress};
use crate::system::{self, Root};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of a name, and more than any file system has.
const NAME: u32 = 1024;

/// A copy of a file or directory out of one root into another: a builder. A packer in the one is joined to an untar in the
/// other by a pipe that this process never reads, so that each side is as confined as it is by itself.
///
/// Names are those of `docker cp`. What is copied is `source`: a directory with what is in it, or if it ends in `/.` what
/// is in it alone; a symlink itself, or if it ends in `/`, or with [`follow`](Copy::follow), what it leads to. Where
/// `destination` is a directory it goes below it under its own name; where nothing or a file is there it takes that name.
/// A symlink there is followed inside the root, and only its last component may be missing. A directory never replaces
/// anything else, nor anything else a directory; such a copy fails, perhaps with some of it done.
///
/// ```no_run
/// use untar_in_root::{Copy, Error, Program};
/// # fn main() -> Result<(), Error> {
/// let copy = Copy::open("/srv/one", "/srv/other")?.program(Program::at("/usr/bin/untar-in-root"));
/// copy.source("/etc/ssl").destination("/backup").run()?;
/// # Ok(())
/// # }
/// ```
pub struct Copy {
    from: Root,
    to: Root,
    source: PathBuf,
    follow: bool,
    pack: PackPlan,
    plan: Plan,
}

impl Copy {
    /// A copy between these open directories.
    pub fn new(from: impl Into<OwnedFd>, to: impl Into<OwnedFd>) -> Copy {
        Copy::between(Root::there(from.into()), Root::there(to.into()))
    }

    /// A copy between the directories of these names, which are opened now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Root`] if one is missing or not a directory.
    pub fn open(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Copy, Error> {
        Ok(Copy::between(Root::source(from.as_ref())?, Root::open(to.as_ref())?))
    }

    fn between(from: Root, to: Root) -> Copy {
        let options = PackOptions { skip_digests: true, ..PackOptions::default() };
        let limits = taken(&options.limits);
        let pack = PackPlan { options, ..PackPlan::default() };
        let options = Options {
            limits,
            no_overwrite_dir_nondir: true,
            // The directory that content goes into stays what it is.
            ignore_root_metadata: true,
            skip_diff_id: true,
            ..Options::default()
        };
        let plan = Plan { options, canceller: pack.canceller.clone(), ..Plan::default() };
        Copy { from, to, source: PathBuf::new(), follow: false, pack, plan }
    }

    /// Which program is the helpers; without it, [`Program::this`].
    #[must_use]
    pub fn program(mut self, program: Program) -> Copy {
        self.plan.program = Some(program.clone());
        self.pack.program = Some(program);
        self
    }

    /// What is copied, as it is named in the root that it comes from; without it, what is in that root.
    #[must_use]
    pub fn source(mut self, path: impl Into<PathBuf>) -> Copy {
        self.source = path.into();
        self
    }

    /// Where it goes, in the other root; without it, that root.
    #[must_use]
    pub fn destination(mut self, path: impl Into<PathBuf>) -> Copy {
        self.plan.destination = path.into();
        self
    }

    /// A symlink that the source ends in is followed, and what it leads to gets the link's name.
    #[must_use]
    pub fn follow(mut self, follow: bool) -> Copy {
        self.follow = follow;
        self
    }

    /// What both helpers are confined to, but for what is mounted in the source: there [`Mounts::Refuse`] skips.
    #[must_use]
    pub fn jail(mut self, jail: Jail) -> Copy {
        let mounts = if jail.mounts == Mounts::Refuse { Mounts::Skip } else { jail.mounts };
        self.pack.options.jail = Jail { mounts, ..jail.clone() };
        self.plan.options.jail = jail;
        self
    }

    /// How long it may take, by wall clock. Without it there is no limit.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Copy {
        self.pack.options.jail.limits.timeout = Some(time);
        self.plan.options.jail.limits.timeout = Some(time);
        self
    }

    /// What the copy may cost, on both sides: those of packing ([`PackOptions::limits`]), by default too. What the one side
    /// may send the other takes.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Copy {
        self.plan.options.limits = taken(&limits);
        self.pack.options.limits = limits;
        self
    }

    /// How the source is packed: owners, attributes, changes. It is never compressed.
    pub fn packing_mut(&mut self) -> &mut PackOptions {
        &mut self.pack.options
    }

    /// How it is applied. Its limits are set with those of packing, by [`limits`](Copy::limits).
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.plan.options
    }

    /// Calls back as the copy is applied, about ten times a second.
    #[must_use]
    pub fn on_progress(mut self, callback: impl FnMut(Progress) + Send + 'static) -> Copy {
        self.plan.callbacks.progress = Some(Box::new(callback));
        self
    }

    /// Calls back for each entry, before it is applied, by the name that it has there.
    #[must_use]
    pub fn on_listed(mut self, callback: impl FnMut(Listed) + Send + 'static) -> Copy {
        self.plan.callbacks.listed = Some(Box::new(callback));
        self
    }

    /// A handle that ends the copy from another thread, before or after it has started.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.plan.canceller.clone()
    }

    /// Copies. What has been copied when it fails stays.
    ///
    /// # Errors
    ///
    /// As [`Pack::to_fd`](crate::Pack::to_fd) and [`Untar::apply_fd`](crate::Untar::apply_fd). Of errors of both sides the one
    /// that led to the other.
    pub fn run(mut self) -> Result<Copied, Error> {
        let source = Source::of(&self.source);
        let Source { name, content, directory } = source;
        let follow = self.follow || directory;
        self.pack.what = PlanPacks::Source { path: self.source, name, follow, directory };
        self.pack.options.encoding = crate::options::Encoding::None;
        self.plan.copy = Some(content);
        system::copy(self.from, self.pack, self.to, self.plan)
    }
}

/// What whoever applies a copy takes: whatever may be packed within these limits. On its way that has a name of its own above
/// all others, and then the destination's, which may be longer; the attributes of an entry are bounded by its headers.
fn taken(packing: &Limits) -> Limits {
    Limits {
        depth: packing.depth.saturating_add(1),
        name_bytes: packing.name_bytes.saturating_add(NAME),
        xattrs: u32::MAX,
        ..*packing
    }
}

/// What the path of a source says besides where it is.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    /// The name that it has in the archive.
    name: Vec<u8>,
    /// What is in it alone is wanted.
    content: bool,
    /// It must be a directory.
    directory: bool,
}

impl Source {
    fn of(path: &Path) -> Source {
        let bytes = path.as_os_str().as_encoded_bytes();
        let slash = bytes.last().is_none_or(|byte| *byte == b'/');
        let last = bytes.split(|byte| *byte == b'/').rfind(|part| !part.is_empty());
        match last {
            Some(name) if !matches!(name, b"." | b"..") => {
                Source { name: name.to_vec(), content: false, directory: slash }
            }
            // The root, and what has no name of its own.
            _ => Source { name: b"content".to_vec(), content: true, directory: true },
        }
    }
}

impl fmt::Debug for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Copy");
        fields.field("source", &self.source).field("destination", &self.plan.destination);
        fields.field("packing", &self.pack.options).field("options", &self.plan.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_applies_a_copy_takes_what_may_be_packed() {
        let root = || OwnedFd::from(std::fs::File::open("/").expect("a directory"));
        let limits = |copy: &Copy| (copy.pack.options.limits, copy.plan.options.limits);
        let (packing, applying) = limits(&Copy::new(root(), root()));
        assert_eq!(packing, PackOptions::default().limits);
        assert!(packing.depth > Limits::default().depth && applying.depth > packing.depth);
        let few = Limits { depth: 7, entries: 8, ..Limits::default() };
        let (packing, applying) = limits(&Copy::new(root(), root()).limits(few));
        assert_eq!((packing, applying.depth, applying.entries), (few, 8, 8));
    }

    #[test]
    fn pack_rule_24_what_the_path_of_a_source_says() {
        let named = |name: &str, directory| Source { name: name.into(), content: false, directory };
        let content = || Source { name: "content".into(), content: true, directory: true };
        for (path, want) in [
            ("a", named("a", false)),
            ("/a/b", named("b", false)),
            ("a/b/", named("b", true)),
            ("a//", named("a", true)),
            ("a/.", content()),
            ("a/./", content()),
            ("a/..", content()),
            ("/", content()),
            ("", content()),
            (".", content()),
        ] {
            assert_eq!(Source::of(Path::new(path)), want, "{path:?}");
        }
    }
}
