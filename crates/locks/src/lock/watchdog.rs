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
//! # use locklab_locks::{lease::{Acquired, keeper::{Keeper, Wish}, release::ReleaseQueue}, wait::Patience};
//! use locklab_locks::{lock::watchdog::WatchdogLock, wires::redis::RedisClient};
//! # async fn work() {}
//! # async fn example(redis: Arc<RedisClient>, releases: ReleaseQueue)
//! # -> Result<(), Box<dyn std::error::Error>> {
//!
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

use super::safe::{KeyLock, Variant};

/// The one that is renewed.
pub struct Watchdog;

impl Variant for Watchdog {
    const IS_RENEWED: bool = true;
}

/// The lock of `watchdog`.
pub type WatchdogLock = KeyLock<Watchdog>;
