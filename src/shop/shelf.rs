//! The shelf of strategies: how each is built from what is configured here.

use std::sync::Arc;

use crate::{
    backends::{Backends, Database},
    lease::release::ReleaseQueue,
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
        sessions::SessionLock,
        watchdog::WatchdogLock,
    },
    order::recorder::Recorder,
    sell::{Sell, atomic::Atomic, optimistic::Optimistic, queue::Queue, rows::Rows},
    stock::sql::Reading,
    strategy::StrategyId,
};

/// A strategy ready to use: both families sell, each in its own way.
#[derive(Clone)]
pub enum Method {
    /// A lock; `shop.rs` wraps the critical section around it.
    Lock(Arc<dyn Lock>),
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
}

impl Parts<'_> {
    /// Builds a strategy.
    #[must_use]
    pub fn connect(&self, id: StrategyId) -> Method {
        let Backends { redis, redlock, etcd, zookeeper, postgres, mysql, .. } = self.backends;
        let redis = || Arc::clone(redis);
        match id {
            StrategyId::None => lock(NoLock),
            StrategyId::Mutex => lock(ProcessMutex::default()),
            StrategyId::Naive => lock(NaiveLock::new(redis())),
            StrategyId::Safe => lock(SafeLock::new(redis())),
            StrategyId::Watchdog => lock(WatchdogLock::new(redis())),
            StrategyId::Fenced => lock(FencedLock::new(redis())),
            StrategyId::Redlock => at(redlock, |nodes| {
                lock(RedlockLock::new(Arc::clone(nodes), Arc::clone(&self.backends.metrics)))
            }),
            #[cfg(feature = "etcd")]
            StrategyId::Etcd => at(etcd, |client| lock(crate::lock::etcd::LeaseKey::new(client))),
            #[cfg(not(feature = "etcd"))]
            StrategyId::Etcd => at(etcd, |client| match client.0 {}),
            #[cfg(feature = "zookeeper")]
            StrategyId::Zookeeper => {
                at(zookeeper, |client| lock(crate::lock::zookeeper::SessionNode::new(client)))
            }
            #[cfg(not(feature = "zookeeper"))]
            StrategyId::Zookeeper => at(zookeeper, |client| match client.0 {}),
            StrategyId::PostgresAdvisory => session::<Advisory>(postgres),
            StrategyId::MysqlLock => session::<Named>(mysql),
            StrategyId::Layered => at(postgres, |_| lock(LayeredLock::new(redis()))),
            StrategyId::Optimistic => sell(Optimistic::new(redis())),
            StrategyId::Atomic => sell(Atomic),
            StrategyId::Queue => sell(Queue::new(self)),
            StrategyId::PostgresRow => rows(postgres, Reading::ForUpdate),
            StrategyId::MysqlRow => rows(mysql, Reading::ForUpdate),
            StrategyId::PostgresOptimistic => rows(postgres, Reading::Plain),
            StrategyId::PostgresAtomic => at(postgres, |_| sell(Atomic)),
        }
    }
}

fn lock(lock: impl Lock + 'static) -> Method {
    Method::Lock(Arc::new(lock))
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

fn session<W: crate::lock::sessions::Words + 'static>(
    database: &Result<Database, String>,
) -> Method {
    at(database, |it| lock(SessionLock::<W>::new(Arc::clone(&it.locks))))
}

fn rows(database: &Result<Database, String>, reading: Reading) -> Method {
    at(database, |it| sell(Rows::new(Arc::clone(&it.stock), reading)))
}

/// The lock of `fenced`, renewed while it is held: for who holds it longer than a purchase takes.
#[must_use]
pub fn renewed_fenced(backends: &Backends) -> Arc<dyn Lock> {
    Arc::new(RenewedLock::new(Arc::clone(&backends.redis)))
}
