//! `untar-in-root pack`: open, pack, show, tell how it ended.

mod place;

use crate::args::{self, Pack as Args, Reported, Shown, When, Written};
use crate::exit::{self, Exit};
use crate::json;
use crate::named::{self, Until};
use crate::patient;
use crate::patterns;
use crate::progress::Bar;
use crate::run::{ended, lock, on_terminal, remark, remarks};
use crate::screen::Screen;
use crate::signals::Signals;
use crate::trouble::Trouble;
use clap::error::ErrorKind;
use place::Place;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use untar_in_root::{Canceller, Diff, Error, Escaped, Listed, Pack, PackOptions, Packed, Program, Progress};

/// Runs, shows, tells how to leave.
pub(crate) fn run(args: &Args) -> Exit {
    let options = args.options();
    let (ignore, limit) = (args.selection.patterns.dockerignore.as_deref(), options.jail.limits.timeout);
    archive(&Run { command: "pack", written: &args.written, shown: &args.shown, ignore, limit }, || {
        described(args, options)
    })
}

fn described(args: &Args, mut options: PackOptions) -> Result<Pack, Trouble> {
    patterns::add_packing(&args.selection.patterns, &mut options)?;
    let pack = Pack::open(&args.root)?.program(Program::this()?).options(options);
    Ok(args.paths.iter().fold(pack, |pack, path| pack.path(path)))
}

/// A command that writes an archive.
pub(crate) struct Run<'a> {
    pub(crate) command: &'static str,
    pub(crate) written: &'a Written,
    pub(crate) shown: &'a Shown,
    /// Whose lines an error may be about.
    pub(crate) ignore: Option<&'a Path>,
    /// How long is waited for who is at the other end of a file that was named, one by one.
    pub(crate) limit: Option<Duration>,
}

