//! Parses the command line and does what it says.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::Parser;
use locklab::{
    cli::{Cli, Command, Config, EXIT_USAGE},
    healthcheck,
    lab::{Lab, LabError},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(shown) => {
            shown.print().ok();
            return if shown.use_stderr() {
                EXIT_USAGE.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let result = match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(&cli.config).await,
        Command::Healthcheck => healthcheck::check(cli.config.listen).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "locklab: {error}").ok();
            let usage = matches!(error.downcast_ref(), Some(LabError::RedisUrl(_)))
                || error.is::<tracing_subscriber::filter::ParseError>();
            if usage {
                EXIT_USAGE.into()
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn serve(config: &Config) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.log)?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let address = config.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| LabError::Listen { address, source })?;
    let stop = stop_on_signal()?;
    let lab = Lab::open(config).await?;
    let url = format!("http://{}", listener.local_addr()?);
    // Whoever started this need not read it, nor keep the pipe open.
    writeln!(
        io::stdout(),
        "Locklab {} on {url}\n  redis  {}\n  try    curl '{url}/purchase?lock=safe'",
        env!("CARGO_PKG_VERSION"),
        lab.redis(),
    )
    .ok();
    if !lab.serve(listener, stop).await {
        tracing::warn!("stopped before everything was finished");
    }
    Ok(())
}

/// A token that Ctrl-C and SIGTERM cancel.
fn stop_on_signal() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::spawn({
        let stop = stop.clone();
        async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tracing::info!("stopping");
            stop.cancel();
        }
    });
    Ok(stop)
}
