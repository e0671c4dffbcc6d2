//! What a monitor asks for: layers, failures by code, bytes, seconds, and how many are being applied.

use crate::code;
use crate::status::Trouble;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;
use std::time::Instant;
use untar_in_root::Report;

/// The counters; a clone counts the same things.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    applies: Counter,
    failures: Family<Code, Counter>,
    bytes_in: Counter,
    bytes_tar: Counter,
    seconds: Counter<f64, AtomicU64>,
    in_flight: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: String,
}

/// A call that has begun. Dropped without [`end`](Running::end) it was given up by its caller.
pub(crate) struct Running {
    metrics: Metrics,
    began: Instant,
    ended: bool,
}

impl Metrics {
    pub(crate) fn begin(&self) -> Running {
        self.in_flight.inc();
        Running { metrics: self.clone(), began: Instant::now(), ended: false }
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
        registry.register("in_flight", "Calls that wait or are applied", self.in_flight.clone());
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

impl Running {
    pub(crate) fn end(mut self, outcome: &Result<Report, Trouble>) {
        self.ended = true;
        match outcome {
            Ok(report) => {
                self.metrics.applies.inc();
                self.metrics.bytes_in.inc_by(report.bytes_in);
                self.metrics.bytes_tar.inc_by(report.bytes_tar);
            }
            Err(trouble) => self.failed(code::of(trouble)),
        }
    }

    fn failed(&self, code: tonic::Code) {
        self.metrics.failures.get_or_create(&Code { code: format!("{code:?}") }).inc();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        self.metrics.seconds.inc_by(self.began.elapsed().as_secs_f64());
        if !self.ended {
            self.failed(tonic::Code::Cancelled);
        }
    }
}
