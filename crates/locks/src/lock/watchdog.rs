//! `watchdog`: the lock of `safe`, renewed while its holder works.
//!
//! - Algorithm: compare-and-PEXPIRE every ttl/3, as Redisson's watchdog does, but with an end: a
//!   lease is held for at most twenty ttls. The work is cancelled when the lease is lost, and
//!   nothing is written then (`lost`).
//! - Guarantees: exact, also when the work takes longer than the ttl.
//! - Does not guarantee: anything once the whole process stands still for longer than the ttl, for
//!   then the watchdog does too: a write that was past its last check still goes through.
//! - Clock: deadline = monotonic clock before the last successful renewal was sent + ttl. A renewal
//!   without an answer is not yet a loss; a passed deadline is.
//! - Cancellation: as `safe`. Renewing starts before the lease is handed out, and ends before it is
//!   released.
//! - Commands sent: those of `safe`; EVALSHA of compare-and-PEXPIRE.
//!
//! # Example
//!
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! # use locklab_locks::{lease::{Acquired, keeper::{Keeper, Wish}, release::ReleaseQueue},
//! #     wait::Patience};
//! use locklab_locks::{lock::watchdog::WatchdogLock, wires::redis::RedisClient};
//!
//! # async fn work() {}
//! # async fn example(redis: Arc<RedisClient>, releases: ReleaseQueue)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let keeper = Keeper::silent(WatchdogLock::new(redis), releases);
//! let wish = Wish::lasting(Duration::from_secs(5));
//! if let Acquired::Lease(lease) =
//!     keeper.acquire(&"nightly".parse()?, &wish, &Patience::default()).await?
//! {
//!     tokio::select! {
//!         () = work() => {}
//!         () = lease.ended() => eprintln!("lost after {} renewals", lease.renewals()),
//!     }
//!     println!("{:?}", lease.release().await);
//! }
//! # Ok(()) }
//! ```

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use redis::Script;
use tokio::time::Instant;

use crate::name::Name;
use crate::{
    error::BackendError,
    lock::{
        Attempt, Claim, Lock, Release,
        safe::{self, KeyLock, lock_key},
    },
    wires::{metrics::Op, redis::RedisClient},
};

/// KEYS: lock. ARGV: token, ttl in ms. 1: renewed; 0: this claim is not the holder.
static COMPARE_AND_EXPIRE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
        return redis.call('PEXPIRE', KEYS[1], ARGV[2])
        ",
    )
});

/// Makes the lock last another ttl if this claim holds it.
pub(super) async fn renew(
    redis: &RedisClient,
    claim: &Claim,
) -> Result<Option<Instant>, BackendError> {
    let deadline = Instant::now() + claim.ttl;
    let mut script = COMPARE_AND_EXPIRE.key(lock_key(claim.name.as_str()));
    script.arg(claim.token.as_str()).arg(claim.ttl_ms());
    let is_renewed: bool = redis.script(Op::Renew, &script).await?;
    Ok(is_renewed.then_some(deadline))
}

/// The lock of `watchdog`.
pub struct WatchdogLock {
    redis: Arc<RedisClient>,
}

impl WatchdogLock {
    /// At that Redis.
    #[must_use]
    pub fn new(redis: Arc<RedisClient>) -> Self {
        Self { redis }
    }
}

#[async_trait]
impl Lock for WatchdogLock {
    async fn attempt(&self, claim: &Claim) -> Result<Attempt, BackendError> {
        Ok(safe::attempt(&self.redis, claim.name.as_str(), claim).await?.renewed())
    }

    async fn renew(&self, claim: &Claim) -> Result<Option<Instant>, BackendError> {
        renew(&self.redis, claim).await
    }

    async fn release(&self, claim: &Claim) -> Result<Release, BackendError> {
        safe::release(&self.redis, claim.name.as_str(), claim).await
    }

    async fn clear(&self, name: &Name) -> Result<(), BackendError> {
        safe::clear(&self.redis, name.as_str()).await
    }
}

impl KeyLock for WatchdogLock {
    fn redis(&self) -> &RedisClient {
        &self.redis
    }
}
