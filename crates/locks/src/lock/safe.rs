//! `safe`: one atomic SET NX PX with a random token, released by compare-and-delete.
//!
//! - Algorithm: the single-instance lock of the Redis documentation ("Distributed Locks with
//!   Redis", "Correct Implementation with a Single Instance").
//! - Guarantees: mutual exclusion while every holder finishes within its ttl and Redis keeps its
//!   memory; nobody frees a stranger's lock.
//! - Does not guarantee: anything once work or a pause exceeds the ttl: the next holder comes in and
//!   the late write still goes through. Nor across a failover, a FLUSHALL or an eviction.
//! - Clock: deadline = monotonic clock before SET was sent + ttl. Redis measures the ttl by its own
//!   clock.
//! - Cancellation: safe at every await; the token is compared and deleted by the release task.
//! - Commands sent: SET lock:{product} token NX PX ttl; EVALSHA of compare-and-delete, which also
//!   sends PUBLISH released:{product} (after NOSCRIPT: SCRIPT LOAD, then EVALSHA). By waiters, with
//!   `notify` and `fifo`: SUBSCRIBE and UNSUBSCRIBE released:{product}, PTTL lock:{product}; PING
//!   while that connection is silent; and PUBSUB NUMSUB when a lease was handed over often enough. By
//!   a reset: EVALSHA of DEL and PUBLISH. Like every lock, a purchase also asks the store for the
//!   generation, reads, and writes.
//!
//! # Example
//!
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! # use locklab_locks::{lease::{Acquired, keeper::{Keeper, Wish}, release::ReleaseQueue},
//! #     wait::{Patience, Policy}};
//! use locklab_locks::{lock::{Release, safe::SafeLock}, wires::redis::RedisClient};
//!
//! # async fn work() {}
//! # async fn example(redis: Arc<RedisClient>, releases: ReleaseQueue)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let keeper = Keeper::silent(SafeLock::new(redis), releases);
//! let wish = Wish::lasting(Duration::from_secs(10));
//! // Told of the release; waits for 10 s at most.
//! let patience = Patience { policy: Policy::Notify, ..Patience::default() };
//! match keeper.acquire(&"invoice-7".parse()?, &wish, &patience).await? {
//!     Acquired::Lease(lease) => {
//!         // Nobody renews it: it ends 10 s after it was asked for.
//!         tokio::select! { () = work() => {}, () = lease.ended() => {} }
//!         match lease.release().await {
//!             Release::Released => println!("nobody else had it all the time"),
//!             Release::Expired | Release::Stolen => println!("the work took too long"),
//!             Release::Unknown => println!("Redis did not say; the release task asks again"),
//!         }
//!     }
//!     Acquired::Busy | Acquired::Late | Acquired::Outvoted { .. } => println!("not in 10 s"),
//! }
//! # Ok(()) }
//! ```

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use async_trait::async_trait;
use redis::Script;
use tokio::time::{Duration, Instant};

use crate::name::Name;
use crate::{
    error::BackendError,
    lock::{Attempt, Claim, Grant, Lock, Release},
    wait::Waitable,
    wires::{metrics::Op, redis::RedisClient, subscription::Subscription},
};

/// KEYS: lock. ARGV: token, channel. 1: freed; 0: nobody holds it; -1: somebody else does.
/// A user who may not publish may still release: waiters then learn of it later.
static COMPARE_AND_DELETE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local holder = redis.call('GET', KEYS[1])
        if not holder then return 0 end
        if holder ~= ARGV[1] then return -1 end
        redis.call('DEL', KEYS[1])
        redis.pcall('PUBLISH', ARGV[2], '')
        return 1
        ",
    )
});

/// KEYS: lock. ARGV: channel.
static CLEAR: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        redis.call('DEL', KEYS[1])
        redis.pcall('PUBLISH', ARGV[1], '')
        ",
    )
});

/// The key that any SET-NX-PX library uses for a lock of this name.
pub(super) fn lock_key(name: &str) -> String {
    format!("lock:{name}")
}

/// The channel on which those who wait for a lock are told that it was released.
pub(super) fn released_channel(name: &str) -> String {
    format!("released:{name}")
}

