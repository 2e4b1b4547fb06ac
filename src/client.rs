//! One request over HTTP, for whoever has no curl: to a Locklab server, or to a collector of traces.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use locklab_locks::error::Cause;
use tokio::{
    net::{TcpStream, ToSocketAddrs},
    time::{self, Duration},
};

/// Sends a request over a connection of its own, and gives the whole reply. The URI is a path, and the
/// headers name the host.
///
/// # Errors
/// The server does not answer, or not in HTTP.
///
/// # Cancellation
/// Dropping the future closes the connection.
pub async fn send(
    address: impl ToSocketAddrs,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, Cause> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    let exchange = async {
        let response = sender.send_request(request.map(Full::new)).await?;
        let (head, body) = response.into_parts();
        Ok::<_, hyper::Error>(Response::from_parts(head, body.collect().await?.to_bytes()))
    };
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        response = &mut exchange => Ok(response?),
        closed = &mut connection => {
            closed?;
            Ok(exchange.await?)
        }
    }
}

/// Asks a server something, without a body; the status and the body of the reply.
///
/// # Errors
/// The server does not answer, or not in HTTP.
pub async fn ask(
    address: SocketAddr,
    method: Method,
    path: &str,
) -> Result<(StatusCode, Bytes), Cause> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::HOST, address.to_string()).body(Bytes::new())?;
    let (head, body) = send(address, request).await?.into_parts();
    Ok((head.status, body))
}

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
