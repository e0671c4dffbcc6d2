//! containerd's content store by its API, as one call writes to it: where a layer that is made goes.
//!
//! What is written stays under a name of its own, a reference, until it is committed; a lease keeps it from then on until
//! somebody names it. Whatever ends the call before its end, nothing of that stays.

use crate::interface::content::content_client::ContentClient;
use crate::interface::content::{AbortRequest, Info, InfoRequest, UpdateRequest};
use crate::interface::leases::leases_client::LeasesClient;
use crate::interface::leases::{CreateRequest, DeleteRequest};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// Why a layer cannot go into it.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Nobody listens there; in words.
    NoContainerd(PathBuf, String),
    /// What containerd answers to what was to be done.
    By(&'static str, Status),
    /// It has other bytes than were written.
    OtherBytes(String),
}

/// Who calls: the namespace and the lease that every request to containerd is made in.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    namespace: AsciiMetadataValue,
    lease: Option<AsciiMetadataValue>,
}

const NAMESPACE: &str = "containerd-namespace";
const LEASE: &str = "containerd-lease";

impl Caller {
    /// `None` where the call does not say in which namespace, as 1.7's do.
    pub(crate) fn of(metadata: &MetadataMap) -> Option<Caller> {
        let lease = metadata.get(LEASE).cloned();
        metadata.get(NAMESPACE).map(|namespace| Caller { namespace: namespace.clone(), lease })
    }
}

/// How long a lease of our own holds: what Docker and nerdctl give themselves for a commit, whose own leases containerd
/// does not hand on to its plug-ins.
const HELD: Duration = Duration::from_secs(3600);

/// A name that nobody else has.
pub(super) fn unique() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("untar-in-root-{now}-{}", CALLS.fetch_add(1, Ordering::Relaxed))
}

/// A connection to containerd in the name of a caller.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    channel: Channel,
    caller: Caller,
}

impl Store {
    /// # Errors
    ///
    /// Nobody listens there.
    pub(crate) async fn connect(socket: &Path, caller: Caller) -> Result<Store, Refused> {
        let failed = |words: String| Refused::NoContainerd(socket.to_owned(), words);
        let path = socket.to_str().ok_or_else(|| failed("its name is no text".into()))?;
        // Its error says more than what a client of gRPC makes of it.
        drop(tokio::net::UnixStream::connect(socket).await.map_err(|error| failed(error.to_string()))?);
        let endpoint = Endpoint::from_shared(format!("unix:{path}")).map_err(|error| failed(error.to_string()))?;
        let channel = endpoint.connect().await.map_err(|error| failed(error.to_string()))?;
        Ok(Store { channel, caller })
    }

    pub(super) fn content(&self) -> ContentClient<Channel> {
        ContentClient::new(self.channel.clone())
    }

    /// Makes a request in the caller's name.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(NAMESPACE, self.caller.namespace.clone());
        if let Some(lease) = &self.caller.lease {
            request.metadata_mut().insert(LEASE, lease.clone());
        }
        request
    }

    /// A lease that everything is written under from now on, and its id; none where the caller has brought one.
    pub(super) async fn lease(&mut self) -> Result<Option<String>, Refused> {
        if self.caller.lease.is_some() {
            return Ok(None);
        }
        let (id, until) = (unique(), prost_types::Timestamp::from(SystemTime::now() + HELD));
        let labels = HashMap::from([("containerd.io/gc.expire".to_owned(), until.to_string())]);
        let request = self.request(CreateRequest { id: id.clone(), labels });
        let made = LeasesClient::new(self.channel.clone()).create(request).await;
        made.map_err(|status| Refused::By("making a lease", status))?;
        // It is of digits and letters.
        self.caller.lease = id.parse().ok();
        Ok(Some(id))
    }

    /// # Errors
    ///
    /// It is not there, or containerd does not say.
    pub(super) async fn info(&self, digest: String) -> Result<Info, Refused> {
        let answer = self.content().info(self.request(InfoRequest { digest })).await;
        let info = answer.map_err(|status| Refused::By("looking at the layer", status))?.into_inner().info;
        info.ok_or_else(|| Refused::By("looking at the layer", Status::internal("an answer without a blob")))
    }

    /// Sets this label of a blob.
    pub(super) async fn label(&self, digest: String, key: &str, value: &str) -> Result<(), Refused> {
        let labels = HashMap::from([(key.to_owned(), value.to_owned())]);
        let paths = vec![format!("labels.{key}")];
        let update_mask = Some(prost_types::FieldMask { paths });
        let request = UpdateRequest { info: Some(Info { digest, labels, ..Info::default() }), update_mask };
        let answer = self.content().update(self.request(request)).await;
        answer.map(drop).map_err(|status| Refused::By("labelling the layer", status))
    }

    /// Whether it is gone.
    pub(super) async fn abort(&self, reference: &str) -> bool {
        let request = self.request(AbortRequest { r#ref: reference.into() });
        is_gone(self.content().abort(request).await)
    }

    /// Whether it is gone.
    pub(super) async fn end_lease(&self, id: &str) -> bool {
        let mut request = self.request(DeleteRequest { id: id.into() });
        // It is not to be used for its own end.
        request.metadata_mut().remove(LEASE);
        is_gone(LeasesClient::new(self.channel.clone()).delete(request).await)
    }
}

/// What containerd does not have, it need not forget.
fn is_gone<T>(answer: Result<T, Status>) -> bool {
    answer.map_or_else(|status| status.code() == Code::NotFound, |_| true)
}
