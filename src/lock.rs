//! The shelf of strategies, what a lock must do, and the lease it grants.
//!
//! A strategy is one file below `lock/` and one line in [`STRATEGIES`].

mod atomic;
mod fenced;
mod mutex;
mod naive;
mod none;
mod optimistic;
mod safe;
mod watchdog;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use strum::{IntoStaticStr, VariantArray};
use tokio::time::{Duration, Instant};

use crate::{
    backends::BackendError,
    fault::{Faults, Step},
    order::Order,
    product::Product,
    release::{Cause, Orphan, ReleaseQueue},
    renewal::Watchdog,
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
    &watchdog::STRATEGY,
    &fenced::STRATEGY,
    &optimistic::STRATEGY,
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
    /// What is to go wrong.
    pub faults: Faults,
}

impl Claim {
    /// The ttl as lock services take it; an order's ttl is whole milliseconds, and at least one.
    #[must_use]
    pub fn ttl_ms(&self) -> u64 {
        self.ttl.as_millis() as u64
    }
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
    /// A number that grows with each grant of the same product, if the lock issues one.
    pub fencing_token: Option<u64>,
    /// Whether the lease is to be renewed while it is held.
    pub is_renewed: bool,
    /// Whether nobody is excluded, so that there is nothing to release.
    pub excludes_nobody: bool,
}

impl Grant {
    /// A lease that ends at a deadline.
    #[must_use]
    pub fn until(deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..Self::default() }
    }
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
    /// [`BackendError::Unknown`]: the claim may be the holder. Any other error promises that it is
    /// not: an attempt of several commands must not return one after the first has had an effect.
    ///
    /// # Cancellation
    /// May be dropped at any await: [`acquire`] then hands the claim to the release task.
    async fn attempt(&self, claim: &Claim) -> Result<Attempt, BackendError>;

    /// Makes the claim's lease last another ttl from now; false when it is not the holder. Asked only
    /// of locks whose grants say that they are renewed.
    ///
    /// # Errors
    /// The lock service did not say whether it did.
    async fn renew(&self, _claim: &Claim) -> Result<bool, BackendError> {
        Ok(false)
    }

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

    /// The process that holds this claim has died, as far as the lock service can tell: what that
    /// ends by itself. For most locks, nothing.
    fn crash(&self, _claim: &Claim) {}

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
    claim: Claim,
    grant: Grant,
    lock: Arc<dyn Lock>,
    strategy: StrategyId,
    releases: ReleaseQueue,
    /// Renews it, if it is to be renewed.
    watchdog: Option<Watchdog>,
    /// Whether a write may be under way to the store.
    writing: bool,
    /// Whether the claim is somebody else's business by now, or nobody's.
    ended: bool,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("claim", &self.claim).finish_non_exhaustive()
    }
}

impl Lease {
    /// The number that orders this lease among all of the product, if the lock issues one.
    #[must_use]
    pub fn fencing_token(&self) -> Option<u64> {
        self.grant.fencing_token
    }

    /// How long the lease lasts from its grant; `None` if it does not end by itself, or is renewed.
    #[must_use]
    pub fn fixed_ttl(&self) -> Option<Duration> {
        let fixed = self.grant.deadline.is_some() && !self.grant.is_renewed;
        fixed.then_some(self.claim.ttl)
    }

    /// Does the work unless, or until, a renewed lease is lost; says whether it was done.
    pub async fn while_held(&self, work: impl Future<Output = ()>) -> bool {
        match &self.watchdog {
            Some(watchdog) => watchdog.lost().run_until_cancelled(work).await.is_some(),
            None => {
                work.await;
                true
            }
        }
    }

    /// Whether this is a renewed lease that is lost: its holder must not write. Without renewal
    /// nobody looks: that is what the other strategies are there to show.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        let lost = |watchdog: &Watchdog| watchdog.lost().is_cancelled() || self.is_past_deadline();
        self.watchdog.as_ref().is_some_and(lost)
    }

    /// Whether the local deadline has passed.
    #[must_use]
    pub fn is_past_deadline(&self) -> bool {
        let renewed = self.watchdog.as_ref().map(Watchdog::deadline);
        renewed.or(self.grant.deadline).is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Starts renewing, if the lease is to be renewed.
    fn watch(&mut self) {
        if let (true, Some(deadline)) = (self.grant.is_renewed, self.grant.deadline) {
            let (claim, lock) = (self.claim.clone(), Arc::clone(&self.lock));
            let metrics = self.releases.metrics();
            self.watchdog = Some(Watchdog::start(claim, deadline, lock, self.strategy, metrics));
        }
    }

    /// A write is about to be sent. Until [`Self::write_ended`] says that the store has answered,
    /// it may land at any time, and whoever ends this lease must not let the next holder in early.
    pub fn write_begins(&mut self) {
        self.writing = true;
    }

    /// The store has answered, or was never asked.
    pub fn write_ended(&mut self) {
        self.writing = false;
    }

    /// Ends the lease and says how it ended.
    ///
    /// # Cancellation
    /// Dropping this future leaves the claim to the release task.
    pub async fn release(mut self) -> Release {
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.stop().await;
        }
        let release = self.lock.release(&self.claim).await;
        match self.claim.faults.reply(Step::Release, release) {
            Ok(release) => {
                self.ended = true;
                release
            }
            Err(error) => {
                tracing::debug!(product = %self.claim.product, %error, "release is unknown");
                self.hand_over(Cause::Unknown);
                Release::Unknown
            }
        }
    }

    /// Abandons the lease, as if the process had died: nobody releases it.
    pub fn crash(mut self) {
        self.ended = true;
        self.lock.crash(&self.claim);
        if !self.grant.excludes_nobody {
            self.releases.abandoned(self.strategy);
        }
    }

    /// Gives the claim to the release task and returns at once: for when the backend just failed
    /// and waiting for it again would keep the caller.
    pub fn hand_over(&mut self, cause: Cause) {
        self.watchdog = None;
        if !std::mem::replace(&mut self.ended, true) && !self.grant.excludes_nobody {
            self.releases.push(Orphan {
                claim: self.claim.clone(),
                lock: Arc::clone(&self.lock),
                cause: if self.writing { Cause::WriteUnknown } else { cause },
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
    order: &Order,
    lock: &Arc<dyn Lock>,
    releases: &ReleaseQueue,
) -> Result<Option<Lease>, BackendError> {
    let mut pending = Lease {
        claim: Claim {
            product: order.product.clone(),
            token: Token::random(),
            ttl: order.ttl,
            faults: order.faults.clone(),
        },
        grant: Grant::default(),
        lock: Arc::clone(lock),
        strategy: order.strategy,
        releases: releases.clone(),
        watchdog: None,
        writing: false,
        ended: false,
    };
    if let Err(crash) = order.faults.strike(Step::Acquire).await {
        // Nothing has been sent.
        pending.ended = true;
        return Err(crash);
    }
    let attempt = lock.attempt(&pending.claim).await;
    match order.faults.reply(Step::Acquire, attempt) {
        Ok(Attempt::Granted(grant)) => {
            pending.grant = grant;
            pending.watch();
            Ok(Some(pending))
        }
        Ok(Attempt::Busy) => {
            pending.ended = true;
            Ok(None)
        }
        Err(error) => {
            if error.is_crash() {
                pending.crash();
            } else if error.is_unknown() {
                pending.hand_over(Cause::Unknown);
            } else {
                pending.ended = true;
            }
            Err(error)
        }
    }
}
