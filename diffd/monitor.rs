//! Metrics over HTTP, at a Unix socket or a loopback address.

use crate::listen::Socket;
use crate::metrics::Metrics;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tracing::error;

/// Who takes longer to ask is nobody's monitor.
const PATIENCE: Duration = Duration::from_secs(10);

/// Begins to answer; ends with the runtime.
///
/// # Errors
///
/// The address is not a loopback one, or nothing can listen there.
pub(crate) async fn start(place: &str, metrics: Metrics) -> io::Result<()> {
    if place.starts_with('/') {
        return at_socket(Path::new(place), metrics);
    }
    let address: SocketAddr =
        place.parse().map_err(|_| invalid("neither an absolute path nor an address with a port"))?;
    if !address.ip().is_loopback() {
        return Err(invalid("not a loopback address; a monitor elsewhere needs a proxy that knows who may ask"));
    }
    let listener = TcpListener::bind(address).await?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => answer(stream, &metrics),
                Err(error) => not_taken(&error).await,
            }
        }
    });
    Ok(())
}

fn at_socket(path: &Path, metrics: Metrics) -> io::Result<()> {
    let socket = Socket::bind(path)?;
    socket.listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(socket.listener.try_clone()?)?;
    tokio::spawn(async move {
        // Its name goes with it.
        let _socket = socket;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => answer(stream, &metrics),
                Err(error) => not_taken(&error).await,
            }
        }
    });
    Ok(())
}

/// Tried again at once it would spin, while descriptors are lacking.
async fn not_taken(error: &io::Error) {
    error!(%error, "no monitor's connection taken");
    tokio::time::sleep(Duration::from_secs(1)).await;
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what.to_owned())
}

/// Who may ask at once.
static TURNS: Semaphore = Semaphore::const_new(32);

fn answer(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, metrics: &Metrics) {
    let Ok(turn) = TURNS.try_acquire() else { return };
    let metrics = metrics.clone();
    let reply = service_fn(move |_: Request<Incoming>| {
        let text = metrics.text();
        async move { Ok::<_, Infallible>(page(text)) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
    let connection = http.serve_connection(TokioIo::new(stream), reply);
    tokio::spawn(async move {
        let _turn = turn;
        // Who hangs up in the middle has asked for nothing.
        let _ = tokio::time::timeout(PATIENCE, connection).await;
    });
}

fn page(text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    let kind = header::HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
