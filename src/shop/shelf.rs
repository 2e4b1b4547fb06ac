//! The shelf of strategies: how each is built from what is configured here.

use std::sync::Arc;

use crate::{
    backends::{Backends, Database},
    order::recorder::Recorder,
    sell::{
        Sell,
        atomic::Atomic,
        optimistic::Optimistic,
        queue::{Queue, QueueParts},
        rows::Rows,
    },
    stock::sql::Reading,
    strategy::{Family, StrategyId},
};
use locklab_locks::{
    fault::FaultMetrics,
    lease::{keeper::Keeper, metrics::LeaseMetrics, release::ReleaseQueue},
    lock::{
        Lock,
        fenced::{FencedLock, renewed::RenewedLock},
        layered::LayeredLock,
        mutex::ProcessMutex,
        mysql_lock::Named,
        naive::NaiveLock,
        none::NoLock,
        postgres_advisory::Advisory,
        redlock::RedlockLock,
        safe::SafeLock,
        sessions::{SessionLock, Words},
        watchdog::WatchdogLock,
    },
    measure::Registry,
};

/// A strategy ready to use: both families sell, each in its own way.
#[derive(Clone)]
pub enum Method {
    /// A lock; `shop.rs` wraps the critical section around it.
    Lock(Arc<Keeper>),
    /// Sells by itself.
    LockFree(Arc<dyn Sell>),
    /// Cannot be used here: why, and what to do.
    Absent(String),
}

/// What a strategy can be built from.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// The configured servers.
    pub backends: &'a Backends,
    /// Where claims go that nobody else will end.
    pub releases: &'a ReleaseQueue,
    /// Records what purchases do.
    pub recorder: &'a Recorder,
    /// Who counts the faults of orders that another server took.
    pub faults: &'a Arc<FaultMetrics>,
    /// Where measurements are registered.
    pub registry: &'a Registry,
    /// What the configuration says of strategies.
    pub settings: Settings,
}

/// What the configuration says of strategies.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Records that are kept of each product; with none, nothing is recorded.
    pub history: u32,
    /// Tickets that may wait in the queue of a product.
    pub queue_max: u32,
}

impl Parts<'_> {
    /// Builds a strategy.
    #[must_use]
    pub fn connect(&self, id: StrategyId) -> Method {
        let Backends { redis, redlock, etcd, zookeeper, postgres, mysql, .. } = self.backends;
        let redis = || Arc::clone(redis);
        // Its series are there from the start, whether it can be used here or not.
        let metrics = (id.row().family == Family::Lock).then(|| self.lease_metrics(id));
        let lock = |lock| match &metrics {
            Some(metrics) => Method::Lock(self.keeper(lock, Arc::clone(metrics))),
            None => {
                Method::Absent(format!("{} is listed as one that needs no lock", id.row().name))
            }
        };
        match id {
            StrategyId::None => lock(Arc::new(NoLock)),
            StrategyId::Mutex => lock(Arc::new(ProcessMutex::default())),
            StrategyId::Naive => lock(Arc::new(NaiveLock::new(redis()))),
            StrategyId::Safe => lock(Arc::new(SafeLock::new(redis()))),
            StrategyId::Watchdog => lock(Arc::new(WatchdogLock::new(redis()))),
            StrategyId::Fenced => lock(Arc::new(FencedLock::new(redis()))),
            StrategyId::Redlock => {
                at(redlock, |nodes| lock(Arc::new(RedlockLock::new(Arc::clone(nodes)))))
            }
            #[cfg(feature = "etcd")]
            StrategyId::Etcd => {
                at(etcd, |client| lock(Arc::new(locklab_locks::lock::etcd::LeaseKey::new(client))))
            }
            #[cfg(not(feature = "etcd"))]
            StrategyId::Etcd => at(etcd, |client| match client.0 {}),
            #[cfg(feature = "zookeeper")]
            StrategyId::Zookeeper => at(zookeeper, |client| {
                lock(Arc::new(locklab_locks::lock::zookeeper::SessionNode::new(client)))
            }),
            #[cfg(not(feature = "zookeeper"))]
            StrategyId::Zookeeper => at(zookeeper, |client| match client.0 {}),
            StrategyId::PostgresAdvisory => at(postgres, |it| lock(sessions::<Advisory>(it))),
            StrategyId::MysqlLock => at(mysql, |it| lock(sessions::<Named>(it))),
            StrategyId::Layered => at(postgres, |_| lock(Arc::new(LayeredLock::new(redis())))),
            StrategyId::Optimistic => sell(Optimistic::new(redis())),
            StrategyId::Atomic => sell(Atomic),
            StrategyId::Queue => sell(Queue::new(&self.backends.redis, self.queue_parts())),
            StrategyId::PostgresRow => rows(postgres, Reading::ForUpdate),
            StrategyId::MysqlRow => rows(mysql, Reading::ForUpdate),
            StrategyId::PostgresOptimistic => rows(postgres, Reading::Plain),
            StrategyId::MysqlOptimistic => rows(mysql, Reading::Plain),
            StrategyId::PostgresAtomic => at(postgres, |_| sell(Atomic)),
            StrategyId::MysqlAtomic => at(mysql, |_| sell(Atomic)),
        }
    }

    /// The lock of `fenced`, renewed while it is held.
    #[must_use]
    pub fn renewed_fenced(&self) -> Arc<Keeper> {
        let lock = Arc::new(RenewedLock::new(Arc::clone(&self.backends.redis)));
        self.keeper(lock, self.lease_metrics(StrategyId::Fenced))
    }

    fn queue_parts(&self) -> QueueParts<'_> {
        QueueParts {
            queue_max: self.settings.queue_max,
            history: self.settings.history,
            releases: self.releases,
            recorder: self.recorder,
            faults: self.faults,
            registry: self.registry,
        }
    }

    fn lease_metrics(&self, id: StrategyId) -> Arc<LeaseMetrics> {
        Arc::new(LeaseMetrics::new(self.registry, id.row().name))
    }

    fn keeper(&self, lock: Arc<dyn Lock>, metrics: Arc<LeaseMetrics>) -> Arc<Keeper> {
        Arc::new(Keeper::new(lock, self.releases.clone(), metrics))
    }
}

fn sell(seller: impl Sell + 'static) -> Method {
    Method::LockFree(Arc::new(seller))
}

/// What a strategy is at its server, if there is one.
fn at<T>(server: &Result<T, String>, connect: impl FnOnce(&T) -> Method) -> Method {
    match server {
        Ok(server) => connect(server),
        Err(reason) => Method::Absent(reason.clone()),
    }
}

fn sessions<W: Words + 'static>(database: &Database) -> Arc<dyn Lock> {
    Arc::new(SessionLock::<W>::new(Arc::clone(&database.locks)))
}

fn rows(database: &Result<Database, String>, reading: Reading) -> Method {
    at(database, |it| sell(Rows::new(Arc::clone(&it.stock), reading)))
}
