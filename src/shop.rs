//! The critical section: acquire, read, work, write, release. Every purchase passes here, whether
//! it came over HTTP or from the command line, and under whichever strategy.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};
use tokio::time::{self, Duration, Instant};
use utoipa::ToSchema;

use crate::{
    backends::{BackendError, Backends},
    lock::{self, Lease, Lock, Method, Release, StrategyId},
    metrics::{AttemptOutcome, Metrics},
    product::Product,
    release::{Cause, ReleaseQueue},
    stock::{Sold, Stock, Store, Tally, Written, redis::RedisStock},
    token::Token,
};

/// A step of a purchase, as `/strategies` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray, Serialize, ToSchema)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Step {
    Acquire,
    Read,
    Work,
    Write,
    Take,
    Release,
}

/// How one purchase ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray, Serialize, ToSchema)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The buyer has the units.
    Sold,
    /// There were fewer units than wanted.
    SoldOut,
    /// Somebody else held the lock until the buyer gave up.
    Busy,
    /// The store refused the write, for a newer holder had been granted the lock.
    Fenced,
    /// The lease was lost, and the work stopped before the write.
    Lost,
    /// The product changed between read and write in a way that the store could see.
    Conflict,
    /// A backend did not answer.
    Unavailable,
    /// A backend refused, or the purchase broke.
    Error,
}

/// Where it was first seen that a lease had outlived its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Violation {
    /// After the work, before the write.
    Work,
    /// After the write, before the release.
    Write,
    /// At the release.
    Release,
}

/// What a buyer wants.
#[derive(Debug, Clone)]
pub struct Order {
    /// What to buy.
    pub product: Product,
    /// How many units.
    pub quantity: u32,
    /// Under which strategy.
    pub strategy: StrategyId,
    /// How long the work between read and write takes, at least.
    pub delay: Duration,
    /// How long a lease lasts.
    pub ttl: Duration,
}

/// What became of an order.
#[derive(Debug)]
pub struct Receipt {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the lock was granted; true for a strategy that needs none.
    pub lock_acquired: bool,
    /// The name of the sale, if there was one.
    pub order_id: Option<Token>,
    /// What the buyer read, if it came to that.
    pub stock_before: Option<i64>,
    /// What the stock was after the buyer's write, or what it read if it did not write.
    pub stock_after: Option<i64>,
    /// The sale as the ledger saw it, if there was one.
    pub sale: Option<Sold>,
    /// From wanting the lock to having it.
    pub wait: Duration,
    /// From reading to the end of the work.
    pub work: Duration,
    /// From the grant to the end of the release; zero if nothing was held.
    pub hold: Duration,
    /// All of it.
    pub duration: Duration,
    /// Where it was first seen that the lease had outlived its deadline, if it had.
    pub violation: Option<Violation>,
    /// Why it failed, for outcomes that are failures.
    pub failure: Option<Failure>,
}

/// Why an order failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A backend failed at a step.
    #[error("{}: {error}", <&str>::from(.step))]
    Backend {
        /// During which step.
        step: Step,
        /// How.
        error: BackendError,
    },
    /// The product was never put on sale.
    #[error("product {0} is not on sale")]
    Absent(Product),
    /// The product was reset between read and write.
    #[error("product {0} was reset during the purchase")]
    Reset(Product),
}

impl Receipt {
    fn new() -> Self {
        Self {
            outcome: Outcome::Error,
            lock_acquired: false,
            order_id: None,
            stock_before: None,
            stock_after: None,
            sale: None,
            wait: Duration::ZERO,
            work: Duration::ZERO,
            hold: Duration::ZERO,
            duration: Duration::ZERO,
            violation: None,
            failure: None,
        }
    }

    /// The backend failed at a step.
    pub fn fail(&mut self, step: Step, error: BackendError) {
        self.outcome = match error {
            BackendError::Unavailable { .. } | BackendError::Unknown { .. } => Outcome::Unavailable,
            BackendError::Refused { .. } => Outcome::Error,
        };
        self.failure = Some(Failure::Backend { step, error });
    }

