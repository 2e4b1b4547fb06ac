//! The flags of `locklab anomaly`.

use clap::{Args, ValueEnum};

use super::output::OutputArgs;

/// Which anomalies are to be shown.
#[derive(Debug, Clone, Args)]
pub struct AnomalyArgs {
    /// What to show; without it, everything
    #[arg(value_name = "NAME")]
    names: Vec<AnomalyName>,

    /// How the report is told.
    #[command(flatten)]
    pub report: OutputArgs,
}

impl AnomalyArgs {
    /// What to show.
    #[must_use]
    pub fn names(&self) -> &[AnomalyName] {
        if self.names.is_empty() { AnomalyName::value_variants() } else { &self.names }
    }
}

/// A way in which locks of SQL databases fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AnomalyName {
    /// A pooler keeps the session of Postgres, and with it the lock of a client that has gone
    StrandedAdvisoryLock,
    /// The connection that held GET_LOCK is killed, and its client works on
    LostGetLock,
    /// A count leaves out what others have locked
    SkipLockedMiscount,
    /// MySQL: a plain read after the wait for a row sees what was there before
    StaleSnapshot,
    /// Postgres: a lock that is taken in a transaction comes after its snapshot
    LateAdvisoryLock,
}
