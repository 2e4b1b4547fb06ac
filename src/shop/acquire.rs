//! How an order comes to its leases, and what becomes of them: acquired, waited for in line, handed
//! over, released.

use std::sync::Arc;

use parking_lot::Mutex;
use rand::RngExt;
use tokio::time::{self, Duration, Instant};
use tracing::{Instrument, Span};

use super::{
    buyers::{BuyerTurn, HAND_OVERS_MAX, Leased, Wants},
    visit::Visit,
};
use crate::{
    history::EventKind,
    order::{
        Order,
        receipt::{Failure, Receipt, at},
        recorder::Trail,
        span,
    },
    outcome::{Outcome, Violation},
    product::{Item, Product},
    shop::{metrics::Attempted, visit::Held},
};
use locklab_locks::{
    error::BackendError,
    lease::{Acquired, release::Cause},
    lock::{Lock, Votes},
    step::Step,
    wait::{Patience, Policy, Tried, line::Turn},
};

/// How long another server has, at most, to take its turn.
const YIELD_MAX: Duration = Duration::from_millis(100);
/// How often it is looked whether it has.
const YIELD_STEP: Duration = Duration::from_millis(2);

impl Visit<'_> {
    /// Acquires the lock of every item, one after the other, within one deadline. All or nothing.
    pub async fn acquire_all(&mut self) -> Option<Vec<Held>> {
        let Order { items, patience, ttl, .. } = self.order;
        let deadline = Instant::now() + patience.wait;
        let mut rng = patience.rng();
        loop {
            let mut held = Vec::with_capacity(items.len());
            for (item, Item { product, .. }) in items.iter().enumerate() {
                // No longer than the first of the leases that are held already lasts.
                let until = ends(&held).map_or(deadline, |ends| deadline.min(ends));
                let wait = until.saturating_duration_since(Instant::now());
                let span = span::acquire(product);
                let patience = Patience { wait, ..patience.clone() };
                match self.acquire(item, &patience).instrument(span).await {
                    Some(lease) => held.push(lease),
                    None => break,
                }
            }
            if held.len() == items.len() && self.will_last(&held) {
                return Some(held);
            }
            if self.receipt.failure.is_some() {
                self.release_all(held).await;
                return None;
            }
            let is_late = is_past_deadline(&held);
            if is_late {
                // The first lease ran out while the last was waited for: what they guard together
                // is guarded no longer. Two orders that wait for each other's locks meet here.
                self.violate(Violation::Acquire);
            }
            let is_complete = held.len() == items.len();
            self.release_all(held).await;
            self.receipt.outcome = Outcome::Busy;
            let may_retry = patience.policy != Policy::None
                && self.receipt.retries < patience.max_retries
                && Instant::now() < deadline
                && !patience.gone.is_cancelled();
            if !may_retry || !(is_late || is_complete) {
                return None;
            }
            self.receipt.retries += 1;
            // Whoever waited for us has begun again as well: not in step, or we would meet again.
            let pause = rng.random_range(Duration::ZERO..=*ttl);
            let pause = pause.min(deadline.saturating_duration_since(Instant::now()));
            patience.gone.run_until_cancelled(time::sleep(pause)).await;
        }
    }

    /// Whether what was granted first lasts for the work as well, although other locks were waited
    /// for meanwhile; if the order's ttl allows for it at all.
    fn will_last(&self, held: &[Held]) -> bool {
        let Order { delay, ttl, .. } = *self.order;
        let work = if held.len() > 1 && delay < ttl { delay } else { Duration::ZERO };
        let is_lost = held.iter().any(|held| held.leased.lease.is_lost());
        !is_lost && ends(held).is_none_or(|ends| Instant::now() + work < ends)
    }

    /// Acquires the lock of one item, in the way and for as long as patience wants it.
    async fn acquire(&mut self, item: usize, patience: &Patience) -> Option<Held> {
        let Self { order, metrics, .. } = *self;
        let strategy = order.strategy;
        let started = Instant::now();
        let waiting = metrics.presence.wait(strategy, &order.items[item].product);
        let (mut turn, mut busy) = (None, None);
        let mut tried = Tried { result: Ok(None), retries: 0 };
        let is_in_line = patience.policy == Policy::Fifo;
        if is_in_line {
            turn = self.turn(item, patience).await;
            let handed = turn.as_mut().and_then(Turn::take);
            let live = handed.filter(|leased| !leased.lease.is_past_deadline());
            tried.result = Ok(live.map(|mut leased| {
                leased.hand_overs += 1;
                (leased, Instant::now())
            }));
        }
        if matches!(tried.result, Ok(None)) && turn.is_some() == is_in_line {
            let wait = patience.wait.saturating_sub(started.elapsed());
            let last = Mutex::default();
            tried = self.contend(item, &Patience { wait, ..patience.clone() }, &last).await;
            (self.receipt.votes, busy) = last.into_inner();
        }
        self.receipt.retries += tried.retries;
        let (won, ended) = match tried.result {
            Ok(Some(won)) => {
                waiting.granted();
                (Some(won), Attempted::Acquired)
            }
            Ok(None) => {
                (self.receipt.outcome, self.receipt.failure) = (Outcome::Busy, busy);
                (None, Attempted::Contended)
            }
            Err(failure) => {
                let ended = match &failure {
                    Failure::Backend { error, .. } => Attempted::of_error(error),
                    _ => Attempted::Error,
                };
                self.receipt.fail(failure);
                (None, ended)
            }
        };
        metrics.acquisition(strategy, ended, started.elapsed());
        metrics.retries(strategy, patience.policy, tried.retries);
        Span::current().record("retries", tried.retries);
        let (leased, asked) = won?;
        self.note_grant(item, &leased, asked);
        Some(Held { leased, since: Instant::now(), turn })
    }

    /// Waits for the turn to contend; `None` when patience is over before.
    async fn turn(&self, item: usize, patience: &Patience) -> Option<BuyerTurn> {
        let Order { strategy, items, ttl, delay, .. } = self.order;
        let needs_own = self.order.needs_own_leases();
        // No more than it would be granted.
        let wants = Wants { ttl: self.keeper.lock().lease_ttl(*ttl), delay: *delay, needs_own };
        let key = (*strategy, items[item].product.clone());
        self.lines.turn(key, wants, Instant::now() + patience.wait, &patience.gone).await
    }

    /// Tries to be granted the lock by the lock service. The lease comes with when it was asked
    /// for. What the last try found, if that can be told: the votes, and what was busy but the lock
    /// itself.
    async fn contend(
        &self,
        item: usize,
        patience: &Patience,
        last: &Mutex<(Option<Votes>, Option<Failure>)>,
    ) -> Tried<(Leased, Instant), Failure> {
        let Self { order, keeper, stock, metrics, .. } = *self;
        let (product, wish) = (&order.items[item].product, order.wish());
        let wish = &wish;
        let attempt = |queueing| async move {
            // Before the lease is wanted, each time: see `Generation`.
            let generation = match stock.generation(product).await {
                Ok(Some(generation)) => generation,
                Ok(None) => return Err(Failure::Absent(product.clone())),
                Err(error) => return Err(at(Step::Read)(error)),
            };
            let since = Instant::now();
            let acquired = keeper.attempt(product, wish, queueing).await;
            metrics.attempt(order.strategy, attempted(&acquired));
            match acquired {
                Ok(Acquired::Lease(lease)) => {
                    *last.lock() = (lease.votes(), None);
                    let granted = Instant::now();
                    let leased = Leased { generation, lease: *lease, granted, hand_overs: 0 };
                    Ok(Some((leased, since)))
                }
                Ok(Acquired::Outvoted { votes: cast, .. }) => {
                    *last.lock() = (Some(cast), None);
                    Ok(None)
                }
                Ok(Acquired::Busy | Acquired::Late) => {
                    *last.lock() = (None, None);
                    Ok(None)
                }
                Err(error @ BackendError::Contended { .. }) => {
                    *last.lock() = (None, Some(at(Step::Acquire)(error)));
                    Ok(None)
                }
                Err(error) => Err(at(Step::Acquire)(error)),
            }
        };
        keeper.contend(product, patience, attempt).await
    }

    fn note_grant(&mut self, item: usize, leased: &Leased, asked: Instant) {
        let Leased { generation, lease, .. } = leased;
        self.trail.learn(item, generation);
        let kind = EventKind::Granted {
            since_ns: self.trail.ns(asked),
            token: Trail::token(lease.token()),
            fencing_token: lease.fencing_token(),
            until_ns: lease.deadline().map(|deadline| self.trail.ns(deadline)),
            exclusive: !lease.excludes_nobody(),
        };
        self.trail.note(item, kind);
    }

    /// Ends the leases, the last first, or hands them over.
    pub async fn release_all(&mut self, held: Vec<Held>) {
        let has_crashed = self.receipt.has_crashed();
        for (item, Held { leased, since, turn }) in held.into_iter().enumerate().rev() {
            let is_late = leased.lease.is_past_deadline();
            self.receipt.renewals += leased.lease.renewals();
            let (strategy, product) = (self.order.strategy, &self.order.items[item].product);
            if has_crashed {
                leased.lease.crash();
                continue;
            }
            if self.receipt.outcome == Outcome::Unavailable {
                // Waiting for a backend that just failed would only keep the buyer.
                let mut lease = leased.lease;
                let since_ns = self.trail.now();
                lease.hand_over(Cause::BackendDown);
                let how = "unknown".to_owned();
                self.trail.note(item, EventKind::Released { since_ns, until_ns: None, how });
                continue;
            }
            if is_late {
                self.violate(Violation::Release);
            }
            if !leased.lease.excludes_nobody() {
                self.metrics.presence.free(strategy, product);
            }
            let ttl = leased.lease.fixed_ttl();
            let age = leased.granted.elapsed();
            let (since_ns, ends) = (self.trail.now(), leased.lease.deadline());
            let until_ns = ends.map(|deadline| self.trail.ns(deadline));
            let (leased, turn) = match turn {
                Some(turn) if self.may_hand_over() => match turn.hand_over(leased) {
                    Ok(()) => {
                        self.metrics.hand_over(strategy, since.elapsed());
                        let how = "handed_over".to_owned();
                        self.trail.note(item, EventKind::Released { since_ns, until_ns, how });
                        continue;
                    }
                    Err((turn, leased)) => (leased, Some(turn)),
                },
                turn => (leased, turn),
            };
            // In a queue of the lock service, the others are before us anyway.
            let is_chain_over =
                leased.hand_overs >= HAND_OVERS_MAX && !self.keeper.lock().has_queue();
            let release = leased.lease.release().instrument(span::release(product)).await;
            if let Some(turn) = turn {
                // Not before: the next in line would only find the lock taken.
                let (lock, product) = (Arc::clone(self.keeper.lock()), product.clone());
                tokio::spawn(async move {
                    if is_chain_over {
                        yield_to_others(&*lock, &product).await;
                    }
                    drop(turn);
                });
            }
            let ratio = ttl.map(|ttl| age.as_secs_f64() / ttl.as_secs_f64());
            self.metrics.release(strategy, release, since.elapsed(), ratio);
            let how = <&str>::from(release).to_owned();
            self.trail.note(item, EventKind::Released { since_ns, until_ns, how });
        }
    }

    /// Whether the leases are as good as new: everything that was sent under them was answered, and
    /// nothing was done to them.
    fn may_hand_over(&self) -> bool {
        let Receipt { outcome, repeated, violation, degraded, .. } = &*self.receipt;
        let is_clean = matches!(outcome, Outcome::Sold | Outcome::SoldOut) && !repeated;
        let is_whole = violation.is_none() && degraded.is_none();
        is_clean && is_whole && !self.order.needs_own_leases()
    }
}

