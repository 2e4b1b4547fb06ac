//! Another Locklab, as a server of its own: a process that can stand still as a whole.

use std::net::SocketAddr;

use super::{Embedded, EmbeddedError, Ending, folder, free_address, on_free_ports};

const PROGRAM: &str = "locklab";

/// Starts this very program as a server with these variables on a free loopback port, and waits
/// until `is_ready` says that whoever listens there is ready.
///
/// # Errors
/// It did not start.
///
/// # Cancellation
/// Dropping the future ends the server.
pub async fn start(
    environment: &[(&'static str, String)],
    is_ready: impl AsyncFn(SocketAddr) -> bool,
) -> Result<Embedded, EmbeddedError> {
    on_free_ports(|| start_once(environment, &is_ready)).await
}

async fn start_once(
    environment: &[(&'static str, String)],
    is_ready: &impl AsyncFn(SocketAddr) -> bool,
) -> Result<Embedded, EmbeddedError> {
    let failed = |source| EmbeddedError::Start { program: PROGRAM, source };
    let program = std::env::current_exe().map_err(failed)?.display().to_string();
    let (address, folder) = (free_address(PROGRAM)?, folder(PROGRAM)?);
    let command = [program, "--listen".to_owned(), address.to_string()];
    let url = format!("http://{address}");
    let (ending, environment) = (Ending::Kill, environment.iter().cloned());
    let server =
        Embedded::spawn_with(environment, PROGRAM, address, url, ending, folder, &command).await?;
    server.answering(async |_| is_ready(address).await).await
}
