//! Keeps the shared connection alive, and knows whether it is.

use std::sync::Arc;

use bb8_redis::bb8::{ErrorSink, Pool, RunError};
use redis::InfoDict;
use tokio::{
    sync::{Notify, watch},
    time::{self, Duration},
};

use super::{
    link::{Link, Linker},
    pool::LastError,
};
use crate::wires::{circuit::Circuit, metrics::BackendMetrics};

/// How often an idle connection is checked.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// How soon to try again while Redis is away.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(100);

/// Keeps one checked connection for everybody.
pub(super) struct Supervisor {
    pub(super) supervised: Pool<Linker>,
    /// The others, which are only counted.
    pub(super) pools: Vec<Pool<Linker>>,
    pub(super) shared: watch::Sender<Option<Link>>,
    pub(super) suspect: Arc<Notify>,
    pub(super) last_error: LastError,
    pub(super) circuit: Arc<Circuit>,
    pub(super) metrics: Arc<BackendMetrics>,
}

impl Supervisor {
    /// Runs until every client is gone.
    pub(super) async fn run(self) {
        loop {
            let pause =
                if self.shared.borrow().is_some() { PROBE_INTERVAL } else { RECONNECT_INTERVAL };
            tokio::select! {
                () = time::sleep(pause) => {}
                () = self.suspect.notified() => {}
                () = self.shared.closed() => return,
            }
            self.probe().await;
        }
    }

    /// Checks the connection, or makes a new one, and tells everybody.
    pub(super) async fn probe(&self) {
        let was_up = self.shared.borrow().is_some();
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
        match (was_up, checked.is_some()) {
            (false, true) => {
                self.circuit.close();
                tracing::info!(backend = self.metrics.name, "it answers");
            }
            (true, false) => {
                let (backend, error) = (self.metrics.name, self.last_error.describe());
                tracing::warn!(backend, error, "it is away");
            }
            _ => {}
        }
        self.metrics.up(checked.is_some());
        let states = std::iter::once(&self.supervised).chain(&self.pools).map(Pool::state);
        let (all, idle) = states.fold((0, 0), |(all, idle), state| {
            (all + state.connections, idle + state.idle_connections)
        });
        self.metrics.pool_connections(all - idle, idle);
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
            self.metrics.evicted(evicted);
        }
    }
}
