//! Asking the service at a socket, by a call as containerd makes them: systemd's socket takes a connection for a service
//! that is dead, too.

use crate::interface::diff::DiffRequest;
use crate::interface::diff::diff_client::DiffClient;
use crate::nameless::{self, Places};
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Endpoint;

/// Longer than a service that a socket unit starts for us takes; containerd itself gives up after one second.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// What came of it.
pub(super) enum Answer {
    /// What the service itself works with, whatever its command line was.
    Ours(Places),
    /// Somebody else listens there.
    Another(String),
    /// The connection is taken, and nothing comes of it.
    Silence,
    HungUp(String),
    NoConnection(io::Error),
}

pub(super) fn ask(socket: &str) -> Answer {
    // Its error says more than what a client of gRPC makes of it.
    if let Err(error) = UnixStream::connect(socket) {
        return Answer::NoConnection(error);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map(|runtime| runtime.block_on(async { timeout(PATIENCE, call(socket)).await })) {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Answer::Silence,
        Err(error) => Answer::NoConnection(error),
    }
}

/// Making a layer of nothing, in nobody's name, which no differ does.
async fn call(socket: &str) -> Answer {
    let channel = match Endpoint::from_shared(format!("unix:{socket}")) {
        Ok(endpoint) => endpoint.connect().await,
        Err(error) => return Answer::HungUp(told(&error)),
    };
    match channel {
        Err(error) => Answer::HungUp(told(&error)),
        Ok(channel) => match DiffClient::new(channel).diff(DiffRequest::default()).await {
            Ok(_) => Answer::Another("makes a layer of nothing".into()),
            Err(status) => of(&status),
        },
    }
}

fn of(status: &Status) -> Answer {
    if let Some(places) = nameless::understood(status) {
        return Answer::Ours(places);
    }
    // What never came from a server has the error of the connection behind it.
    match std::error::Error::source(status) {
        Some(error) => Answer::HungUp(told(error)),
        None => Answer::Another(format!("answers {:?}: {}", status.code(), status.message())),
    }
}

/// The innermost one says what happened.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
