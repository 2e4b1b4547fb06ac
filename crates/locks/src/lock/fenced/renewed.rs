//! The lock of `fenced`, renewed like that of `watchdog`: for who holds it for long, as the consumer of
//! `queue` does, or an elected leader.

use super::Fenced;
use crate::{
    error::BackendError,
    lock::{
        Attempt, Claim,
        safe::{KeyLock, Variant},
    },
    wires::redis::RedisClient,
};

/// The one that is fenced, and renewed.
pub struct Renewed;

impl Variant for Renewed {
    const IS_RENEWED: bool = true;

    async fn grant(
        redis: &RedisClient,
        name: &str,
        claim: &Claim,
    ) -> Result<Attempt, BackendError> {
        Fenced::grant(redis, name, claim).await
    }
}

/// The lock.
pub type RenewedLock = KeyLock<Renewed>;
