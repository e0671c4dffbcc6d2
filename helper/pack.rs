//! `untar-in-root pack`: open, pack, show, tell how it ended.

mod place;

use crate::args::{self, Pack as Args, When};
use crate::exit::{self, Exit};
use crate::json;
use crate::patient;
use crate::patterns;
use crate::progress::Bar;
use crate::run::{killed, lock, on_terminal, remark};
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
use untar_in_root::{Escaped, Pack, Packed, Program};

/// Runs, shows, tells how to leave.
pub(crate) fn run(args: &Args) -> Exit {
    if args.output.is_none() && io::stdout().is_terminal() {
        let words = "the archive would be written to the terminal; name a file with --output, or redirect it";
        return Exit::Code(patient::show(&args::usage(ErrorKind::MissingRequiredArgument, words)));
    }
    let screen = Arc::new(Mutex::new(Screen::new()));
    let signals = match Signals::block() {
        Ok(signals) => signals.patient(),
        Err(errno) => return tell(args, &screen, Err(Trouble::Signals(errno.into()))),
    };
    let (pack, archive, place) = match prepare(args, &screen) {
        Ok(all) => all,
        Err(trouble) => {
            // Somebody waits for an archive, and no byte at all is an empty one to many.
            if let (None, Ok(output)) = (&args.output, io::stdout().as_fd().try_clone_to_owned()) {
                let _ = File::from(output).write_all(args.options().encoding.broken_off());
            }
            return tell(args, &screen, Err(trouble));
        }
    };
    let left_over = place.as_ref().map(Place::left_over);
    let caught = signals.watch(pack.canceller(), move || left_over.iter().for_each(Place::remove));
    let packed = pack.to_fd(archive).map_err(Trouble::from);
    let result = match (packed, place) {
        (Ok(packed), Some(place)) => place.appear().map(|()| packed),
        (packed, _) => packed,
    };
    lock(&screen).end_progress();
    let signal = match &result {
        Ok(_) => None,
        Err(trouble) if killed(trouble) => caught.signal_soon(),
        Err(_) => caught.signal(),
    };
    match signal {
        Some(signal) => Exit::Signal(signal),
        None => tell(args, &screen, result),
    }
}

/// What is to be packed, where it goes, and the file that it becomes if it becomes one.
fn prepare(args: &Args, screen: &Arc<Mutex<Screen>>) -> Result<(Pack, File, Option<Place>), Trouble> {
    let mut options = args.options();
    patterns::add_packing(&args.selection, &mut options)?;
    let mut pack = Pack::open(&args.root)?.program(Program::this()?).options(options);
    for path in &args.paths {
        pack = pack.path(path);
    }
    if args.shown.verbose {
        let shows = Arc::clone(screen);
        pack = pack.on_listed(move |entry| lock(&shows).note(&Escaped(&entry.path)));
    }
    if shows_progress(args) {
        lock(screen).set_bar(Bar::new(None));
        let bar = Arc::clone(screen);
        pack = pack.on_progress(move |how_far| lock(&bar).progress(how_far));
    }
    match &args.output {
        Some(path) => Place::open(path).map(|(file, place)| (pack, file, place)),
        None => {
            let output = io::stdout().as_fd().try_clone_to_owned().map_err(Trouble::Output)?;
            Ok((pack, output.into(), None))
        }
    }
}

fn shows_progress(args: &Args) -> bool {
    match args.shown.progress {
        When::Never => false,
        When::Always | When::Lines => true,
        When::Auto => on_terminal() && !args.shown.quiet && !args.shown.verbose,
    }
}

/// Says how it ended: on standard error, and as JSON where that was asked for.
fn tell(args: &Args, screen: &Arc<Mutex<Screen>>, result: Result<Packed, Trouble>) -> Exit {
    let mut screen = lock(screen);
    let result = result.map_err(|trouble| trouble.of("pack"));
    let json_there = matches!(args.shown.json, Some(None));
    if !args.shown.quiet && !json_there {
        match &result {
            Ok(packed) => remark(&mut screen, &packed.confinement, &packed.events, packed.event_count),
            Err(trouble) => {
                if let Some(report) = trouble.run_error().and_then(|error| error.report()) {
                    remark(&mut screen, &report.confinement, &report.events, report.event_count);
                }
            }
        }
    }
    if let Some(trouble) = result.as_ref().err().filter(|trouble| !json_there && !trouble.is_quiet()) {
        screen.say(trouble);
        if args.output.is_none() && !args.shown.quiet {
            screen.say(&"what has been written is no whole archive");
        }
    }
    let code = result.as_ref().err().map_or(exit::DONE, Trouble::exit);
    let written = args.shown.json.as_ref().map_or(Ok(()), |file| write_json(&mut screen, file.as_deref(), &result));
    match written {
        Err(trouble) if code == exit::DONE => {
            screen.say(&trouble);
            Exit::Code(trouble.exit())
        }
        _ => Exit::Code(code),
    }
}

fn write_json(screen: &mut Screen, file: Option<&Path>, result: &Result<Packed, Trouble>) -> Result<(), Trouble> {
    let line = match result {
        Ok(packed) => json::line(done(packed)),
        Err(trouble) => json::failed(trouble),
    };
    match file {
        None => screen.note(&line),
        Some(path) => {
            let trouble = |error| Trouble::Made { path: path.to_path_buf(), error };
            let mut file = File::create(path).map_err(trouble)?;
            file.write_all(format!("{line}\n").as_bytes()).map_err(trouble)?;
        }
    }
    Ok(())
}

fn done(packed: &Packed) -> Value {
    json!({ "ok": true, "exit": 0, "report": json::packed(packed), "error": null })
}
