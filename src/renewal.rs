//! Keeps a lease alive while its holder works, and says when it is lost.

use std::sync::Arc;

use parking_lot::Mutex;
use strum::{IntoStaticStr, VariantArray};
use tokio::{
    task::JoinHandle,
    time::{self, Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use crate::{
    backends::BackendError,
    lock::{Claim, Lock},
    metrics::Metrics,
    strategy::StrategyId,
};

/// A lease is renewed that many times within its ttl.
const RENEWALS_PER_TTL: u32 = 3;
/// A lease is held for at most that many ttls: renewing for ever would turn a stuck holder into a
/// deadlock.
pub const HOLD_TTLS_MAX: u32 = 20;

/// How a renewal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Renewal {
    /// The lease lasts another ttl.
    Renewed,
    /// Somebody else, or nobody, holds the lock.
    Lost,
    /// There was no answer. That is not yet a loss: the local deadline decides.
    Unknown,
}

/// A task that renews one lease.
pub struct Watchdog {
    deadline: Arc<Mutex<Instant>>,
    lost: CancellationToken,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts to renew a lease that was granted until `deadline`.
    #[must_use]
    pub fn start(
        claim: Claim,
        deadline: Instant,
        lock: Arc<dyn Lock>,
        strategy: StrategyId,
        metrics: Arc<Metrics>,
    ) -> Self {
        let deadline = Arc::new(Mutex::new(deadline));
        let (lost, stop) = (CancellationToken::new(), CancellationToken::new());
        let rounds = Rounds {
            most: Instant::now() + claim.ttl * HOLD_TTLS_MAX,
            claim,
            deadline: Arc::clone(&deadline),
            lock,
            strategy,
            metrics,
        };
        let (watched, stopped) = (lost.clone(), stop.clone());
        let task = tokio::spawn(async move {
            if rounds.run(&stopped).await {
                watched.cancel();
            }
        });
        Self { deadline, lost, stop, task: Some(task) }
    }

    /// When the lease must be taken for lost, as things are.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        *self.deadline.lock()
    }

    /// Cancelled when the lease is lost.
    #[must_use]
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Stops renewing, and waits until no renewal is under way.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // Fails only if the task panicked, which leaves nothing to wait for.
            task.await.ok();
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What the task knows.
struct Rounds {
    claim: Claim,
    deadline: Arc<Mutex<Instant>>,
    /// After this, the lease is left to its end.
    most: Instant,
    lock: Arc<dyn Lock>,
    strategy: StrategyId,
    metrics: Arc<Metrics>,
}

impl Rounds {
    /// Renews until stopped; true if the lease was lost before.
    async fn run(&self, stop: &CancellationToken) -> bool {
        let interval = self.claim.ttl / RENEWALS_PER_TTL;
        loop {
            let deadline = *self.deadline.lock();
            let next = (Instant::now() + interval).min(deadline);
            if stop.run_until_cancelled(time::sleep_until(next)).await.is_none() {
                return false;
            }
            if Instant::now() >= deadline {
                return true;
            }
            let capped = Instant::now() + self.claim.ttl > self.most;
            if !capped && self.renew(interval / 2).await == Renewal::Lost && !stop.is_cancelled() {
                return true;
            }
        }
    }

    /// One renewal, with a timeout well below the time until the next.
    async fn renew(&self, timeout: Duration) -> Renewal {
        // Before sending, as for the grant.
        let until = Instant::now() + self.claim.ttl;
        let answer: Result<Result<bool, BackendError>, _> =
            time::timeout(timeout, self.lock.renew(&self.claim)).await;
        let renewal = match answer {
            Ok(Ok(true)) => {
                *self.deadline.lock() = until;
                Renewal::Renewed
            }
            Ok(Ok(false)) => Renewal::Lost,
            Ok(Err(_)) | Err(_) => Renewal::Unknown,
        };
        self.metrics.renewal(self.strategy, renewal);
        renewal
    }
}
