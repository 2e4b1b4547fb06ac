//! The pool of connections, which is sqlx's.

use futures_util::future::BoxFuture;
use sqlx::{
    Connection, Executor, MySql, Postgres,
    mysql::MySqlPoolOptions,
    pool::{PoolConnection, PoolConnectionMetadata},
    postgres::PgPoolOptions,
};
use tokio::time::Duration;

use super::Target;
use crate::wires::metrics::BackendMetrics;

/// A connection that has been idle for longer is asked whether it still lives, before it is used.
const TRUSTED: Duration = Duration::from_secs(1);
/// Nobody waits that long: whoever asks has a deadline.
const ACQUIRE_MAX: Duration = Duration::from_secs(3_600);

/// Whoever waits for a lock, and has gone, is noticed by Postgres after this time. Older versions than 14
/// do not know the setting: they notice when the wait is over.
const NOTICE_WHO_HAS_GONE: &str = "SET client_connection_check_interval = '1s'";

/// A statement outside of a transaction is one of its own, whatever the server's default is: with
/// autocommit off, its locks and its snapshot would last until somebody else's COMMIT. And InnoDB's
/// default locks gaps between rows as well, and whoever inserts there deadlocks with others who do.
const OF_ITS_OWN: &str = "SET SESSION autocommit = 1; \
                          SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// A pool of connections to either database.
#[derive(Debug, Clone)]
pub(super) enum Pool {
    Postgres(sqlx::Pool<Postgres>),
    MySql(sqlx::Pool<MySql>),
}

/// A connection that is checked out.
pub(super) enum Link {
    Postgres(PoolConnection<Postgres>),
    MySql(PoolConnection<MySql>),
}

/// Whether an idle connection may be used.
#[expect(clippy::needless_pass_by_value, reason = "sqlx asks for it")]
fn check<C: Connection<Database: sqlx::Database<Connection = C>>>(
    connection: &mut C,
    metadata: PoolConnectionMetadata,
) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
    Box::pin(async move {
        if metadata.idle_for > TRUSTED {
            connection.ping().await?;
        }
        Ok(true)
    })
}

impl Pool {
    /// A pool that connects when it is first asked.
    pub(super) fn new(target: &Target, size: u32, timeout: Duration) -> Self {
        // For statements that are transactions of their own; others say themselves how long they wait.
        let patience =
            format!("SET lock_timeout = {}", timeout.as_millis().clamp(1, i32::MAX as u128));
        match target {
            Target::Postgres(target) => Self::Postgres(
                PgPoolOptions::new()
                    .max_connections(size)
                    .acquire_timeout(ACQUIRE_MAX)
                    .acquire_slow_threshold(ACQUIRE_MAX)
                    .test_before_acquire(false)
                    .before_acquire(check)
                    .after_connect(move |connection, _| {
                        let patience = patience.clone();
                        Box::pin(async move {
                            connection.execute(&*patience).await?;
                            connection.execute(NOTICE_WHO_HAS_GONE).await.ok();
                            Ok(())
                        })
                    })
                    .connect_lazy_with((**target).clone()),
            ),
            Target::MySql(target) => Self::MySql(
                MySqlPoolOptions::new()
                    .max_connections(size)
                    .acquire_timeout(ACQUIRE_MAX)
                    .acquire_slow_threshold(ACQUIRE_MAX)
                    .test_before_acquire(false)
                    .before_acquire(check)
                    .after_connect(|connection, _| {
                        Box::pin(async move {
                            connection.execute(OF_ITS_OWN).await?;
                            Ok(())
                        })
                    })
                    .connect_lazy_with((**target).clone()),
            ),
        }
    }

    /// Checks a connection out.
    pub(super) async fn check_out(&self) -> Result<Link, sqlx::Error> {
        Ok(match self {
            Self::Postgres(pool) => Link::Postgres(pool.acquire().await?),
            Self::MySql(pool) => Link::MySql(pool.acquire().await?),
        })
    }

    /// Tells how many connections there are.
    pub(super) fn count(&self, metrics: &BackendMetrics) {
        let (all, idle) = match self {
            Self::Postgres(pool) => (pool.size(), pool.num_idle()),
            Self::MySql(pool) => (pool.size(), pool.num_idle()),
        };
        let idle = u32::try_from(idle).unwrap_or(all).min(all);
        metrics.pool_connections(all - idle, idle);
    }
}

impl Link {
    /// Closes it, without a word: the server rolls back what is open, and frees what it held.
    pub(super) fn close(self) {
        match self {
            Self::Postgres(connection) => drop(connection.detach()),
            Self::MySql(connection) => drop(connection.detach()),
        }
    }
}
