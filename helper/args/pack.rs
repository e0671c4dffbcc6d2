//! `untar-in-root pack`: what is packed, how, and where it goes.

pub(super) mod metadata;

use super::jail;
use super::output::{WHENS, When};
use super::values::{self, Word};
use clap::error::ErrorKind;
use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use untar_in_root::{Encoding, PackOptions, Tolerance};

const EXAMPLES: &str = "\
Examples:
  untar-in-root pack /srv/root > root.tar                       all of it
  untar-in-root pack --zstd -o root.tar.zst /srv/root           the file appears whole or not at all
  untar-in-root pack --gzip /srv/root etc usr/local | ssh …     parts of it
  untar-in-root pack --dockerignore app/.dockerignore app       what docker would send as a build context";

const TOLERANCES: &[Word<Tolerance>] =
    &[("tell", "a warning", Tolerance::Tell), ("fail", "the run fails", Tolerance::Fail)];

/// Packs a directory into a tar archive, from inside a process that sees nothing but that directory and can change nothing.
///
/// A helper process enters ROOT, which is mounted read-only for it alone, gives up all rights but to read, and writes the
/// archive. Everything that unpacking restores is packed: owners, modes, times with nanoseconds, extended attributes, ACLs,
/// capabilities, hardlinks, holes. ROOT may be hostile, and alive: what changes while it is read is told with a warning, and
/// the archive stays well-formed.
///
/// When something fails, what has been written is never taken for a whole archive; with --output nothing is left.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, mut_args(jail::of_packing))]
#[command(override_usage = "untar-in-root pack [OPTIONS] ROOT [PATH]… > ARCHIVE\n       \
    untar-in-root pack [OPTIONS] --output ARCHIVE ROOT [PATH]…")]
pub(crate) struct Pack {
    /// The directory to pack
    #[arg(value_name = "ROOT")]
    pub(crate) root: PathBuf,

    /// What of it is packed, as it is named inside ROOT; without a PATH all of it
    ///
    /// Symlinks on the way are followed inside ROOT; one that a PATH ends in is packed itself.
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) written: Written,

    /// Threads that read files; as many as there are processors if not given
    ///
    /// The archive is the same with any number of them.
    #[arg(long, value_name = "N", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..=8),
          help_heading = "Archive")]
    readers: Option<u32>,

    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    metadata: metadata::Metadata,
    #[command(flatten)]
    live: Live,
    #[command(flatten)]
    jail: jail::Jail,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    pub(crate) shown: Shown,
}

/// Where the archive goes, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Written {
    /// Write to this file, which appears whole or not at all; without it, to standard output
    ///
    /// It is made beside its place and renamed when it is whole. A file that is there must be writable, and the new one has its
    /// owner and mode, but not its ACL, attributes or other names; where a link leads the file appears, and a link to nothing
    /// is an error. In ROOT, it is not packed into itself. A FIFO or device is written to as it is. `-` is standard output, and
    /// a file of that name `./-`.
    #[arg(long, short, value_name = "FILE", help_heading = "Archive")]
    output: Option<PathBuf>,

    /// Compress with gzip, at a level from 1 to 9 [default: 6]
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, require_equals = true, default_missing_value = "6",
          value_parser = values::level(9), conflicts_with = "zstd", help_heading = "Archive")]
    gzip: Option<u8>,

    /// Compress with zstd, at a level from 1 to 19 [default: 3]
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, require_equals = true, default_missing_value = "3",
          value_parser = values::level(19), help_heading = "Archive")]
    zstd: Option<u8>,
}

/// Which names are packed.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct Patterns {
    /// Pack only names that match; repeatable
    ///
    /// `*` and `?` match `/` too, `[…]` is a set, `{a,b}` are alternatives, a backslash takes the next character as it is. A
    /// pattern must match the whole name inside the directory that is packed, or a directory above it. What `pack` is given as
    /// a PATH is packed whatever the patterns say.
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,

    /// Leave names out that match; repeatable, comes after --include
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,

    /// Pack names that match a pattern in FILE, one on each line; repeatable
    ///
    /// `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) include_from: Vec<PathBuf>,

    /// Leave names out that match a pattern in FILE, as --include-from
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude_from: Vec<PathBuf>,

    /// Leave out what this file says, as docker reads its .dockerignore
    #[arg(long, value_name = "FILE")]
    pub(crate) dockerignore: Option<PathBuf>,
}

