//! `locklab serve`: a lab on a socket, until a signal ends it.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{Config, EXIT_FAILURE, EXIT_USAGE},
    lab::{Lab, error::LabError},
    telemetry::{Telemetry, TelemetryError},
};

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Nothing can be logged, or traced.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The address is taken or not ours.
    #[error(
        "cannot listen on {address}: {source}; name another with --listen, or port 0 for a free one"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The lab could not be opened.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The operating system refused something else.
    #[error("{0}; see what this user may do here (id, ulimit -a)")]
    System(#[from] io::Error),
}

impl ServerError {
    /// The exit code that says so.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::Telemetry(_) => EXIT_USAGE,
            Self::Lab(error) if error.is_usage() => EXIT_USAGE,
            Self::Lab(_) | Self::Listen { .. } | Self::System(_) => EXIT_FAILURE,
        }
    }
}

/// Serves until Ctrl-C or SIGTERM, then finishes what is under way.
///
/// # Errors
/// The server could not start.
pub async fn run(config: &Config) -> Result<(), ServerError> {
    let telemetry = Telemetry::start(config)?;
    let served = serve(config).await;
    telemetry.close().await;
    served
}

async fn serve(config: &Config) -> Result<(), ServerError> {
    let address = config.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ServerError::Listen { address, source })?;
    let url = format!("http://{}", listener.local_addr()?);
    let stop = stop_on_signal()?;
    let lab = Lab::open(config, stop).await?;
    // Whoever started this need not read it, nor keep the pipe open.
    let mut banner = format!("Locklab {} on {url}\n", env!("CARGO_PKG_VERSION"));
    for (backend, place) in lab.servers() {
        banner += &format!("  {:<9} {place}\n", <&str>::from(backend));
    }
    writeln!(io::stdout(), "{banner}  try       curl '{url}/purchase?lock=safe'").ok();
    if !lab.serve(listener).await {
        tracing::warn!("stopped before everything was finished");
    }
    Ok(())
}

/// A token that Ctrl-C and SIGTERM cancel.
fn stop_on_signal() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let cancelled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        cancelled.cancel();
        tracing::info!("stopping");
    });
    Ok(stop)
}
