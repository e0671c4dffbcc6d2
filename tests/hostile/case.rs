//! A hostile archive, what may come of it, and the six settings in which that is tried.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use untar_in_root::{
    Call, Error, ErrorKind, IdRange, Isolation, Mode, Options, Program, Refusal, Report, RootSwitch, Untar,
    UserNamespace,
};

use crate::support::expected::Expected;
use crate::support::scratch::{Guarded, Scratch, mounts_below};
use crate::support::tarball::Tarball;
use crate::support::tree::{Tree, line};

/// How the helper is confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Root, `pivot_root`.
    Pivot,
    /// Root, `chroot`, with Landlock's path rules.
    Chroot,
    /// Root, whose helper makes a user namespace with 65,536 mapped ids.
    UserNamespace,
    /// Nobody in particular: a user namespace with one mapped id.
    Unprivileged,
    /// Root, which enters no root.
    Beneath,
    /// Nobody in particular, the same.
    UnprivilegedBeneath,
}

impl Setting {
    fn privileged(self) -> bool {
        matches!(self, Setting::Pivot | Setting::Chroot)
    }

    fn enters_no_root(self) -> bool {
        matches!(self, Setting::Beneath | Setting::UnprivilegedBeneath)
    }

    fn configure(self, options: &mut Options) {
        let map = || vec![IdRange { inside: 0, outside: FIRST_ID, count: 65_536 }];
        match self {
            Setting::Pivot => options.jail.isolation = Isolation::Pivot,
            Setting::Chroot => options.jail.isolation = Isolation::Chroot,
            Setting::UserNamespace => options.jail.user_namespace = UserNamespace::Mapped { uids: map(), gids: map() },
            Setting::Unprivileged => options.jail.user_namespace = UserNamespace::Single,
            Setting::Beneath | Setting::UnprivilegedBeneath => options.jail.isolation = Isolation::Beneath,
        }
    }
}

/// The id that root of the user namespace has outside.
const FIRST_ID: u32 = 1_000_000;
/// A run that takes longer hangs. No measure of speed: on a busy machine a tree of 8,000 levels takes 23 s to remove
/// under the path rules of Landlock.
const PATIENCE: Duration = Duration::from_secs(300);

/// What may come of an archive.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Success, and this tree, as `support::run::line` writes it.
    Tree(String),
    /// Success, whatever the tree.
    Applied,
    /// This kind of error, for this cause.
    Fails(ErrorKind, Expected),
}

type Before = Box<dyn Fn(&Path, Setting)>;
type Archive = Box<dyn Fn(&Path) -> Vec<u8>>;

/// One hostile archive.
pub struct Case {
    pub name: &'static str,
    lower: Vec<Tarball>,
    before: Option<Before>,
    archive: Archive,
    change: fn(&mut Options),
    want: Option<Outcome>,
    /// What is otherwise where ids or devices cannot be had.
    want_in_userns: Option<Outcome>,
    /// What is otherwise still where the user namespace has one id.
    want_with_one_id: Option<Outcome>,
    /// What is otherwise where no root is entered: there are no devices, no other owners and no rights.
    want_beneath: Option<Outcome>,
    /// Facts of the tree that a privileged run must have come to: path, field, value.
    facts: Vec<(&'static str, &'static str, &'static str)>,
}

/// An archive that does not depend on where it is unpacked.
pub fn case(name: &'static str, archive: Tarball) -> Case {
    bytes(name, archive.build())
}

/// The bytes of an archive, or of something that is none.
pub fn bytes(name: &'static str, archive: Vec<u8>) -> Case {
    aimed(name, move |_| archive.clone())
}

/// An archive that knows the directory around its destination.
pub fn aimed(name: &'static str, archive: impl Fn(&Path) -> Vec<u8> + 'static) -> Case {
    Case {
        name,
        lower: Vec::new(),
        before: None,
        archive: Box::new(archive),
        change: |_| {},
        want: None,
        want_in_userns: None,
        want_with_one_id: None,
        want_beneath: None,
        facts: Vec::new(),
    }
}

impl Case {
    /// With these options; literal mode unless they say otherwise.
    pub fn with(mut self, change: fn(&mut Options)) -> Case {
        self.change = change;
        self
    }

    /// As a layer.
    pub fn layer(self) -> Case {
        self.with(|o| o.mode = Mode::Layer)
    }

    /// On top of this.
    pub fn over(mut self, lower: Tarball) -> Case {
        self.lower.push(lower);
        self
    }

    /// On what somebody else has put there.
    pub fn on(mut self, before: impl Fn(&Path, Setting) + 'static) -> Case {
        self.before = Some(Box::new(before));
        self
    }

    fn wants(mut self, want: Outcome) -> Case {
        self.want = Some(want);
        self
    }

    pub fn tree(self, line: impl Into<String>) -> Case {
        self.wants(Outcome::Tree(line.into()))
    }

    pub fn applied(self) -> Case {
        self.wants(Outcome::Applied)
    }

    pub fn refused(self, cause: impl Into<Expected>) -> Case {
        self.wants(Outcome::Fails(ErrorKind::Refused, cause.into()))
    }