/// When the first of the leases ends that nobody renews.
fn ends(held: &[Held]) -> Option<Instant> {
    held.iter().filter_map(|held| held.leased.lease.fixed_deadline()).min()
}

/// Whether the end of a lease has come.
#[must_use]
pub fn is_past_deadline(held: &[Held]) -> bool {
    held.iter().any(|held| held.leased.lease.is_past_deadline())
}

/// Waits until somebody at another server has the lock, if somebody waits for it there. Whoever
/// released it would otherwise be back before the news of that has come to anybody else.
async fn yield_to_others(lock: &dyn Lock, product: &Product) {
    let deadline = Instant::now() + YIELD_MAX;
    let mut is_waited_for = lock.waiters(product).await.is_ok_and(|waiters| waiters > 0);
    while is_waited_for && Instant::now() < deadline {
        time::sleep(YIELD_STEP).await;
        // Until somebody has it, or nobody can tell.
        is_waited_for =
            lock.time_left(product).await.is_ok_and(|left| left == Some(Duration::ZERO));
    }
}

fn attempted(acquired: &Result<Acquired, BackendError>) -> Attempted {
    match acquired {
        Ok(Acquired::Lease(lease)) if lease.forgone().is_some() => Attempted::Error,
        Ok(Acquired::Lease(_)) => Attempted::Acquired,
        Ok(Acquired::Outvoted { is_split: true, .. }) => Attempted::Split,
        Ok(Acquired::Busy | Acquired::Outvoted { .. }) => Attempted::Contended,
        Ok(Acquired::Late) => Attempted::Late,
        Err(error) => Attempted::of_error(error),
    }
}