    /// The work of the buyer: a pause of at least `delay`, in steps of the timer's millisecond.
    pub async fn work(&mut self, delay: Duration) {
        let started = Instant::now();
        if !delay.is_zero() {
            time::sleep(delay).await;
        }
        self.work = started.elapsed();
    }

    /// The store has carried out, or refused, a write or a take.
    pub fn settle(&mut self, written: Written, product: &Product) {
        match written {
            Written::Sold(sold) => {
                self.outcome = Outcome::Sold;
                self.order_id = Some(Token::random());
                self.stock_before.get_or_insert(sold.found);
                self.stock_after = Some(sold.stock);
                self.sale = Some(sold);
            }
            Written::SoldOut { stock } => self.sold_out(stock),
            Written::Reset => {
                self.outcome = Outcome::Conflict;
                self.failure = Some(Failure::Reset(product.clone()));
            }
            Written::Absent => self.absent(product),
        }
    }

    fn sold_out(&mut self, stock: i64) {
        self.outcome = Outcome::SoldOut;
        self.stock_before = Some(stock);
        self.stock_after = Some(stock);
    }

    fn absent(&mut self, product: &Product) {
        self.outcome = Outcome::Error;
        self.failure = Some(Failure::Absent(product.clone()));
    }
}

/// A strategy that sells without a lock.
#[async_trait]
pub trait Sell: Send + Sync {
    /// Carries out an order and notes on the receipt how far it came.
    ///
    /// # Cancellation
    /// Dropping the future does not recall a sale that has been sent to the store.
    async fn sell(&self, order: &Order, stock: &dyn Stock, receipt: &mut Receipt);
}

/// Sells products under any strategy.
pub struct Shop {
    methods: Vec<Method>,
    redis_stock: RedisStock,
    releases: ReleaseQueue,
    metrics: Arc<Metrics>,
}

impl Shop {
    /// Opens the shop over the configured backends.
    #[must_use]
    pub fn new(backends: &Backends, releases: ReleaseQueue) -> Self {
        Self {
            methods: StrategyId::all()
                .map(|id| (id.row().connect)(backends))
                .collect(),
            redis_stock: RedisStock::new(Arc::clone(&backends.redis)),
            releases,
            metrics: Arc::clone(&backends.metrics),
        }
    }

    /// The products of a store.
    #[must_use]
    pub fn stock(&self, store: Store) -> &dyn Stock {
        match store {
            Store::Redis => &self.redis_stock,
        }
    }

    /// Carries out an order. Failures are outcomes too: the receipt says how far it came.
    ///
    /// # Cancellation
    /// Dropping the future leaves a lease that may be held to the release task, and does not recall
    /// a write that has been sent.
    pub async fn purchase(&self, order: &Order) -> Receipt {
        let started = Instant::now();
        let stock = self.stock(order.strategy.row().store);
        let mut receipt = Receipt::new();
        match &self.methods[order.strategy.index()] {
            Method::Lock(lock) => self.sell_locked(order, lock, stock, &mut receipt).await,
            Method::LockFree(seller) => {
                receipt.lock_acquired = true;
                seller.sell(order, stock, &mut receipt).await;
            }
        }
        receipt.duration = started.elapsed();
        self.metrics.purchase(order.strategy, receipt.outcome);
        if let Some(sold) = receipt.sale {
            let units = u64::from(order.quantity);
            self.metrics
                .sale(order.strategy, units, sold.oversold, sold.lost_updates);
        }
        receipt
    }

    async fn sell_locked(
        &self,
        order: &Order,
        lock: &Arc<dyn Lock>,
        stock: &dyn Stock,
        receipt: &mut Receipt,
    ) {
        let Some(mut lease) = self.acquire(order, lock, receipt).await else {
            return;
        };
        let granted = Instant::now();
        critical_section(order, &lease, stock, receipt).await;
        if receipt.outcome == Outcome::Unavailable {
            // Waiting for a backend that just failed would only keep the buyer.
            lease.hand_over(Cause::BackendDown);
            receipt.hold = granted.elapsed();
            return;
        }
        let ttl = lease.can_expire().then_some(order.ttl);
        let past_deadline = lease.is_past_deadline();
        let release = lease.release().await;
        receipt.hold = granted.elapsed();
        self.metrics
            .release(order.strategy, release, receipt.hold, ttl);
        if past_deadline || matches!(release, Release::Expired | Release::Stolen) {
            receipt.violation.get_or_insert(Violation::Release);
        }
        if let Some(violation) = receipt.violation {
            self.metrics.violation(order.strategy, violation);
        }
    }

