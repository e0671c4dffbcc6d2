//! The command line: what may be said, and what it means to the library.

mod archive;
mod common;
mod copy;
mod diff;
mod habits;
mod image;
mod jail;
mod limits;
mod output;
mod pack;
#[cfg(test)]
mod tests;
mod values;
mod writing;

use crate::exit;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use untar_in_root::Options;

pub(crate) use archive::Selection;
pub(crate) use copy::Copy;
pub(crate) use diff::{Diff, Layer};
pub(crate) use image::{Check, Command, Forget, Image, Inspect, Store, StoreArgs, StoreCommand};
pub(crate) use output::When;
pub(crate) use pack::{Pack, Patterns as Packing, Reported, Shown, Written};

pub(crate) const EXAMPLES: &str = "\
Examples:
  untar-in-root /srv/root debian.tar.zst            unpack a root file system
  untar-in-root --layer /srv/root layer.tar.gz      apply an image layer, whiteouts too
  curl -s URL | untar-in-root --digest sha256:… DIR unpack what comes, if it is the right thing
  untar-in-root -t unknown.tar                      look into an archive without writing
  untar-in-root image oci:DIR:tag /srv/root         all layers of an image; `untar-in-root image --help`
  untar-in-root pack /srv/root > root.tar           and the way back; `untar-in-root pack --help`
  untar-in-root diff before after > layer.tar       as a layer; `untar-in-root diff --help`
";

/// Unpacks a tar archive or an image layer, from inside a process that sees nothing but the destination.
///
/// A helper process enters ROOT with pivot_root(2), gives up its rights, and only then begins to read the
/// archive: whatever is in the archive, nothing outside ROOT is read or written. gzip, zstd, xz and bzip2 are
/// recognised and decompressed in the helper.
///
/// Without --layer or --overlay the archive is unpacked as `tar -xp --numeric-owner` would: owners, modes,
/// times, extended attributes and ACLs are restored, and names that begin with `.wh.` are ordinary files.
///
/// When something fails, nothing is rolled back: what has been unpacked stays, unless --atomic is given. Nothing is printed when all
/// went well.
#[derive(Debug, Parser)]
#[command(name = "untar-in-root", version, max_term_width = 100, after_help = "--help says more.")]
#[command(after_long_help = format!("{EXAMPLES}\n{}", exit::TABLE))]
#[command(
    override_usage = "untar-in-root [OPTIONS] ROOT [ARCHIVE]\n       untar-in-root --list [OPTIONS] [[ROOT] ARCHIVE]\n       \
        untar-in-root pack|diff|copy|image|inspect|store|check …"
)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    /// The directory to unpack into; it must exist, unless --atomic makes it
    #[arg(value_name = "ROOT", required_unless_present = "list")]
    root: Option<PathBuf>,

    /// The archive; `-` or nothing is standard input
    #[arg(value_name = "ARCHIVE")]
    archive: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) source: archive::Archive,
    #[command(flatten)]
    pub(crate) selection: archive::Selection,
    #[command(flatten)]
    pub(crate) writing: writing::Writing,
    #[command(flatten)]
    jail: jail::Jail,
    #[command(flatten)]
    limits: limits::Limits,
    #[command(flatten)]
    pub(crate) output: output::Output,
}

impl Args {
    /// Reads this process's arguments. Whoever asks for help, or has them wrong, gets the parser's words.
    pub(crate) fn from_command_line() -> Result<Args, clap::Error> {
        Args::parse_checked(std::env::args_os())
    }

    fn parse_checked<T: Into<OsString>>(words: impl IntoIterator<Item = T>) -> Result<Args, clap::Error> {
        let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
        let matches = command().try_get_matches_from(&words).map_err(|error| answered(error, &words))?;
        let mut args = Args::from_arg_matches(&matches)?;
        args.check(&matches).map_err(|(kind, words)| usage(matches.subcommand_name(), kind, &words))?;
        // `--list ARCHIVE`: a listing needs no root.
        if args.output.list && args.archive.is_none() {
            args.archive = args.root.take();
        }
        args.selection.check(args.archive()).map_err(|(kind, words)| usage(None, kind, &words))?;
        Ok(args)
    }

    /// What clap's own rules cannot say.
    fn check(&self, matches: &ArgMatches) -> Result<(), (ErrorKind, String)> {
        if let Some(option) = given::<writing::Writing>(matches).filter(|_| self.output.list) {
            let words = format!("--list writes nothing, so --{option} means nothing; leave one out");
            return Err((ErrorKind::ArgumentConflict, words));
        }
        if let Some(Command::Image(image)) = &self.command {
            image.check()?;
        }
        if let Some(Command::Pack(pack)) = &self.command {
            pack.check()?;
        }
        if let Some(Command::Diff(diff)) = &self.command {
            diff.check()?;
        }
        if let Some(Command::Copy(copy)) = &self.command {
            copy.check()?;
        }
        self.writing.check()?;
        self.jail.check(self.writing.owner())?;
        self.output.check()
    }

    /// What to type where ROOT is no directory but an archive.
    pub(crate) fn other_way_round(&self) -> Option<String> {
        let words: Vec<OsString> = std::env::args_os().collect();
        habits::other_way_round(self.root()?, self.archive(), &words)
    }

    pub(crate) fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// `None` is standard input.
    pub(crate) fn archive(&self) -> Option<&Path> {
        self.archive.as_deref().filter(|path| *path != Path::new("-"))
    }

    /// Makes of them what the library wants.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::default();
        self.source.set(&mut options);
        self.selection.set(&mut options);
        self.writing.set(&mut options);
        self.jail.set(&mut options.jail);
        self.limits.set(&mut options);
        self.output.set(&mut options);
        // Nobody would see it, and on large plain archives it costs more than all the rest.
        options.skip_diff_id |= !self.output.json && self.source.diff_id.is_none();
        options
    }
}

/// The first of these options that the command line has.
fn given<Those: clap::Args>(matches: &ArgMatches) -> Option<String> {
    let options = Those::augment_args(clap::Command::new(""));
    let from_command_line = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let found = options.get_arguments().find(|option| from_command_line(option.get_id().as_str()))?;
    found.get_long().map(str::to_owned)
}

fn command() -> clap::Command {
    Args::command()
}

/// tar's words get ours for an answer.
fn answered(error: clap::Error, words: &[OsString]) -> clap::Error {
    if !error.use_stderr() {
        return error;
    }
    match habits::answer(&command(), words) {
        Some(words) => usage(None, ErrorKind::UnknownArgument, &words),
        None => habits::without_tip(misplaced(error)),
    }
}

/// clap takes a word too many for a subcommand.
fn misplaced(error: clap::Error) -> clap::Error {
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) if error.kind() == ErrorKind::ArgumentConflict => {
            usage(None, ErrorKind::UnknownArgument, &format!("unexpected argument '{word}' found"))
        }
        _ => error,
    }
}

/// Makes an error like clap's own: the words, the usage of this subcommand if it is one's, status 2.
pub(crate) fn usage(command: Option<&str>, kind: ErrorKind, words: &str) -> clap::Error {
    let mut all = Args::command();
    all.build();
    let name = command.filter(|name| all.find_subcommand(name).is_some());
    match name.and_then(|name| all.find_subcommand_mut(name)) {
        Some(command) => command.error(kind, words),
        None => Args::command().error(kind, words),
    }
}
