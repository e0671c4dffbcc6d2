//! As a kubelet pulls: `runtime.v1.ImageService/PullImage`.

use crate::machine::{Machine, socket_of};
use hyper_util::rt::TokioIo;
use tokio::runtime::Builder;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PullImageRequest {
    #[prost(message, optional, tag = "1")]
    image: Option<ImageSpec>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PullImageResponse {
    #[prost(string, tag = "1")]
    image_ref: String,
}

/// A channel to a socket in a machine.
pub async fn channel(machine: &Machine, socket: &str) -> Channel {
    let path = machine.path(socket);
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await.expect("connected")
}

/// # Errors
///
/// What containerd says.
pub fn pull(machine: &Machine, containerd: &str, image: &str) -> Result<String, Status> {
    let runtime = Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let mut client = tonic::client::Grpc::new(channel(machine, &socket_of(containerd)).await);
        client.ready().await.expect("ready");
        let request = PullImageRequest { image: Some(ImageSpec { image: image.into() }) };
        let method = "/runtime.v1.ImageService/PullImage".parse().expect("a path");
        let codec = ProstCodec::<PullImageRequest, PullImageResponse>::default();
        let response = client.unary(Request::new(request), method, codec).await?;
        Ok(response.into_inner().image_ref)
    })
}
