//! The flags of SQL databases.

use clap::Args;
use tokio::time::Duration;

use super::{
    parsers::{micros, positive_duration},
    secret::Secret,
};

/// Where databases are, and how they are used.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// The Postgres that some strategies sell from, and lock in:
    /// postgres://[user[:password]@]host[:port]/database; its tables are named locklab_…
    #[arg(long, env = "POSTGRES_URL", hide_env_values = true)]
    pub(super) postgres_url: Option<Secret>,

    /// Connections to Postgres, twice: so many for purchases, and so many for sessions that hold
    /// locks
    #[arg(long, env = "LOCKLAB_POSTGRES_POOL_SIZE", default_value_t = 10, hide_short_help = true,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub postgres_pool_size: u32,

    /// The MySQL or MariaDB that some strategies sell from, and lock in:
    /// mysql://[user[:password]@]host[:port]/database; its tables are named locklab_…
    #[arg(long, env = "MYSQL_URL", hide_env_values = true)]
    pub(super) mysql_url: Option<Secret>,

    /// Connections to MySQL, twice: so many for purchases, and so many for sessions that hold locks
    #[arg(long, env = "LOCKLAB_MYSQL_POOL_SIZE", default_value_t = 10, hide_short_help = true,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub mysql_pool_size: u32,

    /// The longest wait for Postgres or MySQL, to connect and to answer, apart from waits for
    /// locks: a commit waits for the disk (a bare number is in ms)
    #[arg(long, env = "LOCKLAB_SQL_TIMEOUT", default_value = "2s", hide_short_help = true,
          value_parser = positive_duration)]
    pub sql_timeout: Duration,
}

impl DatabaseArgs {
    /// The Postgres, if there is to be one.
    #[must_use]
    pub fn postgres_url(&self) -> Option<&Secret> {
        self.postgres_url.as_ref().filter(|url| !url.expose().is_empty())
    }

    /// The MySQL, if there is to be one.
    #[must_use]
    pub fn mysql_url(&self) -> Option<&Secret> {
        self.mysql_url.as_ref().filter(|url| !url.expose().is_empty())
    }

    /// The variables that give another process this configuration.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("POSTGRES_URL", Secret::text(self.postgres_url.as_ref())),
            ("LOCKLAB_POSTGRES_POOL_SIZE", self.postgres_pool_size.to_string()),
            ("MYSQL_URL", Secret::text(self.mysql_url.as_ref())),
            ("LOCKLAB_MYSQL_POOL_SIZE", self.mysql_pool_size.to_string()),
            ("LOCKLAB_SQL_TIMEOUT", micros(self.sql_timeout)),
        ]
    }
}
