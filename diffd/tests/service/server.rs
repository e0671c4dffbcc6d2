//! A service of a test's own.

use crate::interface::diff::diff_client::DiffClient;
use crate::interface::diff::{ApplyRequest, ApplyResponse};
use crate::interface::types::{Descriptor, Mount};
use crate::support::tarball::Tarball;
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_prost::ProstCodec;

pub const OCI: &str = "application/vnd.oci.image.layer.v1.tar";
pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

#[derive(Clone, PartialEq, prost::Message)]
struct Rubbish {
    #[prost(bytes = "vec", tag = "1")]
    bytes: Vec<u8>,
}

/// Ended by its pid when it goes.
pub struct Server {
    pub child: Child,
    pub dir: TempDir,
    pub client: DiffClient<Channel>,
    pub runtime: Runtime,
}

impl Server {
    pub fn start(words: &[&str]) -> Server {
        Server::start_in(tempfile::tempdir().expect("directory"), words)
    }

    /// With what a service of before left there.
    pub fn start_in(dir: TempDir, words: &[&str]) -> Server {
        let command = command(dir.path(), words);
        Server::started(dir, command)
    }

    /// By another program that becomes it.
    pub fn start_by(before: &[&str]) -> Server {
        let dir = tempfile::tempdir().expect("directory");
        let service = command(dir.path(), &[]);
        let log = fs::OpenOptions::new().append(true).open(dir.path().join("log")).expect("log");
        let mut command = Command::new(before[0]);
        command.args(&before[1..]).arg(service.get_program()).args(service.get_args()).stderr(log);
        Server::started(dir, command)
    }

    fn started(dir: TempDir, mut command: Command) -> Server {
        let blobs = dir.path().join("containerd/io.containerd.content.v1.content/blobs/sha256");
        fs::create_dir_all(blobs).expect("content store");
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
        let child = command.spawn().expect("service");
        let socket = dir.path().join("diff.sock");
        within(Duration::from_secs(20), "the service listens", || UnixStream::connect(&socket).is_ok());
        let client = runtime.block_on(connect(socket));
        Server { child, dir, client, runtime }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).expect("log")
    }

    /// A directory as a snapshotter makes it.
    pub fn snapshot(&self, name: &str) -> PathBuf {
        let path = self.path("snapshots").join(name).join("fs");
        fs::create_dir_all(&path).expect("snapshot");
        path
    }

    /// A blob in the content store.
    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let digest = digest(bytes);
        fs::write(self.blob_path(&digest), bytes).expect("blob");
        let size = i64::try_from(bytes.len()).expect("small");
        Descriptor { media_type: media_type.into(), digest, size, annotations: Default::default() }
    }

    pub fn blob_path(&self, digest: &str) -> PathBuf {
        let blobs = self.path("containerd/io.containerd.content.v1.content/blobs/sha256");
        blobs.join(digest.strip_prefix("sha256:").expect("a digest"))
    }

    /// A layer that nobody sees the end of: one file of zeros, which take no room in the content store.
    pub fn endless(&self) -> Descriptor {
        let bytes: u64 = 60 << 30;
        let mut tar = Tarball::new().file("zeros", b"").with(|e| _ = e.size(bytes.into())).no_end().build();
        tar.truncate(512);
        // Its digest is nobody's concern: it is not read to its end.
        let blob = self.blob(OCI, &tar);
        let file = fs::File::options().write(true).open(self.blob_path(&blob.digest)).expect("blob");
        file.set_len(512 + bytes).expect("holes");
        Descriptor { size: i64::try_from(512 + bytes).expect("fits"), ..blob }
    }

    /// A call that applies it, and goes on.
    pub fn call_endless(&mut self) -> tokio::task::JoinHandle<Result<(), Status>> {
        let root = self.snapshot("1");
        let request = ApplyRequest { diff: Some(self.endless()), mounts: bind(&root), ..Default::default() };
        let mut client = self.client.clone();
        self.runtime.spawn(async move { client.apply(request).await.map(|_| ()) })
    }

    pub fn apply(&mut self, diff: Descriptor, mounts: Vec<Mount>) -> Result<Descriptor, Status> {
        let request = ApplyRequest { diff: Some(diff), mounts, ..Default::default() };
        self.call(request).map(|response| response.applied.expect("a descriptor"))
    }

    pub fn call(&mut self, request: ApplyRequest) -> Result<ApplyResponse, Status> {
        self.runtime.block_on(self.client.apply(request)).map(tonic::Response::into_inner)
    }

    /// What comes of a call of this method, whose message has these bytes where a descriptor should be.
    pub fn rubbish(&self, method: &'static str, bytes: Vec<u8>) -> Status {
        self.runtime.block_on(async {
            let mut client = tonic::client::Grpc::new(channel(self.path("diff.sock")).await);
            client.ready().await.expect("ready");
            let codec = ProstCodec::<Rubbish, ApplyResponse>::default();
            let request = tonic::Request::new(Rubbish { bytes });
            client.unary(request, method.parse().expect("a path"), codec).await.expect_err("refused")
        })
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, signal).expect("signalled");
    }

    /// How many helpers it has at this moment.
    pub fn helpers(&self) -> usize {
        self.children().len()
    }

    fn children(&self) -> Vec<i32> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten().flatten();
        let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let all: String = tasks.map(of).collect();
        all.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
    }

    /// The only one that it has.
    pub fn signal_helper(&self, signal: nix::sys::signal::Signal) {
        let children = self.children();
        let [pid] = children[..] else { panic!("{children:?}") };
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("signalled");
    }

    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("descriptors").count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn command(dir: &Path, words: &[&str]) -> Command {
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).expect("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_untar-in-root-diffd"));
    command.arg("--socket").arg(dir.join("diff.sock")).arg("--content-root").arg(dir.join("containerd"));
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command
}

async fn connect(socket: PathBuf) -> DiffClient<Channel> {
    DiffClient::new(channel(socket).await)
}

async fn channel(socket: PathBuf) -> Channel {
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connector).await.expect("connected")
}

/// # Panics
/// When it does not come true in time.
pub fn within(time: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < time, "not within {time:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

pub fn bind(source: &Path) -> Vec<Mount> {
    let options = ["rw", "rbind"].map(Into::into).into();
    vec![Mount { r#type: "bind".into(), source: source.display().to_string(), target: String::new(), options }]
}

pub fn overlay(upper: &Path, lowers: &[&Path], more: &[&str]) -> Vec<Mount> {
    let mut options: Vec<String> = more.iter().map(|&option| option.into()).collect();
    options.push(format!("upperdir={}", upper.display()));
    if !lowers.is_empty() {
        let lowers: Vec<_> = lowers.iter().map(|lower| lower.display().to_string()).collect();
        options.push(format!("lowerdir={}", lowers.join(":")));
    }
    vec![Mount { r#type: "overlay".into(), source: "overlay".into(), target: String::new(), options }]
}
