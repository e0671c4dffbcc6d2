//! What is logged: to standard error, as lines or as JSON, one line a layer.

use crate::advice::told;
use crate::args::Format;
use crate::blob::{self, Lacking};
use crate::code;
use crate::diff::Made;
use crate::exit;
use crate::journal;
use crate::patient;
use crate::record::{Called, Times, Work};
use crate::status::{PAUSE, Trouble};
use crate::store::Refused;
use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::{Level, error, info, warn};
use untar_in_root::{Cause, Event, Report};

/// To be called once.
pub(crate) fn start(format: Format) {
    let log = tracing_subscriber::fmt().with_writer(journal::Writer::new()).with_target(false).with_ansi(false);
    match format {
        // journald has the time.
        Format::Lines => log.without_time().init(),
        Format::Json => log.json().flatten_event(true).init(),
    }
}

/// Ends the program with a word, before or after there is a log.
pub(crate) fn fatal(error: &dyn Display) -> ExitCode {
    let text = format!("untar-in-root-diffd: {}\n", one_line(&error.to_string()));
    let _ = journal::Writer::new().at(Level::ERROR).write_all(text.as_bytes());
    ExitCode::from(exit::FAILED)
}

/// Whether standard output has failed.
static LOST: AtomicBool = AtomicBool::new(false);

/// What was asked for, on standard output. Where that fails the program goes on, since files may be half changed.
pub(crate) fn print(text: &dyn Display) {
    if let Err(error) = patient::output().write_all(text.to_string().as_bytes()) {
        LOST.store(true, Ordering::Relaxed);
        let _ = fatal(&format_args!("writing to standard output: {error}"));
    }
}

/// How the program ends: not well if somebody has not got what was printed.
pub(crate) fn ended(code: ExitCode) -> ExitCode {
    if LOST.load(Ordering::Relaxed) { ExitCode::from(exit::FAILED) } else { code }
}

impl Called {
    /// What it is found by: its digest, or while it has none the name that its caller has given it.
    fn names(&self) -> (Option<&str>, Option<&str>) {
        match &self.work {
            Work::Apply(digest) => (Some(digest), None),
            Work::Make(reference) => (None, reference.as_deref()),
        }
    }

    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("-")
    }
}

/// The end of a layer that was to be applied.
pub(crate) fn applied(called: &Called, outcome: &Result<Report, Trouble>, times: Times) {
    let ((digest, _), namespace) = (called.names(), called.namespace());
    let (waited_ms, ms) = (ms(times.waited), ms(times.worked));
    match outcome {
        Ok(report) => info!(
            digest,
            namespace,
            bytes_in = report.bytes_in,
            bytes_tar = report.bytes_tar,
            entries = report.entries.total(),
            events = report.event_count,
            first_events = first_events(&report.events),
            waited_ms,
            ms,
            isolation = ?report.confinement.root,
            "applied"
        ),
        Err(trouble) => {
            let code = code::of(trouble);
            error!(digest, namespace, ?code, waited_ms, ms, error = %Whole(trouble), "not applied");
        }
    }
}

/// The end of a layer that was to be made.
pub(crate) fn made(called: &Called, outcome: &Result<Made, Trouble>, times: Times) {
    let ((_, reference), namespace) = (called.names(), called.namespace());
    let (waited_ms, ms) = (ms(times.waited), ms(times.worked));
    match outcome {
        Ok(Made { packed, descriptor }) => info!(
            digest = descriptor.digest,
            diff_id = packed.diff_id.map(|digest| digest.to_string()),
            reference,
            namespace,
            bytes_out = packed.blob_size,
            bytes_tar = packed.size,
            entries = packed.entries.total(),
            events = packed.event_count,
            first_events = first_events(&packed.events),
            waited_ms,
            ms,
            isolation = ?packed.confinement.root,
            "made"
        ),
        Err(trouble) if code::of(trouble) == tonic::Code::Unimplemented => {
            let code = code::of(trouble);
            info!(reference, namespace, ?code, waited_ms, ms, why = %Whole(trouble), "left to the next differ");
        }
        Err(trouble) => {
            let code = code::of(trouble);
            error!(reference, namespace, ?code, waited_ms, ms, error = %Whole(trouble), "not made");
        }
    }
}

/// What was left out or done otherwise, as far as it goes into one line.
fn first_events(events: &[Event]) -> Option<String> {
    const MOST: usize = 5;
    let told: Vec<String> = events.iter().take(MOST).map(ToString::to_string).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// Nobody has waited for it to its end.
pub(crate) fn given_up(called: &Called, times: Times) {
    let ((digest, reference), namespace) = (called.names(), called.namespace());
    let (code, waited_ms, ms) = (tonic::Code::Cancelled, ms(times.waited), ms(times.worked));
    warn!(digest, reference, namespace, ?code, waited_ms, ms, "given up by its caller, or at the end");
}

pub(crate) fn waits(called: &Called, waited: Duration) {
    let (digest, reference) = called.names();
    warn!(
        digest,
        reference,
        waited_ms = ms(waited),
        "waits for its turn: as many layers as may be at once (max-parallel) are being applied or made"
    );
}

/// A JSON number.
fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// At the start and when it is read again: before containerd's first layer there is none, and else it is a wrong one.
pub(crate) fn content_root(root: &Path) {
    let blobs = blob::blobs(root);
    if !blobs.is_dir() {
        warn!(
            path = %blobs.display(),
            "there is no content store yet: if containerd has its root elsewhere, content-root of diffd.toml says where"
        );
    }
}

/// What is read by line stays one: an error of TOML shows the place below it.
pub(crate) fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" / ")
}

/// With the host's names, which the status leaves out.
struct Whole<'a>(&'a Trouble);

impl Display for Whole<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Trouble::Directory(which, error) => {
                write!(f, "{which}: {}", told(error.to_string(), error.advice()))
            }
            Trouble::Apply(error) => f.write_str(&told(error.to_string(), error.advice())),
            Trouble::Make(error)
                if error.failure().is_some_and(|failure| matches!(failure.cause, Cause::Source(_))) =>
            {
                write!(f, "{error}: {PAUSE}")
            }
            Trouble::Make(error) => error.fmt(f),
            Trouble::Store(Refused::NoContainerd(path, words)) => write!(
                f,
                "{}: {words}: if containerd has its socket elsewhere, containerd-address of diffd.toml says where",
                path.display()
            ),
            Trouble::Store(Refused::By(doing, status)) => {
                write!(f, "{doing}: containerd answers {:?}: {}", status.code(), status.message())
            }
            Trouble::Blob(Lacking::Missing { digest, path }) => write!(
                f,
                "there is no {}: the content store has no {digest}; if containerd has its root elsewhere, content-root of \
                 diffd.toml says where",
                path.display()
            ),
            other => f.write_str(tonic::Status::from(other).message()),
        }
    }
}

/// What lies below decides a few things of a layer, and here nobody knows it.
pub(crate) fn beside_others(digest: &str) {
    warn!(
        digest,
        "unpacked without the layers below: an opaque marker at the top hides nothing, and directories that the layer \
         only implies are 0755 root"
    );
}
