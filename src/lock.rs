//! The shelf of strategies, what a lock must do, and the lease it grants.
//!
//! A strategy is one file below `lock/` and one line in [`STRATEGIES`].

mod atomic;
mod mutex;
mod naive;
mod none;
mod safe;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use strum::{IntoStaticStr, VariantArray};
use tokio::time::{Duration, Instant};

use crate::{
    backends::BackendError,
    product::Product,
    release::{Cause, Orphan, ReleaseQueue},
    shop::Sell,
    strategy::{Strategy, StrategyId},
    token::Token,
};

/// Every strategy, in the order in which people are shown them.
pub static STRATEGIES: &[&Strategy] = &[
    &none::STRATEGY,
    &mutex::STRATEGY,
    &naive::STRATEGY,
    &safe::STRATEGY,
    &atomic::STRATEGY,
];

/// A strategy ready to use: both families sell, each in its own way.
#[derive(Clone)]
pub enum Method {
    /// A lock; `shop.rs` wraps the critical section around it.
    Lock(Arc<dyn Lock>),
    /// Sells by itself.
    LockFree(Arc<dyn Sell>),
}

/// What one attempt claims: the product, under a token that nobody else has.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What is to be locked.
    pub product: Product,
    /// The owner id of this attempt.
    pub token: Token,
    /// How long the lease may last without renewal.
    pub ttl: Duration,
}

/// What the lock service answered to an attempt.
#[derive(Debug)]
pub enum Attempt {
    /// The claim is now the holder.
    Granted(Grant),
    /// Somebody else is. A value, not an error: losing is what a lock is for.
    Busy,
}

/// The terms of a lease.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grant {
    /// When the lease must be taken for lost: read from the monotonic clock *before* the request
    /// was sent, plus the ttl. `None` when it never expires.
    pub deadline: Option<Instant>,
}

/// How a lease ended. All but the first are findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Release {
    /// We were still the holder.
    Released,
    /// Nobody was the holder any more.
    Expired,
    /// Somebody else is, or was until we freed it.
    Stolen,
    /// The lock service did not say; the claim stays with the release task.
    Unknown,
}

/// A way of excluding others.
///
/// Implementations are stateless towards claims: whoever knows the token may release it, which is
/// what lets a dropped future or a lost reply be cleaned up by somebody else.
#[async_trait]
pub trait Lock: Send + Sync {
    /// One try; never waits for the holder.
    ///
    /// # Errors
    /// [`BackendError::Unknown`] means that the claim may be the holder.
    ///
    /// # Cancellation
    /// May be dropped at any await: [`acquire`] then hands the claim to the release task.
    async fn attempt(&self, claim: &Claim) -> Result<Attempt, BackendError>;

    /// Ends the claim's lease.
    ///
    /// # Errors
    /// The lock service did not say whether it did.
    async fn release(&self, claim: &Claim) -> Result<Release, BackendError>;

    /// Ends a lease that the claim may or may not hold: after a lost reply or a dropped future.
    /// A protocol whose release cannot tell its own lease from a stranger's must do nothing here.
    ///
    /// # Errors
    /// The lock service did not say whether it did.
    async fn undo(&self, claim: &Claim) -> Result<Release, BackendError> {
        self.release(claim).await
    }

    /// Forgets whoever holds the product: a reset starts afresh.
    ///
    /// # Errors
    /// The lock service could not be reached.
    async fn clear(&self, product: &Product) -> Result<(), BackendError>;
}

/// Being the holder, until released or expired.
///
/// Dropping a lease (a dropped future, a panic) hands its claim to the release task.
#[must_use = "a lease that is not released blocks everybody until its ttl"]
pub struct Lease {
    /// `None` once somebody else is responsible for the claim.
    claim: Option<Claim>,
    grant: Grant,
    lock: Arc<dyn Lock>,
    releases: ReleaseQueue,
    strategy: StrategyId,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("claim", &self.claim)
            .finish_non_exhaustive()
    }
}

impl Lease {
    /// Whether the lease ends by itself.
    #[must_use]
    pub fn can_expire(&self) -> bool {
        self.grant.deadline.is_some()
    }

    /// Whether the local deadline has passed.
    #[must_use]
    pub fn is_past_deadline(&self) -> bool {
        self.grant
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Ends the lease and says how it ended.
    ///
    /// # Cancellation
    /// Dropping this future leaves the claim to the release task.
    pub async fn release(mut self) -> Release {
        let Some(claim) = &self.claim else {
            return Release::Unknown;
        };
        match self.lock.release(claim).await {
            Ok(release) => {
                self.claim = None;
                release
            }
            Err(cause) => {
                tracing::debug!(product = %claim.product, error = %cause, "release is unknown");
                self.hand_over(Cause::Unknown);
                Release::Unknown
            }
        }
    }

    /// Gives the claim to the release task and returns at once: for when the backend just failed
    /// and waiting for it again would keep the caller.
    pub fn hand_over(&mut self, cause: Cause) {
        if let Some(claim) = self.claim.take() {
            let lock = Arc::clone(&self.lock);
            self.releases.push(Orphan {
                claim,
                lock,
                cause,
                strategy: self.strategy,
            });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.hand_over(Cause::Dropped);
    }
}

/// One try to become the holder: a lease, or `None` when somebody else is.
///
/// # Errors
/// The lock service failed. If the claim may nevertheless be the holder, it has been handed to the
/// release task before this returns.
///
/// # Cancellation
/// The pending claim is registered before the first await, so that dropping this future at any
/// point leaves it to the release task.
pub async fn acquire(
    strategy: StrategyId,
    lock: &Arc<dyn Lock>,
    product: &Product,
    ttl: Duration,
    releases: &ReleaseQueue,
) -> Result<Option<Lease>, BackendError> {
    let claim = Claim {
        product: product.clone(),
        token: Token::random(),
        ttl,
    };
    let mut pending = Lease {
        claim: Some(claim.clone()),
        grant: Grant::default(),
        lock: Arc::clone(lock),
        releases: releases.clone(),
        strategy,
    };
    match lock.attempt(&claim).await {
        Ok(Attempt::Granted(grant)) => {
            pending.grant = grant;
            Ok(Some(pending))
        }
        Ok(Attempt::Busy) => {
            pending.claim = None;
            Ok(None)
        }
        Err(error) => {
            if error.is_unknown() {
                pending.hand_over(Cause::Unknown);
            }
            pending.claim = None;
            Err(error)
        }
    }
}
