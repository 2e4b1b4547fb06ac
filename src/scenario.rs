//! Scenarios: what can be seen of locks when something is done to their holders or their servers, on
//! the command line. Each is one file below `scenario/`, and gives a [`crate::report::Report`].

pub mod advise;
pub mod anomaly;
pub mod choose_ttl;
pub mod compare;
pub mod crash;
pub mod deadlock;
mod expectation;
mod export;
mod holder;
pub mod leader;
pub mod oversell;
pub mod partition;
pub mod pause;
mod processes;
mod progress;
pub mod race;
mod recorded;
pub mod retry;
pub mod run_all;
mod show;

use std::io;

use tokio::time::{self, Duration, Instant};
use tokio_util::sync::CancellationToken;

pub use self::show::{EXIT_NOT_AS_EXPECTED, EXIT_NOT_MEASURED};
use self::{progress::Progress, show::tell};
use crate::{
    cli::{Config, EXIT_USAGE, Embed, Scenario},
    embedded::EmbeddedError,
    error::BackendError,
    lab::{Lab, LabError},
    strategy::StrategyId,
};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// What to do when it took longer, or went another way than planned.
const AGAIN: &str = "see what else keeps the machine busy, and run it again";

/// Why a scenario could not be done at all.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The servers are not there, or the configuration is not valid.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Something did not come about within its time, so nothing can be said.
    #[error("{0}")]
    NotMeasured(String),
    /// A private server did not start.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// What was recorded could not be read.
    #[error("{0}; see whether its server runs, or leave its flag out to get a private one")]
    Backend(#[from] BackendError),
    /// The operating system refused.
    #[error("{0}; see what this user may do here (id, ulimit -a)")]
    System(#[from] io::Error),
}

impl ScenarioError {
    /// The exit code that says so.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::Lab(error) if error.is_usage() => EXIT_USAGE,
            Self::Usage(_) => EXIT_USAGE,
            Self::Lab(_)
            | Self::NotMeasured(_)
            | Self::Embedded(_)
            | Self::Backend(_)
            | Self::System(_) => EXIT_NOT_MEASURED,
        }
    }
}

/// Does what a scenario does, shows what was found, and gives the exit code that says how it ended.
///
/// # Errors
/// It could not be done.
pub async fn run(config: &Config, scenario: &Scenario) -> Result<u8, ScenarioError> {
    match scenario {
        Scenario::Buyers => race::buyers::run(config).await.map(|()| 0),
        Scenario::Candidate(candidacy) => {
            leader::candidate::run(config, candidacy).await.map(|()| 0)
        }
        Scenario::Oversell(args) => tell(&args.report, oversell::run(config, args)).await,
        Scenario::Deadlock(args) => tell(&args.report, deadlock::run(config, args)).await,
        Scenario::Crash(args) => tell(&args.report, crash::run(config, args)).await,
        Scenario::Retry(args) => tell(&args.report, retry::run(config, args)).await,
        Scenario::Pause(args) => tell(&args.report, pause::run(config, args)).await,
        Scenario::Compare(args) => tell(&args.report, compare::run(config, args)).await,
        Scenario::RunAll(args) => tell(&args.report, run_all::run(config, args)).await,
        Scenario::Leader(args) => tell(&args.report, leader::run(config, args)).await,
        Scenario::Partition(args) => tell(&args.report, partition::run(config, args)).await,
        Scenario::Anomaly(args) => tell(&args.report, anomaly::run(config, args)).await,
        Scenario::Advise(args) => tell(&args.report, advise::run(config, args)).await,
        Scenario::ChooseTtl(args) => tell(&args.report, choose_ttl::run(config, args)).await,
    }
}

/// A lab with what these strategies need, and room for so many records of a product.
async fn open(
    config: &Config,
    strategies: &[StrategyId],
    records: u32,
) -> Result<Lab, ScenarioError> {
    let rows = strategies.iter().map(|id| id.row());
    let embeds = rows.flat_map(|row| [row.backend, row.store.into()]).map(Embed::of).collect();
    let config = config.clone().keeping(records.saturating_mul(2)).embedding(embeds);
    Ok(Lab::open(&config, CancellationToken::new()).await?)
}

/// Looks again and again until there is something to see.
///
/// # Errors
/// There was nothing in time, or looking failed.
async fn poll<T>(
    what: &str,
    look: impl AsyncFn() -> Result<Option<T>, ScenarioError>,
) -> Result<T, ScenarioError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = time::timeout_at(deadline, look()).await.unwrap_or(Ok(None))? {
            return Ok(seen);
        }
        if Instant::now() >= deadline {
            return Err(ScenarioError::NotMeasured(format!(
                "waited {} s in vain until {what}: {AGAIN}",
                PATIENCE.as_secs()
            )));
        }
        time::sleep(Duration::from_millis(5)).await;
    }
}
