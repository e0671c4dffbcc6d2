//! Options about the helper's confinement.

use super::values::{self, Word};
use clap::Arg;
use clap::error::ErrorKind;
use untar_in_root::{Isolation, Mounts, UserNamespace, Wall};

const ISOLATIONS: &[Word<Isolation>] = &[
    (
        "auto",
        "pivot_root(2), in a user namespace if need be, or chroot(2) with a note; for a user who can have neither, beneath",
        Isolation::Auto,
    ),
    ("pivot", "pivot_root(2) or failure", Isolation::Pivot),
    ("chroot", "chroot(2) even where pivoting would work", Isolation::Chroot),
    (
        "beneath",
        "no new root: Landlock, and steps beneath open directories; all belongs to the caller",
        Isolation::Beneath,
    ),
];

const MOUNTS: &[Word<Mounts>] = &[
    ("refuse", "an entry that leads into one fails, and nothing in them is in sight", Mounts::Refuse),
    ("skip", "what leads into one is left out with a warning, and nothing in them is in sight", Mounts::Skip),
    ("cross", "they are entered and changed like the rest", Mounts::Cross),
];

const WALLS: &[Word<Wall>] = &[
    ("best-effort", "in force where the kernel has it", Wall::BestEffort),
    ("required", "in force, or failure before the archive is read", Wall::Required),
    ("off", "not asked for", Wall::Off),
];

const READING_ISOLATIONS: &[Word<Isolation>] = &[
    ISOLATIONS[0],
    ISOLATIONS[1],
    ISOLATIONS[2],
    ("beneath", "no new root: Landlock, and steps beneath open directories", Isolation::Beneath),
];

const READING_MOUNTS: &[Word<Mounts>] = &[
    ("refuse", "where one is met the run fails", Mounts::Refuse),
    (
        "skip",
        "a directory is packed as it shows itself and nothing in it, a file that is mounted on is left out, with a warning",
        Mounts::Skip,
    ),
    ("cross", "what is in them is packed like the rest, with a warning", Mounts::Cross),
];

const COPYING_MOUNTS: &[Word<Mounts>] = &[
    ("refuse", "what leads into one of DESTINATION's fails", Mounts::Refuse),
    ("skip", "what leads into one is left out, with a warning", Mounts::Skip),
    ("cross", "they are read, entered and changed like the rest", Mounts::Cross),
];

const READING_WALLS: &[Word<Wall>] =
    &[WALLS[0], ("required", "in force, or failure before anything is packed", Wall::Required), WALLS[2]];

const READING_BENEATH: &str = "How ROOT is entered

With `beneath` ROOT is not entered: Landlock (Linux 5.19) and the system-call filter, both required, keep all that is read \
below it. A helper that a hostile tree has taken over can find out which names exist elsewhere. ACLs and attributes of FIFOs \
and devices are left out, with a warning.";

const READING_COVERED: &str = "What becomes of file systems mounted below ROOT

With `refuse` and `skip` they are covered, in the helper's mount namespace. With `cross` a helper that a hostile tree has \
taken over reaches all that is mounted there: through a /proc below ROOT files of the host as well. Without the option they \
are skipped, and for a layer refused. A PATH that leads into one, or is a file that is mounted on, is refused unless they are \
crossed.";

const COPYING_BENEATH: &str = "How each ROOT is entered

With `beneath` none is entered: Landlock (Linux 5.19) and the system-call filter, both required, keep all that is read below \
the one and all that is written below the other. A helper that was taken over can find out which names exist elsewhere. What \
is copied then belongs to the caller; set-id bits, file capabilities, devices, attributes of FIFOs and times of symlinks are \
left out, with a warning.";

const COPYING_COVERED: &str = "What becomes of file systems mounted below each ROOT

Those below SOURCE are skipped if they are not crossed; those below DESTINATION are refused without the option. With \
`refuse` and `skip` they are covered, in each helper's mount namespace. With `cross` a helper that was taken over reaches all \
that is mounted there: through a /proc below its ROOT files of the host as well.";

/// The words of these options where a directory is packed.
pub(super) fn of_packing(option: Arg) -> Arg {
    match option.get_id().as_str() {
        "isolation" => option.long_help(READING_BENEATH).value_parser(values::words(READING_ISOLATIONS)),
        "mounts" => option.long_help(READING_COVERED).value_parser(values::words(READING_MOUNTS)),
        "seccomp" | "landlock" => option.value_parser(values::words(READING_WALLS)),
        _ => option,
    }
}

/// The help of an option of `copy`, where one root is packed and another written.
pub(super) fn of_copying(option: Arg) -> Arg {
    match option.get_id().as_str() {
        "isolation" => option.long_help(COPYING_BENEATH).value_parser(values::words(READING_ISOLATIONS)),
        "mounts" => option.long_help(COPYING_COVERED).value_parser(values::words(COPYING_MOUNTS)),
        "seccomp" | "landlock" => option.value_parser(values::words(READING_WALLS)),
        "max_total_bytes" => option.help("Bytes of what is copied, as an archive has it; or `none` [default: 256G]"),
        _ => option,
    }
}

