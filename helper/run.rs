//! One run: open, hand over, show, tell how it ended.

use crate::advice;
use crate::args::{self, Args, When};
use crate::exit::{self, Exit};
use crate::json;
use crate::listing::Listing;
use crate::named::{self, Until};
use crate::patient;
use crate::patterns;
use crate::progress::Bar;
use crate::screen::Screen;
use crate::signals::{Caught, Signals};
use crate::trouble::Trouble;
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use untar_in_root::{Advice, Canceller, Confinement, Escaped, Event, Listed, MountsBelow, Program};
use untar_in_root::{EventKind, Mode, OverlayPrefix, Report, RootSwitch, Untar};

/// Warnings that are shown; `--json` has more.
const WARNINGS: usize = 30;

/// Runs, shows, tells how to leave.
pub(crate) fn run(args: &Args) -> Exit {
    if args.archive().is_none() && io::stdin().is_terminal() {
        let words = "the archive would be read from the terminal; name a file, or pipe an archive in";
        let words = args.other_way_round().unwrap_or_else(|| words.to_owned());
        let words = args::usage(None, clap::error::ErrorKind::MissingRequiredArgument, &words);
        return Exit::Code(patient::show(&words));
    }
    let screen = Arc::new(Mutex::new(Screen::new()));
    let signals = match Signals::block() {
        Ok(signals) => signals,
        Err(errno) => return tell(args, &screen, Err(Trouble::Signals(errno.into()))),
    };
    // Dropped before the program ends, by a signal or otherwise.
    let mut jail = None;
    let untar = archive(args).and_then(|archive| Ok((prepare(args, &screen, &archive, &mut jail)?, archive)));
    let (untar, archive) = match untar {
        Ok(both) => both,
        Err(trouble) => {
            drop(jail);
            signals.let_go();
            return not_begun(args, &screen, trouble);
        }
    };
    let left_over = jail.as_ref().and_then(EmptyDirectory::made);
    let caught = signals.watch(untar.canceller(), move || drop(left_over.map(EmptyDirectory::Made)));
    let result = untar.apply_fd(archive).map_err(Trouble::from);
    lock(&screen).end_progress();
    match ended(&caught, &result) {
        Some(signal) => Exit::Signal(signal),
        None => tell(args, &screen, result),
    }
}

/// Says what is wrong; where ROOT is an archive, what to type.
fn not_begun(args: &Args, screen: &Arc<Mutex<Screen>>, trouble: Trouble) -> Exit {
    match args.other_way_round().filter(|_| trouble.is_of_root()) {
        Some(words) => Exit::Code(patient::show(&args::usage(None, clap::error::ErrorKind::ValueValidation, &words))),
        None => tell(args, screen, Err(trouble)),
    }
}

/// The signal that ended a run, if one did.
pub(crate) fn ended<T>(caught: &Caught, result: &Result<T, Trouble>) -> Option<Signal> {
    match result {
        Ok(_) => None,
        Err(trouble) if killed(trouble) => caught.signal_soon(),
        Err(_) => caught.signal(),
    }
}

/// Did the helper die of a signal that may have been sent to us both?
fn killed(trouble: &Trouble) -> bool {
    let signal = trouble.run_error().and_then(|error| error.status()).and_then(|status| status.signal());
    [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT].into_iter().any(|ours| signal == Some(ours as i32))
}

pub(crate) fn lock(screen: &Mutex<Screen>) -> MutexGuard<'_, Screen> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn archive(args: &Args) -> Result<File, Trouble> {
    let until = Until::after(args.options().jail.limits.timeout);
    match args.archive() {
        Some(path) => named::open(path, until).map_err(|error| Trouble::Archive { path: path.to_path_buf(), error }),
        None => {
            let fd = io::stdin().as_fd().try_clone_to_owned();
            fd.map(File::from).map_err(|error| Trouble::Archive { path: PathBuf::from("-"), error })
        }
    }
}

