//! `locklab healthcheck`: for containers that have no curl.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::Method;
use tokio::time::{self, Duration};

use crate::{ask::ask, backends::Cause};

/// A server that takes longer is not well.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the server that listens on `listen` says that it is ready.
///
/// # Errors
/// It does not answer, or it answers that it is not ready.
pub async fn check(listen: SocketAddr) -> Result<(), Cause> {
    time::timeout(TIMEOUT, is_ready(listen)).await.map_err(|_| "no answer in time")?
}

async fn is_ready(listen: SocketAddr) -> Result<(), Cause> {
    // A server that listens on every address is asked on the loopback one.
    let ip =
        if listen.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listen.ip() };
    let (status, _) = ask(SocketAddr::new(ip, listen.port()), Method::GET, "/readyz").await?;
    if status.is_success() { Ok(()) } else { Err(format!("/readyz answered {status}").into()) }
}
