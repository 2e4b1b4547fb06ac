//! Keeps the shared connection alive, and knows whether it is.

use std::sync::Arc;

use bb8_redis::bb8::{ErrorSink, Pool, RunError};
use redis::InfoDict;
use tokio::sync::watch;

use super::{
    link::{Link, Linker},
    pool::LastError,
};
use crate::wires::exchange::Exchange;

/// Keeps one checked connection for everybody.
pub(super) struct Supervisor {
    pub(super) supervised: Pool<Linker>,
    /// The others, which are only counted.
    pub(super) pools: Vec<Pool<Linker>>,
    pub(super) shared: watch::Sender<Option<Link>>,
    pub(super) last_error: LastError,
    pub(super) exchange: Arc<Exchange>,
}

impl Supervisor {
    /// Runs until every client is gone.
    pub(super) async fn run(self) {
        while self.exchange.until_due(self.is_up(), &self.shared).await {
            self.probe().await;
        }
    }

    fn is_up(&self) -> bool {
        self.shared.borrow().is_some()
    }

    /// Checks the connection, or makes a new one, and tells everybody.
    pub(super) async fn probe(&self) {
        let checked = match self.supervised.get().await {
            Ok(conn) => {
                self.last_error.clear();
                Some(conn.clone())
            }
            Err(RunError::User(error)) => {
                self.last_error.sink(error);
                None
            }
            Err(RunError::TimedOut) => None,
        };
        let error = self.last_error.describe();
        self.exchange.tell(self.is_up(), checked.is_some(), Some(&error));
        let states = std::iter::once(&self.supervised).chain(&self.pools).map(Pool::state);
        let (all, idle) = states.fold((0, 0), |(all, idle), state| {
            (all + state.connections, idle + state.idle_connections)
        });
        self.exchange.metrics.pool_connections(all - idle, idle);
        self.shared.send_replace(checked.clone());
        if let Some(link) = checked {
            self.count_evictions(link).await;
        }
    }

    /// Counts the keys that this Redis has evicted. One that does not say is not pressed.
    async fn count_evictions(&self, mut link: Link) {
        let stats: Result<InfoDict, _> =
            redis::cmd("INFO").arg("stats").query_async(&mut link.connection).await;
        if let Some(evicted) = stats.ok().and_then(|stats| stats.get("evicted_keys")) {
            self.exchange.metrics.evicted(evicted);
        }
    }
}