fn prepare(
    args: &Args,
    screen: &Arc<Mutex<Screen>>,
    archive: &File,
    jail: &mut Option<EmptyDirectory>,
) -> Result<Untar, Trouble> {
    let mut options = args.options();
    patterns::add(&args.selection, &mut options)?;
    args.writing.layer.open_lowers(&mut options)?;
    let mut untar = match args.root() {
        Some(root) if args.writing.destination.atomic => Untar::atomic(root)?,
        Some(root) => Untar::open(root)?,
        None => Untar::open(jail.insert(EmptyDirectory::new().map_err(Trouble::Jail)?).path())?,
    };
    untar = untar.program(Program::this()?);
    if shows_progress(args) {
        options.progress = true;
        lock(screen).set_bar(Bar::new(size_of(archive)));
    }
    untar = untar.options(options);
    if let Some(path) = &args.writing.destination.into {
        untar = untar.destination(path);
    }
    if let Some(digest) = args.source.digest {
        untar = untar.expect_digest(digest);
    }
    if let Some(digest) = args.source.diff_id {
        untar = untar.expect_diff_id(digest);
    }
    let canceller = untar.canceller();
    let (shows, bar) = (Arc::clone(screen), Arc::clone(screen));
    if args.output.list || args.output.verbose {
        untar = untar.on_listed(listener(args, shows, canceller));
    }
    if shows_progress(args) {
        untar = untar.on_progress(move |how_far| lock(&bar).progress(how_far));
    }
    Ok(untar)
}

/// What is done with each entry of a listing, or of `--verbose`.
fn listener(args: &Args, screen: Arc<Mutex<Screen>>, canceller: Canceller) -> impl FnMut(Listed) + Send + 'static {
    let (list, as_json) = (args.output.list, args.output.json);
    let mut listing = Listing::new();
    move |entry| {
        let mut screen = lock(&screen);
        let heard = match (list, as_json) {
            (true, true) => screen.print(&json::entry(&entry)),
            (true, false) => screen.print(&listing.line(&entry)),
            (false, _) => {
                screen.note(&Escaped(&entry.path));
                true
            }
        };
        if !heard {
            canceller.cancel();
        }
    }
}

fn shows_progress(args: &Args) -> bool {
    match args.output.progress {
        When::Never => false,
        When::Always | When::Lines => true,
        // A listing on the same terminal is progress enough.
        When::Auto => {
            let listing_there = args.output.list && io::stdout().is_terminal();
            on_terminal() && !args.output.quiet && !listing_there
        }
    }
}

/// Standard error is a terminal on which lines can be drawn again.
pub(crate) fn on_terminal() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stderr().is_terminal() && !dumb
}

/// What is left of a regular file.
fn size_of(archive: &File) -> Option<u64> {
    let metadata = archive.metadata().ok().filter(|metadata| metadata.is_file())?;
    let at = io::Seek::stream_position(&mut &*archive).unwrap_or(0);
    Some(metadata.len().saturating_sub(at))
}

/// Says how it ended, on standard error and where asked for on standard output.
fn tell(args: &Args, screen: &Arc<Mutex<Screen>>, result: Result<Report, Trouble>) -> Exit {
    let mut screen = lock(screen);
    // What was listed comes first; an output that failed has cancelled the run.
    let result = match screen.finish() {
        Err(error) => Err(Trouble::Output(error)),
        Ok(()) => result,
    };
    let report = match &result {
        Ok(report) => Some(report),
        Err(trouble) => trouble.run_error().and_then(|error| error.report()),
    };
    if let Some(report) = report.filter(|_| !args.output.quiet) {
        unmapped(&mut screen, report, result.as_ref().err());
        user_marks(&mut screen, args, report);
        remarks(&mut screen, report, "");
    }
    if let Some(trouble) = result.as_ref().err().filter(|trouble| !trouble.is_quiet()) {
        screen.say(trouble);
        let done = report.map_or(0, |report| report.entries.total());
        if done > 0 && !args.output.list && !args.output.quiet {
            let left =
                if args.writing.destination.atomic { "nothing of it is left" } else { "what they made is still there" };
            screen.say(&format_args!("stopped after {done} entries; {left}"));
        }
    }
    let mut code = result.as_ref().err().map_or(exit::DONE, Trouble::exit);
    if args.output.json && !matches!(&result, Err(Trouble::Output(_))) {
        screen.print(&json::outcome(&result));
        if let Err(error) = screen.finish() {
            let trouble = Trouble::Output(error);
            if !trouble.is_quiet() {
                screen.say(&trouble);
            }
            code = if code == exit::DONE { trouble.exit() } else { code };
        }
    }
    Exit::Code(code)
}

/// A weaker switch of root than was asked for, and what was skipped or softened.
pub(crate) fn remarks(screen: &mut Screen, report: &Report, command: &str) {
    remark(screen, &report.confinement, (&report.events, report.event_count), command);
}

