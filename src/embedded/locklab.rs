//! Another Locklab, as a server of its own: a process that can stand still as a whole.

use super::{Embedded, EmbeddedError, Ending, folder, free_address, on_free_ports};
use crate::client;

const PROGRAM: &str = "locklab";

/// Starts this very program as a server with these variables on a free loopback port, and waits until
/// it is ready.
///
/// # Errors
/// It did not start.
///
/// # Cancellation
/// Dropping the future ends the server.
pub async fn start(environment: &[(&'static str, String)]) -> Result<Embedded, EmbeddedError> {
    on_free_ports(|| start_once(environment)).await
}

async fn start_once(environment: &[(&'static str, String)]) -> Result<Embedded, EmbeddedError> {
    let failed = |source| EmbeddedError::Start { program: PROGRAM, source };
    let program = std::env::current_exe().map_err(failed)?.display().to_string();
    let (address, folder) = (free_address(PROGRAM)?, folder(PROGRAM)?);
    let command = [program, "--listen".to_owned(), address.to_string()];
    let url = format!("http://{address}");
    let (ending, environment) = (Ending::Kill, environment.iter().cloned());
    let server =
        Embedded::spawn_with(environment, PROGRAM, address, url, ending, folder, &command).await?;
    server.answering(async |_| client::check(address).await.is_ok()).await
}
