//! What stands in containerd's place for a layer that is made: its content store and its leases, in memory, as they answer,
//! and as they refuse.

use crate::interface::content::content_server::{Content, ContentServer};
use crate::interface::content::{
    AbortRequest, Info, InfoRequest, InfoResponse, UpdateRequest, UpdateResponse, WriteAction, WriteContentRequest,
    WriteContentResponse,
};
use crate::interface::leases::leases_server::{Leases, LeasesServer};
use crate::interface::leases::{CreateRequest, CreateResponse, DeleteRequest, Lease};
use crate::server::digest;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Serves as long as it is there.
pub struct Containerd {
    pub socket: PathBuf,
    kept: Arc<Mutex<Kept>>,
    _dir: TempDir,
    _runtime: Runtime,
}

/// What it has, and what it has heard.
#[derive(Default)]
pub struct Kept {
    pub ingests: HashMap<String, Vec<u8>>,
    pub blobs: HashMap<String, Blob>,
    pub leases: HashMap<String, HashMap<String, String>>,
    /// Namespaces and leases that it was called with, one of each.
    pub namespaces: Vec<String>,
    pub called_under: Vec<String>,
    pub mood: Mood,
}

#[derive(Clone)]
pub struct Blob {
    pub bytes: Vec<u8>,
    pub labels: HashMap<String, String>,
}

/// What it does to who writes.
#[derive(Clone, Default)]
pub enum Mood {
    #[default]
    Takes,
    /// No first message.
    RefusesToBegin(Status),
    /// No message beyond so many bytes.
    RefusesBeyond(usize, Status),
    RefusesToCommit(Status),
    /// It has something else than it was given.
    Bends,
    /// Nothing is answered beyond so many bytes, until its mood is better.
    StallsBeyond(usize),
    /// It ends the stream there, without an error.
    HangsUpBeyond(usize),
}

impl Containerd {
    pub fn start() -> Containerd {
        let dir = tempfile::tempdir().expect("directory");
        let socket = dir.path().join("containerd.sock");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
        let kept = Arc::new(Mutex::new(Kept::default()));
        let listener = runtime.block_on(async { tokio::net::UnixListener::bind(&socket).expect("socket") });
        let service = Service(Arc::clone(&kept));
        let content = ContentServer::new(service.clone()).max_decoding_message_size(16 << 20);
        let server = tonic::transport::Server::builder().add_service(content).add_service(LeasesServer::new(service));
        runtime.spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
        Containerd { socket, kept, _dir: dir, _runtime: runtime }
    }

    pub fn in_the_mood(self, mood: Mood) -> Containerd {
        self.kept().mood = mood;
        self
    }

    pub fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("not poisoned")
    }

    /// Nothing of a layer that was not made.
    pub fn has_nothing(&self) -> bool {
        let kept = self.kept();
        kept.ingests.is_empty() && kept.leases.is_empty()
    }
}

#[derive(Clone)]
struct Service(Arc<Mutex<Kept>>);