/// The same, of whatever a report is of.
pub(crate) fn remark(screen: &mut Screen, confinement: &Confinement, (events, count): (&[Event], u64), command: &str) {
    let root = confinement.root;
    match confinement.fallback.as_ref().filter(|fallback| fallback.errno.is_some()) {
        // What that is worth: SECURITY.md.
        Some(fallback) if root == RootSwitch::Beneath => screen.say(&format_args!(
            "note: no root was entered, because {fallback}; Landlock and a filter keep the helper below it, and one that was \
             taken over could find out which names exist elsewhere"
        )),
        Some(fallback) => screen.say(&format_args!("note: confined by {root} only, because {fallback}")),
        None => {}
    }
    mounts(screen, confinement);
    for event in events.iter().take(WARNINGS) {
        match advice::of_event(&event.what, confinement, command) {
            Some(option) => screen.say(&format_args!("warning: {event}; {option}")),
            None => screen.say(&format_args!("warning: {event}")),
        }
    }
    let shown = u64::try_from(events.len().min(WARNINGS)).unwrap_or(u64::MAX);
    if count > shown {
        screen.say(&format_args!("{} more warnings; --json shows them", count - shown));
    }
}

/// Ids that nobody would map. An error that comes of it says so itself.
pub(crate) fn unmapped(screen: &mut Screen, report: &Report, trouble: Option<&Trouble>) {
    let advice = trouble.and_then(Trouble::run_error).and_then(untar_in_root::Error::advice);
    let told = matches!(advice, Some(Advice::RefusedMap | Advice::SubordinateIds));
    if let Some(refusal) = report.confinement.map_refusal.as_ref().filter(|_| !told) {
        screen.say(&format_args!("note: {refusal}"));
    }
}

/// Root, who is used to other marks, is told of those that were taken here, where no event says why.
fn user_marks(screen: &mut Screen, args: &Args, report: &Report) {
    let asked = matches!(args.options().mode, Mode::Overlay(overlay) if overlay.prefix == OverlayPrefix::User);
    let told = report.events.iter().any(|event| event.what == EventKind::UserMarks);
    if report.user_marks && !asked && !told && nix::unistd::geteuid().is_root() {
        screen.say(&"note: overlay marks are in user.overlay.* here: mount it with userxattr");
    }
}

/// What is mounted below the root and could not be covered, unless it was to be crossed.
fn mounts(screen: &mut Screen, c: &Confinement) {
    match c.mounts {
        MountsBelow::InSight
            if matches!(c.root, RootSwitch::Chroot | RootSwitch::Beneath) && !c.mounts_below.is_empty() =>
        {
            let names: Vec<_> =
                c.mounts_below.iter().take(WARNINGS).map(|point| format!("{:?}", Escaped(point))).collect();
            screen.say(&format_args!("note: mounted below, in the helper's sight: {}", names.join(", ")));
        }
        MountsBelow::Unknown => screen.say(&"note: without /proc nobody can tell what is mounted below the root"),
        _ => {}
    }
}

/// What a listing is confined to: an empty directory, gone with the value, or one that is there anyhow.
enum EmptyDirectory {
    Made(PathBuf),
    Lent(PathBuf),
}

/// Directories with next to nothing in them, where none can be made: as in a container whose root is read-only. Never `/`:
/// that would be no jail.
const LENT: [&str; 2] = ["/var/empty", "/proc/fs"];

impl EmptyDirectory {
    fn new() -> io::Result<EmptyDirectory> {
        let made = nix::unistd::mkdtemp(&std::env::temp_dir().join("untar-in-root-list-XXXXXX"));
        made.map(EmptyDirectory::Made).or_else(|errno| {
            let lent = LENT.iter().map(PathBuf::from).find(|dir| std::fs::read_dir(dir).is_ok());
            lent.map(EmptyDirectory::Lent).ok_or_else(|| errno.into())
        })
    }

    fn path(&self) -> &Path {
        let (EmptyDirectory::Made(path) | EmptyDirectory::Lent(path)) = self;
        path
    }

    /// What is to be removed.
    fn made(&self) -> Option<PathBuf> {
        match self {
            EmptyDirectory::Made(path) => Some(path.clone()),
            EmptyDirectory::Lent(_) => None,
        }
    }
}

impl Drop for EmptyDirectory {
    fn drop(&mut self) {
        if let EmptyDirectory::Made(path) = self {
            let _ = std::fs::remove_dir(path);
        }
    }
}
