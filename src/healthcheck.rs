//! `locklab healthcheck`: for containers that have no curl.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::{Method, StatusCode};
use tokio::time::{self, Duration};

use crate::{ask::ask, backends::Cause};

/// A server that takes longer is not well.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the server that listens on `listen` says that it is ready.
///
/// # Errors
/// It does not answer, or it answers that it is not ready.
pub async fn check(listen: SocketAddr) -> Result<(), Cause> {
    let asked = time::timeout(TIMEOUT, ready(listen)).await;
    let status = asked.unwrap_or_else(|_| Err("no answer in time".into())).map_err(|error| {
        format!("{listen}: {error}; start locklab there, or name where it listens with --listen")
    })?;
    if status.is_success() {
        Ok(())
    } else {
        let text = format!("{listen}: /readyz answered {status}; ask it yourself what is missing");
        Err(text.into())
    }
}

async fn ready(listen: SocketAddr) -> Result<StatusCode, Cause> {
    // A server that listens on every address is asked on the loopback one.
    let ip =
        if listen.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listen.ip() };
    let (status, _) = ask(SocketAddr::new(ip, listen.port()), Method::GET, "/readyz").await?;
    Ok(status)
}
