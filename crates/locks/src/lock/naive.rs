//! `naive`: SETNX, then EXPIRE, then DEL. How not to do it, kept working.
//!
//! - Algorithm: three commands, of which no two are atomic.
//! - Guarantees: mutual exclusion while nobody crashes or works longer than the ttl.
//! - Does not guarantee: that a crash between SETNX and EXPIRE ever ends; that DEL frees one's own
//!   lock and not that of the next holder.
//! - Clock: deadline = monotonic clock before PEXPIRE was sent + ttl.
//! - Cancellation: leaks. A dropped or unanswered acquire may leave a lock without an expiry, and
//!   nothing can tell it from a stranger's, so the release task leaves it alone.
//! - Commands sent: SETNX lock:{product} token; PEXPIRE (EXPIRE, for a ttl in milliseconds);
//!   MULTI GET DEL PUBLISH EXEC: the GET changes nothing and witnesses whose lock the DEL freed.
//!   Waiters: as `safe`.

use tokio::time::Instant;

use super::safe::{KeyLock, Variant, lock_key, released_channel};
use crate::{
    error::BackendError,
    lock::{Attempt, Claim, Grant, Release},
    step::Step,
    wires::{metrics::Op, redis::RedisClient},
};

/// The one whose steps are not atomic.
pub struct Naive;

impl Variant for Naive {
    async fn grant(
        redis: &RedisClient,
        name: &str,
        claim: &Claim,
    ) -> Result<Attempt, BackendError> {
        let key = lock_key(name);
        let mut setnx = redis::cmd("SETNX");
        setnx.arg(&key).arg(claim.token.as_str());
        let created: bool = redis.command(Op::Acquire, &setnx).await?;
        if !created {
            return Ok(Attempt::Busy);
        }
        claim.faults.strike(Step::BetweenSetnxAndExpire).await?;
        let deadline = Instant::now() + claim.ttl;
        let mut expire = redis::cmd("PEXPIRE");
        expire.arg(&key).arg(claim.ttl_ms());
        // The key exists: whatever becomes of PEXPIRE, this claim may be the holder, for ever.
        let () = redis.command(Op::Acquire, &expire).await.map_err(BackendError::into_unknown)?;
        Ok(Attempt::Granted(Grant::until(deadline)))
    }

    async fn release(
        redis: &RedisClient,
        name: &str,
        claim: &Claim,
    ) -> Result<Release, BackendError> {
        let key = lock_key(name);
        let mut witnessed = redis::pipe();
        witnessed.atomic().get(&key).del(&key).ignore();
        witnessed.publish(released_channel(name), "").ignore();
        let (holder,): (Option<String>,) = redis.pipeline(Op::Release, &witnessed).await?;
        Ok(match holder {
            Some(holder) if holder == claim.token.as_str() => Release::Released,
            Some(_) => Release::Stolen,
            None => Release::Expired,
        })
    }

    /// Nothing: it could not tell its own lock from a stranger's.
    async fn undo(_: &RedisClient, _: &str, _: &Claim) -> Result<Release, BackendError> {
        Ok(Release::Unknown)
    }
}

/// The lock of `naive`.
pub type NaiveLock = KeyLock<Naive>;
