//! Scenarios: what can be seen of locks when something is done to their holders or their servers, on
//! the command line. Each is one file below `scenario/`, and gives a [`Report`].

pub mod anomaly;
pub mod leader;
pub mod partition;
mod progress;

use std::io::{self, Write};

use tokio::time::{self, Duration, Instant};

use self::progress::Progress;
use crate::{
    backends::{BackendError, embedded::EmbeddedError},
    cli::{EXIT_USAGE, OutputArgs},
    lab::LabError,
    report::{Met, Report, Text},
};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

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
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The operating system refused.
    #[error(transparent)]
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

/// Prints a report, and gives the exit code that says how the scenario ended.
#[must_use]
pub fn show(report: &Report, output: &OutputArgs) -> u8 {
    // Whoever started this need not read it.
    if output.json {
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, report).ok();
        writeln!(out).ok();
    } else {
        write!(anstream::stdout(), "{}", Text { report, quiet: output.quiet }).ok();
    }
    match report.met() {
        Met::Yes => 0,
        Met::No => EXIT_NOT_AS_EXPECTED,
        Met::Unknown => EXIT_NOT_MEASURED,
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
                "waited {} s in vain until {what}",
                PATIENCE.as_secs()
            )));
        }
        time::sleep(Duration::from_millis(5)).await;
    }
}
