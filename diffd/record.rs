//! A call, from its arrival to its one line in the log and its counts, whatever ends it.

use crate::log;
use crate::metrics::Metrics;
use crate::status::Trouble;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use untar_in_root::Report;

/// Dropped without [`end`](Record::end) it was given up: by its caller, or by the end of the service.
pub(crate) struct Record {
    digest: String,
    namespace: Option<String>,
    metrics: Metrics,
    came: Instant,
    turn: OnceLock<Instant>,
    ended: bool,
}

/// How long a call has waited for its turn, and how long it has had it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) waited: Duration,
    pub(crate) applied: Duration,
}

impl Record {
    pub(crate) fn begin(metrics: &Metrics, digest: String, namespace: Option<String>) -> Record {
        metrics.begin();
        Record {
            digest,
            namespace,
            metrics: metrics.clone(),
            came: Instant::now(),
            turn: OnceLock::new(),
            ended: false,
        }
    }

    /// From now on it is applied.
    pub(crate) fn its_turn(&self) {
        self.turn.get_or_init(Instant::now);
    }

    /// Others have all turns.
    pub(crate) fn waits(&self) {
        log::waits(&self.digest, self.came.elapsed());
    }

    pub(crate) fn end(mut self, outcome: &Result<Report, Trouble>) {
        self.ended = true;
        self.metrics.end(outcome, self.times());
        log::layer(&self.digest, self.namespace.as_deref(), outcome, self.times());
    }

    fn times(&self) -> Times {
        let turn = self.turn.get();
        let waited = turn.map_or_else(|| self.came.elapsed(), |turn| turn.duration_since(self.came));
        Times { waited, applied: turn.map_or(Duration::ZERO, Instant::elapsed) }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.ended {
            self.metrics.given_up(self.times());
            log::given_up(&self.digest, self.namespace.as_deref(), self.times());
        }
    }
}
