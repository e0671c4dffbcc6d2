//! `untar-in-root image`: open, apply, show, tell how it ended.

mod board;

use crate::args::{Image, When};
use crate::exit::{self, Exit};
use crate::inspect;
use crate::json;
use crate::patient;
use crate::patterns;
use crate::run::{ended, on_terminal, remarks, unmapped};
use crate::screen::Screen;
use crate::signals::Signals;
use crate::trouble::Trouble;
use board::Board;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use untar_in_root::image::{Image as Opened, Layers, Opener, Store, Unpack};
use untar_in_root::{Canceller, Escaped, Program, Report};

/// What came of it.
struct Done {
    /// What the image was taken in place of, as text and as JSON.
    passed_over: Vec<(String, Value)>,
    /// What it demands of a machine.
    demands: Option<String>,
    made: Made,
}

/// What has been made.
enum Made {
    Root(Vec<Report>),
    Layers(Layers, PathBuf),
}

impl Made {
    fn reports(&mut self) -> Vec<&mut Report> {
        match self {
            Made::Root(reports) => reports.iter_mut().collect(),
            Made::Layers(layers, _) => layers.dirs.iter_mut().filter_map(|dir| dir.report.as_mut()).collect(),
        }
    }
}

pub(crate) fn run(args: &Image) -> Exit {
    let mut screen = Screen::new();
    let signals = match Signals::block() {
        Ok(signals) => signals.patient(),
        Err(errno) => return tell(args, &mut screen, Err(Trouble::Signals(errno.into()))),
    };
    let canceller = Canceller::default();
    let caught = signals.watch(canceller.clone(), || ());
    let result = make(args, &canceller);
    match ended(&caught, &result) {
        Some(signal) => Exit::Signal(signal),
        None => tell(args, &mut screen, result),
    }
}

fn make(args: &Image, canceller: &Canceller) -> Result<Done, Trouble> {
    let program = Program::this()?;
    let mut options = args.options();
    patterns::add(&args.selection, &mut options)?;
    let opener = Opener::new(args.source()).program(program.clone()).cancelled_by(canceller.clone());
    let opener = opener.staging_in(staging(args)).limits(options.limits).process_limits(options.jail.limits);
    let image = match &args.platform {
        Some(platform) => opener.platform(platform.clone()),
        None => opener,
    }
    .open()?;
    let board = board(args, &image).map(|board| Arc::new(Mutex::new(board)));
    options.progress = board.is_some();
    let mut unpack = image.unpack().program(program).options(options).cancelled_by(canceller.clone());
    if let Some(jobs) = args.jobs {
        unpack = unpack.jobs(jobs.into());
    }
    if let Some(board) = board.clone() {
        unpack = unpack.on_step(move |step| board.lock().unwrap_or_else(PoisonError::into_inner).step(step));
    }
    let made = apply(args, &image, unpack);
    if let Some(board) = board {
        board.lock().unwrap_or_else(PoisonError::into_inner).end();
    }
    let mut made = made?;
    patterns::in_all_layers(&mut made.reports());
    let passed_over = image.passed_over().iter().map(|one| (inspect::instead_of(one), inspect::reason(one)));
    Ok(Done { passed_over: passed_over.collect(), demands: demands(&image), made })
}

/// It may be the only one, or asked for by its name.
fn demands(image: &Opened) -> Option<String> {
    let platform = image.platform();
    let said = || format!("note: this image is for {platform}, which not every machine of that platform has");
    (!platform.features.is_empty()).then(said)
}

fn apply(args: &Image, image: &Opened, unpack: Unpack<'_>) -> Result<Made, Trouble> {
    match (&args.root, &args.layers, &args.store) {
        (Some(root), ..) if args.in_place => Ok(Made::Root(unpack.flatten_in_place(root)?.layers)),
        (Some(root), ..) => Ok(Made::Root(unpack.flatten(root)?.layers)),
        (_, Some(dir), _) => Ok(Made::Layers(unpack.layers(dir)?, dir.clone())),
        (_, _, Some(dir)) => {
            let store = Store::open_or_make(dir)?;
            let name = args.name.clone().unwrap_or_else(|| image.id().to_string());
            Ok(Made::Layers(unpack.into_store(&store, &name)?, dir.clone()))
        }
        // clap has seen to it that one of the three is there.
        (None, None, None) => Ok(Made::Root(Vec::new())),
    }
}

