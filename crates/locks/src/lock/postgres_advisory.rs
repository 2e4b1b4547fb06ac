//! `postgres-advisory`: a session-level advisory lock of Postgres, on a connection of its own.
//!
//! - Algorithm: pg_try_advisory_lock (PostgreSQL documentation, "Advisory Locks"), on a connection that
//!   leaves the pool for as long as the lock is held, and is closed on any doubt: a lock survives a
//!   ROLLBACK, and a connection that went back to the pool with one would be stranded there (what
//!   authentik #23876 and DistributedLock #168 saw behind PgBouncer, and sqlx #4198 after a dropped future).
//!   The key is the first 64 bits of SHA-256 of `locklab:{product}`, as a signed number:
//!   `('x' || left(encode(sha256('locklab:default'), 'hex'), 16))::bit(64)::bigint` in SQL, so that other
//!   programs can contend. Two of n products share a key with odds of n² / 2⁶⁵: for a million, 1 in 37 million.
//!   Then they only wait for each other. With `retry=notify` or `fifo`, buyers wait in Postgres' own queue,
//!   each on a connection: first come, first served, across servers.
//! - Guarantees: mutual exclusion while the connection lives, however long the work takes: the lock has no
//!   ttl. The connection is asked every ttl/3 and before the write, and the work is `lost` when it does not
//!   say that it lives.
//! - Does not guarantee: anything once the connection dies: Postgres frees the lock at that moment, and a
//!   write that is under way lands on the next holder. Nor across a failover: the lock is in the memory of
//!   one server. Not behind a pooler that shares connections between transactions (docs/anomalies.md).
//! - Clock: a holder that has not heard its connection for a ttl takes the lock for lost.
//! - Cancellation: safe at every await: the connection is closed. One that waits in the queue is ended by
//!   the release task (pg_terminate_backend), for Postgres may notice late that it has gone.
//! - Commands sent: pg_try_advisory_lock; SELECT 1 every ttl/3 and before the write; pg_advisory_unlock. By
//!   waiters: pg_backend_pid, SET lock_timeout, pg_advisory_lock. By a reset: pg_terminate_backend of holders.
//!
//! # Example
//!
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! # use locklab_locks::{lease::{Acquired, keeper::{Keeper, Wish}, release::ReleaseQueue},
//! #     wait::{Patience, Policy}, wires::metrics::{BackendMetrics, Wire}};
//! use locklab_locks::{
//!     lock::{postgres_advisory::Advisory, sessions::SessionLock},
//!     wires::sql::{Dialect, SqlClient, SqlOptions},
//! };
//!
//! # async fn work() {}
//! # async fn example(releases: ReleaseQueue) -> Result<(), Box<dyn std::error::Error>> {
//! let options = SqlOptions {
//!     url: "postgres://app:secret@10.0.0.1/shop".to_owned(),
//!     // One for each lease, and for each waiter: a pool of its own, not that of the transactions.
//!     pool_size: 20,
//!     timeout: Duration::from_millis(500),
//!     tables: &[],
//! };
//! let metrics = BackendMetrics::silent(Wire::SqlLocks, "postgres");
//! let client = SqlClient::connect(Dialect::Postgres, &options, metrics).await?;
//! let lock = SessionLock::<Advisory>::new(Arc::new(client));
//! let keeper = Keeper::silent(lock, releases);
//! let patience = Patience { policy: Policy::Notify, ..Patience::default() };
//! let wish = Wish::lasting(Duration::from_secs(5));
//! if let Acquired::Lease(lease) = keeper.acquire(&"nightly".parse()?, &wish, &patience).await? {
//!     tokio::select! {
//!         () = work() => {}
//!         () = lease.ended() => eprintln!("the connection has been silent for 5 s"),
//!     }
//!     // Before a write that matters, the connection is asked once more.
//!     if lease.confirm().await { /* write */ }
//!     println!("{:?}", lease.release().await);
//! }
//! # Ok(()) }
//! ```

use sha2::{Digest, Sha256};
use tokio::time::Duration;

use super::sessions::Words;
use crate::{
    error::BackendError,
    name::Name,
    wires::{
        metrics::Op,
        sql::{Session, Value},
    },
};

/// How Postgres is asked for an advisory lock.
pub struct Advisory;

/// The key of a product's lock.
fn key(name: &Name) -> i64 {
    let digest = Sha256::digest(format!("locklab:{name}"));
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}

/// Sessions that hold a key or wait for it. Its upper and its lower half are in two columns.
const THOSE: &str = "FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 \
                         AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                         AND (CAST(classid AS BIGINT) << 32) | CAST(objid AS BIGINT) = ?";

impl Words for Advisory {
    type Key = i64;

    fn key(name: &Name) -> i64 {
        key(name)
    }

    fn values(key: &i64) -> Vec<Value<'_>> {
        vec![(*key).into()]
    }

    const SESSION: &str = "SELECT CAST(pg_backend_pid() AS BIGINT)";
    const TRY: &str = "SELECT CAST(CAST(pg_try_advisory_lock(?) AS INT) AS BIGINT)";
    // A session that answers still holds what it was granted.
    const IS_HELD: &str = "SELECT CAST(1 AS BIGINT) WHERE CAST(? AS BIGINT) IS NOT NULL";
    const RELEASE: &str = "SELECT CAST(CAST(pg_advisory_unlock(?) AS INT) AS BIGINT)";

    async fn holders(session: &mut Session, key: &i64) -> Result<Vec<i64>, BackendError> {
        let sql = format!("SELECT CAST(pid AS BIGINT) {THOSE} AND granted");
        let rows: Vec<(i64,)> = session.rows(Op::Clear, &sql, &[(*key).into()]).await?;
        Ok(rows.into_iter().map(|(pid,)| pid).collect())
    }

    async fn end(session: &mut Session, key: &i64, id: i64) -> Result<(), BackendError> {
        let sql = format!("SELECT pg_terminate_backend(pid) {THOSE} AND pid = ?");
        let values = [(*key).into(), id.into()];
        session.change(Duration::ZERO, Op::Clear, &sql, &values).await.map(|_| ())
    }

    async fn queue(
        session: &mut Session,
        key: &i64,
        wait: Duration,
    ) -> Result<Option<i64>, BackendError> {
        let most = wait.as_millis().clamp(1, i32::MAX as u128);
        session.run(Op::Enqueue, &format!("SET lock_timeout = {most}")).await?;
        let lock = "SELECT pg_advisory_lock(?)";
        session.change(wait, Op::Enqueue, lock, &[(*key).into()]).await?;
        Ok(Some(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_what_the_documented_sql_says() {
        // psql: SELECT ('x' || left(encode(sha256('locklab:default'), 'hex'), 16))::bit(64)::bigint
        assert_eq!(key(&Name::default()), KEY_OF_DEFAULT);
    }

    const KEY_OF_DEFAULT: i64 = 7_609_638_732_026_198_253;
}