/// What each of them describes.
pub(crate) trait Described: Sized {
    fn tells_entries(self, callback: impl FnMut(Listed) + Send + 'static) -> Self;
    fn tells_progress(self, callback: impl FnMut(Progress) + Send + 'static) -> Self;
    fn ended_by(&self) -> Canceller;
    fn written_to(self, archive: File) -> Result<Packed, Error>;
}

macro_rules! described {
    ($($builder:ty)*) => { $(
        impl Described for $builder {
            fn tells_entries(self, callback: impl FnMut(Listed) + Send + 'static) -> Self {
                self.on_listed(callback)
            }

            fn tells_progress(self, callback: impl FnMut(Progress) + Send + 'static) -> Self {
                self.on_progress(callback)
            }

            fn ended_by(&self) -> Canceller {
                self.canceller()
            }

            fn written_to(self, archive: File) -> Result<Packed, Error> {
                self.to_fd(archive)
            }
        }
    )* };
}

described!(Pack Diff);

/// Writes what is described then, once it is known that somebody wants it.
pub(crate) fn archive<D: Described>(run: &Run<'_>, describe: impl FnOnce() -> Result<D, Trouble>) -> Exit {
    if run.written.output().is_none() && io::stdout().is_terminal() {
        let words = "the archive would be written to the terminal; name a file with --output, or redirect it";
        return Exit::Code(patient::show(&args::usage(Some(run.command), ErrorKind::MissingRequiredArgument, words)));
    }
    let screen = Arc::new(Mutex::new(Screen::new()));
    let signals = match Signals::block() {
        Ok(signals) => signals.patient(),
        Err(errno) => return tell(run, &screen, Err(Trouble::Signals(errno.into()))),
    };
    let (packing, archive, place) = match prepare(run, &screen, describe) {
        Ok(all) => all,
        Err(trouble) => {
            signals.let_go();
            // Somebody waits for an archive, and no byte at all is an empty one to many.
            if let (None, Ok(output)) = (run.written.output(), io::stdout().as_fd().try_clone_to_owned()) {
                let _ = File::from(output).write_all(run.written.encoding().broken_off());
            }
            return tell(run, &screen, Err(trouble));
        }
    };
    let left_over = place.as_ref().map(Place::left_over);
    let caught = signals.watch(packing.ended_by(), move || left_over.iter().for_each(Place::remove));
    let packed = packing.written_to(archive).map_err(Trouble::from);
    let result = match (packed, place) {
        (Ok(packed), Some(place)) => place.appear().map(|()| packed),
        (packed, _) => packed,
    };
    lock(&screen).end_progress();
    match ended(&caught, &result) {
        Some(signal) => Exit::Signal(signal),
        None => tell(run, &screen, result),
    }
}

/// What is to be packed, where it goes, and the file that it becomes if it becomes one.
fn prepare<D: Described>(
    run: &Run<'_>,
    screen: &Arc<Mutex<Screen>>,
    describe: impl FnOnce() -> Result<D, Trouble>,
) -> Result<(D, File, Option<Place>), Trouble> {
    let mut packing = describe()?;
    if run.shown.verbose {
        let shows = Arc::clone(screen);
        packing = packing.tells_entries(move |entry| lock(&shows).note(&Escaped(&entry.path)));
    }
    if shows_progress(run.shown) {
        lock(screen).set_bar(Bar::new(None));
        let bar = Arc::clone(screen);
        packing = packing.tells_progress(move |how_far| lock(&bar).progress(how_far));
    }
    match run.written.output() {
        Some(path) => Place::open(path, Until::after(run.limit)).map(|(file, place)| (packing, file, place)),
        None => {
            let output = io::stdout().as_fd().try_clone_to_owned().map_err(Trouble::Output)?;
            Ok((packing, output.into(), None))
        }
    }
}

pub(crate) fn shows_progress(shown: &Shown) -> bool {
    match shown.progress {
        When::Never => false,
        When::Always | When::Lines => true,
        When::Auto => on_terminal() && !shown.quiet && !shown.verbose,
    }
}

/// Says how it ended: on standard error, and as JSON where that was asked for.
fn tell(run: &Run<'_>, screen: &Arc<Mutex<Screen>>, result: Result<Packed, Trouble>) -> Exit {
    let mut screen = lock(screen);
    let result = result.map_err(|trouble| trouble.of(run.command).of_line_in(run.ignore));
    let json_there = matches!(run.shown.report(), Some(Reported::Errors));
    if !run.shown.quiet && !json_there {
        match &result {
            Ok(packed) => remark(&mut screen, &packed.confinement, (&packed.events, packed.event_count), run.command),
            Err(trouble) => {
                if let Some(report) = trouble.run_error().and_then(|error| error.report()) {
                    remarks(&mut screen, report, run.command);
                }
            }
        }
    }
    if let Some(trouble) = result.as_ref().err().filter(|trouble| !json_there && !trouble.is_quiet()) {
        screen.say(trouble);
        if run.written.output().is_none() && !run.shown.quiet {
            screen.say(&"what has been written is no whole archive");
        }
    }
    let code = result.as_ref().err().map_or(exit::DONE, Trouble::exit);
    let line = match &result {
        Ok(packed) => json::line(done(packed)),
        Err(trouble) => json::failed(trouble),
    };
    let written = report(&mut screen, run.shown, &line, run.limit);
    match written {
        Err(trouble) if code == exit::DONE => {
            screen.say(&trouble);
            Exit::Code(trouble.exit())
        }
        _ => Exit::Code(code),
    }
}

/// Writes the report where it was asked for, if it was.
pub(crate) fn report(
    screen: &mut Screen,
    shown: &Shown,
    line: &json::Line<Value>,
    limit: Option<Duration>,
) -> Result<(), Trouble> {
    match shown.report() {
        None => {}
        Some(Reported::Errors) => screen.note(line),
        Some(Reported::Output) => {
            screen.print(line);
            screen.finish().map_err(Trouble::Output)?;
        }
        Some(Reported::File(path)) => named::write(path, format!("{line}\n").as_bytes(), Until::after(limit))
            .map_err(|error| Trouble::Made { path: path.to_path_buf(), error })?,
    }
    Ok(())
}

fn done(packed: &Packed) -> Value {
    json!({ "ok": true, "exit": 0, "report": json::packed(packed), "error": null })
}
