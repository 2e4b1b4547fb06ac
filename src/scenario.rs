//! Scenarios: what can be seen of locks when something is done to their holders or their servers, on
//! the command line. Each is one file below `scenario/`, and gives a [`Report`].

pub mod anomaly;
pub mod choose_ttl;
pub mod crash;
pub mod deadlock;
mod expectation;
mod holder;
pub mod leader;
pub mod oversell;
pub mod partition;
pub mod pause;
mod processes;
pub mod race;
mod recorded;
pub mod retry;
pub mod run_all;

use std::io::{self, IsTerminal, Write};

use tokio::time::{self, Duration, Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    backends::{BackendError, embedded::EmbeddedError},
    cli::{Command, Config, EXIT_USAGE, Embed, OutputArgs},
    lab::{Lab, LabError},
    report::{Met, Report},
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

/// The exit code of a scenario in which something was not as expected.
pub const EXIT_NOT_AS_EXPECTED: u8 = 1;
/// The exit code of a scenario in which something could not be measured.
pub const EXIT_NOT_MEASURED: u8 = 2;

/// Does what a command says, shows what was found, and gives the exit code that says how it ended.
///
/// # Errors
/// It could not be done.
pub async fn run(config: &Config, command: &Command) -> Result<u8, ScenarioError> {
    let (report, output) = match command {
        Command::Serve | Command::Healthcheck | Command::Completions(_) | Command::Man(_) => {
            return Ok(0);
        }
        Command::Buyers => return race::buyers::run(config).await.map(|()| 0),
        Command::Candidate(candidacy) => {
            return leader::candidate::run(config, candidacy).await.map(|()| 0);
        }
        Command::Oversell(args) => (oversell::run(config, args).await?, &args.report),
        Command::Leader(args) => (leader::run(config, args).await?, &args.output),
        Command::Partition(args) => (partition::run(config, args).await?, &args.output),
        Command::ChooseTtl(args) => (choose_ttl::run(config, args).await?, &args.output),
        Command::Anomaly(args) => (anomaly::run(config, args).await?, &args.output),
        Command::Deadlock(args) => (deadlock::run(config, args).await?, &args.report),
        Command::Crash(args) => (crash::run(config, args).await?, &args.report),
        Command::Retry(args) => (retry::run(config, args).await?, &args.report),
        Command::Pause(args) => (pause::run(config, args).await?, &args.report),
        Command::RunAll(args) => (run_all::run(config, args).await?, &args.report),
    };
    Ok(show(&report, output))
}

/// Prints a report, and gives the exit code that says how the scenario ended.
#[must_use]
pub fn show(report: &Report, output: &OutputArgs) -> u8 {
    let mut out = io::stdout().lock();
    // Whoever started this need not read it.
    if output.json {
        serde_json::to_writer_pretty(&mut out, report).ok();
        writeln!(out).ok();
    } else {
        write!(out, "{report}").ok();
    }
    match report.met() {
        Met::Yes => 0,
        Met::No => EXIT_NOT_AS_EXPECTED,
        Met::Unknown => EXIT_NOT_MEASURED,
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

/// Says what is being done, to whoever sits before a terminal.
fn progress(what: &str) {
    let mut err = io::stderr().lock();
    if err.is_terminal() {
        writeln!(err, "{what} …").ok();
    }
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
