//! The lock of `fenced`, renewed like that of `watchdog`: for who holds it for long, as the consumer of
//! `queue` does, or an elected leader.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{
    error::BackendError,
    lock::{
        Attempt, Claim, Lock, Release,
        safe::{self, KeyLock},
        watchdog,
    },
    name::Name,
    wires::redis::RedisClient,
};

/// The lock.
pub struct RenewedLock {
    redis: Arc<RedisClient>,
}

impl RenewedLock {
    /// At that Redis.
    #[must_use]
    pub fn new(redis: Arc<RedisClient>) -> Self {
        Self { redis }
    }
}

#[async_trait]
impl Lock for RenewedLock {
    async fn attempt(&self, claim: &Claim) -> Result<Attempt, BackendError> {
        Ok(super::attempt(&self.redis, claim).await?.renewed())
    }

    async fn renew(&self, claim: &Claim) -> Result<Option<Instant>, BackendError> {
        watchdog::renew(&self.redis, claim).await
    }

    async fn release(&self, claim: &Claim) -> Result<Release, BackendError> {
        safe::release(&self.redis, claim.name.as_str(), claim).await
    }

    async fn clear(&self, name: &Name) -> Result<(), BackendError> {
        safe::clear(&self.redis, name.as_str()).await
    }
}

impl KeyLock for RenewedLock {
    fn redis(&self) -> &RedisClient {
        &self.redis
    }
}
