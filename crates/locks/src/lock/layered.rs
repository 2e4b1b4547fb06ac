//! `layered`: the lock of `safe`, and behind it a row lock, and behind that CHECK (stock ≥ 0).
//!
//! - Algorithm: SET NX PX at Redis, of lock:postgres/{product}, keeps most buyers from the database; who gets in sells in one transaction:
//!   SELECT … FOR UPDATE, work, UPDATE … SET stock = stock − q, and the order under its unique id. When Redis
//!   does not answer, buyers go on without its lock, and the reply says so (`degraded`).
//! - Guarantees: exact, for each layer is enough by itself: when the lock has expired, the next one waits for
//!   the row and finds what is left; when a row is read without FOR UPDATE (`skip@lock-row`), the lock keeps
//!   others out; when both fail, the table refuses a stock below nothing, and the transaction is undone
//!   (`conflict`). An order that is sent twice is sold once: its answer is kept in the same transaction.
//! - Does not guarantee: that Redis spares the database anything while it is away: then the pool is the queue.
//! - Clock: that of `safe`; `lock_timeout` of Postgres: `wait`.
//! - Cancellation: safe at every await: the lease is released by the release task, and the transaction's
//!   connection is closed, so it is rolled back.
//! - Commands sent: those of `safe` to Redis, and those of `postgres-row` to Postgres.

use std::{borrow::Cow, sync::Arc};

use async_trait::async_trait;

use super::safe::{self, KeyLock};
use crate::{
    error::BackendError,
    lock::{Attempt, Claim, Lock, Release},
    name::Name,
    wires::redis::RedisClient,
};

/// The lock of `layered`.
pub struct LayeredLock {
    redis: Arc<RedisClient>,
}

impl LayeredLock {
    /// At that Redis.
    #[must_use]
    pub fn new(redis: Arc<RedisClient>) -> Self {
        Self { redis }
    }
}

#[async_trait]
impl Lock for LayeredLock {
    fn is_dispensable(&self) -> bool {
        true
    }

    async fn attempt(&self, claim: &Claim) -> Result<Attempt, BackendError> {
        safe::attempt(&self.redis, &self.called(&claim.name), claim).await
    }

    async fn release(&self, claim: &Claim) -> Result<Release, BackendError> {
        safe::release(&self.redis, &self.called(&claim.name), claim).await
    }

    async fn clear(&self, name: &Name) -> Result<(), BackendError> {
        safe::clear(&self.redis, &self.called(name)).await
    }
}

impl KeyLock for LayeredLock {
    fn redis(&self) -> &RedisClient {
        &self.redis
    }

    /// The product of that name in Redis is another one, with a lock of its own.
    fn called<'a>(&self, name: &'a Name) -> Cow<'a, str> {
        format!("postgres/{name}").into()
    }
}
