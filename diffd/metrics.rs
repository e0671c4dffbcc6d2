//! What a monitor asks for: layers, failures by code, bytes, seconds, and how many are being applied or made.

use crate::code;
use crate::diff::Made;
use crate::record::{Times, Work};
use crate::status::Trouble;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;
use untar_in_root::Report;

/// The counters; a clone counts the same things.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    applies: Counter,
    failures: Family<Code, Counter>,
    bytes_in: Counter,
    bytes_tar: Counter,
    seconds: Counter<f64, AtomicU64>,
    diffs: Counter,
    diff_failures: Family<Code, Counter>,
    diff_bytes_out: Counter,
    diff_bytes_tar: Counter,
    diff_seconds: Counter<f64, AtomicU64>,
    wait: Counter<f64, AtomicU64>,
    in_flight: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: String,
}

impl Code {
    fn of(code: tonic::Code) -> Code {
        Code { code: format!("{code:?}") }
    }
}

impl Metrics {
    /// Every counter is there from the beginning: of one that appears, a monitor does not see the rise to 1.
    pub(crate) fn new() -> Metrics {
        let of_each_code = || {
            let family = Family::<Code, Counter>::default();
            code::ALL.iter().for_each(|code| drop(family.get_or_create(&Code::of(*code))));
            family
        };
        Metrics {
            applies: Counter::default(),
            failures: of_each_code(),
            bytes_in: Counter::default(),
            bytes_tar: Counter::default(),
            seconds: Counter::default(),
            diffs: Counter::default(),
            diff_failures: of_each_code(),
            diff_bytes_out: Counter::default(),
            diff_bytes_tar: Counter::default(),
            diff_seconds: Counter::default(),
            wait: Counter::default(),
            in_flight: Gauge::default(),
        }
    }

    /// A call whose outcome, or [`given_up`](Metrics::given_up), follows.
    pub(crate) fn begin(&self) {
        self.in_flight.inc();
    }

    pub(crate) fn applied(&self, outcome: &Result<Report, Trouble>, times: Times) {
        self.over(times);
        self.seconds.inc_by(times.worked.as_secs_f64());
        match outcome {
            Ok(report) => {
                self.applies.inc();
                self.bytes_in.inc_by(report.bytes_in);
                self.bytes_tar.inc_by(report.bytes_tar);
            }
            Err(trouble) => failed(&self.failures, code::of(trouble)),
        }
    }

    pub(crate) fn made(&self, outcome: &Result<Made, Trouble>, times: Times) {
        self.over(times);
        self.diff_seconds.inc_by(times.worked.as_secs_f64());
        match outcome {
            Ok(made) => {
                self.diffs.inc();
                self.diff_bytes_out.inc_by(made.packed.blob_size);
                self.diff_bytes_tar.inc_by(made.packed.size);
            }
            Err(trouble) => failed(&self.diff_failures, code::of(trouble)),
        }
    }

    pub(crate) fn given_up(&self, work: &Work, times: Times) {
        self.over(times);
        let (seconds, failures) = match work {
            Work::Apply(_) => (&self.seconds, &self.failures),
            Work::Make(_) => (&self.diff_seconds, &self.diff_failures),
        };
        seconds.inc_by(times.worked.as_secs_f64());
        failed(failures, tonic::Code::Cancelled);
    }

    fn over(&self, times: Times) {
        self.in_flight.dec();
        self.wait.inc_by(times.waited.as_secs_f64());
    }

    /// In the text format of Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut registry = Registry::with_prefix("untar_in_root");
        registry.register("applies", "Layers applied", self.applies.clone());
        registry.register("failures", "Layers not applied, by gRPC code", self.failures.clone());
        let bytes = |registry: &mut Registry, name: &str, help: &str, counter: &Counter| {
            registry.register_with_unit(name, help, Unit::Bytes, counter.clone());
        };
        bytes(&mut registry, "in", "Of layers as they are in the content store", &self.bytes_in);
        bytes(&mut registry, "tar", "Of layers uncompressed", &self.bytes_tar);
        registry.register_with_unit("apply", "Spent applying, failures too", Unit::Seconds, self.seconds.clone());
        registry.register("diffs", "Layers made", self.diffs.clone());
        registry.register("diff_failures", "Layers not made, by gRPC code", self.diff_failures.clone());
        bytes(&mut registry, "diff_out", "Of layers made, as they went into the content store", &self.diff_bytes_out);
        bytes(&mut registry, "diff_tar", "Of layers made, uncompressed", &self.diff_bytes_tar);
        registry.register_with_unit("diff", "Spent making, failures too", Unit::Seconds, self.diff_seconds.clone());
        registry.register_with_unit("wait", "Spent waiting for a turn", Unit::Seconds, self.wait.clone());
        registry.register("in_flight", "Calls that wait or are worked on", self.in_flight.clone());
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

fn failed(failures: &Family<Code, Counter>, code: tonic::Code) {
    failures.get_or_create(&Code::of(code)).inc();
}
