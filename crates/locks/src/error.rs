//! What a failed command means to the one who sent it.

use crate::step::Step;

/// A cause that only people read.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What a failed command means to the one who sent it.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The command was not sent: nothing happened.
    #[error("{backend} is unavailable: {cause}")]
    Unavailable {
        /// Which server.
        backend: &'static str,
        /// Why.
        cause: Cause,
    },
    /// The command was sent and the reply was lost: it may have been executed.
    #[error("{backend} did not answer, so what happened is unknown: {cause}")]
    Unknown {
        /// Which server.
        backend: &'static str,
        /// Why.
        cause: Cause,
    },
    /// The server answered with an error: nothing happened.
    #[error("{backend} refused the command: {cause}")]
    Refused {
        /// Which server.
        backend: &'static str,
        /// Why.
        cause: Cause,
    },
    /// Somebody else kept what it needed, a row, a lock or every connection of the pool, until it had
    /// waited for long enough: nothing happened.
    #[error("somebody else kept {backend} busy for too long: {cause}")]
    Contended {
        /// Which server.
        backend: &'static str,
        /// What was waited for.
        cause: Cause,
    },
    /// The database has undone the transaction, for it met another one: as the victim of a deadlock, or at
    /// a constraint. Nothing happened, and nothing is broken.
    #[error("{backend} has undone it: {cause}")]
    Undone {
        /// Which server.
        backend: &'static str,
        /// Why.
        cause: Cause,
    },
    /// A fault ended the caller here, as if its process had died: nothing is to be cleaned up.
    #[error("crashed at {}, as the fault asked", .step.name())]
    Crashed {
        /// Where.
        step: Step,
    },
}

impl BackendError {
    /// This failure of a command, when an earlier one has had an effect already: unknown.
    #[must_use]
    pub fn into_unknown(self) -> Self {
        match self {
            Self::Unavailable { backend, cause }
            | Self::Unknown { backend, cause }
            | Self::Refused { backend, cause }
            | Self::Contended { backend, cause }
            | Self::Undone { backend, cause } => Self::Unknown { backend, cause },
            Self::Crashed { .. } => self,
        }
    }

    /// This failure of a statement whose transaction was not committed: it had no effect for sure.
    #[must_use]
    pub fn into_undone(self) -> Self {
        match self {
            Self::Unknown { backend, cause } => Self::Unavailable { backend, cause },
            error => error,
        }
    }

    /// Whether a fault ended the caller.
    #[must_use]
    pub fn is_crash(&self) -> bool {
        matches!(self, Self::Crashed { .. })
    }

    /// Whether the same command may succeed later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::Crashed { .. })
    }

    /// Whether the backend did not do its part: it did not answer, or says that it cannot.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unknown { .. })
    }

    /// Whether the command may have been executed nevertheless.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}
