//! What a monitor asks for: layers, failures by code, bytes, seconds, and how many are being applied.

use crate::code;
use crate::record::Times;
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
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    applies: Counter,
    failures: Family<Code, Counter>,
    bytes_in: Counter,
    bytes_tar: Counter,
    seconds: Counter<f64, AtomicU64>,
    wait: Counter<f64, AtomicU64>,
    in_flight: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: String,
}

impl Metrics {
    /// A call that [`end`](Metrics::end) or [`given_up`](Metrics::given_up) follows.
    pub(crate) fn begin(&self) {
        self.in_flight.inc();
    }

    pub(crate) fn end(&self, outcome: &Result<Report, Trouble>, times: Times) {
        self.over(times);
        match outcome {
            Ok(report) => {
                self.applies.inc();
                self.bytes_in.inc_by(report.bytes_in);
                self.bytes_tar.inc_by(report.bytes_tar);
            }
            Err(trouble) => self.failed(code::of(trouble)),
        }
    }

    pub(crate) fn given_up(&self, times: Times) {
        self.over(times);
        self.failed(tonic::Code::Cancelled);
    }

    fn over(&self, times: Times) {
        self.in_flight.dec();
        self.seconds.inc_by(times.applied.as_secs_f64());
        self.wait.inc_by(times.waited.as_secs_f64());
    }

    fn failed(&self, code: tonic::Code) {
        self.failures.get_or_create(&Code { code: format!("{code:?}") }).inc();
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
        registry.register_with_unit("wait", "Spent waiting for a turn", Unit::Seconds, self.wait.clone());
        registry.register("in_flight", "Calls that wait or are applied", self.in_flight.clone());
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}