/// What of ROOT is packed, and under which names.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct Selection {
    #[command(flatten)]
    pub(crate) patterns: Patterns,

    /// Replace FROM at the beginning of names by TO; repeatable, the first that fits
    ///
    /// By whole components, also in the targets of hardlinks. Without a TO, what is below FROM is at the top.
    #[arg(long, value_name = "FROM=TO", value_parser = clap::builder::OsStringValueParser::new())]
    rebase: Vec<OsString>,

    /// Pack the directories above each PATH too, without what else is in them
    #[arg(long)]
    parents: bool,

    /// Leave out the entry of ROOT itself, `./`
    #[arg(long)]
    no_root: bool,
}

/// What becomes of a tree that is in use.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Live trees")]
pub(super) struct Live {
    /// What becomes of the run when a file changes while it is packed [default: tell, of a layer fail]
    #[arg(long, value_name = "POLICY", value_parser = values::words(TOLERANCES))]
    changes: Option<Tolerance>,

    /// What becomes of the run when a file may not be read; where it goes on, it is left out
    #[arg(long, value_name = "POLICY", default_value = "fail", value_parser = values::words(TOLERANCES))]
    pub(super) unreadable: Tolerance,
}

/// Bounds; sizes take K, M, G and T.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits (K, M, G and T are powers of 1024)")]
pub(super) struct Limits {
    /// Bytes of the uncompressed archive; or `none` [default: 256G]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    max_total_bytes: Option<u64>,

    /// Bytes of one file, holes included; or `none` [default: 64G]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    max_file_bytes: Option<u64>,

    /// Entries; or `none` [default: 10000000]
    #[arg(long, value_name = "N", value_parser = values::count)]
    max_entries: Option<u64>,

    /// Wall time in seconds, or with ms, s, m, h; 0 for none [default: none]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    timeout: Option<Duration>,

    /// Address space of the helper; 0 for no limit [default: none]
    #[arg(long, value_name = "SIZE", value_parser = values::size, hide_short_help = true)]
    max_memory: Option<u64>,

    /// Directories in one another [default: 16384]
    #[arg(long, value_name = "N", hide_short_help = true)]
    max_depth: Option<u32>,

    /// Bytes of one name [default: 128K]
    #[arg(long, value_name = "SIZE", value_parser = values::small_size, hide_short_help = true)]
    max_name_bytes: Option<u32>,

    /// Files with several names, each of which is remembered; or `none` [default: 4000000]
    #[arg(long, value_name = "N", value_parser = values::count, hide_short_help = true)]
    max_hardlinks: Option<u64>,

    /// Warnings that are reported; the rest are counted [default: 1000]
    #[arg(long, value_name = "N", hide_short_help = true)]
    max_events: Option<u32>,
}

/// What is shown.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Shown {
    /// Write one JSON object, the report or what failed, to FILE; without one, to standard error
    ///
    /// `-` is standard output, where no archive goes there.
    /// Its fields are those of unpacking; the report has the sizes and digests that an image's manifest needs.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    json: Option<Option<PathBuf>>,

    /// Write the name of each entry to standard error before it is packed
    #[arg(long, short)]
    pub(crate) verbose: bool,

    /// No warnings, no notes, no bar; errors only
    #[arg(long, short, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Show how far it has come, on standard error
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_value = "auto",
          default_missing_value = "always", value_parser = values::words(WHENS))]
    pub(crate) progress: When,
}

impl Pack {
    pub(super) fn check(&self) -> Result<(), (ErrorKind, String)> {
        let wrong = |words: &str| Err((ErrorKind::ArgumentConflict, words.into()));
        self.selection.patterns.check()?;
        self.written.check(&self.shown)?;
        if let Some(rule) = self.selection.rebase.iter().find(|rule| rebase(rule).is_none()) {
            return wrong(&format!("--rebase takes FROM=TO, and {rule:?} has no ="));
        }
        self.metadata.check()?;
        self.jail.check(None)
    }

    /// Makes of them what the library wants.
    pub(crate) fn options(&self) -> PackOptions {
        let mut options = PackOptions::default();
        self.written.set(&mut options);
        self.selection.set(&mut options);
        self.metadata.set(&mut options);
        options.readers = self.readers.and_then(NonZeroU32::new);
        self.live.set(&mut options);
        self.jail.set(&mut options.jail);
        self.limits.set(&mut options);
        self.shown.set(&mut options);
        options
    }
}

