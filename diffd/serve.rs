//! The service, from its first word to its last.

use crate::args::Args;
use crate::config::Settings;
use crate::interface::diff::diff_server::DiffServer;
use crate::listen::Socket;
use crate::log::one_line;
use crate::monitor;
use crate::service::Service;
use sd_notify::NotifyState;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnixListenerStream;
use tracing::{error, info};

/// containerd's own bound on a message, both ways.
const MESSAGE: usize = 16 << 20;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Serves until a signal ends it.
///
/// # Errors
///
/// The socket or the runtime cannot be had.
pub(crate) fn run(args: &Args, settings: Settings) -> Result<()> {
    let socket = Socket::open(&args.socket).map_err(|e| format!("listening at {}: {e}", args.socket.display()))?;
    socket.listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(args, settings, socket));
    // A helper that the kernel does not let go yet ends with this process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn serve(args: &Args, settings: Settings, mut socket: Socket) -> Result<()> {
    let (hang_up, ends) = (signal(SignalKind::hangup())?, Ends::new()?);
    let service = Arc::new(Service::new(settings));
    if let Some(place) = &args.metrics {
        monitor::start(place, service.metrics.clone()).await.map_err(|e| format!("serving metrics at {place}: {e}"))?;
    }
    let incoming = UnixListenerStream::new(tokio::net::UnixListener::from_std(socket.listener.try_clone()?)?);
    let mut told = Told::default();
    let incoming = incoming.then(move |accepted| {
        told.failure_of(&accepted);
        unhurried(accepted)
    });
    let server = DiffServer::new(Arc::clone(&service));
    let server = server.max_decoding_message_size(MESSAGE).max_encoding_message_size(MESSAGE);
    notify(NotifyState::Ready);
    info!("ready");
    let reading = reread(args, &service, hang_up);
    let (end, ended) = oneshot::channel();
    let no_more = async { ended.await.unwrap_or(()) };
    let server = tonic::transport::Server::builder().add_service(server);
    tokio::select! {
        served = server.serve_with_incoming_shutdown(incoming, no_more) => served?,
        outcome = finish(ends, end, &service, &mut socket) => outcome?,
        never = reading => match never {},
    }
    info!("ended");
    Ok(())
}

/// When a failure to take a connection was last logged: once a second says enough.
#[derive(Default)]
struct Told(Option<Instant>);

impl Told {
    fn failure_of<S>(&mut self, accepted: &io::Result<S>) {
        let Err(error) = accepted else { return };
        if self.0.is_none_or(|last| last.elapsed() >= Duration::from_secs(1)) {
            self.0 = Some(Instant::now());
            error!(%error, "no connection taken");
        }
    }
}

/// tonic tries again at once, which spins while descriptors are lacking.
async fn unhurried<S>(accepted: io::Result<S>) -> io::Result<S> {
    if accepted.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    accepted
}

/// SIGTERM and SIGINT.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    fn new() -> io::Result<Ends> {
        Ok(Ends { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// At the first signal nothing more is taken, and what runs is finished; who then stays connected is not waited for. At
/// the second one what runs is given up.
async fn finish(mut ends: Ends, end: oneshot::Sender<()>, service: &Service, socket: &mut Socket) -> Result<()> {
    ends.next().await;
    socket.unname();
    notify(NotifyState::Stopping);
    info!("ending when what runs is finished");
    // Nobody hears it where serving has ended by itself.
    let _ = end.send(());
    tokio::select! {
        () = service.quiet() => Ok(()),
        () = ends.next() => Err("told to end a second time: what ran is given up".into()),
    }
}

/// SIGHUP: the file again. What it says wrongly changes nothing.
async fn reread(args: &Args, service: &Service, mut hang_up: Signal) -> std::convert::Infallible {
    loop {
        hang_up.recv().await;
        match Settings::read(args) {
            Ok(settings) => {
                service.change(settings);
                notify(NotifyState::Status(""));
                info!("configuration read again");
            }
            Err(wrong) => {
                let wrong = one_line(&wrong.to_string());
                // `systemctl reload` has said nothing of it.
                notify(NotifyState::Status(&format!("configuration left as it was: {wrong}")));
                error!(wrong, "configuration left as it was");
            }
        }
    }
}

/// Without a service manager nobody hears it.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(false, &[state]) {
        error!(%error, "the service manager was not told");
    }
}
