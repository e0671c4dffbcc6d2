//! A layer on its way into containerd's content store.

use crate::interface::content::{WriteAction, WriteContentRequest, WriteContentResponse};
use crate::service::Call;
use crate::store::{Refused, Store, unique};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use untar_in_root::Packed;

/// The label with the diff ID of a layer that is compressed.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// What containerd does, as it is told where it does not.
pub(crate) const BEGINNING: &str = "beginning the layer";
pub(crate) const WRITING: &str = "writing the layer";
pub(crate) const COMMITTING: &str = "committing the layer";

/// Dropped before it is committed, it is given up.
pub(crate) struct Ingest {
    requests: mpsc::Sender<WriteContentRequest>,
    answers: Streaming<WriteContentResponse>,
    offset: i64,
    /// The digest of what is there so far, by containerd's word.
    digest: String,
    undo: Undo,
}

/// Takes back what has been left with containerd, unless it is told not to.
struct Undo {
    store: Store,
    reference: Option<String>,
    lease: Option<String>,
    /// The service does not end before.
    call: Option<Call>,
}

/// As long as a containerd is waited for that has gone and may come back; what is left then ends with its lease.
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_secs(1);

impl Drop for Undo {
    fn drop(&mut self) {
        let (reference, lease, call) = (self.reference.take(), self.lease.take(), self.call.take());
        let store = self.store.clone();
        if reference.is_none() && lease.is_none() {
            return;
        }
        // Without a runtime the service has ended.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(timeout(PATIENCE, undo(store, reference, lease, call)));
    }
}

async fn undo(store: Store, reference: Option<String>, lease: Option<String>, mut call: Option<Call>) {
    while !undone(&store, reference.as_deref(), lease.as_deref()).await {
        // The service does not wait for a containerd that may never come.
        drop(call.take());
        tokio::time::sleep(AGAIN).await;
    }
}

async fn undone(store: &Store, reference: Option<&str>, lease: Option<&str>) -> bool {
    let aborted = match reference {
        Some(reference) => store.abort(reference).await,
        None => true,
    };
    let ended = match lease {
        Some(lease) => store.end_lease(lease).await,
        None => true,
    };
    aborted && ended
}

impl Undo {
    fn not(mut self) {
        (self.reference, self.lease) = (None, None);
    }
}

impl Ingest {
    /// Begins one, of this name if the caller has given it one.
    ///
    /// # Errors
    ///
    /// containerd takes none, or somebody else writes to one of this name.
    pub(crate) async fn begin(mut store: Store, named: String, call: Call) -> Result<Ingest, Refused> {
        let lease = store.lease().await?;
        let mut undo = Undo { store, reference: None, lease, call: Some(call) };
        let ours = named.is_empty();
        let reference = if ours { unique() } else { named };
        if ours {
            undo.reference = Some(reference.clone());
        }
        let (requests, queue) = mpsc::channel(1);
        let first = WriteContentRequest { r#ref: reference.clone(), ..request(WriteAction::Write) };
        // It is answered with the first message, so that is on its way before.
        let _ = requests.send(first).await;
        let stream = undo.store.request(ReceiverStream::new(queue));
        let answers = undo.store.content().write(stream).await.map_err(began)?.into_inner();
        let mut ingest = Ingest { requests, answers, offset: 0, digest: String::new(), undo };
        ingest.answer().await.map_err(began)?;
        // From now on nobody else writes to one of this name.
        ingest.undo.reference = Some(reference);
        Ok(ingest)
    }

    /// # Errors
    ///
    /// containerd does not take it.
    pub(crate) async fn write(&mut self, data: Vec<u8>) -> Result<(), Refused> {
        let length = i64::try_from(data.len()).unwrap_or(i64::MAX);
        let answer = self.ask(WriteContentRequest { offset: self.offset, data, ..request(WriteAction::Write) }).await;
        let answer = answer.map_err(|status| Refused::By(WRITING, status))?;
        self.offset += length;
        if answer.offset != self.offset {
            return Err(Refused::OtherBytes(format!("{} bytes, not {}", answer.offset, self.offset)));
        }
        self.digest = answer.digest;
        Ok(())
    }

    /// Makes a blob of it, which has these labels if it was not there before.
    ///
    /// # Errors
    ///
    /// It is not what the helper has packed, or containerd does not take it.
    pub(crate) async fn commit(mut self, packed: &Packed, mut labels: HashMap<String, String>) -> Result<i64, Refused> {
        let digest = packed.digest.map(|digest| digest.to_string()).unwrap_or_default();
        // What is there is compared here and not named to containerd, which would answer that it has it and not lease it.
        if self.digest != digest {
            return Err(Refused::OtherBytes(format!("{}, not {digest}", self.digest)));
        }
        let uncompressed = diff_id_if_compressed(packed);
        if let Some(diff_id) = &uncompressed {
            labels.insert(UNCOMPRESSED.into(), diff_id.clone());
        }
        let commit =
            WriteContentRequest { offset: self.offset, total: self.offset, labels, ..request(WriteAction::Commit) };
        match self.ask(commit).await {
            Ok(_) => {}
            // It has it from somebody else, and leases it for us.
            Err(status) if status.code() == Code::AlreadyExists => {}
            Err(status) => return Err(Refused::By(COMMITTING, status)),
        }
        let info = self.undo.store.info(digest.clone()).await?;
        if let Some(diff_id) = uncompressed.filter(|_| !info.labels.contains_key(UNCOMPRESSED)) {
            self.undo.store.label(digest, UNCOMPRESSED, &diff_id).await?;
        }
        self.undo.not();
        Ok(info.size)
    }

    async fn ask(&mut self, request: WriteContentRequest) -> Result<WriteContentResponse, Status> {
        // Where it cannot be sent, the answer says why.
        let _ = self.requests.send(request).await;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<WriteContentResponse, Status> {
        let answer = self.answers.message().await?;
        answer.ok_or_else(|| Status::unavailable("containerd has ended the writing"))
    }
}

fn began(status: Status) -> Refused {
    Refused::By(BEGINNING, status)
}

fn request(action: WriteAction) -> WriteContentRequest {
    WriteContentRequest { action: action.into(), ..WriteContentRequest::default() }
}

fn diff_id_if_compressed(packed: &Packed) -> Option<String> {
    (packed.diff_id != packed.digest).then(|| packed.diff_id.map(|id| id.to_string())).flatten()
}
