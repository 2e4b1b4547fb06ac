//! How a scenario ends that does not end well.

use std::io;

use crate::{cli::EXIT_USAGE, embedded::EmbeddedError, lab::error::LabError};
use locklab_locks::error::BackendError;

/// The exit code of a scenario in which something was not as expected.
pub const EXIT_NOT_AS_EXPECTED: u8 = 1;
/// The exit code of a scenario in which something could not be measured.
pub const EXIT_NOT_MEASURED: u8 = 2;

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
