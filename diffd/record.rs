//! A call, from its arrival to its one line in the log and its counts, whatever ends it.

use crate::diff::Made;
use crate::log;
use crate::metrics::Metrics;
use crate::status::Trouble;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use untar_in_root::Report;

/// What a call is, as log and metrics tell it.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) work: Work,
    pub(crate) namespace: Option<String>,
}

#[derive(Debug)]
pub(crate) enum Work {
    /// The layer of this digest.
    Apply(String),
    /// What the caller calls it until it has a digest; most callers do not.
    Make(Option<String>),
}

/// Dropped without its outcome it was given up: by its caller, or by the end of the service.
pub(crate) struct Record {
    called: Called,
    metrics: Metrics,
    came: Instant,
    turn: OnceLock<Instant>,
    ended: bool,
}

/// How long a call has waited for its turn, and how long it has had it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) waited: Duration,
    pub(crate) worked: Duration,
}

impl Record {
    pub(crate) fn begin(metrics: &Metrics, work: Work, namespace: Option<String>) -> Record {
        metrics.begin();
        let called = Called { work, namespace };
        Record { called, metrics: metrics.clone(), came: Instant::now(), turn: OnceLock::new(), ended: false }
    }

    /// Notes that its turn has come: from now on the time counts as work.
    pub(crate) fn its_turn(&self) {
        self.turn.get_or_init(Instant::now);
    }

    /// Others have all turns.
    pub(crate) fn waits(&self) {
        log::waits(&self.called, self.came.elapsed());
    }

    pub(crate) fn applied(mut self, outcome: &Result<Report, Trouble>) {
        self.ended = true;
        self.metrics.applied(outcome, self.times());
        log::applied(&self.called, outcome, self.times());
    }

    pub(crate) fn made(mut self, outcome: &Result<Made, Trouble>) {
        self.ended = true;
        self.metrics.made(outcome, self.times());
        log::made(&self.called, outcome, self.times());
    }

    fn times(&self) -> Times {
        let turn = self.turn.get();
        let waited = turn.map_or_else(|| self.came.elapsed(), |turn| turn.duration_since(self.came));
        Times { waited, worked: turn.map_or(Duration::ZERO, Instant::elapsed) }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.ended {
            self.metrics.given_up(&self.called.work, self.times());
            log::given_up(&self.called, self.times());
        }
    }
}
