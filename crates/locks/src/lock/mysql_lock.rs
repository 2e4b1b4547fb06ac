//! `mysql-lock`: a named lock of MySQL (GET_LOCK), on a connection of its own.
//!
//! - Algorithm: GET_LOCK('locklab:{product}', 0) (MySQL Reference Manual, "Locking Functions"), on a
//!   connection that leaves the pool for as long as the lock is held, and is closed on any doubt. Its
//!   answers 1, 0 and NULL are three different ones. A name may have 64 characters: a longer one is
//!   `locklab:` and the first 56 hexadecimal digits of its SHA-256. MySQL does not tell upper from lower
//!   case in names, so products that differ in nothing else wait for each other. With `retry=notify` or
//!   `fifo`, buyers wait in MySQL's own queue, each on a connection.
//! - Guarantees: mutual exclusion while the connection lives, however long the work takes: the lock has no
//!   ttl, and no transaction ends it. The connection is asked for it (IS_USED_LOCK) every ttl/3 and before the
//!   write, and the work is `lost` when it does not say that it is the holder.
//! - Does not guarantee: anything once the connection dies: MySQL frees the lock at that moment, and a
//!   write that is under way lands on the next holder. Nor beyond one server: the lock is not replicated, not
//!   to replicas, Galera or group replication. Not behind a proxy that multiplexes connections (proxysql #394).
//!   Before MySQL 5.7, a second GET_LOCK frees the first.
//! - Clock: a holder that has not heard its connection for a ttl takes the lock for lost.
//! - Cancellation: safe at every await: the connection is closed. One that waits in the queue is ended by
//!   the release task (KILL), for MySQL may notice late that it has gone.
//! - Commands sent: GET_LOCK; IS_USED_LOCK every ttl/3 and before the write; RELEASE_LOCK. By waiters:
//!   CONNECTION_ID, GET_LOCK with what is left of `wait`, in whole seconds. By a reset: KILL of the holder.
//!
//! # Example
//!
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! # use locklab_locks::{lease::{Acquired, keeper::{Keeper, Wish}, release::ReleaseQueue},
//! #     wait::{Patience, Policy}, wires::metrics::{BackendMetrics, Wire}};
//! use locklab_locks::{
//!     lock::{mysql_lock::Named, sessions::SessionLock},
//!     wires::sql::{Dialect, SqlClient, SqlOptions},
//! };
//!
//! # async fn work() {}
//! # async fn example(releases: ReleaseQueue) -> Result<(), Box<dyn std::error::Error>> {
//! let options = SqlOptions {
//!     url: "mysql://app:secret@10.0.0.1/shop".to_owned(),
//!     // One for each lease, and for each waiter: a pool of its own, not that of the transactions.
//!     pool_size: 20,
//!     timeout: Duration::from_millis(500),
//!     tables: &[],
//! };
//! let metrics = BackendMetrics::silent(Wire::SqlLocks, "mysql");
//! let client = SqlClient::connect(Dialect::MySql, &options, metrics).await?;
//! let lock = SessionLock::<Named>::new(Arc::new(client));
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

/// The most characters of a lock's name.
const NAME_MAX: usize = 64;
/// What all our names begin with.
const PREFIX: &str = "locklab:";

/// How the refusal ends to kill a connection that is not there: `ER_NO_SUCH_THREAD`.
const UNKNOWN_THREAD: &str = "(1094)";

/// How MySQL is asked for a named lock.
pub struct Named;

impl Words for Named {
    type Key = String;

    fn key(name: &Name) -> String {
        let key = format!("{PREFIX}{name}");
        if key.len() <= NAME_MAX {
            return key;
        }
        let digest: String =
            Sha256::digest(&key).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{PREFIX}{}", &digest[..NAME_MAX - PREFIX.len()])
    }

    fn values(key: &String) -> Vec<Value<'_>> {
        vec![key.as_str().into()]
    }

    const SESSION: &str = "SELECT CAST(CONNECTION_ID() AS SIGNED)";
    const TRY: &str = "SELECT CAST(GET_LOCK(?, 0) AS SIGNED)";
    const IS_HELD: &str = "SELECT CAST(IS_USED_LOCK(?) = CONNECTION_ID() AS SIGNED)";
    const RELEASE: &str = "SELECT CAST(RELEASE_LOCK(?) AS SIGNED)";

    async fn holders(session: &mut Session, name: &String) -> Result<Vec<i64>, BackendError> {
        let sql = "SELECT CAST(IS_USED_LOCK(?) AS SIGNED)";
        let rows: Vec<(Option<i64>,)> =
            session.rows(Op::Clear, sql, &[name.as_str().into()]).await?;
        Ok(rows.into_iter().filter_map(|(holder,)| holder).collect())
    }

    /// Ids are not used twice.
    async fn end(session: &mut Session, _: &String, id: i64) -> Result<(), BackendError> {
        kill(session, id).await
    }

    async fn queue(
        session: &mut Session,
        name: &String,
        wait: Duration,
    ) -> Result<Option<i64>, BackendError> {
        let seconds = i64::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(i64::MAX);
        let sql = "SELECT CAST(GET_LOCK(?, ?) AS SIGNED)";
        let values = [name.as_str().into(), seconds.into()];
        let rows: Vec<(Option<i64>,)> =
            session.rows_within(wait + Duration::from_secs(1), Op::Enqueue, sql, &values).await?;
        Ok(rows.into_iter().next().and_then(|(answer,)| answer))
    }
}

/// Ends a connection; one that is not there has ended.
async fn kill(session: &mut Session, id: i64) -> Result<(), BackendError> {
    match session.run(Op::Clear, &format!("KILL {id}")).await {
        Err(BackendError::Refused { cause, .. }) if cause.to_string().ends_with(UNKNOWN_THREAD) => {
            Ok(())
        }
        killed => killed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_long_as_mysql_takes_them() {
        let name = |name: &str| Named::key(&name.parse().unwrap());
        assert_eq!(name("default"), "locklab:default");
        assert_eq!(name(&"x".repeat(56)), format!("locklab:{}", "x".repeat(56)));
        let (one, two) = (name(&"x".repeat(57)), name(&"x".repeat(58)));
        assert_eq!((one.len(), two.len()), (NAME_MAX, NAME_MAX));
        assert_ne!(one, two);
    }
}
