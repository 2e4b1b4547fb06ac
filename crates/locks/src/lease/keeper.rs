//! A lock ready to use by anybody.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Acquired, Lease,
    metrics::LeaseMetrics,
    release::{Cause, ReleaseQueue},
};
use crate::{
    error::BackendError,
    fault::Faults,
    lock::{Attempt, Claim, Grant, Lock},
    name::Name,
    random::Source,
    step::Step,
    token::Token,
    wait::{self, Patience, Policy, Tried},
};

/// A lock, with the queue to the task that ends what nobody else ends, and its measurements: it gives leases.
pub struct Keeper {
    lock: Arc<dyn Lock>,
    releases: ReleaseQueue,
    metrics: Arc<LeaseMetrics>,
    /// Where tokens come from.
    source: Source,
}

/// What is wanted of a lock.
#[derive(Debug, Clone)]
pub struct Wish {
    /// How long a lease is to last.
    pub ttl: Duration,
    /// How often it is extended, at most, under a lock that does so when asked to.
    pub extensions: u32,
    /// What is to go wrong.
    pub faults: Faults,
}

impl Wish {
    /// A lease that lasts that long, and nothing else.
    #[must_use]
    pub fn lasting(ttl: Duration) -> Self {
        Self { ttl, extensions: 0, faults: Faults::default() }
    }
}

/// Where somebody waits in the queue of the lock service.
#[derive(Debug, Clone, Copy)]
pub struct Queueing<'a> {
    /// Until when.
    pub until: Instant,
    /// Cancelled when nobody wants the lock any more.
    pub gone: &'a CancellationToken,
}

impl Keeper {
    /// Keeps a lock, whose leases are recorded by these handles.
    #[must_use]
    pub fn new(lock: Arc<dyn Lock>, releases: ReleaseQueue, metrics: Arc<LeaseMetrics>) -> Self {
        Self { lock, releases, metrics, source: Source::default() }
    }

    /// Has tokens come from another source: a test's, which gives the same ones again.
    #[must_use]
    pub fn drawing_from(self, source: Source) -> Self {
        Self { source, ..self }
    }

    /// Keeps a lock whose leases are not recorded.
    #[must_use]
    pub fn silent(lock: impl Lock + 'static, releases: ReleaseQueue) -> Self {
        Self::new(Arc::new(lock), releases, Arc::new(LeaseMetrics::silent()))
    }

    /// The lock itself.
    #[must_use]
    pub fn lock(&self) -> &Arc<dyn Lock> {
        &self.lock
    }

    /// Acquires the lock of a product, in the way and for as long as patience wants it.
    ///
    /// # Errors
    /// The lock service failed. If the claim may nevertheless be the holder, it has been handed to the
    /// release task before this returns.
    ///
    /// # Cancellation
    /// Safe: see [`Self::attempt`].
    pub async fn acquire(
        &self,
        name: &Name,
        wish: &Wish,
        patience: &Patience,
    ) -> Result<Acquired, BackendError> {
        let last = Mutex::new(Acquired::Busy);
        let tried = self.contend(name, patience, |queueing| {
            let last = &last;
            async move {
                match self.attempt(name, wish, queueing).await {
                    Ok(Acquired::Lease(lease)) => Ok(Some(lease)),
                    Ok(lost) => {
                        *last.lock() = lost;
                        Ok(None)
                    }
                    Err(error) => Err(error),
                }
            }
        });
        Ok(match tried.await.result? {
            Some(lease) => Acquired::Lease(lease),
            None => last.into_inner(),
        })
    }

    /// Tries until a try wins or fails, or patience is over. Whoever is to be told waits in the queue of
    /// the lock service if it has one, and otherwise for the news of a release; everybody else tries again
    /// after a delay.
    ///
    /// # Cancellation
    /// As safe as `attempt` is.
    pub async fn contend<'a, T, E, F: Future<Output = Result<Option<T>, E>>>(
        &self,
        name: &Name,
        patience: &'a Patience,
        mut attempt: impl FnMut(Option<Queueing<'a>>) -> F,
    ) -> Tried<T, E> {
        let is_told = matches!(patience.policy, Policy::Notify | Policy::Fifo);
        let until = Instant::now() + patience.wait;
        let queueing =
            (is_told && self.lock.has_queue()).then_some(Queueing { until, gone: &patience.gone });
        if is_told && queueing.is_none() {
            return wait::on_release(patience, &*self.lock, name, || attempt(None)).await;
        }
        // Who waits in a queue tries again only when it has lost its place there.
        wait::retry(patience, &mut patience.rng(), || attempt(queueing)).await
    }

    /// One try to become the holder, which waits in the queue of the lock service if it is told to.
    ///
    /// # Errors
    /// The lock service failed. If the claim may nevertheless be the holder, it has been handed to the
    /// release task before this returns.
    ///
    /// # Cancellation
    /// The pending claim is registered before the first await, so that dropping this future at any
    /// point leaves it to the release task.
    pub async fn attempt(
        &self,
        name: &Name,
        wish: &Wish,
        queueing: Option<Queueing<'_>>,
    ) -> Result<Acquired, BackendError> {
        let lock = &self.lock;
        let mut pending = Lease::pending(
            Claim {
                name: name.clone(),
                token: Token::drawn_from(&self.source),
                ttl: lock.lease_ttl(wish.ttl),
                extensions: wish.extensions,
                faults: wish.faults.clone(),
            },
            Arc::clone(lock),
            self.releases.clone(),
            Arc::clone(&self.metrics),
        );
        if let Err(crash) = wish.faults.strike(Step::Acquire).await {
            // Nothing has been sent.
            pending.ended = true;
            return Err(crash);
        }
        let attempt = match queueing {
            Some(Queueing { until, gone }) => lock.queue(&pending.claim, until, gone).await,
            None => lock.attempt(&pending.claim).await,
        };
        match wish.faults.reply(Step::Acquire, attempt) {
            Ok(Attempt::Granted(grant)) => Ok(granted(pending, grant).await),
            Ok(Attempt::Busy) => {
                pending.ended = true;
                Ok(Acquired::Busy)
            }
            Ok(Attempt::Outvoted { votes, is_split, is_settled }) => {
                if is_settled {
                    pending.ended = true;
                } else {
                    pending.hand_over(Cause::Unknown);
                }
                Ok(Acquired::Outvoted { votes, is_split })
            }
            Err(error) if error.is_outage() && lock.is_dispensable() => {
                if error.is_unknown() {
                    // It may have been granted: the release task ends it.
                    pending.hand_over(Cause::Unknown);
                }
                pending.grant = Grant { excludes_nobody: true, ..Grant::default() };
                pending.forgone = Some(error.to_string());
                pending.ended = true;
                Ok(Acquired::Lease(Box::new(pending)))
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
}

/// The lock service has said that this claim is the holder.
async fn granted(mut pending: Lease, grant: Grant) -> Acquired {
    pending.grant = grant;
    pending.granted = true;
    if pending.is_past_deadline() {
        // Its end is counted from before it was asked for, so whoever waited too long for the answer has
        // nothing: node-redlock hands such a lock out. It is undone, and not released: by now it may be the
        // next holder's, which `naive` could not tell.
        match pending.lock.undo(&pending.claim).await {
            Ok(_) => pending.ended = true,
            Err(_) => pending.hand_over(Cause::Unknown),
        }
        return Acquired::Late;
    }
    pending.watch();
    Acquired::Lease(Box::new(pending))
}