/// Deletes the lock, whoever holds it, and tells a waiter.
pub(super) async fn clear(redis: &RedisClient, name: &str) -> Result<(), BackendError> {
    let mut script = CLEAR.key(lock_key(name));
    redis.script(Op::Clear, script.arg(released_channel(name))).await
}

/// SET NX PX, under the claim's token.
pub(super) async fn attempt(
    redis: &RedisClient,
    name: &str,
    claim: &Claim,
) -> Result<Attempt, BackendError> {
    // Before sending: the ttl may start as soon as the command leaves.
    let deadline = Instant::now() + claim.ttl;
    let mut set = redis::cmd("SET");
    set.arg(lock_key(name)).arg(claim.token.as_str());
    set.arg("NX").arg("PX").arg(claim.ttl_ms());
    let reply: Option<String> = redis.command(Op::Acquire, &set).await?;
    Ok(match reply {
        Some(_) => Attempt::Granted(Grant::until(deadline)),
        None => Attempt::Busy,
    })
}

/// Deletes the lock if this claim holds it, and says who did.
pub(super) async fn release(
    redis: &RedisClient,
    name: &str,
    claim: &Claim,
) -> Result<Release, BackendError> {
    let mut script = COMPARE_AND_DELETE.key(lock_key(name));
    script.arg(claim.token.as_str()).arg(released_channel(name));
    let freed: i64 = redis.script(Op::Release, &script).await?;
    Ok(match freed {
        1 => Release::Released,
        0 => Release::Expired,
        _ => Release::Stolen,
    })
}

/// How many servers wait to be told that the lock was released.
pub(super) async fn waiters(redis: &RedisClient, name: &str) -> Result<u64, BackendError> {
    let mut numsub = redis::cmd("PUBSUB");
    numsub.arg("NUMSUB").arg(released_channel(name));
    let (_, waiters): (String, u64) = redis.command(Op::Waiters, &numsub).await?;
    Ok(waiters)
}

/// How long the lock will last at most; zero if nobody holds it, `None` if it does not end.
pub(super) async fn time_left(
    redis: &RedisClient,
    name: &str,
) -> Result<Option<Duration>, BackendError> {
    let mut pttl = redis::cmd("PTTL");
    pttl.arg(lock_key(name));
    let reply = redis.command(Op::TimeLeft, &pttl).await?;
    Ok(match reply {
        // There is no such key.
        -2 => Some(Duration::ZERO),
        // Rounded down by Redis: a key that lives for less than a millisecond has 0 left.
        0.. => Some(Duration::from_millis(i64::unsigned_abs(reply) + 1)),
        _ => None,
    })
}

/// A lock that is the key of [`lock_key`], released with a message on [`released_channel`].
pub(super) trait KeyLock: Send + Sync {
    /// Where the key is.
    fn redis(&self) -> &RedisClient;

    /// What the lock of a name is called there.
    fn called<'a>(&self, name: &'a Name) -> Cow<'a, str> {
        name.as_str().into()
    }
}

#[async_trait]
impl<L: KeyLock> Waitable for L {
    async fn subscribe(&self, name: &Name) -> Result<Option<Subscription>, BackendError> {
        self.redis().wakeups().subscribe(&released_channel(&self.called(name))).await.map(Some)
    }

    async fn waiters(&self, name: &Name) -> Result<u64, BackendError> {
        waiters(self.redis(), &self.called(name)).await
    }

    async fn time_left(&self, name: &Name) -> Result<Option<Duration>, BackendError> {
        time_left(self.redis(), &self.called(name)).await
    }
}

/// The lock of `safe`.
pub struct SafeLock {
    redis: Arc<RedisClient>,
}

impl SafeLock {
    /// At that Redis.
    #[must_use]
    pub fn new(redis: Arc<RedisClient>) -> Self {
        Self { redis }
    }
}

#[async_trait]
impl Lock for SafeLock {
    async fn attempt(&self, claim: &Claim) -> Result<Attempt, BackendError> {
        attempt(&self.redis, claim.name.as_str(), claim).await
    }

    async fn release(&self, claim: &Claim) -> Result<Release, BackendError> {
        release(&self.redis, claim.name.as_str(), claim).await
    }

    async fn clear(&self, name: &Name) -> Result<(), BackendError> {
        clear(&self.redis, name.as_str()).await
    }
}

impl KeyLock for SafeLock {
    fn redis(&self) -> &RedisClient {
        &self.redis
    }
}
