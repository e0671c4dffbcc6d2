//! What is logged: to standard error, as lines or as JSON, one line a layer.

use crate::advice::told;
use crate::args::Format;
use crate::code;
use crate::patient;
use crate::status::Trouble;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::{error, info, warn};
use untar_in_root::Report;

/// To be called once.
pub(crate) fn start(format: Format) {
    let log = tracing_subscriber::fmt().with_writer(patient::errors).with_target(false).with_ansi(false);
    match format {
        // journald has the time.
        Format::Lines => log.without_time().init(),
        Format::Json => log.json().flatten_event(true).init(),
    }
}

/// Ends the program with a word, before or after there is a log.
pub(crate) fn fatal(error: &dyn Display) -> ExitCode {
    let _ = patient::errors().write_all(format!("untar-in-root-diffd: {error}\n").as_bytes());
    ExitCode::FAILURE
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
    if LOST.load(Ordering::Relaxed) { ExitCode::FAILURE } else { code }
}

/// One layer's end.
pub(crate) fn layer(digest: &str, namespace: Option<&str>, outcome: &Result<Report, Trouble>, took: Duration) {
    let (namespace, ms) = (namespace.unwrap_or("-"), took.as_millis());
    match outcome {
        Ok(report) => info!(
            digest,
            namespace,
            bytes_in = report.bytes_in,
            bytes_tar = report.bytes_tar,
            entries = report.entries.total(),
            events = report.event_count,
            ms,
            isolation = ?report.confinement.root,
            "applied"
        ),
        Err(trouble) => {
            let code = code::of(trouble);
            error!(digest, namespace, ?code, ms, error = %Whole(trouble), "not applied");
        }
    }
}

/// With the host's names, which the status leaves out.
struct Whole<'a>(&'a Trouble);

impl Display for Whole<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Trouble::Apply(error) => f.write_str(&told(error.to_string(), error.advice())),
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
