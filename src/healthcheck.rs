//! `locklab healthcheck`: for containers that have no curl.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http_body_util::Empty;
use hyper::{Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{self, Duration},
};

/// A server that takes longer is not well.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the server that listens on `listen` says that it is ready.
///
/// # Errors
/// It does not answer, or it answers that it is not ready.
pub async fn check(listen: SocketAddr) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    time::timeout(TIMEOUT, ask(listen)).await.map_err(|_| "no answer in time")?
}

async fn ask(listen: SocketAddr) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // A server that listens on every address is asked on the loopback one.
    let ip =
        if listen.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listen.ip() };
    let address = SocketAddr::new(ip, listen.port());
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/readyz").header(header::HOST, address.to_string());
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    connection.abort();
    if response.status().is_success() {
        Ok(())
    } else {
        Err(format!("/readyz answered {}", response.status()).into())
    }
}
