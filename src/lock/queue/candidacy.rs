//! Standing for election: what is asked of the lock service, and the lock that the consumer holds.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::{
    backends::{BackendError, redis::RedisClient},
    fault::Faults,
    lock::{
        Attempt, Claim, Lock, Release, fenced,
        safe::{self, KeyLock},
        watchdog,
    },
    order::{Item, Order},
    product::Product,
    strategy::StrategyId,
    token::Token,
    wait::{Patience, Policy},
};

/// How long one candidacy lasts; there is another one after it.
const CANDIDACY: Duration = Duration::from_secs(10);

/// What a candidate asks the lock service for.
#[must_use]
pub fn candidacy(
    strategy: StrategyId,
    product: &Product,
    ttl: Duration,
    unwanted: &CancellationToken,
) -> Order {
    Order {
        id: Token::random(),
        items: vec![Item { product: product.clone(), quantity: 1 }],
        key: None,
        run_id: None,
        strategy,
        delay: Duration::ZERO,
        ttl,
        patience: Patience {
            policy: Policy::Notify,
            max_retries: u32::MAX,
            wait: CANDIDACY,
            gone: unwanted.clone(),
            ..Patience::default()
        },
        faults: Faults::default(),
    }
}

/// The lock of `fenced`, renewed like that of `watchdog`: its holder is the consumer.
pub struct ConsumerLock {
    redis: Arc<RedisClient>,
}

impl ConsumerLock {
    /// At that Redis.
    #[must_use]
    pub fn new(redis: Arc<RedisClient>) -> Self {
        Self { redis }
    }
}

#[async_trait]
impl Lock for ConsumerLock {
    async fn attempt(&self, claim: &Claim) -> Result<Attempt, BackendError> {
        Ok(fenced::attempt(&self.redis, claim).await?.renewed())
    }

    async fn renew(&self, claim: &Claim) -> Result<bool, BackendError> {
        watchdog::renew(&self.redis, claim).await
    }

    async fn release(&self, claim: &Claim) -> Result<Release, BackendError> {
        safe::release(&self.redis, claim).await
    }

    async fn clear(&self, product: &Product) -> Result<(), BackendError> {
        safe::clear(&self.redis, product).await
    }
}

impl KeyLock for ConsumerLock {
    fn redis(&self) -> &RedisClient {
        &self.redis
    }
}