/// Where a report goes.
pub(crate) enum Reported<'a> {
    Errors,
    Output,
    File(&'a Path),
}

impl Written {
    /// The file that the archive goes to; `None` is standard output.
    pub(crate) fn output(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != Path::new("-"))
    }

    pub(super) fn check(&self, shown: &Shown) -> Result<(), (ErrorKind, String)> {
        shown.check()?;
        if let (None, Some(Reported::Output)) = (self.output(), shown.report()) {
            let words =
                "the archive goes to standard output, so --json=- has no place there; name a file for one of them";
            return Err((ErrorKind::ArgumentConflict, words.into()));
        }
        Ok(())
    }

    pub(crate) fn encoding(&self) -> Encoding {
        match (self.gzip, self.zstd) {
            (Some(level), _) => Encoding::Gzip { level },
            (_, Some(level)) => Encoding::Zstd { level },
            _ => Encoding::None,
        }
    }

    pub(super) fn set(&self, options: &mut PackOptions) {
        options.encoding = self.encoding();
    }
}

impl Live {
    pub(super) fn set(&self, options: &mut PackOptions) {
        options.changes = self.changes.unwrap_or(options.changes);
        options.unreadable = self.unreadable;
    }
}

impl Shown {
    pub(crate) fn report(&self) -> Option<Reported<'_>> {
        Some(match self.json.as_ref()?.as_deref() {
            None => Reported::Errors,
            Some(path) if path == Path::new("-") => Reported::Output,
            Some(path) => Reported::File(path),
        })
    }

    pub(super) fn check(&self) -> Result<(), (ErrorKind, String)> {
        if self.quiet && self.progress == When::Always {
            let words = "--quiet shows no progress; leave it or --progress out";
            return Err((ErrorKind::ArgumentConflict, words.into()));
        }
        Ok(())
    }

    pub(super) fn set(&self, options: &mut PackOptions) {
        // Nobody would see them.
        options.skip_digests = self.json.is_none();
    }
}

impl Patterns {
    pub(super) fn check(&self) -> Result<(), (ErrorKind, String)> {
        let lists = self.include_from.iter().chain(&self.exclude_from).chain(&self.dockerignore);
        if lists.filter(|path| path.as_os_str() == "-").count() > 1 {
            let words = "patterns from standard input (-) twice; name a file for one of them";
            return Err((ErrorKind::ArgumentConflict, words.into()));
        }
        Ok(())
    }

    pub(super) fn set(&self, options: &mut PackOptions) {
        options.include.clone_from(&self.include);
        options.exclude.clone_from(&self.exclude);
    }
}

impl Selection {
    fn set(&self, options: &mut PackOptions) {
        self.patterns.set(options);
        options.rebase = self.rebase.iter().filter_map(|rule| rebase(rule)).collect();
        options.parents = self.parents;
        options.no_root = self.no_root;
    }
}

/// `FROM=TO`, by bytes, without slashes at the ends.
fn rebase(rule: &OsStr) -> Option<(Vec<u8>, Vec<u8>)> {
    let bytes = rule.to_owned().into_vec();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    let plain = |name: &[u8]| {
        let parts = name.split(|byte| *byte == b'/').filter(|part| !matches!(part, [] | [b'.']));
        parts.collect::<Vec<_>>().join(&b'/')
    };
    Some((plain(&rule.as_bytes()[..at]), plain(&rule.as_bytes()[at + 1..])))
}

impl Limits {
    /// How long it may take.
    pub(super) fn time(&self) -> Option<Duration> {
        self.timeout.filter(|time| !time.is_zero())
    }

    pub(super) fn set(&self, options: &mut PackOptions) {
        let limits = &mut options.limits;
        fn put<T: Copy>(place: &mut T, given: Option<T>) {
            *place = given.unwrap_or(*place);
        }
        put(&mut limits.total_bytes, self.max_total_bytes);
        put(&mut limits.file_bytes, self.max_file_bytes);
        put(&mut limits.entries, self.max_entries);
        put(&mut limits.depth, self.max_depth);
        put(&mut limits.name_bytes, self.max_name_bytes);
        put(&mut limits.hardlinks, self.max_hardlinks);
        put(&mut limits.events, self.max_events);
        options.jail.limits.memory_bytes = self.max_memory.filter(|bytes| ![0, u64::MAX].contains(bytes));
        options.jail.limits.timeout = self.time();
    }
}
