//! `fenced`: the lock of `safe`, whose every grant carries a number that only grows; the store
//! refuses writes under an older number than the newest it has seen.
//!
//! - Algorithm: the grant and its fencing token come from one script. The new holder first raises
//!   the bar at the store, then reads. Check, write and ledger are one script there. The idea is
//!   Chubby's sequencer (Burrows, OSDI 2006); Kleppmann, "How to do distributed locking" (2016),
//!   shows why a lock without it does not protect a store.
//! - Guarantees: exact, also when work or a pause exceeds the ttl: a late writer is `fenced`. The
//!   holder of a token may write again under it. Until the next reset, the store also refuses
//!   blind writes of the product without a token.
//! - Does not guarantee: anything across a failover or a FLUSHALL of the Redis that counts, which
//!   can roll the counter back and make tokens repeat.
//! - Clock: deadline = monotonic clock before the script was sent + ttl. Correctness does not rest
//!   on it.
//! - Cancellation: as `safe`.
//! - Commands sent: EVALSHA of grant (EXISTS, INCR fence:{product}, SET PX); EVALSHA of
//!   compare-and-delete, and what waiters send, as `safe`. The counter never expires, and a reset
//!   leaves it alone.
//!
//! # Example
//!
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! # use locklab_locks::{lease::{Acquired, keeper::{Keeper, Wish}, release::ReleaseQueue}, wait::Patience};
//! use locklab_locks::{lock::fenced::FencedLock, wires::redis::RedisClient};
//!
//! # struct Store;
//! # impl Store { async fn write_unless_newer(&self, _: Option<u64>, _: &str) -> bool { true } }
//! # async fn example(store: Store, redis: Arc<RedisClient>, releases: ReleaseQueue)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let keeper = Keeper::silent(FencedLock::new(redis), releases);
//! let wish = Wish::lasting(Duration::from_secs(5));
//! if let Acquired::Lease(lease) =
//!     keeper.acquire(&"report-7".parse()?, &wish, &Patience::default()).await?
//! {
//!     if !store.write_unless_newer(lease.fencing_token(), "text").await {
//!         eprintln!("a later holder has been here: nothing was written");
//!     }
//!     println!("{:?}", lease.release().await);
//! }
//! # Ok(()) }
//! ```

pub mod renewed;

use std::sync::LazyLock;

use redis::Script;
use tokio::time::Instant;

use super::safe::{KeyLock, Variant, lock_key};
use crate::{
    error::BackendError,
    lock::{Attempt, Claim, Grant},
    wires::{metrics::Op, redis::RedisClient},
};

/// KEYS: lock, counter. ARGV: token, ttl in ms. The fencing token, or nil: somebody else holds it.
/// Redis does not roll back: what can fail comes before what takes the lock.
static GRANT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('EXISTS', KEYS[1]) == 1 then return false end
        local token = redis.call('INCR', KEYS[2])
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
        return token
        ",
    )
});

/// The one whose grants are numbered.
pub struct Fenced;

impl Variant for Fenced {
    /// Grant and fencing token, in one script.
    async fn grant(
        redis: &RedisClient,
        name: &str,
        claim: &Claim,
    ) -> Result<Attempt, BackendError> {
        let deadline = Instant::now() + claim.ttl;
        let mut script = GRANT.key(lock_key(name));
        script.key(format!("fence:{name}")).arg(claim.token.as_str()).arg(claim.ttl_ms());
        let granted: Option<u64> = redis.script(Op::Acquire, &script).await?;
        Ok(match granted {
            Some(token) => {
                Attempt::Granted(Grant { fencing_token: Some(token), ..Grant::until(deadline) })
            }
            None => Attempt::Busy,
        })
    }
}

/// The lock of `fenced`.
pub type FencedLock = KeyLock<Fenced>;
