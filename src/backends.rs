//! The servers behind the strategies: connections, their health, and what their failures mean.

pub mod version;

use std::sync::Arc;

use tokio::time::Duration;

use crate::strategy::{
    Strategy,
    server::{Backend, Store},
};
use locklab_locks::wires::{
    circuit, etcd::EtcdClient, redis::RedisClient, redlock::Nodes, sql::SqlClient,
    zookeeper::ZooKeeperClient,
};

/// The two pools of connections to one database: those that hold locks must not keep the others from
/// selling under them.
#[derive(Clone)]
pub struct Database {
    /// For stock and ledger.
    pub stock: Arc<SqlClient>,
    /// For sessions that hold locks, or wait for them.
    pub locks: Arc<SqlClient>,
}

/// Ready handles to every configured server.
pub struct Backends {
    /// The Redis that holds the stock and the single-node locks.
    pub redis: Arc<RedisClient>,
    /// What to do when it is away.
    pub redis_remedy: &'static str,
    /// The nodes of Redlock, or why there are none and what to do.
    pub redlock: Result<Arc<Nodes>, String>,
    /// The etcd cluster, or why there is none and what to do.
    pub etcd: Result<Arc<EtcdClient>, String>,
    /// The ZooKeeper ensemble, or why there is none and what to do.
    pub zookeeper: Result<Arc<ZooKeeperClient>, String>,
    /// Postgres, or why there is none and what to do.
    pub postgres: Result<Database, String>,
    /// MySQL, or why there is none and what to do.
    pub mysql: Result<Database, String>,
}

/// Whether a backend answered its last probe; read by `/readyz`, which asks nobody itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Which backend.
    pub backend: Backend,
    /// Whether the last probe was answered.
    pub up: bool,
    /// Whether commands are let through.
    pub circuit: circuit::State,
}

impl Health {
    /// Whether a command sent now would reach the backend.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.up && self.circuit != circuit::State::Open
    }
}

impl Backends {
    /// The health of every configured backend.
    #[must_use]
    pub fn health(&self) -> Vec<Health> {
        let (up, circuit) = (self.redis.is_up(), self.redis.circuit());
        let mut health = vec![Health { backend: Backend::Redis, up, circuit }];
        if let Ok(nodes) = &self.redlock {
            let (up, circuit) = (nodes.is_up(), circuit::State::Closed);
            health.push(Health { backend: Backend::Redlock, up, circuit });
        }
        if let Ok(client) = &self.etcd {
            let (up, circuit) = (client.is_up(), client.circuit());
            health.push(Health { backend: Backend::Etcd, up, circuit });
        }
        if let Ok(client) = &self.zookeeper {
            let (up, circuit) = (client.is_up(), client.circuit());
            health.push(Health { backend: Backend::ZooKeeper, up, circuit });
        }
        for (backend, database) in
            [(Backend::Postgres, &self.postgres), (Backend::MySql, &self.mysql)]
        {
            if let Ok(database) = database {
                let (up, circuit) = (database.stock.is_up(), database.stock.circuit());
                health.push(Health { backend, up, circuit });
            }
        }
        health
    }

    /// Whether a store answered its last probe.
    #[must_use]
    pub fn is_up(&self, store: Store) -> bool {
        match store {
            Store::Redis => self.redis.is_up(),
            Store::Postgres => self.postgres.as_ref().is_ok_and(|it| it.stock.is_up()),
            Store::MySql => self.mysql.as_ref().is_ok_and(|it| it.stock.is_up()),
        }
    }

    /// Waits until a store answers a probe, or (`up` false) until it does not. One that there is not
    /// never does.
    pub async fn until(&self, store: Store, up: bool) {
        match (store, &self.postgres, &self.mysql) {
            (Store::Redis, ..) => self.redis.until(up).await,
            (Store::Postgres, Ok(database), _) | (Store::MySql, _, Ok(database)) => {
                database.stock.until(up).await;
            }
            _ => std::future::pending().await,
        }
    }

    /// The longest ttl that a strategy's backend takes, if it takes no other.
    #[must_use]
    pub fn ttl_max(&self, strategy: &Strategy) -> Option<Duration> {
        let nodes = self.redlock.as_ref().ok().filter(|_| strategy.backend == Backend::Redlock)?;
        nodes.ttl_max()
    }

    /// Why a strategy cannot be used now, and what to do; `None` if it can.
    #[must_use]
    pub fn reason_against(&self, strategy: &Strategy) -> Option<String> {
        let is_away = |backend| {
            self.health().iter().any(|health| health.backend == backend && !health.is_reachable())
        };
        let store = match strategy.store {
            Store::Redis => None,
            Store::Postgres => Some((&self.postgres, "--postgres-url")),
            Store::MySql => Some((&self.mysql, "--mysql-url")),
        };
        if let Some((database, flag)) = store {
            // Its lock is not needed, if it is granted by anybody else: `layered`.
            return match database {
                Err(reason) => Some(reason.clone()),
                Ok(database) if !database.stock.is_up() => Some(format!(
                    "{} does not answer ({}): start it, or name another with {flag}",
                    database.stock.name(),
                    database.stock.last_error()
                )),
                Ok(_) => None,
            };
        }
        if is_away(Backend::Redis) {
            return Some(format!("redis does not answer: {}", self.redis_remedy));
        }
        match strategy.backend {
            // Databases grant locks for what is in them.
            Backend::Redis | Backend::Postgres | Backend::MySql => None,
            Backend::Redlock => match &self.redlock {
                Err(reason) => Some(reason.clone()),
                Ok(nodes) if !nodes.is_up() => Some(format!(
                    "{}, and {} have to: start them, or name others with --redlock-urls",
                    nodes.describe(),
                    nodes.quorum()
                )),
                Ok(_) => None,
            },
            Backend::Etcd => match &self.etcd {
                Err(reason) => Some(reason.clone()),
                Ok(_) if is_away(Backend::Etcd) => {
                    let reason = "no member of etcd with a leader answers: a majority has to run; \
                                  start them, or name others with --etcd-endpoints";
                    Some(reason.to_owned())
                }
                Ok(_) => None,
            },
            Backend::ZooKeeper => match &self.zookeeper {
                Err(reason) => Some(reason.clone()),
                Ok(_) if is_away(Backend::ZooKeeper) => {
                    let reason = "no session of ZooKeeper answers: a majority of its servers has to \
                                  run; start them, or name others with --zookeeper-hosts";
                    Some(reason.to_owned())
                }
                Ok(_) => None,
            },
        }
    }
}