    async fn acquire(
        &self,
        order: &Order,
        lock: &Arc<dyn Lock>,
        receipt: &mut Receipt,
    ) -> Option<Lease> {
        let started = Instant::now();
        let acquired = lock::acquire(
            order.strategy,
            lock,
            &order.product,
            order.ttl,
            &self.releases,
        )
        .await;
        receipt.wait = started.elapsed();
        let (lease, attempt) = match acquired {
            Ok(Some(lease)) => (Some(lease), AttemptOutcome::Acquired),
            Ok(None) => {
                receipt.outcome = Outcome::Busy;
                (None, AttemptOutcome::Contended)
            }
            Err(error) => {
                let unknown = error.is_unknown();
                receipt.fail(Step::Acquire, error);
                (
                    None,
                    if unknown {
                        AttemptOutcome::Unknown
                    } else {
                        AttemptOutcome::Error
                    },
                )
            }
        };
        receipt.lock_acquired = lease.is_some();
        self.metrics.attempt(order.strategy, attempt, receipt.wait);
        lease
    }

    /// Puts `units` of a product on sale afresh, in the store of `strategy` or in all, and forgets
    /// who holds it.
    ///
    /// # Errors
    /// A store or a lock service failed: what happened is not certain, so reset again.
    pub async fn reset(
        &self,
        product: &Product,
        units: u64,
        strategy: Option<StrategyId>,
    ) -> Result<(), BackendError> {
        let only = strategy.map(|id| id.row().store);
        let stores = Store::VARIANTS
            .iter()
            .filter(|&&store| only.is_none_or(|it| it == store));
        for &store in stores {
            self.stock(store).reset(product, units).await?;
            // After the stock: a purchase that slips in between has read the old generation, and
            // its write will be refused.
            for id in StrategyId::all().filter(|id| id.row().store == store) {
                if let Method::Lock(lock) = &self.methods[id.index()] {
                    lock.clear(product).await?;
                }
            }
        }
        self.metrics.reset();
        Ok(())
    }

    /// The numbers of a product, read at one instant, from the store of `strategy` (by default
    /// Redis). `None`: it was never put on sale there.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn tally(
        &self,
        product: &Product,
        strategy: Option<StrategyId>,
    ) -> Result<Option<Tally>, BackendError> {
        let store = strategy.map_or(Store::Redis, |id| id.row().store);
        self.stock(store).tally(product).await
    }
}

/// Read, work, write. Whether the lease still stands is observed, not enforced: enforcing it is
/// what distinguishes strategies.
async fn critical_section(order: &Order, lease: &Lease, stock: &dyn Stock, receipt: &mut Receipt) {
    let reading = match stock.read(&order.product).await {
        Ok(Some(reading)) => reading,
        Ok(None) => return receipt.absent(&order.product),
        Err(error) => return receipt.fail(Step::Read, error),
    };
    if reading.stock < i64::from(order.quantity) {
        return receipt.sold_out(reading.stock);
    }
    receipt.stock_before = Some(reading.stock);
    receipt.work(order.delay).await;
    if lease.is_past_deadline() {
        receipt.violation = Some(Violation::Work);
    }
    match stock.write(&order.product, &reading, order.quantity).await {
        Ok(written) => receipt.settle(written, &order.product),
        Err(error) => receipt.fail(Step::Write, error),
    }
    if lease.is_past_deadline() {
        receipt.violation.get_or_insert(Violation::Write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcomes_are_these() {
        let labels: Vec<&str> = Outcome::VARIANTS.iter().map(Into::into).collect();
        let pinned = [
            "sold",
            "sold_out",
            "busy",
            "fenced",
            "lost",
            "conflict",
            "unavailable",
            "error",
        ];
        assert_eq!(labels, pinned);
    }
}
