//! Whether the containerd that runs has the differ: it reads its configuration when it starts, and not when that is written.

use super::ask::{PATIENCE, told};
use super::rows::{Row, State, row};
use super::said::Said;
use super::tables::NAME;
use crate::interface::introspection::PluginsRequest;
use crate::interface::introspection::introspection_client::IntrospectionClient;
use std::os::unix::net::UnixStream;
use tokio::time::timeout;
use tonic::transport::Endpoint;

/// What the containerd that runs has; nothing to say where neither it nor the configuration has us.
pub(super) fn of_running(said: &Said) -> Option<Row> {
    let address = said.address.as_deref()?;
    let (state, text) = match (said.socket.is_some(), ask(address)) {
        (true, Ok(true)) => (State::Good, format!("containerd at {address} has it")),
        (true, Ok(false)) => {
            (State::Open, format!("containerd at {address} was started before it was configured: restart it"))
        }
        (false, Ok(true)) => {
            (State::Open, format!("containerd at {address} has it until it is restarted, and pulls go through it"))
        }
        (true, Err(words)) => (State::Open, format!("containerd does not answer at {address}: {words}")),
        (false, _) => return None,
    };
    Some(row("running", state, text))
}

/// Whether one that runs has it, or why that cannot be known.
fn ask(address: &str) -> Result<bool, String> {
    // Its error says more than what a client of gRPC makes of it.
    UnixStream::connect(address).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let asked = runtime.block_on(async { timeout(PATIENCE, has_it(address)).await });
    asked.unwrap_or_else(|_| Err(format!("not within {} s", PATIENCE.as_secs())))
}

async fn has_it(address: &str) -> Result<bool, String> {
    let endpoint = Endpoint::from_shared(format!("unix:{address}")).map_err(|error| told(&error))?;
    let channel = endpoint.connect().await.map_err(|error| told(&error))?;
    let request = PluginsRequest { filters: vec![format!("id=={NAME}")] };
    let answer = IntrospectionClient::new(channel).plugins(request).await;
    let plugins = answer.map_err(|status| status.message().to_owned())?.into_inner().plugins;
    Ok(plugins.iter().any(|plugin| plugin.id == NAME))
}