/// The helper's confinement.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Confinement")]
pub(crate) struct Jail {
    /// How ROOT is entered
    ///
    /// With `beneath` ROOT is not entered: Landlock (Linux 5.19) and the system-call filter, both required, keep all that is
    /// written and read below it. A decoder that an archive has taken over can find out which names exist elsewhere. Owners,
    /// set-id bits, file capabilities, devices, and the times of symlinks and FIFOs are left out, with a warning.
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = values::words(ISOLATIONS))]
    isolation: Isolation,

    /// Whether the helper makes a user namespace: auto, never, single, or id maps
    ///
    /// auto: only if the caller lacks the rights to enter ROOT; ids come from /etc/subuid and /etc/subgid where
    /// newuidmap and newgidmap are installed, else only the caller's own id is mapped, to root. Where none can be made it goes
    /// on without: by chroot(2) where that is allowed, as in an ordinary container, or for a user by --isolation beneath.
    ///
    /// never: without the rights it fails, unless --isolation beneath needs none.
    ///
    /// single: always, with the caller's own id as root and no other.
    ///
    /// INSIDE:OUTSIDE:COUNT[,…][/…]: always, with this map for user ids and, after the slash, for group ids;
    /// without a slash one map is for both.
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = values::user_namespace)]
    userns: UserNamespace,

    /// What becomes of file systems mounted below ROOT
    ///
    /// With `refuse` and `skip` they are covered, in the helper's mount namespace. With `skip` a directory that is to go
    /// keeps the mount points below it, and what leads to them. With `cross` a decoder that an archive has
    /// taken over reaches all that is mounted there: through a /proc below ROOT files of the host as well.
    /// Without the option they are refused, and skipped where a directory is packed.
    #[arg(long, value_name = "POLICY", value_parser = values::words(MOUNTS), hide_short_help = true)]
    mounts: Option<Mounts>,

    /// The same as --mounts cross
    #[arg(long, hide_short_help = true, conflicts_with = "mounts")]
    cross_mounts: bool,

    /// The same as --mounts skip
    #[arg(long, hide_short_help = true, conflicts_with_all = ["mounts", "cross_mounts"])]
    one_file_system: bool,

    /// The system-call filter, seccomp(2)
    #[arg(long, value_name = "POLICY", default_value = "best-effort", value_parser = values::words(WALLS),
          hide_short_help = true)]
    seccomp: Wall,

    /// landlock(7)
    #[arg(long, value_name = "POLICY", default_value = "best-effort", value_parser = values::words(WALLS),
          hide_short_help = true)]
    landlock: Wall,

    /// Landlock's path rules with pivot_root too; they cost some time for each file
    #[arg(long, hide_short_help = true)]
    landlock_paths: bool,
}

impl Jail {
    /// `owner`: the option that says who owns what is made, if one does.
    pub(super) fn check(&self, owner: Option<&str>) -> Result<(), (ErrorKind, String)> {
        if self.isolation == Isolation::Beneath {
            self.check_beneath(owner)?;
        }
        if self.landlock_paths && self.landlock == Wall::Off {
            let words = "--landlock-paths needs Landlock; leave --landlock off out";
            return Err((ErrorKind::ArgumentConflict, words.into()));
        }
        Ok(())
    }

    fn check_beneath(&self, owner: Option<&str>) -> Result<(), (ErrorKind, String)> {
        let words = if let Some(option) = owner {
            format!("with --isolation beneath all belongs to the caller, so {option} means nothing; leave one out")
        } else if !matches!(self.userns, UserNamespace::Auto | UserNamespace::Never) {
            "--isolation beneath does without a user namespace; leave --userns out".into()
        } else if self.landlock == Wall::Off {
            "--isolation beneath is nothing without Landlock; leave --landlock off out".into()
        } else if self.seccomp == Wall::Off {
            "with --isolation beneath the filter alone keeps owners, modes and times elsewhere; leave --seccomp off out"
                .into()
        } else {
            return Ok(());
        };
        Err((ErrorKind::ArgumentConflict, words))
    }

    pub(super) fn set(&self, jail: &mut untar_in_root::Jail) {
        jail.isolation = self.isolation;
        jail.user_namespace = self.userns.clone();
        jail.sandbox.seccomp = self.seccomp;
        jail.sandbox.landlock = self.landlock;
        jail.sandbox.landlock_paths = self.landlock_paths;
        jail.mounts = match (self.cross_mounts, self.one_file_system) {
            (true, _) => Mounts::Cross,
            (_, true) => Mounts::Skip,
            _ => self.mounts.unwrap_or(jail.mounts),
        };
    }
}