/// The directory for staging: on the same file system as the result, and not a temporary one that may be memory.
fn staging(args: &Image) -> PathBuf {
    if let Some(dir) = &args.staging {
        return dir.clone();
    }
    match (args.root.as_deref().or(args.layers.as_deref()), &args.store) {
        (Some(place), _) if args.in_place && place.parent().is_none() => std::env::temp_dir(),
        (Some(place), _) => beside(place),
        (None, Some(store)) => beside(store),
        (None, None) => std::env::temp_dir(),
    }
}

fn beside(place: &Path) -> PathBuf {
    match place.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_path_buf(),
        None => std::env::temp_dir(),
    }
}

fn board(args: &Image, image: &Opened) -> Option<Board> {
    let terminal = on_terminal();
    match args.progress {
        When::Never => None,
        When::Always | When::Lines if args.json => Some(Board::json(image, Box::new(patient::output()))),
        When::Always if !io::stderr().is_terminal() => Some(Board::json(image, Box::new(patient::errors()))),
        When::Always | When::Lines => Some(Board::lines(image, terminal)),
        When::Auto if terminal && !args.quiet && !args.json => Some(Board::lines(image, true)),
        When::Auto => None,
    }
}

fn tell(args: &Image, screen: &mut Screen, result: Result<Done, Trouble>) -> Exit {
    let result = result.map_err(|trouble| trouble.of("image"));
    let code = result.as_ref().err().map_or(exit::DONE, Trouble::exit);
    match &result {
        Ok(Done { made, passed_over, demands }) => {
            let reports: Vec<&Report> = match made {
                Made::Root(reports) => reports.iter().collect(),
                Made::Layers(layers, _) => layers.dirs.iter().filter_map(|dir| dir.report.as_ref()).collect(),
            };
            if !args.quiet {
                passed_over.iter().for_each(|(text, _)| screen.say(text));
                demands.iter().for_each(|note| screen.say(note));
                reports.first().into_iter().for_each(|report| unmapped(screen, report, None));
                reports.iter().for_each(|report| remarks(screen, report, "image"));
            }
            if args.json {
                let mut value = done(made);
                value["passed_over"] = passed_over.iter().map(|(_, value)| value.clone()).collect();
                screen.print(&json::line(value));
            } else if let Made::Layers(layers, dir) = made {
                mount_line(screen, layers, dir, args.quiet);
            }
        }
        Err(trouble) => {
            if !trouble.is_quiet() {
                screen.say(trouble);
            }
            if args.json {
                screen.print(&json::failed(trouble));
            }
        }
    }
    match screen.finish() {
        Err(error) if code == exit::DONE => {
            let trouble = Trouble::Output(error);
            if !trouble.is_quiet() {
                screen.say(&trouble);
            }
            Exit::Code(trouble.exit())
        }
        _ => Exit::Code(code),
    }
}

/// Writes the line as bytes: names need not be UTF-8, and it is for a program.
struct Raw<'a>(&'a OsString);

impl std::fmt::Display for Raw<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.to_str() {
            Some(text) if !text.chars().any(char::is_control) => f.write_str(text),
            _ => Escaped(self.0.as_bytes()).fmt(f),
        }
    }
}

fn mount_line(screen: &mut Screen, layers: &Layers, dir: &Path, quiet: bool) {
    // What the kernel takes in one mount(2).
    const PAGE: usize = 4095;
    let mut line = layers.mount_options();
    if line.len() > PAGE && !quiet {
        let whole = line.len();
        if let Ok(dir) = std::path::absolute(dir) {
            line = layers.mount_options_in(&dir);
        }
        let dir = Escaped(dir.as_os_str().as_bytes());
        screen.say(&format_args!(
            "note: {whole} bytes of mount options are more than the kernel takes at once ({PAGE}): the names are \
             relative to {dir}, so mount from there, or with one lowerdir+ for each layer (Linux 6.5)"
        ));
    }
    screen.print(&Raw(&line));
}

fn done(made: &Made) -> Value {
    match made {
        Made::Root(reports) => json!({ "ok": true, "exit": 0, "error": null,
            "layers": reports.iter().map(json::report).collect::<Vec<_>>() }),
        Made::Layers(layers, _) => {
            let text = |path: &Path| path.to_string_lossy().into_owned();
            let each = layers.dirs.iter().map(|dir| {
                let report = dir.report.as_ref().map(json::report);
                json!({ "dir": text(&dir.path), "found": report.is_none(), "report": report })
            });
            json!({ "ok": true, "exit": 0, "error": null, "userxattr": layers.userxattr,
                "mount_options": text(layers.mount_options().as_ref()), "layers": each.collect::<Vec<_>>() })
        }
    }
}
