//! Leases: being the holder, and how one comes and goes.

pub mod keeper;
pub mod metrics;
pub mod release;
pub mod renewal;

use std::{fmt, future, sync::Arc};

use tokio::time::{self, Duration, Instant};

use crate::{
    lease::{
        metrics::LeaseMetrics,
        release::{Cause, Orphan, ReleaseQueue},
        renewal::Watchdog,
    },
    lock::{Claim, Grant, Lock, Release, Votes},
    step::Step,
    token::Token,
};

/// Being the holder, until released or expired.
///
/// Dropping a lease (a dropped future, a panic) hands its claim to the release task.
#[must_use = "a lease that is not released blocks everybody until its ttl"]
pub struct Lease {
    claim: Claim,
    grant: Grant,
    lock: Arc<dyn Lock>,
    releases: ReleaseQueue,
    metrics: Arc<LeaseMetrics>,
    /// Renews it, if it is to be renewed.
    watchdog: Option<Watchdog>,
    /// Whether a write may be under way to the store.
    writing: bool,
    /// Whether the lock service has said that this is the holder.
    granted: bool,
    /// Why the buyer goes on without the lock, if it does.
    forgone: Option<String>,
    /// Whether the claim is somebody else's business by now, or nobody's.
    ended: bool,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("claim", &self.claim).finish_non_exhaustive()
    }
}

impl Lease {
    /// A claim of which nobody knows yet whether it will be granted.
    fn pending(
        claim: Claim,
        lock: Arc<dyn Lock>,
        releases: ReleaseQueue,
        metrics: Arc<LeaseMetrics>,
    ) -> Self {
        Self {
            claim,
            grant: Grant::default(),
            lock,
            releases,
            metrics,
            watchdog: None,
            writing: false,
            granted: false,
            forgone: None,
            ended: false,
        }
    }

    /// The number that orders this lease among all of the product, if the lock issues one.
    #[must_use]
    pub fn fencing_token(&self) -> Option<u64> {
        self.grant.fencing_token
    }

    /// How long the lease lasts without renewal.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.claim.ttl
    }

    /// How long the lease lasts from its grant; `None` if it does not end by itself, or is renewed.
    #[must_use]
    pub fn fixed_ttl(&self) -> Option<Duration> {
        let fixed = self.grant.deadline.is_some() && !self.grant.is_renewed();
        fixed.then_some(self.claim.ttl)
    }

    /// Resolves when a renewed lease is lost; `None` for one that is not renewed.
    pub fn lost(&self) -> Option<impl Future<Output = ()> + use<>> {
        self.watchdog.as_ref().map(|watchdog| watchdog.lost().clone().cancelled_owned())
    }

    /// How often it was renewed, so far.
    #[must_use]
    pub fn renewals(&self) -> u32 {
        self.watchdog.as_ref().map_or(0, Watchdog::renewals)
    }

    /// What the nodes did that granted it, if several did.
    #[must_use]
    pub fn votes(&self) -> Option<Votes> {
        self.grant.votes
    }

    /// The owner id.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.claim.token
    }

    /// Whether nobody is kept out by it.
    #[must_use]
    pub fn excludes_nobody(&self) -> bool {
        self.grant.excludes_nobody
    }

    /// Why there is no lock although this is a lease: the lock service did not answer, and the buyer goes on
    /// without it.
    #[must_use]
    pub fn forgone(&self) -> Option<&str> {
        self.forgone.as_deref()
    }

    /// Whether its holder still holds it, as far as can be known; see [`Lock::confirm`].
    pub async fn confirm(&self) -> bool {
        self.forgone.is_some() || self.lock.confirm(&self.claim).await
    }

    /// When the lease ends unless it is renewed again, as far as is known here.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.watchdog.as_ref().map(Watchdog::deadline).or(self.grant.deadline)
    }

    /// When a lease ends that nobody renews; `None` for one that is renewed, or does not end.
    #[must_use]
    pub fn fixed_deadline(&self) -> Option<Instant> {
        self.grant.deadline.filter(|_| !self.grant.is_renewed())
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
        self.deadline().is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Whether the holder must stop, by what is known here: a renewed lease is lost, or the deadline
    /// of one that nobody renews has passed.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.is_lost() || self.is_past_deadline()
    }

    /// Resolves when the holder must stop; see [`Self::has_ended`]. Never, for a lease that does not
    /// end by itself.
    ///
    /// # Cancellation
    /// Dropping the future changes nothing: the lease lasts as long as it would have.
    pub fn ended(&self) -> impl Future<Output = ()> + use<> {
        let (lost, deadline) = (self.lost(), self.fixed_deadline());
        async move {
            match (lost, deadline) {
                (Some(lost), _) => lost.await,
                (None, Some(deadline)) => time::sleep_until(deadline).await,
                (None, None) => future::pending().await,
            }
        }
    }

    /// Starts renewing, if the lease is to be renewed.
    fn watch(&mut self) {
        if let (most @ 1.., Some(deadline)) = (self.grant.renewals_max, self.grant.deadline) {
            let (lock, metrics) = (Arc::clone(&self.lock), Arc::clone(&self.metrics));
            self.watchdog =
                Some(Watchdog::start(self.claim.clone(), deadline, most, lock, metrics));
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
        if self.forgone.is_some() {
            self.ended = true;
            return Release::Released;
        }
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
                tracing::debug!(name = %self.claim.name, %error, "release is unknown");
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
            self.metrics.orphans[Cause::Crash].increment(1);
        }
    }

    /// Gives the claim to the release task and returns at once: for when the backend just failed
    /// and waiting for it again would keep the caller.
    pub fn hand_over(&mut self, cause: Cause) {
        self.watchdog = None;
        if !std::mem::replace(&mut self.ended, true) && !self.grant.excludes_nobody {
            if !self.granted {
                self.metrics.ambiguous.increment(1);
            }
            let cause = if self.writing { Cause::WriteUnknown } else { cause };
            self.metrics.orphans[cause].increment(1);
            let (claim, lock) = (self.claim.clone(), Arc::clone(&self.lock));
            self.releases.push(Orphan { claim, lock, cause });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.hand_over(Cause::Dropped);
    }
}

/// How one try to become the holder ended.
#[derive(Debug)]
pub enum Acquired {
    /// The caller is the holder.
    Lease(Box<Lease>),
    /// Somebody else is.
    Busy,
    /// Most of several nodes did not grant it.
    Outvoted {
        /// What each of them did.
        votes: Votes,
        /// Whether nobody can have a majority.
        is_split: bool,
    },
    /// It was granted, but by the time of the answer the lease had ended. It has been released.
    Late,
}
