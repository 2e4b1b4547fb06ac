//! The servers behind the strategies: connections, their health, and what their failures mean.

pub mod embedded;
#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(not(feature = "etcd"))]
#[path = "backends/no_etcd.rs"]
pub mod etcd;
pub mod redis;
pub mod redlock;
#[cfg(feature = "zookeeper")]
pub mod zookeeper;
#[cfg(not(feature = "zookeeper"))]
#[path = "backends/no_zookeeper.rs"]
pub mod zookeeper;

use std::sync::Arc;

use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};
use tokio::time::Duration;
use utoipa::ToSchema;

use crate::{circuit, fault::Step, metrics::Metrics, strategy::Strategy};

/// A cause that only people read.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What a failed command means to the one who sent it.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The command was not sent: nothing happened.
    #[error("{backend} is unavailable: {cause}")]
    Unavailable {
        /// Which server.
        backend: &'static str,
        /// Why.
        cause: Cause,
    },
    /// The command was sent and the reply was lost: it may have been executed.
    #[error("{backend} did not answer, so what happened is unknown: {cause}")]
    Unknown {
        /// Which server.
        backend: &'static str,
        /// Why.
        cause: Cause,
    },
    /// The server answered with an error: nothing happened.
    #[error("{backend} refused the command: {cause}")]
    Refused {
        /// Which server.
        backend: &'static str,
        /// Why.
        cause: Cause,
    },
    /// A fault ended the caller here, as if its process had died: nothing is to be cleaned up.
    #[error("crashed at {}, as the fault asked", .step.name())]
    Crashed {
        /// Where.
        step: Step,
    },
}

impl BackendError {
    /// The same failure, after an earlier command has had an effect already.
    #[must_use]
    pub fn into_unknown(self) -> Self {
        match self {
            Self::Unavailable { backend, cause }
            | Self::Unknown { backend, cause }
            | Self::Refused { backend, cause } => Self::Unknown { backend, cause },
            Self::Crashed { .. } => self,
        }
    }

    /// Whether a fault ended the caller.
    #[must_use]
    pub fn is_crash(&self) -> bool {
        matches!(self, Self::Crashed { .. })
    }

    /// Whether the same command may succeed later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unknown { .. })
    }

    /// Whether the command may have been executed nevertheless.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}

/// A kind of server that strategies use.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray, Serialize, ToSchema,
)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The Redis that holds the stock and the locks of one node.
    Redis,
    /// The nodes of Redlock.
    Redlock,
    /// An etcd cluster.
    Etcd,
    /// A ZooKeeper ensemble.
    ZooKeeper,
}

/// Ready handles to every configured server.
pub struct Backends {
    /// The Redis that holds the stock and the single-node locks.
    pub redis: Arc<redis::RedisClient>,
    /// What to do when it is away.
    pub redis_remedy: &'static str,
    /// The nodes of Redlock, or why there are none and what to do.
    pub redlock: Result<Arc<redlock::Nodes>, String>,
    /// The etcd cluster, or why there is none and what to do.
    pub etcd: Result<Arc<etcd::EtcdClient>, String>,
    /// The ZooKeeper ensemble, or why there is none and what to do.
    pub zookeeper: Result<Arc<zookeeper::ZooKeeperClient>, String>,
    /// Records that are kept of each product; with none, nothing is recorded.
    pub history: u32,
    /// Tickets that may wait in the queue of a product.
    pub queue_max: u32,
    /// Where measurements go.
    pub metrics: Arc<Metrics>,
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
        health
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
        if is_away(Backend::Redis) {
            return Some(format!("redis does not answer: {}", self.redis_remedy));
        }
        match strategy.backend {
            Backend::Redis => None,
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
