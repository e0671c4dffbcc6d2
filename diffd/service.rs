//! The service that containerd calls.

use crate::apply::{self, Asked};
use crate::config::Settings;
use crate::diff::{self, Made};
use crate::interface::diff::diff_server::Diff;
use crate::interface::diff::{ApplyRequest, ApplyResponse, DiffRequest, DiffResponse};
use crate::interface::types::Descriptor;
use crate::log;
use crate::metrics::Metrics;
use crate::nameless;
use crate::record::{Record, Work};
use crate::status::{Trouble, start};
use crate::store::Caller;
use crate::turns::Turns;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::{Request, Response, Status};
use untar_in_root::Report;

/// What the answer says the layer is, uncompressed; containerd looks at its digest alone.
const UNCOMPRESSED: &str = "application/vnd.oci.image.layer.v1.tar";

/// In which an answer is on its way, and a call that was sent before its sender knew of the end arrives.
const GRACE: Duration = Duration::from_secs(1);

/// Shared by all calls.
pub(crate) struct Service {
    settings: RwLock<Arc<Settings>>,
    turns: Turns,
    pub(crate) metrics: Metrics,
    in_user_namespace: bool,
    calls: watch::Sender<usize>,
}

/// A call, or what it has left to be done, until it is answered or given up.
pub(crate) struct Call(watch::Sender<usize>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.send_modify(|calls| *calls -= 1);
    }
}

impl Service {
    pub(crate) fn new(settings: Settings) -> Service {
        log::content_root(&settings.content_root);
        Service {
            turns: Turns::new(settings.max_parallel),
            settings: RwLock::new(Arc::new(settings)),
            metrics: Metrics::new(),
            in_user_namespace: in_user_namespace(),
            calls: watch::Sender::new(0),
        }
    }

    fn begin(&self) -> Call {
        self.calls.send_modify(|calls| *calls += 1);
        Call(self.calls.clone())
    }

    /// Comes true when no call has run for a moment.
    pub(crate) async fn quiet(&self) {
        let mut calls = self.calls.subscribe();
        // The sender is ours, so waiting does not fail.
        while calls.wait_for(|calls| *calls == 0).await.is_ok() {
            if timeout(GRACE, calls.wait_for(|calls| *calls > 0)).await.is_err() {
                return;
            }
        }
    }

    /// For the calls that begin from now on; how many may run at once stays as it was.
    pub(crate) fn change(&self, settings: Settings) {
        log::content_root(&settings.content_root);
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn one(&self, request: ApplyRequest, record: &Record) -> Result<Report, Trouble> {
        if self.in_user_namespace {
            return Err(Trouble::InUserNamespace);
        }
        let asked = Asked::of(request)?;
        if asked.is_beside_others() {
            log::beside_others(&start(&asked.descriptor.digest));
        }
        apply::apply(asked, self.settings(), &self.turns, record).await
    }

    async fn make(&self, request: DiffRequest, caller: Caller, record: &Record) -> Result<Made, Trouble> {
        if self.in_user_namespace {
            return Err(Trouble::InUserNamespace);
        }
        let asked = diff::Asked::of(request)?;
        diff::make(asked, caller, self.settings(), &self.turns, record, self.begin()).await
    }
}

/// Every id is its own only in the first one.
fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.is_empty() && map.split_whitespace().ne(["0", "0", "4294967295"])
}

#[tonic::async_trait]
impl Diff for Arc<Service> {
    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let _call = self.begin();
        let namespace = namespace(&request);
        let request = request.into_inner();
        let digest = request.diff.as_ref().map_or_else(String::new, |diff| start(&diff.digest));
        let record = Record::begin(&self.metrics, Work::Apply(digest), namespace);
        let outcome = self.one(request, &record).await;
        record.applied(&outcome);
        match outcome {
            Ok(report) => Ok(Response::new(answer(&report))),
            Err(trouble) => Err(Status::from(&trouble)),
        }
    }

    async fn diff(&self, request: Request<DiffRequest>) -> Result<Response<DiffResponse>, Status> {
        let Some(caller) = Caller::of(request.metadata()) else {
            let settings = self.settings();
            return Err(nameless::answer(&settings.content_root, &settings.containerd_address));
        };
        let _call = self.begin();
        let (namespace, request) = (namespace(&request), request.into_inner());
        let reference = (!request.r#ref.is_empty()).then(|| start(&request.r#ref));
        let record = Record::begin(&self.metrics, Work::Make(reference), namespace);
        let outcome = self.make(request, caller, &record).await;
        record.made(&outcome);
        match outcome {
            Ok(made) => Ok(Response::new(DiffResponse { diff: Some(made.descriptor) })),
            Err(trouble) => Err(Status::from(&trouble)),
        }
    }
}

fn namespace<T>(request: &Request<T>) -> Option<String> {
    request.metadata().get("containerd-namespace").and_then(|name| name.to_str().ok()).map(start)
}

fn answer(report: &Report) -> ApplyResponse {
    let digest = report.diff_id.map(|digest| digest.to_string()).unwrap_or_default();
    let size = i64::try_from(report.bytes_tar).unwrap_or(i64::MAX);
    let applied = Descriptor { media_type: UNCOMPRESSED.into(), digest, size, annotations: Default::default() };
    ApplyResponse { applied: Some(applied) }
}
