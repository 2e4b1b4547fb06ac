//! Scenarios: what can be seen of locks when something is done to their holders or their servers, on
//! the command line. Each is one file below `scenario/`, and gives a [`Report`].

pub mod anomaly;
pub mod leader;
pub mod partition;
mod progress;

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use tempfile::NamedTempFile;

use tokio::time::{self, Duration, Instant};

use self::progress::Progress;
use crate::{
    backends::{BackendError, embedded::EmbeddedError},
    cli::{EXIT_USAGE, OutputArgs},
    lab::LabError,
    report::{self, Met, Report, Text},
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

/// Runs a scenario and shows its report; gives the exit code that says how it ended.
///
/// # Errors
/// The report could not be written where it is wanted, which is found out before anything is run; or the
/// scenario could not be done.
pub async fn tell(
    output: &OutputArgs,
    scenario: impl Future<Output = Result<Report, ScenarioError>>,
) -> Result<u8, ScenarioError> {
    check(output)?;
    Ok(show(&scenario.await?, output))
}

/// Whether a report can be shown so.
///
/// # Errors
/// The page cannot be written where it is wanted.
pub fn check(output: &OutputArgs) -> Result<(), ScenarioError> {
    let Some(path) = &output.html else { return Ok(()) };
    let refused = |why: &dyn std::fmt::Display| {
        let path = path.display();
        let valid = "expected a file in a folder that can be written to";
        ScenarioError::Usage(format!("--html {path}: {why}; {valid}"))
    };
    if fs::metadata(path).is_ok_and(|it| !it.is_file()) {
        return Err(refused(&"it is there, and no file"));
    }
    page_in(path).map(drop).map_err(|error| refused(&error))
}

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
    let code = match report.met() {
        Met::Yes => 0,
        Met::No => EXIT_NOT_AS_EXPECTED,
        Met::Unknown => EXIT_NOT_MEASURED,
    };
    let Some(path) = &output.html else { return code };
    match write_page(report, path) {
        Ok(()) => code,
        Err(error) => {
            writeln!(io::stderr(), "locklab: --html {}: {error}", path.display()).ok();
            if code == 0 { EXIT_NOT_MEASURED } else { code }
        }
    }
}

/// Nobody ever sees half a page.
fn write_page(report: &Report, path: &Path) -> io::Result<()> {
    let mut file = page_in(path)?;
    file.write_all(report::page(report).as_bytes())?;
    file.persist(path)?;
    Ok(())
}

/// A file beside a page, which is to become that.
fn page_in(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As readable as any other file.
    let permissions = Permissions::from_mode(0o666);
    tempfile::Builder::new().prefix(".locklab-").permissions(permissions).tempfile_in(folder)
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
