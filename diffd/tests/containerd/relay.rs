//! Between a containerd and the differ: hands each call on, and counts it. It stands outside the machine.

use crate::cri;
use crate::interface::diff::diff_client::DiffClient;
use crate::interface::diff::diff_server::{Diff, DiffServer};
use crate::interface::diff::{ApplyRequest, ApplyResponse, DiffRequest, DiffResponse};
use crate::machine::{Machine, SOCKET};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::{Builder, Runtime};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// What containerd is given in place of the differ's socket.
pub const RELAY: &str = "/run/untar-in-root/relay.sock";

/// Serves as long as it is there.
pub struct Relay {
    layers: Arc<AtomicUsize>,
    _runtime: Runtime,
}

struct Hand {
    differ: DiffClient<Channel>,
    layers: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl Diff for Hand {
    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let answer = self.differ.clone().apply(request).await?;
        self.layers.fetch_add(1, Ordering::Relaxed);
        Ok(answer)
    }

    async fn diff(&self, request: Request<DiffRequest>) -> Result<Response<DiffResponse>, Status> {
        self.differ.clone().diff(request).await
    }
}

impl Relay {
    /// In front of the differ of this machine, which must be there.
    pub fn start(machine: &Machine) -> Relay {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
        let layers = Arc::new(AtomicUsize::new(0));
        let channel = runtime.block_on(cri::channel(machine, SOCKET));
        let hand = Hand { differ: DiffClient::new(channel), layers: Arc::clone(&layers) };
        let path = machine.path(RELAY);
        let listener = runtime.block_on(async { tokio::net::UnixListener::bind(path).expect("socket") });
        let server = tonic::transport::Server::builder().add_service(DiffServer::new(hand));
        runtime.spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
        Relay { layers, _runtime: runtime }
    }

    /// Layers that the differ has said it has applied.
    pub fn layers(&self) -> usize {
        self.layers.load(Ordering::Relaxed)
    }
}
