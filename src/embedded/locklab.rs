//! Another Locklab, as a server of its own: a process that can stand still as a whole.

use std::net::SocketAddr;

use super::{Embedded, EmbeddedError, Ending, folder, free_address, on_free_ports};

const PROGRAM: &str = "locklab";

/// Starts this very program as a server with these flags on a free loopback port, and waits until
/// `is_ready` says that whoever listens there is ready.
///
/// # Errors
/// It did not start.
///
/// # Cancellation
/// Dropping the future ends the server.
pub async fn start(
    flags: &[String],
    is_ready: impl AsyncFn(SocketAddr) -> bool,
) -> Result<Embedded, EmbeddedError> {
    on_free_ports(|| start_once(flags, &is_ready)).await
}

async fn start_once(
    flags: &[String],
    is_ready: &impl AsyncFn(SocketAddr) -> bool,
) -> Result<Embedded, EmbeddedError> {
    let failed = |source| EmbeddedError::Start { program: PROGRAM, source };
    let program = std::env::current_exe().map_err(failed)?.display().to_string();
    let (address, folder) = (free_address(PROGRAM)?, folder(PROGRAM)?);
    let mut command = vec![program, "--listen".to_owned(), address.to_string()];
    command.extend_from_slice(flags);
    let url = format!("http://{address}");
    let server = Embedded::spawn(PROGRAM, address, url, Ending::Kill, folder, &command).await?;
    server.answering(async |_| is_ready(address).await).await
}
