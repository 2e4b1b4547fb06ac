//! The accept loop: what `axum::serve` leaves unbounded is bounded here.

use std::{io, sync::Arc};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{self, Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// Connections open at once; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 10_000;
/// How long a client may take to send the head of its next request, an idle connection included.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest head of a request, in bytes.
const HEADER_MAX: usize = 16 * 1024;
/// How long to wait when the operating system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` is cancelled, then finishes the requests under way for at most `drain`, and
/// cuts the connections that are left. Says whether there were none, and when that time was, or is,
/// over.
///
/// # Cancellation
/// Dropping the future closes the listener and leaves connections to their own tasks.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: &CancellationToken,
    drain: Duration,
) -> (bool, Instant) {
    let graceful = GracefulShutdown::new();
    let cut = CancellationToken::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEADER_MAX);
    let mut failing = false;
    while let Some(accepted) = stop.run_until_cancelled(accept(&listener, &places)).await {
        let (stream, place) = match accepted {
            Ok(accepted) => {
                failing = false;
                accepted
            }
            Err(error) => {
                // Once for each time that it begins: without file descriptors it would not end.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "cannot accept connections");
                }
                time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        let cut = cut.clone();
        tokio::spawn(async move {
            tokio::select! {
                // Cut comes first: what is abandoned thereafter makes no reply on some connections
                // and none on others, depending on which task runs first.
                biased;
                () = cut.cancelled() => {}
                // A client that breaks off is not an event: a purchase goes on in its own task.
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "connection");
                },
            }
            drop(place);
        });
    }
    drop(listener);
    let deadline = Instant::now() + drain;
    let finished = time::timeout_at(deadline, graceful.shutdown()).await.is_ok();
    cut.cancel();
    (finished, deadline)
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // Fails only when the client has gone already, which its connection will notice.
    stream.set_nodelay(true).ok();
    Ok((stream, place))
}
