//! The servers behind the strategies: connections, their health, and what their failures mean.

pub mod embedded;
pub mod redis;

use std::sync::Arc;

use crate::{circuit, fault::Step, metrics::Metrics, stock::Store};

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

/// Ready handles to every configured server.
pub struct Backends {
    /// The Redis that holds the stock and the single-node locks.
    pub redis: Arc<redis::RedisClient>,
    /// What to do when it is away.
    pub redis_remedy: &'static str,
    /// Records that are kept of each product; with none, nothing is recorded.
    pub history: u32,
    /// Tickets that may wait in the queue of a product.
    pub queue_max: u32,
    /// Where measurements go.
    pub metrics: Arc<Metrics>,
}

/// Whether a store's server answered its last probe; read by `/readyz`, which asks nobody itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Which store.
    pub store: Store,
    /// Whether the last probe was answered.
    pub up: bool,
    /// Whether commands are let through.
    pub circuit: circuit::State,
}

impl Health {
    /// Whether a command sent now would reach the store.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.up && self.circuit != circuit::State::Open
    }
}

impl Backends {
    /// The health of every configured store.
    #[must_use]
    pub fn health(&self) -> Vec<Health> {
        let (up, circuit) = (self.redis.is_up(), self.redis.circuit());
        vec![Health { store: Store::Redis, up, circuit }]
    }
}
