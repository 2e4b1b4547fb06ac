//! What a lock must do; one file per protocol.

#[cfg_attr(not(feature = "etcd"), doc(hidden))]
pub mod etcd;
#[cfg(feature = "redis")]
pub mod fenced;
#[cfg(feature = "redis")]
#[doc(hidden)]
pub mod layered;
pub mod mutex;
#[cfg(feature = "mysql")]
pub mod mysql_lock;
#[cfg(feature = "redis")]
pub mod naive;
pub mod none;
#[cfg(feature = "postgres")]
pub mod postgres_advisory;
#[cfg(feature = "redis")]
pub mod redlock;
#[cfg(feature = "redis")]
pub mod safe;
#[cfg(feature = "sql")]
pub mod sessions;
#[cfg(feature = "redis")]
pub mod watchdog;
#[cfg_attr(not(feature = "zookeeper"), doc(hidden))]
pub mod zookeeper;

use async_trait::async_trait;
use enum_map::Enum;
use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use crate::{error::BackendError, fault::Faults, name::Name, token::Token, wait::Waitable};

/// What one attempt claims: the product, under a token that nobody else has.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What is to be locked.
    pub name: Name,
    /// The owner id of this attempt.
    pub token: Token,
    /// How long the lease may last without renewal.
    pub ttl: Duration,
    /// How often the lease is to be extended, under a lock that extends leases when asked to.
    pub extensions: u32,
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
    /// Most of several nodes did not grant it.
    Outvoted {
        /// What each of them did.
        votes: Votes,
        /// Whether nobody can have a majority: those who want it have split the votes.
        is_split: bool,
        /// Whether no node can still think that the claim is the holder.
        is_settled: bool,
    },
}

/// What the nodes of a lock did that several grant together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Votes {
    /// Nodes that granted it.
    pub granted: usize,
    /// Nodes that had granted it to somebody else.
    pub refused: usize,
    /// Nodes that did not answer in time, or do not vote.
    pub failed: usize,
}

impl Votes {
    /// Counts answers: granted or not.
    #[must_use]
    pub fn count(answers: &[Result<bool, BackendError>]) -> Self {
        let granted = answers.iter().filter(|answer| matches!(answer, Ok(true))).count();
        let refused = answers.iter().filter(|answer| matches!(answer, Ok(false))).count();
        Self { granted, refused, failed: answers.len() - granted - refused }
    }

    /// Whether enough have answered, and neither this claim nor another one can have a majority.
    #[must_use]
    pub fn is_split(&self, quorum: usize) -> bool {
        let has_answers = self.granted + self.refused >= quorum;
        has_answers && self.granted < quorum && self.refused < quorum
    }
}

impl Attempt {
    /// This answer, with a lease that is to be renewed for as long as it is held.
    #[must_use]
    pub fn renewed(self) -> Self {
        match self {
            Self::Granted(grant) => Self::Granted(Grant { renewals_max: u32::MAX, ..grant }),
            not_granted => not_granted,
        }
    }
}

/// The terms of a lease.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grant {
    /// When the lease must be taken for lost: read from the monotonic clock *before* the request
    /// was sent, plus the ttl. `None` when it never expires.
    pub deadline: Option<Instant>,
    /// A number that grows with each grant of the same product, if the lock issues one.
    pub fencing_token: Option<u64>,
    /// How often the lease is to be renewed, at most, while it is held.
    pub renewals_max: u32,
    /// Whether nobody is excluded, so that there is nothing to release.
    pub excludes_nobody: bool,
    /// What the nodes did, if several grant it together.
    pub votes: Option<Votes>,
}

impl Grant {
    /// A lease that ends at a deadline.
    #[must_use]
    pub fn until(deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..Self::default() }
    }

    /// Whether the lease is to be renewed while it is held.
    #[must_use]
    pub fn is_renewed(&self) -> bool {
        self.renewals_max > 0
    }
}

/// How a lease ended. All but the first are findings.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[must_use = "how a lease ended is a finding"]
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
pub trait Lock: Waitable {
    /// How long a lease lasts, if it is asked for this long: what grants it may have its own limit.
    fn lease_ttl(&self, ttl: Duration) -> Duration {
        ttl
    }

    /// Whether a lease that nobody ends goes on after its ttl, for as long as this process lives: then
    /// the release task must not leave it to its end.
    fn outlives_ttl(&self) -> bool {
        false
    }

    /// Whether buyers go on without it when the lock service does not answer, for what they do is guarded
    /// by something else as well.
    fn is_dispensable(&self) -> bool {
        false
    }

    /// One try; never waits for the holder.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: the claim may be the holder. Any other error promises that it is
    /// not: an attempt of several commands must not return one after the first has had an effect.
    ///
    /// # Cancellation
    /// May be dropped at any await: the keeper then hands the claim to the release task.
    async fn attempt(&self, claim: &Claim) -> Result<Attempt, BackendError>;

    /// Whether the lock service keeps those who wait in order, so that [`Self::queue`] can be asked.
    fn has_queue(&self) -> bool {
        false
    }

    /// One try that takes a place in the lock service's own queue, and waits there for its turn: until
    /// a time, or until nobody wants it any more. It has left the queue when it was not granted.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: the claim may be the holder. Any other error promises that it is
    /// not.
    ///
    /// # Cancellation
    /// May be dropped at any await: the keeper then hands the claim to the release task.
    async fn queue(
        &self,
        claim: &Claim,
        _until: Instant,
        _gone: &CancellationToken,
    ) -> Result<Attempt, BackendError> {
        self.attempt(claim).await
    }

    /// Makes the claim's lease last longer: until when, as in [`Grant::deadline`]; `None` when the
    /// claim is not the holder any more. Asked only of locks whose grants say that they are renewed.
    ///
    /// # Errors
    /// The lock service did not say that it did: the lease ends when it would have ended.
    async fn renew(&self, _claim: &Claim) -> Result<Option<Instant>, BackendError> {
        Ok(None)
    }

    /// Just before the write: whether the claim is still the holder, as far as can be known. For locks that
    /// end with a connection, of which nobody tells the holder.
    async fn confirm(&self, _claim: &Claim) -> bool {
        true
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
    async fn clear(&self, name: &Name) -> Result<(), BackendError>;
}