    /// Of an owner that nobody can be, unless nobody's is asked for.
    pub fn refused_owner(self, cause: Refusal) -> Case {
        self.refused(cause).beneath(Outcome::Applied)
    }

    pub fn malformed(self, cause: impl Into<Expected>) -> Case {
        self.wants(Outcome::Fails(ErrorKind::Archive, cause.into()))
    }

    pub fn limited(self, cause: impl Into<Expected>) -> Case {
        self.wants(Outcome::Fails(ErrorKind::Limit, cause.into()))
    }

    pub fn fails(self, cause: impl Into<Expected>) -> Case {
        self.wants(Outcome::Fails(ErrorKind::Entry, cause.into()))
    }

    /// Otherwise where ids or devices cannot be had.
    pub fn in_userns(mut self, want: Outcome) -> Case {
        self.want_in_userns = Some(want);
        self
    }

    /// Otherwise where no root is entered.
    pub fn beneath(mut self, want: Outcome) -> Case {
        self.want_beneath = Some(want);
        self
    }

    /// Otherwise in a user namespace, and where no root is entered.
    pub fn in_userns_and_beneath(self, want: Outcome) -> Case {
        self.in_userns(want.clone()).beneath(want)
    }

    /// In a user namespace no device can be made, nor where no root is entered.
    pub fn without_devices(self) -> Case {
        let fails = Outcome::Fails(ErrorKind::Entry, Expected::Call(Call::Mknodat, Errno::PERM));
        self.in_userns_and_beneath(fails)
    }

    /// In no user namespace such an owner can be had: none maps it.
    pub fn without_owners(self) -> Case {
        self.in_userns(Outcome::Fails(ErrorKind::Entry, Expected::Call(Call::Fchown, Errno::INVAL)))
    }

    /// Where one id is mapped nobody else can own anything.
    pub fn without_other_owners(mut self) -> Case {
        self.want_with_one_id = Some(Outcome::Fails(ErrorKind::Entry, Expected::Call(Call::Fchown, Errno::INVAL)));
        self
    }

    /// In a user namespace no `trusted.*` attribute can be set, nor where no root is entered, which is an error where it must be.
    pub fn without_marks(self) -> Case {
        self.in_userns_and_beneath(Outcome::Fails(ErrorKind::Entry, Expected::Attribute(Errno::PERM)))
    }

    pub fn fact(mut self, path: &'static str, field: &'static str, value: &'static str) -> Case {
        self.facts.push((path, field, value));
        self
    }

    /// What it goes on top of, the lowest first.
    pub fn lowers(&self) -> &[Tarball] {
        &self.lower
    }

    /// The archive, for a destination in this directory.
    pub fn archive(&self, around: &Path) -> Vec<u8> {
        (self.archive)(around)
    }

    fn wanted(&self, setting: Setting) -> Option<&Outcome> {
        if setting.enters_no_root() {
            return self.want_beneath.as_ref().or(self.want.as_ref());
        }
        let with_one_id = self.want_with_one_id.as_ref().filter(|_| setting == Setting::Unprivileged);
        let in_userns = self.want_in_userns.as_ref().filter(|_| !setting.privileged());
        with_one_id.or(in_userns).or(self.want.as_ref())
    }

    /// Tries it: what was wrong, if anything was, and how long it took.
    pub fn run(&self, setting: Setting, program: &Program, expect: Expect) -> (Result<(), String>, Duration) {
        let scratch = Scratch::new();
        let guarded = scratch.guarded();
        let dest = guarded.dest();
        let around = dest.parent().expect("a directory around it").to_path_buf();
        for lower in self.lowers() {
            let layer = |o: &mut Options| o.mode = Mode::Layer;
            if let Err(error) = apply(&dest, &lower.build(), setting, program, layer) {
                return (Err(format!("the lower layer failed: {error:?}")), Duration::ZERO);
            }
        }
        if let Some(before) = &self.before {
            before(&dest, setting);
        }
        let archive = self.archive(&around);
        let begun = Instant::now();
        let result = apply(&dest, &archive, setting, program, self.change);
        let taken = begun.elapsed();
        let wrong = self.judge(&result, &dest, setting, expect, taken, &guarded);
        (if wrong.is_empty() { Ok(()) } else { Err(wrong) }, taken)
    }

