//! `untar-in-root copy`: open both, copy, show, tell how it ended.

use crate::args::{self, Copy as Args, Reported};
use crate::exit::{self, Exit};
use crate::json;
use crate::pack::{report, shows_progress};
use crate::patient;
use crate::progress::Bar;
use crate::run::{ended, lock, remark, remarks};
use crate::screen::Screen;
use crate::signals::Signals;
use crate::trouble::Trouble;
use clap::error::ErrorKind;
use serde_json::json;
use std::sync::{Arc, Mutex};
use untar_in_root::{Copied, Copy, Escaped, Program};

/// Runs, shows, tells how to leave.
pub(crate) fn run(args: &Args) -> Exit {
    let screen = Arc::new(Mutex::new(Screen::new()));
    let signals = match Signals::block() {
        Ok(signals) => signals,
        Err(errno) => return tell(args, &screen, Err(Trouble::Signals(errno.into()))),
    };
    let copy = match prepare(args, &screen) {
        Ok(copy) => copy,
        Err(trouble) => {
            signals.let_go();
            return not_begun(args, &screen, trouble);
        }
    };
    let caught = signals.of_two_helpers().watch(copy.canceller(), || ());
    let result = copy.run().map_err(Trouble::from);
    lock(&screen).end_progress();
    match ended(&caught, &result) {
        Some(signal) => Exit::Signal(signal),
        None => tell(args, &screen, result),
    }
}

/// Says what is wrong; where ROOT was cut at a colon of its own, what to type.
fn not_begun(args: &Args, screen: &Arc<Mutex<Screen>>, trouble: Trouble) -> Exit {
    match args.colon().filter(|_| trouble.is_of_root()) {
        Some(words) => Exit::Code(patient::show(&args::usage(Some("copy"), ErrorKind::ValueValidation, &words))),
        None => tell(args, screen, Err(trouble)),
    }
}

fn prepare(args: &Args, screen: &Arc<Mutex<Screen>>) -> Result<Copy, Trouble> {
    let (from, to) = args.roots().unwrap_or_default();
    let mut copy = args.describe(Copy::open(from, to)?.program(Program::this()?));
    if args.shown.verbose {
        let shows = Arc::clone(screen);
        copy = copy.on_listed(move |entry| lock(&shows).note(&Escaped(&entry.path)));
    }
    if shows_progress(&args.shown) {
        lock(screen).set_bar(Bar::new(None));
        let bar = Arc::clone(screen);
        copy = copy.on_progress(move |how_far| lock(&bar).progress(how_far));
    }
    Ok(copy)
}

/// Says how it ended: on standard error, and as JSON where that was asked for.
fn tell(args: &Args, screen: &Arc<Mutex<Screen>>, result: Result<Copied, Trouble>) -> Exit {
    let mut screen = lock(screen);
    let result = result.map_err(|trouble| trouble.of("copy"));
    let json_there = matches!(args.shown.report(), Some(Reported::Errors));
    if !args.shown.quiet && !json_there {
        match &result {
            Ok(Copied { packed, report, .. }) => {
                remark(&mut screen, &packed.confinement, (&packed.events, packed.event_count), "copy");
                remarks(&mut screen, report, "copy");
            }
            Err(trouble) => {
                if let Some(report) = trouble.run_error().and_then(|error| error.report()) {
                    remarks(&mut screen, report, "copy");
                }
            }
        }
    }
    if let Some(trouble) = result.as_ref().err().filter(|trouble| !json_there && !trouble.is_quiet()) {
        screen.say(trouble);
    }
    let code = result.as_ref().err().map_or(exit::DONE, Trouble::exit);
    let line = match &result {
        Ok(copied) => json::line(json!({ "ok": true, "exit": 0, "report": json::copied(copied), "error": null })),
        Err(trouble) => json::failed(trouble),
    };
    match report(&mut screen, &args.shown, &line, args.limit()) {
        Err(trouble) if code == exit::DONE => {
            screen.say(&trouble);
            Exit::Code(trouble.exit())
        }
        _ => Exit::Code(code),
    }
}