impl Service {
    /// As containerd: nobody is served without a namespace.
    fn heard<T>(&self, request: &Request<T>) -> Result<MutexGuard<'_, Kept>, Status> {
        let header = |name: &str| request.metadata().get(name).map(|value| value.to_str().expect("text").to_owned());
        let namespace = header("containerd-namespace");
        let namespace = namespace.ok_or_else(|| Status::failed_precondition("namespace is required"))?;
        let mut kept = self.0.lock().expect("not poisoned");
        if !kept.namespaces.contains(&namespace) {
            kept.namespaces.push(namespace);
        }
        if let Some(lease) = header("containerd-lease").filter(|lease| !kept.called_under.contains(lease)) {
            kept.called_under.push(lease);
        }
        Ok(kept)
    }

    /// The answer to a message; none where nothing more comes.
    async fn answer(&self, name: &str, request: WriteContentRequest) -> Result<Option<WriteContentResponse>, Status> {
        let begins = !request.r#ref.is_empty();
        let offset = usize::try_from(request.offset).expect("an offset");
        loop {
            let mood = self.0.lock().expect("not poisoned").mood.clone();
            match mood {
                Mood::RefusesToBegin(status) if begins => return Err(status),
                Mood::RefusesBeyond(bytes, status) if offset + request.data.len() > bytes => return Err(status),
                Mood::RefusesToCommit(status) if request.action() == WriteAction::Commit => return Err(status),
                Mood::HangsUpBeyond(bytes) if offset + request.data.len() > bytes => return Ok(None),
                Mood::StallsBeyond(bytes) if offset + request.data.len() > bytes => {}
                _ => break,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.0.lock().expect("not poisoned").take(name, request).map(Some)
    }
}

impl Kept {
    fn take(&mut self, name: &str, request: WriteContentRequest) -> Result<WriteContentResponse, Status> {
        let bends = matches!(self.mood, Mood::Bends);
        let ingest = self.ingests.entry(name.into()).or_default();
        if request.offset == 0 {
            ingest.clear();
        }
        assert_eq!(ingest.len(), usize::try_from(request.offset).expect("an offset"));
        ingest.extend(&request.data);
        if let Some(last) = ingest.last_mut().filter(|_| bends) {
            *last ^= 1;
        }
        let (action, offset, digest) = (request.action, i64::try_from(ingest.len()).expect("small"), digest(ingest));
        if request.action() == WriteAction::Commit {
            assert_eq!(request.total, offset);
            let bytes = self.ingests.remove(name).expect("there");
            if self.blobs.contains_key(&digest) {
                return Err(Status::already_exists("it is there"));
            }
            self.blobs.insert(digest.clone(), Blob { bytes, labels: request.labels });
        }
        Ok(WriteContentResponse { action, offset, digest, ..WriteContentResponse::default() })
    }

    fn info(&self, digest: &str) -> Result<Info, Status> {
        let blob = self.blobs.get(digest).ok_or_else(|| Status::not_found("no such blob"))?;
        let size = i64::try_from(blob.bytes.len()).expect("small");
        Ok(Info { digest: digest.into(), size, labels: blob.labels.clone() })
    }
}

#[tonic::async_trait]
impl Content for Service {
    type WriteStream = ReceiverStream<Result<WriteContentResponse, Status>>;

    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let kept = self.heard(&request)?;
        let info = kept.info(&request.into_inner().digest)?;
        Ok(Response::new(InfoResponse { info: Some(info) }))
    }

    async fn update(&self, request: Request<UpdateRequest>) -> Result<Response<UpdateResponse>, Status> {
        let mut kept = self.heard(&request)?;
        let UpdateRequest { info, update_mask } = request.into_inner();
        let (info, mask) = (info.expect("a blob"), update_mask.expect("a mask"));
        let blob = kept.blobs.get_mut(&info.digest).ok_or_else(|| Status::not_found("no such blob"))?;
        for path in mask.paths {
            let key = path.strip_prefix("labels.").expect("a label");
            blob.labels.insert(key.into(), info.labels[key].clone());
        }
        let info = Some(kept.info(&info.digest)?);
        Ok(Response::new(UpdateResponse { info }))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        drop(self.heard(&request)?);
        let (service, mut requests, (answers, stream)) = (self.clone(), request.into_inner(), mpsc::channel(1));
        tokio::spawn(async move {
            let mut name = String::new();
            while let Ok(Some(request)) = requests.message().await {
                if !request.r#ref.is_empty() {
                    name.clone_from(&request.r#ref);
                }
                let committed = request.action() == WriteAction::Commit;
                let Some(answer) = service.answer(&name, request).await.transpose() else { return };
                let over = answer.is_err() || committed;
                // containerd answers its end twice.
                if committed && answer.is_ok() {
                    let _ = answers.send(answer.clone()).await;
                }
                if answers.send(answer).await.is_err() || over {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn abort(&self, request: Request<AbortRequest>) -> Result<Response<()>, Status> {
        let mut kept = self.heard(&request)?;
        let gone = kept.ingests.remove(&request.into_inner().r#ref);
        gone.map(|_| Response::new(())).ok_or_else(|| Status::not_found("no such ingest"))
    }
}

#[tonic::async_trait]
impl Leases for Service {
    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<CreateResponse>, Status> {
        let mut kept = self.heard(&request)?;
        let CreateRequest { id, labels } = request.into_inner();
        kept.leases.insert(id.clone(), labels.clone());
        Ok(Response::new(CreateResponse { lease: Some(Lease { id, labels }) }))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<()>, Status> {
        let mut kept = self.heard(&request)?;
        let gone = kept.leases.remove(&request.into_inner().id);
        gone.map(|_| Response::new(())).ok_or_else(|| Status::not_found("no such lease"))
    }
}