    fn judge(
        &self,
        result: &Result<Report, Error>,
        dest: &Path,
        setting: Setting,
        expect: Expect,
        taken: Duration,
        guarded: &Guarded<'_>,
    ) -> String {
        let mut wrong = String::new();
        for damage in guarded.damage() {
            _ = writeln!(wrong, "  OUTSIDE: {damage}");
        }
        if !mounts_below(dest).is_empty() {
            _ = writeln!(wrong, "  a mount is left: {:?}", mounts_below(dest));
        }
        if taken > PATIENCE {
            _ = writeln!(wrong, "  it took {taken:?}");
        }
        let report = result.as_ref().ok().or_else(|| result.as_ref().err().and_then(Error::report));
        let mut options = Options::default();
        (self.change)(&mut options);
        let allowed = options.trusted_xattrs || options.security_xattrs;
        let trusted = allowed || matches!(options.mode, Mode::Overlay(_));
        let expect = Expect { trusted, ..expect };
        if let Some(why) = report.and_then(|report| expect.of(setting, report)) {
            _ = writeln!(wrong, "  {why}");
        }
        if fs::read_dir(dest).is_err() {
            _ = fs::set_permissions(dest, fs::Permissions::from_mode(0o755));
        }
        let tree = Tree::read(dest);
        let want = self.wanted(setting);
        let failure = result.as_ref().err().and_then(Error::failure);
        let right = match (want, result) {
            (Some(Outcome::Applied), Ok(_)) => true,
            (Some(Outcome::Tree(want)), Ok(_)) => line(&tree) == *want,
            (Some(Outcome::Fails(kind, cause)), Err(error)) => {
                error.kind() == *kind && failure.is_some_and(|failure| cause.is_of(failure))
            }
            _ => false,
        };
        if !right {
            let told = format!("{result:?} {failure:?}");
            _ = writeln!(wrong, "  wanted {want:?}\n  got    {told:.600}\n  tree   {:.300}", line(&tree));
        }
        for (path, field, value) in self.facts.iter().filter(|_| setting.privileged()) {
            if tree.get(path, field) != *value {
                _ = writeln!(wrong, "  {field} of {path} is {:?}, not {value:?}", tree.get(path, field));
            }
        }
        wrong
    }
}

/// What the report must say of the confinement.
#[derive(Clone, Copy, Debug)]
pub struct Expect {
    /// The system-call filter is in force.
    pub seccomp: bool,
    /// Landlock is in force.
    pub landlock: bool,
    /// `trusted.*` attributes are wanted, which take `CAP_SYS_ADMIN`.
    pub trusted: bool,
}

impl Default for Expect {
    fn default() -> Expect {
        Expect { seccomp: true, landlock: true, trusted: false }
    }
}

impl Expect {
    /// What is wrong with the confinement: less than expected, or not told.
    fn of(self, setting: Setting, report: &Report) -> Option<String> {
        let c = &report.confinement;
        let root = match setting {
            Setting::Pivot => c.root == RootSwitch::Pivot,
            Setting::Chroot => c.root == RootSwitch::ChrootInNamespace,
            Setting::UserNamespace | Setting::Unprivileged => c.user_namespace.is_some() && c.root == RootSwitch::Pivot,
            Setting::Beneath | Setting::UnprivilegedBeneath => {
                c.user_namespace.is_none() && c.root == RootSwitch::Beneath && c.capabilities.is_empty()
            }
        };
        let kept = |name: &str| c.capabilities.iter().any(|kept| kept == name);
        let dropped =
            ["CAP_SYS_CHROOT", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE", "CAP_KILL"].iter().all(|name| !kept(name))
                && (self.trusted || !kept("CAP_SYS_ADMIN"));
        let walls = c.no_new_privs
            && (c.mount_restricted || setting.enters_no_root())
            && c.seccomp == self.seccomp
            && c.landlock_abi.is_some() == self.landlock
            && c.landlock_paths == (self.landlock && (setting == Setting::Chroot || setting.enters_no_root()));
        (!(root && dropped && walls)).then(|| format!("confined otherwise than expected: {c:?}"))
    }
}

fn apply(
    dest: &Path,
    archive: &[u8],
    setting: Setting,
    program: &Program,
    change: impl Fn(&mut Options),
) -> Result<Report, Error> {
    if setting == Setting::UserNamespace {
        hand_over(dest);
    }
    let mut untar = Untar::open(dest).expect("destination").program(program.clone());
    setting.configure(untar.options_mut());
    change(untar.options_mut());
    untar.apply(archive)
}

/// Everything there belongs to the namespace's ids.
fn hand_over(path: &Path) {
    let Ok(stat) = fs::symlink_metadata(path) else { return };
    if stat.uid() < FIRST_ID {
        _ = lchown(path, Some(FIRST_ID + stat.uid()), Some(FIRST_ID + stat.gid()));
    }
    if stat.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            hand_over(&entry.path());
        }
    }
}

/// Tries a whole table; the numbers, for the note.
#[track_caller]
pub fn run_all(what: &str, cases: &[Case], setting: Setting, program: &Program, expect: Expect) {
    let (mut wrong, mut times) = (String::new(), Vec::new());
    for case in cases {
        let (result, taken) = case.run(setting, program, expect);
        times.push((taken, case.name));
        if let Err(text) = result {
            _ = writeln!(wrong, "{}:\n{text}", case.name);
        }
    }
    times.sort_unstable();
    times.reverse();
    let slowest: Vec<_> = times.iter().take(3).map(|(taken, name)| format!("{name}: {taken:.2?}")).collect();
    println!("{what}, {setting:?}: {} archives, the slowest {}", cases.len(), slowest.join("; "));
    assert!(wrong.is_empty(), "{what}, {setting:?}:\n{wrong}");
}
