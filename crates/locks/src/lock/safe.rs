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
    marker::PhantomData,
    sync::{Arc, LazyLock},
};

use async_trait::async_trait;
use redis::Script;
use tokio::time::{Duration, Instant};

use crate::{
    error::BackendError,
    lock::{Attempt, Claim, Grant, Lock, Release},
    name::Name,
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

/// KEYS: lock. ARGV: token, ttl in ms. 1: renewed; 0: this claim is not the holder.
static COMPARE_AND_EXPIRE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
        return redis.call('PEXPIRE', KEYS[1], ARGV[2])
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

/// What one kind of key lock does in its own way; the others do as `safe`. The name that each step is
/// given is the one that [`Self::called`] gives.
pub trait Variant: Send + Sync + 'static {
    /// Whether a lease is renewed for as long as it is held.
    const IS_RENEWED: bool = false;
    /// What [`Lock::is_dispensable`] says.
    const IS_DISPENSABLE: bool = false;

    /// What the lock of a name is called in Redis.
    fn called(name: &Name) -> Cow<'_, str> {
        name.as_str().into()
    }

    /// SET NX PX, under the claim's token.
    fn grant(
        redis: &RedisClient,
        name: &str,
        claim: &Claim,
    ) -> impl Future<Output = Result<Attempt, BackendError>> + Send {
        async move {
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
    }

    /// Deletes the lock if this claim holds it, and says who did.
    fn release(
        redis: &RedisClient,
        name: &str,
        claim: &Claim,
    ) -> impl Future<Output = Result<Release, BackendError>> + Send {
        async move {
            let mut script = COMPARE_AND_DELETE.key(lock_key(name));
            script.arg(claim.token.as_str()).arg(released_channel(name));
            let freed: i64 = redis.script(Op::Release, &script).await?;
            Ok(match freed {
                1 => Release::Released,
                0 => Release::Expired,
                _ => Release::Stolen,
            })
        }
    }

    /// What [`Lock::undo`] does.
    fn undo(
        redis: &RedisClient,
        name: &str,
        claim: &Claim,
    ) -> impl Future<Output = Result<Release, BackendError>> + Send {
        Self::release(redis, name, claim)
    }
}

/// A lock that is a key in Redis, with a message to those who wait when it is released.
pub struct KeyLock<V> {
    redis: Arc<RedisClient>,
    variant: PhantomData<V>,
}

impl<V: Variant> KeyLock<V> {
    /// At that Redis.
    #[must_use]
    pub fn new(redis: Arc<RedisClient>) -> Self {
        Self { redis, variant: PhantomData }
    }
}

#[async_trait]
impl<V: Variant> Lock for KeyLock<V> {
    fn is_dispensable(&self) -> bool {
        V::IS_DISPENSABLE
    }

    async fn attempt(&self, claim: &Claim) -> Result<Attempt, BackendError> {
        let attempt = V::grant(&self.redis, &V::called(&claim.name), claim).await?;
        Ok(if V::IS_RENEWED { attempt.renewed() } else { attempt })
    }

    async fn renew(&self, claim: &Claim) -> Result<Option<Instant>, BackendError> {
        let deadline = Instant::now() + claim.ttl;
        let mut script = COMPARE_AND_EXPIRE.key(lock_key(&V::called(&claim.name)));
        script.arg(claim.token.as_str()).arg(claim.ttl_ms());
        let is_renewed: bool = self.redis.script(Op::Renew, &script).await?;
        Ok(is_renewed.then_some(deadline))
    }

    async fn release(&self, claim: &Claim) -> Result<Release, BackendError> {
        V::release(&self.redis, &V::called(&claim.name), claim).await
    }

    async fn undo(&self, claim: &Claim) -> Result<Release, BackendError> {
        V::undo(&self.redis, &V::called(&claim.name), claim).await
    }

    async fn clear(&self, name: &Name) -> Result<(), BackendError> {
        clear(&self.redis, &V::called(name)).await
    }
}

#[async_trait]
impl<V: Variant> Waitable for KeyLock<V> {
    async fn subscribe(&self, name: &Name) -> Result<Option<Subscription>, BackendError> {
        self.redis.wakeups().subscribe(&released_channel(&V::called(name))).await.map(Some)
    }

    async fn waiters(&self, name: &Name) -> Result<u64, BackendError> {
        waiters(&self.redis, &V::called(name)).await
    }

    async fn time_left(&self, name: &Name) -> Result<Option<Duration>, BackendError> {
        time_left(&self.redis, &V::called(name)).await
    }
}

/// The plain one.
pub struct Safe;

impl Variant for Safe {}

/// The lock of `safe`.
pub type SafeLock = KeyLock<Safe>;
