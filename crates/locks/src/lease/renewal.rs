//! Keeps a lease alive while its holder works, and says when it is lost.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{
    task::JoinHandle,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use crate::{
    lease::metrics::{LeaseMetrics, Renewal},
    lock::{Claim, Lock},
};

/// A lease is renewed that many times within its ttl.
const RENEWALS_PER_TTL: u32 = 3;
/// A lease is held for at most that many ttls: renewing for ever would turn a stuck holder into a
/// deadlock.
pub const HOLD_TTLS_MAX: u32 = 20;

/// What a lease has come to.
struct Term {
    /// When it must be taken for lost.
    deadline: Instant,
    /// How often it was renewed.
    renewals: u32,
}

/// A task that renews one lease.
pub struct Watchdog {
    term: Arc<Mutex<Term>>,
    lost: CancellationToken,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts to renew a lease that was granted until `deadline`, so often at most.
    #[must_use]
    pub fn start(
        claim: Claim,
        deadline: Instant,
        renewals_max: u32,
        lock: Arc<dyn Lock>,
        metrics: Arc<LeaseMetrics>,
    ) -> Self {
        let term = Arc::new(Mutex::new(Term { deadline, renewals: 0 }));
        let (lost, stop) = (CancellationToken::new(), CancellationToken::new());
        let rounds = Rounds {
            most: Instant::now() + claim.ttl * HOLD_TTLS_MAX,
            renewals_max,
            claim,
            term: Arc::clone(&term),
            lock,
            metrics,
        };
        let (watched, stopped) = (lost.clone(), stop.clone());
        let task = tokio::spawn(async move {
            if rounds.run(&stopped).await {
                watched.cancel();
            }
        });
        Self { term, lost, stop, task: Some(task) }
    }

    /// When the lease must be taken for lost, as things are.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.term.lock().deadline
    }

    /// How often it was renewed, so far.
    #[must_use]
    pub fn renewals(&self) -> u32 {
        self.term.lock().renewals
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
    term: Arc<Mutex<Term>>,
    /// After this, the lease is left to its end.
    most: Instant,
    /// After so many renewals, too.
    renewals_max: u32,
    lock: Arc<dyn Lock>,
    metrics: Arc<LeaseMetrics>,
}

impl Rounds {
    /// Renews until stopped; true if the lease was lost before.
    async fn run(&self, stop: &CancellationToken) -> bool {
        let interval = self.claim.ttl / RENEWALS_PER_TTL;
        let mut next = Instant::now() + interval;
        loop {
            let Term { deadline, renewals } = *self.term.lock();
            let until = next.min(deadline);
            if stop.run_until_cancelled(time::sleep_until(until)).await.is_none() {
                return false;
            }
            let now = Instant::now();
            if now >= deadline {
                return true;
            }
            next = now + interval;
            let is_last = renewals >= self.renewals_max || now + self.claim.ttl > self.most;
            if !is_last
                && self.renew(next.min(deadline)).await == Renewal::Lost
                && !stop.is_cancelled()
            {
                return true;
            }
        }
    }

    /// One renewal, which has until the next is due, or the lease ends.
    async fn renew(&self, until: Instant) -> Renewal {
        let renewal = match time::timeout_at(until, self.lock.renew(&self.claim)).await {
            Ok(Ok(Some(deadline))) => {
                let mut term = self.term.lock();
                term.deadline = deadline;
                term.renewals += 1;
                Renewal::Renewed
            }
            Ok(Ok(None)) => Renewal::Lost,
            Ok(Err(_)) | Err(_) => Renewal::Unknown,
        };
        self.metrics.renewals[renewal].increment(1);
        renewal
    }
}
